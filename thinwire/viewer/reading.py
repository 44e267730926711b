"""A circuit read step by step, in sentences made from its edges and one prompt pair alone."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thinwire.viewer.contrast import contrast, differing_tokens
from thinwire.viewer.markup import Markup, join, token
from thinwire.viewer.rows import HEAD_PARTS
from thinwire.viewer.wording import listing, percent, plural, signed

_SHOWN = 3
_LISTED = 4
_PART_NAMES = {"q": "query", "k": "key", "v": "value"}


@dataclass(frozen=True)
class Step:
    """One block of the model: what the circuit does there."""

    title: str
    sentences: tuple[Markup, ...]
    nodes: tuple[str, ...]
    """The nodes it speaks of, as `site:channel`."""


class _Reader:
    """The circuit's edges by node, and the evidence if there is any."""

    def __init__(self, circuit: Mapping[str, Any], evidence: Mapping[str, Any] | None, d_head: int):
        self.kept: Mapping[str, Sequence[int]] = circuit["nodes"]
        self.d_head = d_head
        self.evidence = evidence
        self.known: Mapping[str, Any] = evidence["nodes"] if evidence else {}
        self.inputs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.outputs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for source_site, source, target_site, target, weight in circuit["edges"]:
            self.inputs[f"{target_site}:{target}"].append((source, weight))
            self.outputs[f"{source_site}:{source}"].append((target, weight))

    def keys(self, *sites: str) -> list[str]:
        return [f"{site}:{channel}" for site in sites for channel in self.kept.get(site, ())]

    def by_contrast(self, keys: Sequence[str]) -> list[str]:
        """Nodes that tell the prompts apart first; without evidence those with the largest weights first."""

        def strength(key: str) -> float:
            if key in self.known:
                at = contrast(self.known[key])
                return abs(at.clean - at.corrupt)
            return float(sum(abs(weight) for _, weight in self.inputs[key] + self.outputs[key]))

        return sorted(keys, key=lambda key: (-strength(key), key))

    def compared(self, key: str) -> Markup | None:
        """`+2.10 at token 2 " and -0.80 at token 2 '`: where a node tells the prompts apart most."""
        if key not in self.known or self.evidence is None:
            return None
        at, pair = contrast(self.known[key]), self.evidence["pair"]
        if at.clean == at.corrupt:
            return Markup("the same on both prompts")
        clean, corrupt = pair["clean_tokens"][at.position], pair["corrupt_tokens"][at.position]
        if clean == corrupt:
            return join([signed(at.clean), " on the clean and ", signed(at.corrupt), " on the corrupt prompt, at ",
                         token(clean), self._position(at.position)])  # fmt: skip
        return join([signed(at.clean), " at ", token(clean), " and ", signed(at.corrupt), " at ", token(corrupt)])

    def _position(self, position: int) -> str:
        assert self.evidence is not None
        n = len(self.evidence["pair"]["clean_tokens"])
        return " (the last token)" if position in (-1, n - 1) else f" (token {position + 1})"


def _weighted(edges: Sequence[tuple[int, float]]) -> str:
    strongest = sorted(edges, key=lambda edge: (-abs(edge[1]), edge[0]))
    words = [f"{channel} ({signed(weight)})" for channel, weight in strongest[:_LISTED]]
    return listing(words if len(edges) <= _LISTED else [*words, f"{len(edges) - _LISTED} more"])


def _channels(channels: Sequence[int], kind: str = "channel") -> str:
    words = [str(channel) for channel in channels]
    shown = words if len(words) <= 8 else [*words[:7], f"{len(words) - 7} more"]
    return f"{kind} {words[0]}" if len(words) == 1 else f"{kind}s {listing(shown)}"


def _others(n: int, kind: str) -> list[Markup]:
    return [Markup(f"{plural(n, f'more {kind}')} kept here.")] if n > 0 else []


def _embedding(reader: _Reader) -> Step:
    keys = reader.keys("embed")
    if not keys:
        nothing = Markup("No channel of the embedding is kept: inside the circuit the tokens enter as their mean.")
        return Step("The embedding", (nothing,), ())
    first = Markup(f"The circuit reads {_channels(reader.kept['embed'])} of the token embedding.")
    sentences = [_difference(reader), first]
    for key in reader.by_contrast(keys)[:_SHOWN]:
        if (said := reader.compared(key)) is not None:
            sentences.append(join([f"Channel {key.split(':')[1]} is ", said, ".", _top_tokens(reader, key)]))
    return Step("The embedding", tuple(s for s in sentences if s), tuple(keys))


def _difference(reader: _Reader) -> Markup | None:
    if reader.evidence is None:
        return None
    clean, corrupt = reader.evidence["pair"]["clean_tokens"], reader.evidence["pair"]["corrupt_tokens"]
    spots = differing_tokens(clean, corrupt)
    if not spots:
        return Markup(f"The prompts have {len(clean)} and {len(corrupt)} tokens.")
    pieces = [join([token(clean[i]), " against ", token(corrupt[i]), f" (token {i + 1})"]) for i in spots[:_SHOWN]]
    more = f" and at {len(spots) - _SHOWN} more places" if len(spots) > _SHOWN else ""
    return join(["The prompts differ in ", join(pieces, ", "), more, "."])


def _top_tokens(reader: _Reader, key: str) -> Markup | None:
    tokens = reader.known[key]["reads"][:_SHOWN]
    return join([" Its largest embedding weights belong to ", join(map(token, tokens), " "), "."]) if tokens else None


def _neurons(reader: _Reader, layer: int) -> Step | None:
    sites = [f"{layer}.mlp.{part}" for part in ("in", "neuron", "out")]
    nodes, neurons = reader.keys(*sites), reader.keys(sites[1])
    if not nodes:
        return None
    sentences = []
    for key in reader.by_contrast(neurons)[:_SHOWN]:
        words: list[object] = [f"Neuron {key.split(':')[1]}"]
        if reader.inputs[key]:
            words.append(f" reads {_weighted(reader.inputs[key])}")
        if (said := reader.compared(key)) is not None:
            words += [", is " if reader.inputs[key] else " is ", said]
        if reader.outputs[key]:
            words.append(f", and writes to {_weighted(reader.outputs[key])}")
        sentences.append(join([*words, "."]))
    if not neurons:
        sentences.append(Markup("Channels are kept, but no neuron between them."))
    sentences += _others(len(neurons) - _SHOWN, "neuron")
    return Step(f"Layer {layer}, MLP", tuple(sentences), tuple(nodes))


def _head(reader: _Reader, layer: int, head: int, parts: Mapping[str, list[int]]) -> list[Markup]:
    kept = listing([_channels(parts[part], f"{_PART_NAMES[part]} channel") for part in HEAD_PARTS if parts.get(part)])
    sentences = [Markup(f"Head {head} keeps {kept}.")]
    if not parts.get("k"):
        sentences.append(Markup("With no key channel kept, inside the circuit it looks at all tokens alike."))
    pattern = (reader.evidence or {}).get("attention", {}).get(f"{layer}.{head}")
    if pattern is None or reader.evidence is None or not pattern["clean"] or not pattern["corrupt"]:
        return sentences
    pair, looks, spots = reader.evidence["pair"], [], {}
    for side in ("clean", "corrupt"):
        last = pattern[side][-1]
        spots[side] = max(range(len(last)), key=last.__getitem__)
        where = token(pair[f"{side}_tokens"][spots[side]])
        looks.append(join([where, f" (token {spots[side] + 1}, {percent(last[spots[side]])}) on the {side} prompt"]))
    sentences.append(join(["From the last token it attends most to ", looks[0], " and to ", looks[1], "."]))
    values = [(c, reader.known.get(f"{layer}.attn.v:{c}")) for c in parts.get("v", ())]
    there = [(c, v["clean"][spots["clean"]], v["corrupt"][spots["corrupt"]]) for c, v in values if v]
    for channel, a, b in sorted(there, key=lambda item: -abs(item[1] - item[2]))[:2]:
        sentences.append(Markup(f"Its value channel {channel} there is {signed(a)} (clean) and {signed(b)} (corrupt)."))
    return sentences


def _attention(reader: _Reader, layer: int) -> Step | None:
    nodes = reader.keys(*(f"{layer}.attn.{part}" for part in ("in", *HEAD_PARTS, "out")))
    if not nodes:
        return None
    heads: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for part in HEAD_PARTS:
        for channel in reader.kept.get(f"{layer}.attn.{part}", ()):
            heads[channel // reader.d_head][part].append(channel)
    order = sorted(heads, key=lambda head: (-sum(map(len, heads[head].values())), head))
    sentences = [s for head in order[:_SHOWN] for s in _head(reader, layer, head, heads[head])]
    if not heads:
        sentences.append(Markup("Channels are kept, but no head between them."))
    sentences += _others(len(order) - _SHOWN, "head")
    if written := reader.kept.get(f"{layer}.attn.out"):
        sentences.append(Markup(f"The result is written to {_channels(written)}."))
    return Step(f"Layer {layer}, attention", tuple(sentences), tuple(nodes))


def _answer(reader: _Reader, texts: Sequence[str]) -> Step:
    sentences, finals = [], reader.keys("final")
    if finals:
        sentences.append(Markup(f"The answer is read from {_channels(reader.kept['final'])} after the last norm."))
        key = reader.by_contrast(finals)[0]
        if (said := reader.compared(key)) is not None:
            sentences.append(join([f"Channel {key.split(':')[1]} tells the prompts apart most: ", said, "."]))
    else:
        sentences.append(Markup("No channel after the last norm is kept: inside the circuit the answer cannot change."))
    if reader.evidence and texts:
        p = reader.evidence["probability"]
        sentences.append(
            join(["Between the two answers, the circuit gives ", token(texts[0]),
                  f" {percent(p['circuit']['clean'])} after the clean prompt and {percent(p['circuit']['corrupt'])} "
                  f"after the corrupt one; the whole model {percent(p['model']['clean'])} and "
                  f"{percent(p['model']['corrupt'])}."])
        )  # fmt: skip
    return Step("The answer", tuple(sentences), tuple(finals))


def reading(circuit: Mapping[str, Any], evidence: Mapping[str, Any] | None, n_layer: int, d_head: int) -> list[Step]:
    """The steps from the embedding to the answer; a block that keeps nothing has no step.

    Every sentence states an edge, an activation or an attention weight of the given pair. Without
    evidence only edges are told.
    """
    reader = _Reader(circuit, evidence, d_head)
    steps: list[Step | None] = [_embedding(reader)]
    blocks: tuple[Callable[[_Reader, int], Step | None], ...] = (_attention, _neurons)
    for layer in range(n_layer):
        steps += [block(reader, layer) for block in blocks]
    return [step for step in [*steps, _answer(reader, circuit.get("answer_texts", ()))] if step is not None]
