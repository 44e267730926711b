"""What a reader needs beside a circuit: its activations, attention and words on one pair of prompts."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.data.tokenizer import Tokenizer
from thinwire.evidence.effects import effect, head_effects
from thinwire.evidence.logit_lens import read_words, write_words
from thinwire.model.gpt import GPT
from thinwire.model.hooks import compose
from thinwire.model.sites import EMBED, FINAL, matrix_ends

N_PAIRS = 64
"""Pairs, the first ones, on which the effect of taking a head out is measured."""
SIDES = ("clean", "corrupt")


@torch.no_grad()
def evidence(model: GPT, circuit: Circuit, means: Means, prompts: Prompts, pair: int, tokenizer: Tokenizer) -> dict:
    """`pair_evidence` and, on the first `N_PAIRS` pairs, what the circuit does without each of its heads.

    `without_head`: "layer.head" -> the circuit without that head; `with_all_heads`: the whole circuit on these pairs.
    """
    found = pair_evidence(model, circuit, means, prompts, pair, tokenizer)
    return found | _heads(model, circuit, means, prompts)


@torch.no_grad()
def pair_evidence(
    model: GPT, circuit: Circuit, means: Means, prompts: Prompts, pair: int, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Evidence on pair number `pair` of `prompts`, as plain JSON values.

    `pair`: the two prompts' token texts. `probability`: of `answer` among the two answers, in model and circuit.
    `nodes`: "site:channel" -> activations per token on both sides inside the circuit, mean, and for channels of the
    residual stream the tokens that write or read them most. `attention`: "layer.head" -> pattern (T, T) per side.
    `unembed`: weights of kept `final` channels to (answer, other). All is recorded with only the circuit kept.
    """
    chosen = prompts.pairs(torch.tensor([pair], device=prompts.tokens.device))
    recorded: dict[str, Tensor] = {}

    def record(site: str, x: Tensor) -> Tensor:
        recorded[site] = x.cpu()
        return x

    alone = isolate_circuit(model, circuit, means, chosen)
    model(chosen.tokens, compose(alone.hook, record), alone.edges)
    lengths: dict[str, int] = dict(zip(SIDES, chosen.lengths.tolist(), strict=True))
    return {
        "pair": {
            f"{side}_tokens": [tokenizer.token_text(i) for i in chosen.tokens[row, : lengths[side]].tolist()]
            for row, side in enumerate(SIDES)
        },
        "probability": {
            "model": _probability(logit_difference(model, chosen)),
            "circuit": _probability(alone.difference()),
        },
        "nodes": _nodes(model, circuit, means, recorded, lengths, tokenizer),
        "attention": _attention(circuit, recorded, lengths, model.config.d_head),
        "unembed": {
            f"{FINAL}:{channel}": model.unembed.weight[list(circuit.answer_tokens), channel].tolist()
            for channel in circuit.nodes.get(FINAL, [])
        },
        "measured_in": "the circuit",
    }


def _heads(model: GPT, circuit: Circuit, means: Means, prompts: Prompts) -> dict[str, Any]:
    few = prompts.pairs(torch.arange(min(N_PAIRS, prompts.n_pairs), device=prompts.tokens.device))
    alone = isolate_circuit(model, circuit, means, few)
    found = head_effects(alone)
    return {
        "with_all_heads": asdict(effect(alone)),
        "without_head": {head: asdict(changed) for head, changed in found.items()},
    }


def _probability(difference: Tensor) -> dict[str, float]:
    return dict(zip(SIDES, difference.sigmoid().tolist(), strict=True))


def _nodes(
    model: GPT,
    circuit: Circuit,
    means: Means,
    recorded: dict[str, Tensor],
    lengths: dict[str, int],
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    nodes = {}
    for site, channels in circuit.nodes.items():
        for channel in channels:
            nodes[f"{site}:{channel}"] = {
                **{side: recorded[site][row, : lengths[side], channel].tolist() for row, side in enumerate(SIDES)},
                "mean": float(means[site][channel]),
                **_words(model, site, channel, tokenizer),
            }
    return nodes


def _words(model: GPT, site: str, channel: int, tokenizer: Tokenizer) -> dict[str, list[str]]:
    """Tokens whose embedding writes to the channel, tokens whose logit it feeds; residual channels only."""
    reads = read_words(model, site, [channel])[0] if site == EMBED or site.endswith(".in") else []
    writes = write_words(model, site, [channel])[0] if site == FINAL or site.endswith(".out") else []
    return {
        side: [tokenizer.token_text(token) for token, _ in words]
        for side, words in (("reads", reads), ("writes", writes))
    }


def _attention(
    circuit: Circuit, recorded: dict[str, Tensor], lengths: dict[str, int], d_head: int
) -> dict[str, dict[str, list]]:
    """Patterns of the heads that carry a kept value channel."""
    patterns = {}
    for _, (source, target) in matrix_ends(_n_layer(circuit)).items():
        if not target.endswith("attn.out"):
            continue
        layer = source.split(".")[0]
        for head in sorted({channel // d_head for channel in circuit.nodes.get(source, [])}):
            patterns[f"{layer}.{head}"] = {
                side: recorded[f"{layer}.attn.pattern"][row, head, : lengths[side], : lengths[side]].tolist()
                for row, side in enumerate(SIDES)
            }
    return patterns


def _n_layer(circuit: Circuit) -> int:
    return 1 + max((int(site.split(".")[0]) for site in circuit.nodes if site[0].isdigit()), default=-1)
