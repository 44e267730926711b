"""Sketch: a GPT under construction. Mechanisms are drawn wire by wire into places chosen at random.

A mechanism is drawn once: the call that sets its weights returns its nodes and wires, so that a model and what is said
about it cannot drift apart. What is left blank is filled with decoys at the end (`ground_truth.decoys`).

Every token's embedding has the same large constant in one channel, which steadies the RMS norm: at the first layer a
normalised channel is about the raw one over `RMS`. Every token that sets a mechanism's channel has a twin that sets it
to the opposite and occurs in no prompt, so that over random text these channels have mean 0.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from thinwire.ground_truth.parts import Node, Parts, Wire
from thinwire.ground_truth.sizes import SIZES, SizeName
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL

RMS = 2.0
"""Root mean square of every embedding row, about."""
FACT = 2.0
"""What a token writes to a channel that it sets."""
POSITION = 3.0
"""Length of a position's code."""
VALUE = 3.0
"""Weight of a value channel on the channel that it copies: well above the decoys', so that AbsTopK keeps it."""
N_FILLERS = 12
N_SPARE = 3
"""Residual channels that are left to decoys, at least."""

Facts = Mapping[str, float]
"""Channel name -> sign and size of what a token sets, in units of `FACT`."""


class Sketch:
    """A blank model, named residual channels, and a vocabulary of named tokens."""

    def __init__(
        self,
        family: str,
        size: SizeName,
        seed: int,
        *,
        n_layer: int,
        channels: Sequence[str],
        tokens: Mapping[str, Facts],
        context: int,
        n_answers: int = 2,
        n_heads: int = 1,
        places: bool = False,
    ) -> None:
        """At least `n_heads` per layer. `places` adds two position codes, of two channels each (`PLACES`)."""
        self.family, self.seed = family, seed
        self.size: SizeName = size
        self.generator = torch.Generator().manual_seed(zlib.crc32(f"{family} {size} {seed}".encode()))
        names = [*channels, *(PLACES if places else ())]
        n_spare = N_SPARE * (2 if places else 1)  # position codes need room in AbsTopK
        width = max(len(names) + 1 + n_spare, n_heads * SIZES[size].d_head)
        self.config = _config(size, n_layer, width, self._vocabulary(tokens, n_answers), context, places)
        order = self._shuffled(self.config.d_model)
        self.channels = dict(zip(names, order[: len(names)], strict=True))
        self.constant = order[len(names)]
        self.spare = sorted(order[len(names) + 1 :])
        """Residual channels of the decoys."""
        self.planted: set[Node] = set()
        """Nodes that a mechanism uses; decoys leave their inputs alone, but for faint noise."""
        self.quiet: set[Node] = set()
        """Nodes that get no other input than they have."""
        self.heads = [self._shuffled(self.config.n_head) for _ in range(n_layer)]
        self.neurons = [self._shuffled(self.config.d_mlp) for _ in range(n_layer)]
        self.model = GPT(self.config).requires_grad_(False).eval()
        for name, parameter in self.model.named_parameters():
            if not name.endswith("gain"):
                parameter.zero_()
        for token, facts in tokens.items():
            for channel, value in facts.items():
                self.model.embed.weight[self.tokens[token], self.channels[channel]] = FACT * value
                self.model.embed.weight[self.tokens[f"~{token}"], self.channels[channel]] = -FACT * value
        if places:
            self._write_places()

    def _vocabulary(self, tokens: Mapping[str, Facts], n_answers: int) -> int:
        names = [*tokens, *(f"~{name}" for name in tokens)]
        self.fillers = list(range(N_FILLERS))
        self.tokens = {name: N_FILLERS + i for i, name in enumerate(names)}
        self.answers = [N_FILLERS + len(names) + i for i in range(n_answers)]
        return N_FILLERS + len(names) + n_answers

    def _shuffled(self, n: int) -> list[int]:
        return torch.randperm(n, generator=self.generator).tolist()

    def _write_places(self) -> None:
        """Position t: its own place on a circle, and the place before it; both have mean 0 over the context."""
        assert self.model.positions is not None
        angle = torch.arange(self.config.context) * (2 * math.pi / self.config.context)
        table = self.model.positions.weight
        for name, shift in (("here", 0), ("before", 1)):
            turned = angle - shift * (2 * math.pi / self.config.context)
            table[:, self.channels[f"{name}_0"]] = POSITION * turned.cos()
            table[:, self.channels[f"{name}_1"]] = POSITION * turned.sin()

    # --- mechanisms -------------------------------------------------------------------------------------------------

    def embedded(self, *channels: str) -> Parts:
        """Nodes of `embed`."""
        return self._parts([], [(EMBED, self.channels[channel]) for channel in channels])

    def final(self, channel: str, weights: Sequence[float]) -> Parts:
        """The unembedding of the answers reads `channel`: one weight for each answer token, from the first on."""
        for token, weight in zip(self.answers[: len(weights)], weights, strict=True):
            self.model.unembed.weight[token, self.channels[channel]] = weight
        return self._parts([], [(FINAL, self.channels[channel])])

    def attend(
        self,
        layer: int,
        *,
        query: Sequence[str] = (),
        key: Sequence[str] = (),
        copies: Mapping[str, tuple[str, float]],
        sharpness: float = 0.0,
    ) -> Parts:
        """A head that looks where its query channels meet their key channels, and copies channels.

        `sharpness`: attention logit where both are at `FACT`. `copies`: read channel -> (written channel, gain).
        Without a query the head attends evenly to everything so far: its queries and keys have no inputs.
        """
        first = self.heads[layer].pop() * self.config.d_head
        channels = [first + i for i in self._shuffled(self.config.d_head)]
        weight = math.sqrt(sharpness * math.sqrt(self.config.d_head))
        site, wires = f"{layer}.attn", []
        for asked, found, channel in zip(query, key, channels[: len(query)], strict=True):
            wires.append(self._wire(f"{site}.in", self.channels[asked], f"{site}.q", channel, weight))
            wires.append(self._wire(f"{site}.in", self.channels[found], f"{site}.k", channel, weight))
        for (read, (written, gain)), channel in zip(copies.items(), channels[: len(copies)], strict=True):
            wires.append(self._wire(f"{site}.in", self.channels[read], f"{site}.v", channel, VALUE))
            wires.append(self._wire(f"{site}.v", channel, f"{site}.out", self.channels[written], gain / VALUE))
        if not query:
            self.quiet |= {(f"{site}.{part}", channel) for part in "qk" for channel in channels}
        return self._parts(wires)

    def fire(self, layer: int, reads: Facts, bias: float, writes: Facts) -> Parts:
        """A neuron: gelu(reads + bias), written to channels."""
        neuron, site = self.neurons[layer].pop(), f"{layer}.mlp"
        wires = [self._wire(f"{site}.in", self.channels[c], f"{site}.neuron", neuron, w) for c, w in reads.items()]
        wires += [self._wire(f"{site}.neuron", neuron, f"{site}.out", self.channels[c], w) for c, w in writes.items()]
        self.parameter(f"{site}.neuron", "bias")[neuron] = bias
        return self._parts(wires)

    def offset(self, layer: int, channel: str, bias: float) -> None:
        """A bias on what the MLP of a layer writes to a channel."""
        self.parameter(f"{layer}.mlp.out", "bias")[self.channels[channel]] = bias

    def parameter(self, site: str, kind: str = "weight") -> Tensor:
        """The matrix (or bias) into a node site."""
        return self.model.get_parameter(f"blocks.{site}.{kind}")

    def _wire(self, source_site: str, source: int, target_site: str, target: int, weight: float) -> Wire:
        self.parameter(target_site)[target, source] = weight
        return source_site, source, target_site, target

    def _parts(self, wires: Sequence[Wire], nodes: Sequence[Node] = ()) -> Parts:
        parts = Parts.of(wires, nodes)
        self.planted |= parts.nodes
        return parts


PLACES = ("here_0", "here_1", "before_0", "before_1")


def _config(size: SizeName, n_layer: int, width: int, vocab: int, context: int, places: bool) -> ModelConfig:
    shape = SIZES[size]
    return ModelConfig(
        vocab_size=vocab,
        context=context,
        n_layer=n_layer,
        d_model=max(shape.d_model, math.ceil(width / shape.d_head) * shape.d_head),
        d_head=shape.d_head,
        mlp_ratio=shape.mlp_ratio,
        activation_frac=shape.activation_frac,
        positions="learned" if places else "none",
        bigram=False,
    )
