"""A circuit read step by step, in sentences made from its edges and one prompt pair alone.

Each sentence states an edge, a weight, an activation or an attention weight of the pair, at the token where it counts:
what the answer is read from at the last token, what a head brings at the token that it is brought to.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from thinwire.circuits.graph import Circuit
from thinwire.evidence.records import Evidence, HeadLook, NodeActivity
from thinwire.model.sites import EMBED, FINAL, head_of, node_key, parse_key
from thinwire.viewer.attention import carried, looks_evenly
from thinwire.viewer.contrast import Contrast, contrast, differing_tokens
from thinwire.viewer.markup import Markup, join, token
from thinwire.viewer.remarks import ONLY_KEY, ONLY_QUERY, remarks
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

    def __init__(self, circuit: Circuit, evidence: Evidence | None, d_head: int):
        self.circuit = circuit
        self.kept = circuit.nodes
        self.d_head = d_head
        self.evidence = evidence
        self.pair = evidence.pair if evidence else None
        self.known: Mapping[str, NodeActivity] = evidence.pair.nodes if evidence else {}
        self.remarks = remarks(circuit)
        self.inputs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.outputs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for edge in circuit.edges:
            self.inputs[node_key(edge.target_site, edge.target)].append((edge.source, edge.weight))
            self.outputs[node_key(edge.source_site, edge.source)].append((edge.target, edge.weight))

    def keys(self, *sites: str) -> list[str]:
        return [node_key(site, channel) for site in sites for channel in self.kept.get(site, ())]

    def contrast(self, key: str) -> Contrast:
        """Where a node counts: channels after the last norm at the last token alone, others where they differ most."""
        return contrast(self.known[key], -1 if parse_key(key)[0] == FINAL else None)

    def by_contrast(self, keys: Sequence[str]) -> list[str]:
        """Nodes that tell the prompts apart first; without evidence those with the largest weights first."""

        def strength(key: str) -> float:
            if key in self.known:
                at = self.contrast(key)
                return abs(at.clean - at.corrupt)
            return float(sum(abs(weight) for _, weight in self.inputs[key] + self.outputs[key]))

        return sorted(keys, key=lambda key: (-strength(key), key))

    def compared(self, key: str) -> Markup | None:
        """`+2.10 at token 2 " and -0.80 at token 2 '`: where a node tells the prompts apart most."""
        if key not in self.known or self.pair is None:
            return None
        at = self.contrast(key)
        if at.clean == at.corrupt:
            return Markup("the same on both prompts")
        clean, corrupt = self.pair.clean_tokens[at.position], self.pair.corrupt_tokens[at.position]
        if clean == corrupt:
            return join([signed(at.clean), " on the clean and ", signed(at.corrupt), " on the corrupt prompt, at ",
                         token(clean), self._position(at.position)])  # fmt: skip
        return join([signed(at.clean), " at ", token(clean), " and ", signed(at.corrupt), " at ", token(corrupt)])

    def _position(self, position: int) -> str:
        assert self.pair is not None
        n = len(self.pair.clean_tokens)
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
    keys = reader.keys(EMBED)
    if not keys:
        nothing = Markup("No channel of the embedding is kept: inside the circuit the tokens enter as their mean.")
        return Step("The embedding", (nothing,), ())
    first = Markup(f"The circuit reads {_channels(reader.kept[EMBED])} of the token embedding.")
    sentences = [_difference(reader), first]
    for key in reader.by_contrast(keys)[:_SHOWN]:
        if (said := reader.compared(key)) is not None:
            sentences.append(join([f"Channel {parse_key(key)[1]} is ", said, ".", _top_tokens(reader, key)]))
    return Step("The embedding", tuple(s for s in sentences if s), tuple(keys))


def _difference(reader: _Reader) -> Markup | None:
    if reader.pair is None:
        return None
    clean, corrupt = reader.pair.clean_tokens, reader.pair.corrupt_tokens
    spots = differing_tokens(clean, corrupt)
    if not spots:
        return Markup(f"The prompts have {len(clean)} and {len(corrupt)} tokens.")
    pieces = [join([token(clean[i]), " against ", token(corrupt[i]), f" (token {i + 1})"]) for i in spots[:_SHOWN]]
    more = f" and at {len(spots) - _SHOWN} more places" if len(spots) > _SHOWN else ""
    return join(["The prompts differ in ", join(pieces, ", "), more, "."])


def _top_tokens(reader: _Reader, key: str) -> Markup | None:
    words = reader.evidence.words[key].model.reads[:_SHOWN] if reader.evidence else []
    tokens = join((token(word) for word, _ in words), " ")
    return join([" Its largest embedding weights belong to ", tokens, "."]) if words else None


def _neurons(reader: _Reader, layer: int) -> Step | None:
    sites = [f"{layer}.mlp.{part}" for part in ("in", "neuron", "out")]
    nodes, neurons = reader.keys(*sites), reader.keys(sites[1])
    if not nodes:
        return None
    sentences = []
    for key in reader.by_contrast(neurons)[:_SHOWN]:
        words: list[object] = [f"Neuron {parse_key(key)[1]}"]
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
    return Step(f"Layer {layer}, MLP", (*sentences, *_odd(reader, sites)), tuple(nodes))


def _odd(reader: _Reader, sites: Sequence[str]) -> list[Markup]:
    """Nodes of a block that lead nowhere or that nothing leads to, by what is odd about them."""
    told: dict[str, list[str]] = defaultdict(list)
    for key in reader.keys(*sites):
        for remark in reader.remarks.get(key, ()):
            if remark not in (ONLY_KEY, ONLY_QUERY):  # said with the head
                told[remark].append(key)
    return [Markup(f"{listing(keys)}: {remark[0].lower()}{remark[1:]}") for remark, keys in told.items()]


def _head(reader: _Reader, layer: int, head: int, parts: Mapping[str, list[int]]) -> list[Markup]:
    kept = listing([_channels(parts[part], f"{_PART_NAMES[part]} channel") for part in HEAD_PARTS if parts.get(part)])
    sentences = [Markup(f"Head {head} keeps {kept}.")]
    look = reader.pair.attention.get(f"{layer}.{head}") if reader.pair else None
    if look is None or not look.clean or not look.corrupt:
        return sentences
    if looks_evenly(look):
        sentences.append(_averages(look))
    else:
        sentences += _one_sided(parts)
        sentences.append(_attends(reader, look))
    values = [(c, node) for c in parts.get("v", ()) if (node := reader.known.get(node_key(f"{layer}.attn.v", c)))]
    for value in carried(look, values)[:2]:
        sentences.append(
            Markup(f"Through value channel {value.channel} it brings {signed(value.clean)} (clean) and "
                   f"{signed(value.corrupt)} (corrupt) to the last token.")
        )  # fmt: skip
    return sentences


def _averages(look: HeadLook) -> Markup:
    return Markup(
        f"It looks at all tokens alike ({percent(look.clean[-1][0])} each from the last token of the clean prompt): it "
        "averages its values over the prompt."
    )


def _one_sided(parts: Mapping[str, list[int]]) -> list[Markup]:
    """Keys without their query, queries without their key."""
    queries, keys = set(parts.get("q", ())), set(parts.get("k", ()))
    found = []
    if lone := sorted(keys - queries):
        found.append(Markup(f"For {_channels(lone, 'key channel')} no query is kept: it stands at its average, so that "
                            "every token that looks is drawn to the same tokens."))  # fmt: skip
    if lone := sorted(queries - keys):
        found.append(
            Markup(f"For {_channels(lone, 'query channel')} no key is kept: it adds the same to every token looked at.")
        )
    return found


def _attends(reader: _Reader, look: HeadLook) -> Markup:
    assert reader.pair is not None
    looks = []
    for side, pattern, tokens in (
        ("clean", look.clean, reader.pair.clean_tokens),
        ("corrupt", look.corrupt, reader.pair.corrupt_tokens),
    ):
        spot = max(range(len(pattern[-1])), key=pattern[-1].__getitem__)
        share = percent(pattern[-1][spot])
        looks.append(join([token(tokens[spot]), f" (token {spot + 1}, {share}) on the {side} prompt"]))
    return join(["From the last token it attends most to ", looks[0], " and to ", looks[1], "."])


def _attention(reader: _Reader, layer: int) -> Step | None:
    sites = [f"{layer}.attn.{part}" for part in ("in", *HEAD_PARTS, "out")]
    nodes = reader.keys(*sites)
    if not nodes:
        return None
    heads: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for part in HEAD_PARTS:
        site = f"{layer}.attn.{part}"
        for channel in reader.kept.get(site, ()):
            heads[head_of(site, channel, reader.d_head)[1]][part].append(channel)
    order = sorted(heads, key=lambda head: (-sum(map(len, heads[head].values())), head))
    sentences = [s for head in order[:_SHOWN] for s in _head(reader, layer, head, heads[head])]
    if not heads:
        sentences.append(Markup("Channels are kept, but no head between them."))
    sentences += _others(len(order) - _SHOWN, "head")
    if written := reader.kept.get(f"{layer}.attn.out"):
        sentences.append(Markup(f"The result is written to {_channels(written)}."))
    return Step(f"Layer {layer}, attention", (*sentences, *_odd(reader, sites)), tuple(nodes))


def _answer(reader: _Reader, texts: Sequence[str]) -> Step:
    sentences, finals = [], reader.keys(FINAL)
    if finals:
        channels = _channels(reader.kept[FINAL])
        sentences.append(Markup(f"The answer is read from {channels} after the last norm, at the last token."))
        key = reader.by_contrast(finals)[0]
        if key in reader.known:
            at = reader.contrast(key)
            sentences.append(
                Markup(f"There channel {parse_key(key)[1]} tells the prompts apart most: {signed(at.clean)} on the "
                       f"clean and {signed(at.corrupt)} on the corrupt prompt.")
            )  # fmt: skip
    else:
        sentences.append(Markup("No channel after the last norm is kept: inside the circuit the answer cannot change."))
    if reader.pair:
        circuit, model = reader.pair.circuit, reader.pair.model
        sentences.append(
            join(["Between the two answers, the circuit gives ", token(texts[0]),
                  f" {percent(circuit.clean)} after the clean prompt and {percent(circuit.corrupt)} "
                  f"after the corrupt one; the whole model {percent(model.clean)} and {percent(model.corrupt)}."])
        )  # fmt: skip
    return Step("The answer", tuple(sentences), tuple(finals))


def reading(circuit: Circuit, evidence: Evidence | None, n_layer: int, d_head: int) -> list[Step]:
    """The steps from the embedding to the answer; a block that keeps nothing has no step.

    Without evidence only edges are told.
    """
    reader = _Reader(circuit, evidence, d_head)
    steps: list[Step | None] = [_embedding(reader)]
    blocks: tuple[Callable[[_Reader, int], Step | None], ...] = (_attention, _neurons)
    for layer in range(n_layer):
        steps += [block(reader, layer) for block in blocks]
    return [step for step in [*steps, _answer(reader, circuit.answer_texts)] if step is not None]
