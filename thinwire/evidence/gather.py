"""A circuit on one pair of prompts: activations, attention, words, and what it does without each of its heads."""

from collections.abc import Mapping

import torch
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.data.tokenizer import Tokenizer
from thinwire.evidence.attention import head_scores
from thinwire.evidence.effects import head_effects
from thinwire.evidence.logit_lens import node_words
from thinwire.evidence.records import Chances, Evidence, HeadLook, HeadScores, NodeActivity, PairEvidence
from thinwire.model.gpt import GPT
from thinwire.model.hooks import compose
from thinwire.model.sites import FINAL, head_of, node_key, part_of

N_PAIRS = 64
"""Pairs, the first ones, on which the effect of taking a head out is measured."""
SIDES = ("clean", "corrupt")
Recorded = Mapping[str, Mapping[str, Tensor]]
"""Side -> site -> activations of one prompt, its own tokens only."""


@torch.no_grad()
def evidence(model: GPT, circuit: Circuit, means: Means, prompts: Prompts, pair: int, tokenizer: Tokenizer) -> Evidence:
    """`pair_evidence`, the circuit's nodes in words, and the circuit without each head on the first `N_PAIRS` pairs."""
    few = prompts.pairs(torch.arange(min(N_PAIRS, prompts.n_pairs), device=prompts.tokens.device))
    return Evidence(
        pair=pair_evidence(model, circuit, means, prompts, pair, tokenizer),
        words=node_words(model, circuit.nodes, tokenizer.token_text),
        heads=head_effects(isolate_circuit(model, circuit, means, few)),
    )


@torch.no_grad()
def pair_evidence(
    model: GPT, circuit: Circuit, means: Means, prompts: Prompts, pair: int, tokenizer: Tokenizer
) -> PairEvidence:
    """Evidence on pair number `pair` of `prompts`, recorded with only the circuit kept."""
    chosen = prompts.pairs(torch.tensor([pair], device=prompts.tokens.device))
    lengths: dict[str, int] = dict(zip(SIDES, chosen.lengths.tolist(), strict=True))
    found: dict[str, dict[str, Tensor]] = {side: {} for side in SIDES}

    def record(site: str, x: Tensor) -> Tensor:
        for row, side in enumerate(SIDES):
            n = lengths[side]
            found[side][site] = (x[row, :, :n, :n] if site.endswith("pattern") else x[row, :n]).cpu()
        return x

    alone = isolate_circuit(model, circuit, means, chosen)
    model(chosen.tokens, compose(alone.hook, record), alone.edges)
    clean, corrupt = (
        [tokenizer.token_text(i) for i in chosen.tokens[row, : lengths[side]].tolist()]
        for row, side in enumerate(SIDES)
    )
    heads = heads_with_values(circuit, model.config.d_head)
    return PairEvidence(
        clean_tokens=clean,
        corrupt_tokens=corrupt,
        model=_chances(logit_difference(model, chosen)),
        circuit=_chances(alone.difference()),
        nodes=_nodes(circuit, means, found),
        attention={f"{layer}.{head}": _look(found, layer, head) for layer, head in heads},
        scores={f"{layer}.{head}": _scores(circuit, found, layer, head, model.config.d_head) for layer, head in heads},
        unembed=answer_weights(model, circuit),
    )


def answer_weights(model: GPT, circuit: Circuit) -> dict[str, tuple[float, float]]:
    """`final:channel` -> weights of a kept channel to the answer and to the other one."""
    weights = model.unembed.weight[list(circuit.answer_tokens)]
    return {
        node_key(FINAL, channel): (float(weights[0, channel]), float(weights[1, channel]))
        for channel in circuit.nodes.get(FINAL, [])
    }


def heads_with_values(circuit: Circuit, d_head: int) -> list[tuple[int, int]]:
    """(layer, head) of the heads that carry a kept value channel."""
    return sorted(
        {
            head_of(site, channel, d_head)
            for site, channels in circuit.nodes.items()
            if part_of(site) == "attn.v"
            for channel in channels
        }
    )


def _chances(difference: Tensor) -> Chances:
    clean, corrupt = difference.sigmoid().tolist()
    return Chances(clean, corrupt)


def _nodes(circuit: Circuit, means: Means, found: Recorded) -> dict[str, NodeActivity]:
    return {
        node_key(site, channel): NodeActivity(
            clean=found["clean"][site][:, channel].tolist(),
            corrupt=found["corrupt"][site][:, channel].tolist(),
            mean=float(means[site][channel]),
        )
        for site, channels in circuit.nodes.items()
        for channel in channels
    }


def _look(found: Recorded, layer: int, head: int) -> HeadLook:
    clean, corrupt = (found[side][f"{layer}.attn.pattern"][head].tolist() for side in SIDES)
    return HeadLook(clean, corrupt)


def _scores(circuit: Circuit, found: Recorded, layer: int, head: int, d_head: int) -> HeadScores:
    queries, keys = ({side: found[side][f"{layer}.attn.{part}"] for side in SIDES} for part in "qk")
    return head_scores(queries, keys, circuit.nodes, layer, head, d_head)
