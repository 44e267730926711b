"""What needs a word about single nodes of a circuit: those that lead nowhere, or that nothing leads to."""

from collections import defaultdict

from thinwire.circuits.graph import Circuit
from thinwire.model.sites import is_read, is_residual, is_write, layer_of, node_key, part_of

ONLY_KEY = "Its query is not in the circuit and stands at its average: this key adds the same whichever token looks."
ONLY_QUERY = (
    "Its key is not in the circuit and stands at its average: this query adds the same to every token looked at."
)
NOTHING_IN = "No edge of the circuit leads here: what it holds comes from its bias and from averages."
NOTHING_OUT = "No edge of the circuit starts here: nothing that is kept takes it up."
NOT_WRITTEN = "No write to this channel is kept below: what is read is the average, under the norm's scale."
NOT_READ = "No read of this channel is kept above: nothing that is kept takes it up."


def remarks(circuit: Circuit) -> dict[str, list[str]]:
    """`site:channel` -> what is odd about the node; nodes without anything odd are left out."""
    starts, ends = set(), set()
    for edge in circuit.edges:
        starts.add((edge.source_site, edge.source))
        ends.add((edge.target_site, edge.target))
    streams = _streams(circuit)
    found = {}
    for site, channels in circuit.nodes.items():
        for channel in channels:
            words = _inside(circuit, site, channel, (site, channel) in starts, (site, channel) in ends)
            if is_residual(site):
                words += _along(site, streams[channel])
            if words:
                found[node_key(site, channel)] = words
    return found


def _inside(circuit: Circuit, site: str, channel: int, starts: bool, ends: bool) -> list[str]:
    """About the edges within a block, and the two halves of a score."""
    part, words = part_of(site), []
    if part in ("attn.q", "attn.k"):
        other = f"{layer_of(site)}.attn.{'k' if part == 'attn.q' else 'q'}"
        if channel not in circuit.nodes.get(other, ()):
            words.append(ONLY_QUERY if part == "attn.q" else ONLY_KEY)
    if not ends and part in ("attn.q", "attn.k", "attn.v", "attn.out", "mlp.neuron", "mlp.out"):
        words.append(NOTHING_IN)
    if not starts and part in ("attn.in", "attn.v", "mlp.in", "mlp.neuron"):
        words.append(NOTHING_OUT)
    return words


def _along(site: str, stream: list[str]) -> list[str]:
    """About a residual channel: kept writes below a read, kept reads above a write. `stream` is in order."""
    place = stream.index(site)
    if is_read(site) and not any(map(is_write, stream[:place])):
        return [NOT_WRITTEN]
    if is_write(site) and not any(map(is_read, stream[place + 1 :])):
        return [NOT_READ]
    return []


def _streams(circuit: Circuit) -> dict[int, list[str]]:
    """Residual channel -> its kept sites in the order of the forward pass."""

    def place(site: str) -> tuple[int, int]:
        layer, part = layer_of(site), part_of(site)
        rank = ("attn.in", "attn.out", "mlp.in", "mlp.out").index(part) if layer is not None else 0
        return (-1 if site == "embed" else 1 << 30) if layer is None else layer, rank

    streams: dict[int, list[str]] = defaultdict(list)
    for site in sorted(filter(is_residual, circuit.nodes), key=place):
        for channel in circuit.nodes[site]:
            streams[channel].append(site)
    return streams
