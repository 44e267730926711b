"""What a circuit is made of, counted as the paper counts it.

Source: Gao et al. 2025, section 3.1: the circuit that closes a quote has 12 nodes and 9 edges: 5 residual channels, 2
neurons, 1 head with 1 query/key channel and 1 value channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinwire.model.sites import head_of, is_in_head, is_residual, layer_of, part_of
from thinwire.storage.records import Count


@dataclass(frozen=True)
class Anatomy:
    """Counts of distinct parts. A residual channel that is read and written at several places counts once."""

    residual_channels: Count
    neurons: Count
    heads: Count
    """Heads of which a query, key or value channel is kept."""
    qk_channels: Count
    """Channels of heads of which the query, the key or both are kept: one product of a score each."""
    v_channels: Count
    layers: Count
    """Layers that keep any node."""

    @property
    def words(self) -> str:
        """`5 residual channels, 2 neurons, 1 head, 1 QK channel, 1 V channel, in 2 layers`."""
        counted = (
            (self.residual_channels, "residual channel"),
            (self.neurons, "neuron"),
            (self.heads, "head"),
            (self.qk_channels, "QK channel"),
            (self.v_channels, "V channel"),
        )
        parts = [f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in counted]
        return f"{', '.join(parts)}, in {self.layers} layer{'' if self.layers == 1 else 's'}"


def anatomy(nodes: Mapping[str, Sequence[int]], d_head: int) -> Anatomy:
    """The parts that a set of nodes is made of."""
    kept = [(site, channel) for site, channels in nodes.items() for channel in channels]
    return Anatomy(
        residual_channels=len({channel for site, channel in kept if is_residual(site)}),
        neurons=sum(part_of(site) == "mlp.neuron" for site, _ in kept),
        heads=len({head_of(site, channel, d_head) for site, channel in kept if is_in_head(site)}),
        qk_channels=len({(layer_of(s), c) for s, c in kept if part_of(s) in ("attn.q", "attn.k")}),
        v_channels=sum(part_of(site) == "attn.v" for site, _ in kept),
        layers=len({layer_of(site) for site, _ in kept} - {None}),
    )
