"""The interactive page's data made by hand, shaped like what `thinwire/workflows/view.py` gathers."""

import random
from typing import Any

from playwright.sync_api import Page
from report_fixture import (
    CLEAN,
    CORRUPT,
    QUOTE_EDGES,
    QUOTE_NODES,
    SETTING,
    evidence,
    make_report,
    random_circuit,
)

from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import standing
from thinwire.evidence.records import ClassDifference, Degrees, Effect, Example, Examples, Histogram, NodeWords, Said
from thinwire.interop.neuronpedia import neuronpedia_graph
from thinwire.viewer.contract import Rung
from thinwire.viewer.view_contract import (
    Ladder,
    LadderStep,
    LiveView,
    View,
    ViewCircuit,
    ViewModel,
    ViewNode,
    ViewOutline,
)

WORDS = ['"', " '", '("', "('", "hello", " ", "world", "print", "\n", "<b>", "</script>", "\u2028"]
TOKENS = {str(i): word for i, word in enumerate(WORDS)}


def _examples(rng: random.Random, sign: int) -> list[Example]:
    found = []
    for _ in range(3):
        values = [round(rng.gauss(0, 0.3), 3) for _ in range(8)]
        values[4] = sign * round(rng.uniform(1, 3), 3)
        found.append(Example([rng.randrange(len(TOKENS)) for _ in values], values, 4))
    return found


def _node(rng: random.Random) -> ViewNode:
    counts = [rng.randrange(200) for _ in range(24)]
    found = Examples(_examples(rng, 1), _examples(rng, -1), Histogram(-2.0, 3.0, counts, 0.4))
    inside = NodeWords([('"', 1.2), ("<b>", 0.4)], [('("', 0.9)])
    whole = NodeWords([('"', 1.2), (" '", -0.7), ("<b>", 0.4)], [('("', 0.9), ("</script>", -0.2)])
    means = [[round(rng.gauss(0, 1), 3) for _ in range(8)] for _ in range(2)]
    classes = ClassDifference(means[0], means[1], spread=[0.5] * 7 + [0.0])
    mean, effect = round(rng.gauss(0, 0.1), 3), round(abs(rng.gauss(0, 0.2)), 3)
    return ViewNode(Said(inside, whole), mean, effect, found, found, classes, Degrees(14, 1_203))


def entry(
    circuit: Circuit, model: str, seed: int = 0, clean: list[str] = CLEAN, corrupt: list[str] = CORRUPT
) -> ViewCircuit:
    """One circuit with two prompt pairs and invented effects."""
    rng = random.Random(seed)
    keys = [f"{site}:{channel}" for site, channels in circuit.nodes.items() for channel in channels]
    nodes = {key: _node(rng) for key in keys}
    pairs = [evidence(circuit, 16, clean, corrupt, seed + i).pair for i in range(2)]
    steps = [LadderStep(max(1, len(keys) * i // 6), 0.9 / i, 0.5 + i / 12) for i in range(1, 7)]
    return ViewCircuit(
        id=f"{model}/{circuit.task}/abc123/{seed}",
        model=model,
        setting=SETTING,
        circuit=circuit,
        standing=standing(circuit),
        n_test_prompts=512,
        base=Effect(0.142, 0.99, 3.0),
        node_prompts=32,
        edge_prompts=16,
        pairs=pairs,
        nodes=nodes,
        edge_effects={str(i): round(rng.random(), 3) for i in range(min(circuit.n_edges, 600))},
        ladder=Ladder(sorted(keys, key=lambda key: -(nodes[key].effect or 0.0)), steps, 0.021),
        judgement=make_report(n_tasks=1).tasks[0].models["sparse"].judgement,
        requirements=[
            Rung("sufficient", True, [], circuit.n_nodes, circuit.n_edges, "sufficient only"),
            Rung("faithful", False, ["interchange"], 90, 1234, ""),
        ],
        graph=neuronpedia_graph(circuit, pairs[0], 2, 16, model) if circuit.n_edges <= 1000 else None,
    )


def quote_view() -> View:
    """The readable quote circuit in the sparse model, a larger one of the same task in the dense model, and another."""
    first, second = make_report(n_tasks=2).tasks
    found = [
        entry(first.models["sparse"].circuit, "sparse", 0),
        entry(first.models["dense"].circuit, "dense", 0),
        entry(second.models["sparse"].circuit, "sparse", 1),
    ]
    models = {"sparse": ViewModel(2, 256, 16, 0.05, 3.3, "9f"), "dense": ViewModel(2, 32, 16, 1.0, 3.3, "9f")}
    return View("2 tasks", models, found, TOKENS, "2026-02-03T10:20:30+00:00")


def live_view() -> LiveView:
    """The same circuits, not measured yet."""
    view = quote_view()
    found = [
        ViewOutline(c.id, c.model, c.setting, c.circuit, c.standing, c.judgement, f"print('{c.circuit.task}")
        for c in view.circuits
    ]
    return LiveView(view.title, view.models, found, view.created)


def large_view(n_nodes: int, n_edges: int, n_layer: int = 8, width: int = 0) -> View:
    """One random circuit of about that size in a dense model, wide enough for it where no width is given."""
    width = width or max(256, 16 * round(n_nodes / 10 / 16))
    circuit = random_circuit("single_double_quote", width, n_nodes, n_edges, 0, n_layer=n_layer)
    model = ViewModel(n_layer, width, 16, 1.0, 3.3, "9f")
    return View("large", {"dense": model}, [entry(circuit, "dense")], TOKENS, "")


__all__ = ["QUOTE_EDGES", "QUOTE_NODES", "entry", "large_view", "live_view", "quote_view"]


# --- the page in a browser ------------------------------------------------------------------------------------------

V49 = "1.attn.v:49"


def edges_of(page: Page, which: str = "") -> list[list[str]]:
    found = page.locator(f"#drawing .tw-edge[data-target]{which}")
    return sorted(found.evaluate_all("es => es.map(e => [e.dataset.source, e.dataset.target])"))


def named(edges: list[Any]) -> list[list[str]]:
    return sorted([f"{a}:{s}", f"{b}:{t}"] for a, s, b, t, _ in edges)


def tab(page: Page, name: str) -> str:
    page.get_by_role("tab", name=name).click()
    return page.locator("#panel").inner_text()
