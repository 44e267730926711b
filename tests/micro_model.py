"""Models built by hand whose one circuit is known: real RMSNorm and AbsTopK, weights written down here.

    copy_model()       two heads: one copies what a marker says to the call token, a later one copies it to the question
    bracket_counter()  one head averages opening brackets over the context, one neuron tells two from one

Every other channel, head and neuron is a distractor: it is alive, reads and writes distractor channels only, and
carries nothing to the answers. Channels that tokens set have mean 0 over random text, because every token that sets
one to +2 has a twin that sets it to -2 and never occurs in a prompt. So a removed node leaves nothing behind.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from thinwire.circuits.ablation import isolate, node_means
from thinwire.circuits.edges import (
    count_biases,
    count_embed_edges,
    count_residual_links,
    count_unembed_edges,
    induced_edges,
)
from thinwire.circuits.graph import Calibration, Circuit
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import last_logits, score
from thinwire.model.checkpoint import fingerprint
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens

WIDTH = 32
CONST = 6
"""Channel that every token sets to the same value; it steadies the RMS norm and differs in nothing."""
DISTRACTORS = range(8, WIDTH)
N_PAIRS: dict[Split, int] = {"train": 192, "validation": 64, "test": 64}


@dataclass(frozen=True)
class HandModel:
    """A model, its task and the circuit that it was built around."""

    task: str
    model: GPT
    pairs: dict[Split, TaskTokens]
    shifted: dict[str, TaskTokens]
    """Kind of shift -> pairs unlike those of the splits."""
    windows: Tensor
    """Random text (N, T + 1)."""
    means: dict[str, Tensor]
    nodes: dict[str, list[int]]
    """The true circuit."""
    made: str = field(init=False)
    """Fingerprint of the model as it was built: tests share it, and must not write into it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "made", fingerprint(self.model))

    @property
    def prompts(self) -> Prompts:
        """Test prompts."""
        return Prompts.of(self.pairs["test"])

    @property
    def circuit(self) -> Circuit:
        """The true circuit as an artefact."""
        return circuit_of(self, self.nodes)


def circuit_of(hand: HandModel, nodes: dict[str, list[int]], target_loss: float = 0.15) -> Circuit:
    """An artefact that claims that `nodes` do the task."""
    model, pairs = hand.model, hand.pairs
    prompts = {split: Prompts.of(pairs[split]) for split in SPLITS}
    whole = {split: last_logits(model, p) for split, p in prompts.items()}
    kept = {split: last_logits(model, p, isolate(model, nodes, hand.means)) for split, p in prompts.items()}
    scores = {split: score(kept[split], whole[split], prompts[split]) for split in SPLITS}
    answers = (pairs["test"].answer, pairs["test"].other)
    return Circuit(
        status="solved" if scores["validation"].loss <= target_loss else "not_solved",
        task=hand.task,
        task_version=1,
        model_fingerprint=fingerprint(model),
        tokenizer_sha256="0" * 64,
        answer_tokens=answers,
        answer_texts=pairs["test"].answer_texts,
        target_loss=target_loss,
        nodes={site: sorted(channels) for site, channels in nodes.items()},
        edges=induced_edges(model, nodes),
        minimal_edges=None,
        embed_edges=count_embed_edges(model, nodes, torch.cat([p.tokens.flatten() for p in prompts.values()])),
        unembed_edges=count_unembed_edges(model, nodes, answers),
        n_biases=count_biases(model, nodes),
        residual_links=count_residual_links(nodes, model.config.n_layer),
        scores=scores,
        calibrated_scores=scores,
        model_scores={split: score(whole[split], whole[split], prompts[split]) for split in SPLITS},
        calibration=Calibration(),
        ablation="mean",
        loss_curve=[(sum(map(len, nodes.values())), scores["validation"].loss)],
        seed=0,
        hyperparameters={},
    )


# --- distractors ----------------------------------------------------------------------------------------------------


def _sprinkle_(matrix: Tensor, rows: range, columns: range, scale: float, generator: torch.Generator) -> None:
    """Four random weights of size `scale` in every row, between distractors only."""
    for row in rows:
        chosen = torch.randperm(len(columns), generator=generator)[:4] + columns.start
        matrix[row, chosen] = scale * torch.randn(4, generator=generator)


def _blank(config: ModelConfig, const: float, seed: int) -> GPT:
    """A model in which only the distractors carry weights; no answer reads them."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT(config).requires_grad_(False).eval()
    for name, parameter in model.named_parameters():
        if not name.endswith("gain"):
            parameter.zero_()
    model.embed.weight[:, CONST] = const
    for row in model.embed.weight:
        places = torch.randperm(len(DISTRACTORS), generator=generator)[:9] + DISTRACTORS.start
        row[places] = torch.tensor([1.5] * 3 + [0.4] * 6) * torch.randn(9, generator=generator).sign()
    second_head = range(config.d_head, WIDTH)
    for layer in range(config.n_layer):
        for block, rows, columns, scale in (
            ("attn.q", second_head, DISTRACTORS, 0.4),
            ("attn.k", second_head, DISTRACTORS, 0.4),
            ("attn.v", range(1, WIDTH), DISTRACTORS, 0.4),
            ("attn.out", DISTRACTORS, range(1, WIDTH), 0.3),
            ("mlp.neuron", range(1, config.d_mlp), DISTRACTORS, 0.4),
            ("mlp.out", DISTRACTORS, range(1, config.d_mlp), 0.3),
        ):
            _sprinkle_(model.get_parameter(f"blocks.{layer}.{block}.weight"), rows, columns, scale, generator)
    _sprinkle_(model.unembed.weight, range(config.vocab_size), DISTRACTORS, 0.3, generator)
    return model


def _silence_answers_(model: GPT, tokens: tuple[int, int]) -> None:
    model.unembed.weight[list(tokens)] = 0.0


def _random_text(config: ModelConfig, n: int, seed: int) -> Tensor:
    """Windows in which every token is equally likely, so that twins cancel."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (n, config.context + 1), generator=generator)


def task_tokens(clean: list[list[int]], corrupt: list[list[int]], answers: tuple[int, int]) -> TaskTokens:
    """Pairs from lists of token ids, padded with token 0."""
    width = max(map(len, clean + corrupt))

    def padded(rows: list[list[int]]) -> np.ndarray:
        return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)

    def lengths(rows: list[list[int]]) -> np.ndarray:
        return np.array([len(row) for row in rows], dtype=np.int64)

    return TaskTokens(padded(clean), padded(corrupt), lengths(clean), lengths(corrupt), *answers, ("a", "b"))


# --- the two-head copy model ----------------------------------------------------------------------------------------

MARK_A, MARK_B, CALL, ASK, DECOY_A, DECOY_B = 1, 2, 5, 7, 9, 10
COPY_FILLERS = range(11, 23)
COPY_ANSWERS = (23, 24)
_ID, _MARKED, _CALLS, _ASKS, _COPIED, _ANSWER = range(6)

COPY_NODES = {
    "embed": [_ID, _MARKED, _CALLS, _ASKS],
    "0.attn.in": [_ID, _MARKED, _CALLS],
    "0.attn.q": [0],
    "0.attn.k": [0],
    "0.attn.v": [0],
    "0.attn.out": [_COPIED],
    "1.attn.in": [_CALLS, _ASKS, _COPIED],
    "1.attn.q": [0],
    "1.attn.k": [0],
    "1.attn.v": [0],
    "1.attn.out": [_ANSWER],
    "final": [_ANSWER],
}
"""19 nodes; 8 edges: in -> q, in -> k, in -> v, v -> out in each layer."""


def _copy_weights() -> GPT:
    """Head 0 of layer 0: the call finds the marker, copies its sign. Head 0 of layer 1: the question finds the call."""
    config = ModelConfig(
        vocab_size=25, context=20, n_layer=2, d_model=WIDTH, d_head=16, mlp_ratio=4, activation_frac=0.25, bigram=False
    )
    model = _blank(config, const=2.0, seed=1)
    embed = model.embed.weight
    for token, channel, value in (
        *((MARK_A, _ID, 2), (MARK_A, _MARKED, 2), (MARK_B, _ID, -2), (MARK_B, _MARKED, 2)),
        *((3, _ID, 2), (3, _MARKED, -2), (4, _ID, -2), (4, _MARKED, -2)),
        *((CALL, _CALLS, 2), (6, _CALLS, -2), (ASK, _ASKS, 2), (8, _ASKS, -2)),
        *((DECOY_A, _ID, 2), (DECOY_B, _ID, -2)),
    ):
        embed[token, channel] = value
    for layer, (asks, is_asked, read, write) in enumerate(
        ((_CALLS, _MARKED, _ID, _COPIED), (_ASKS, _CALLS, _COPIED, _ANSWER))
    ):
        for matrix, target, source, weight in (
            ("q", 0, asks, 3),
            ("k", 0, is_asked, 3),
            ("v", 0, read, 1),
            ("out", write, 0, 1),
        ):
            model.get_parameter(f"blocks.{layer}.attn.{matrix}.weight")[target, source] = weight
    _silence_answers_(model, COPY_ANSWERS)
    for token, weight in zip(COPY_ANSWERS, (0.7, -0.7), strict=True):
        model.unembed.weight[token, _ANSWER] = weight
    return model


def _copy_prompts(n: int, seed: int, n_decoys: int = 3, n_between: int = 2) -> TaskTokens:
    """decoys, marker, fillers, call, fillers, question. Decoys of one sign outvote the marker in flat attention."""
    random = np.random.default_rng(seed)

    def fillers(count: int) -> list[int]:
        return random.choice(list(COPY_FILLERS), count).tolist()

    clean, corrupt = [], []
    for _ in range(n):
        before = [int(random.choice([DECOY_A, DECOY_B]))] * n_decoys
        after = [*fillers(n_between), CALL, *fillers(int(random.integers(1, 4))), ASK]
        clean.append([*before, MARK_A, *after])
        corrupt.append([*before, MARK_B, *after])
    return task_tokens(clean, corrupt, COPY_ANSWERS)


@cache
def copy_model() -> HandModel:
    """The two-head copy model: two layers, 768 nodes, of which 19 do the task."""
    model = _copy_weights()
    windows = _random_text(model.config, 256, seed=2)
    return HandModel(
        task="copy",
        model=model,
        pairs={split: _copy_prompts(N_PAIRS[split], seed) for seed, split in enumerate(SPLITS)},
        shifted={
            "more decoys": _copy_prompts(64, 10, n_decoys=5),
            "marker further away": _copy_prompts(64, 11, n_between=7),
        },
        windows=windows,
        means=node_means(model, windows),
        nodes=COPY_NODES,
    )


# --- the bracket counter --------------------------------------------------------------------------------------------

OPEN = 1
BRACKET_FILLERS = range(3, 15)
BRACKET_ANSWERS = (15, 16)
_IS_OPEN, _COUNT, _DEEP = range(3)

BRACKET_NODES = {
    "embed": [_IS_OPEN],
    "0.attn.in": [_IS_OPEN],
    "0.attn.v": [0],
    "0.attn.out": [_COUNT],
    "0.mlp.in": [_COUNT],
    "0.mlp.neuron": [0],
    "0.mlp.out": [_DEEP],
    "final": [_DEEP],
}
"""8 nodes; 4 edges: in -> v, v -> out, in -> neuron, neuron -> out."""


def _bracket_weights() -> GPT:
    """Head 0 attends evenly, so it averages; the neuron has its threshold between one bracket in 12 tokens and two."""
    config = ModelConfig(
        vocab_size=17, context=40, n_layer=1, d_model=WIDTH, d_head=16, mlp_ratio=4, activation_frac=0.25, bigram=False
    )
    model = _blank(config, const=6.0, seed=3)
    model.embed.weight[OPEN, _IS_OPEN] = 2.0
    model.embed.weight[OPEN + 1, _IS_OPEN] = -2.0
    for matrix, target, source, weight in (
        ("attn.v", 0, _IS_OPEN, 1.0),
        ("attn.out", _COUNT, 0, 12.0),
        ("mlp.neuron", 0, _COUNT, 5.0),
        ("mlp.out", _DEEP, 0, 2.0),
    ):
        model.get_parameter(f"blocks.0.{matrix}.weight")[target, source] = weight
    model.get_parameter("blocks.0.mlp.neuron.bias")[0] = -9.5
    _silence_answers_(model, BRACKET_ANSWERS)
    model.unembed.weight[BRACKET_ANSWERS[0], CONST] = 0.7
    model.unembed.weight[BRACKET_ANSWERS[1], _DEEP] = 2.5
    return model


def _bracket_prompts(n: int, seed: int, lengths: tuple[int, int] = (11, 14)) -> TaskTokens:
    """One opening bracket (clean) or two (corrupt) among fillers; the last token is a filler."""
    random = np.random.default_rng(seed)
    clean, corrupt = [], []
    for _ in range(n):
        row = random.choice(list(BRACKET_FILLERS), int(random.integers(*lengths))).tolist()
        first, second = random.choice(len(row) - 1, 2, replace=False)
        row[first] = OPEN
        clean.append(list(row))
        row[second] = OPEN
        corrupt.append(row)
    return task_tokens(clean, corrupt, BRACKET_ANSWERS)


@cache
def bracket_counter() -> HandModel:
    """The bracket counter: one layer, 416 nodes, of which 8 do the task. It fails in long contexts, as it must."""
    model = _bracket_weights()
    windows = _random_text(model.config, 256, seed=4)
    return HandModel(
        task="bracket",
        model=model,
        pairs={split: _bracket_prompts(N_PAIRS[split], seed) for seed, split in enumerate(SPLITS)},
        shifted={"diluted context": _bracket_prompts(64, 10, lengths=(30, 34))},
        windows=windows,
        means=node_means(model, windows),
        nodes=BRACKET_NODES,
    )
