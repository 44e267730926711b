"""A circuit unrolled: the program that gives its logits, with its weights.

Nodes outside the circuit lie at their stand-ins, edges that it does not state carry their source's, so all that one of
its nodes reads is a weighted sum of other nodes and a constant. What is outside still acts at two places: an RMSNorm
divides by all of the residual stream, and AbsTopK lets every channel of a site compete.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thinwire.circuits.ablation import remove_edges
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.decompile.expressions import (
    ActivationName,
    Attended,
    Constant,
    Expression,
    OfPlace,
    OfToken,
    Pattern,
    Product,
    Rivals,
    Scale,
    Sum,
    Survivor,
)
from thinwire.decompile.program import Program
from thinwire.errors import UserError
from thinwire.model.sites import EMBED, FINAL, node_key

Channels = dict[int, Expression]
"""Channels of a site that are kept, or that change."""


def unroll(alone: IsolatedCircuit, answers: tuple[str, str], tokens: Sequence[str]) -> Program:
    """The exact program of a circuit; `tokens` is the text of every token id, `answers` those of the two answers.

    Raises `UserError` for scales of the whole model, and for a model with an attention sink, LayerNorm, concatenated
    positions or a function on the residual stream.
    """
    check_supported(alone)
    return _Unroller(alone).program(answers, tuple(tokens))


def check_supported(alone: IsolatedCircuit) -> None:
    """Raises `UserError` for what a program cannot be made of."""
    config = alone.model.config
    why = {
        "RMSNorm scales of the whole model, which it does not compute": alone.norm_scales != "own",
        "an attention sink": config.sink,
        "LayerNorm": config.variant.norm != "rms",
        "positions beside the residual stream": config.variant.d_positions > 0,
        "AbsTopK or a function on the residual stream": bool(config.variant.residual_sites),
    }
    for what, there in why.items():
        if there:
            raise UserError(f"no program can be made of a circuit with {what}; choose another circuit")


class _Unroller:
    """The forward pass over expressions: `stream` is the residual stream, of which few channels change."""

    def __init__(self, alone: IsolatedCircuit) -> None:
        self.model, self.alone = alone.model, alone
        self.means = {site: _array(mean) for site, mean in alone.means.items()}
        self.masks = remove_edges(alone.model, alone.removed, alone.means)
        self.still = np.zeros(alone.model.config.d_model)
        """The residual stream as far as it is constant."""
        self.moving: Channels = {}
        """What is added to it."""
        self.sites: dict[Expression, str] = {}

    def program(self, answers: tuple[str, str], tokens: tuple[str, ...]) -> Program:
        self._write(EMBED, self._embedded())
        for layer in range(self.model.config.n_layer):
            self._write(f"{layer}.attn.out", self._attention(f"{layer}.attn"))
            self._write(f"{layer}.mlp.out", self._mlp(f"{layer}.mlp"))
        prompts = self.alone.prompts
        outputs = tuple(self._logit(token, self._read(FINAL)) for token in (prompts.answer, prompts.other))
        return Program(outputs, answers, tokens, self.sites)

    def _kept(self, site: str) -> list[int]:
        return list(self.alone.nodes.get(site, ()))

    def _embedded(self) -> Channels:
        weight, positions = _array(self.model.embed.weight), self.model.positions
        found: Channels = {}
        for channel in self._kept(EMBED):
            of_token = OfToken(weight[:, channel].copy())
            if positions is None:
                found[channel] = of_token
            else:
                of_place = OfPlace(_array(positions.weight)[:, channel].copy())
                found[channel] = Sum(0.0, ((1.0, of_token), (1.0, of_place)))
        return self._named(EMBED, found)

    def _write(self, site: str, written: Channels) -> None:
        """Add to the residual stream: kept channels as they are, the others as they stand in."""
        held = np.ones(len(self.still), dtype=bool)
        held[list(written)] = False
        self.still = self.still + np.where(held, self.means[site], 0.0)
        for channel, x in written.items():
            there = self.moving.get(channel)
            self.moving[channel] = x if there is None else Sum(0.0, ((1.0, there), (1.0, x)))

    def _read(self, site: str) -> Channels:
        """The residual stream after RMSNorm, and AbsTopK where it acts, at the kept channels of a site."""
        norm = "norm" if site == FINAL else f"blocks.{site.removesuffix('.in')}.norm"
        gain = self.model.get_parameter(f"{norm}.gain")
        eps, gain = torch.finfo(gain.dtype).eps, _array(gain)
        moving, n = list(self.moving), len(self.still)
        stream = {c: Sum(float(self.still[c]), ((1.0, x),)) for c, x in self.moving.items()}
        rest = np.delete(self.still, moving)
        scale = Scale(float(rest @ rest), tuple(stream.values()), n, eps)
        weights = np.zeros((n, len(moving)))
        weights[moving, np.arange(len(moving))] = gain[moving]
        values = self._competing(site, tuple(stream.values()), weights, gain * np.where(weights.any(1), 0, self.still))
        return self._named(site, {channel: Product(x, scale) for channel, x in values.items()})

    def _competing(
        self,
        site: str,
        inputs: tuple[Expression, ...],
        weights: np.ndarray,
        bias: np.ndarray,
        activation: ActivationName | None = None,
    ) -> Channels:
        """The kept channels of a site where every channel is bias + weights @ inputs."""
        kept = self._kept(site)
        rivals = Rivals(inputs, weights, bias, self.model.space.n_kept(site), tuple(kept), activation)
        found = {channel: Survivor(rivals, channel) for channel in kept}
        acts = rivals.n_kept < len(bias)
        return {channel: x if acts else x.unrivalled for channel, x in found.items()}

    def _linear(
        self, source_site: str, inputs: Channels, site: str, activation: ActivationName | None = None
    ) -> Channels:
        """The matrix into `site`: removed sources, and removed edges, carry what stands in for them."""
        name = self.model.space.matrix(source_site, site)
        weight, mask = self.model.get_parameter(name), self.masks.get(name)
        kept = weight if mask is None else weight * mask.keep
        mean, sources = self.means[source_site], list(inputs)
        held = mean.copy()
        held[sources] = 0.0
        bias = _array(self.model.get_parameter(name.removesuffix("weight") + "bias"))
        bias = bias + _array(weight - kept) @ mean + _array(kept) @ held
        return self._competing(site, tuple(inputs.values()), _array(kept)[:, sources], bias, activation)

    def _attention(self, block: str) -> Channels:
        read, d_head = self._read(f"{block}.in"), self.model.config.d_head
        q, k, v = (self._named(f"{block}.{x}", self._linear(f"{block}.in", read, f"{block}.{x}")) for x in "qkv")
        patterns = {head: self._pattern(block, head, q, k) for head in {channel // d_head for channel in v}}
        mixed: Channels = {c: Attended(patterns[c // d_head], x) for c, x in v.items()}
        site = f"{block}.out"
        return self._named(site, self._linear(f"{block}.v", mixed, site))

    def _pattern(self, block: str, head: int, q: Channels, k: Channels) -> Pattern:
        """A score that is the same for every token looked at changes nothing: only kept keys count."""
        d_head = self.model.config.d_head
        factor = 1 / math.sqrt(d_head)
        means = self.means[f"{block}.q"]
        scores = []
        for channel, key in k.items():
            if channel // d_head == head:
                query = q.get(channel)
                held = Constant(factor * float(means[channel]))
                scores.append((held if query is None else Sum(0.0, ((factor, query),)), key))
        return Pattern(tuple(scores))

    def _mlp(self, block: str) -> Channels:
        read, activation = self._read(f"{block}.in"), self.model.config.variant.activation
        neurons = self._linear(f"{block}.in", read, f"{block}.neuron", activation)
        site = f"{block}.out"
        return self._named(site, self._linear(f"{block}.neuron", self._named(f"{block}.neuron", neurons), site))

    def _logit(self, token: int, final: Channels) -> Expression:
        weight = _array(self.model.unembed.weight)[token]
        held = self.means[FINAL].copy()
        held[list(final)] = 0.0
        terms = tuple((float(weight[channel]), x) for channel, x in final.items())
        if self.model.bigram is not None:
            terms += ((1.0, OfToken(_array(self.model.bigram)[:, token].copy())),)
        return Sum(float(weight @ held), terms)

    def _named(self, site: str, channels: Channels) -> Channels:
        self.sites |= {x: node_key(site, channel) for channel, x in channels.items()}
        return channels


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().astype(np.float64)
