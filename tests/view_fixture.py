"""Bundles of the interactive page made by hand, shaped like those of `thinwire/workflows/view.py`."""

import random
from typing import Any

from report_fixture import CLEAN, CORRUPT, QUOTE_EDGES, QUOTE_NODES, evidence, make_report, random_circuit

from thinwire.interop.neuronpedia import neuronpedia_graph
from thinwire.viewer.bundle import make_bundle

TOKENS = dict(enumerate(['"', " '", '("', "('", "hello", " ", "world", "print", "\n", "<b>", "</script>", "\u2028"]))


def _examples(rng: random.Random, sign: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(3):
        values = [round(rng.gauss(0, 0.3), 3) for _ in range(8)]
        values[4] = sign * round(rng.uniform(1, 3), 3)
        found.append({"tokens": [rng.randrange(len(TOKENS)) for _ in values], "values": values, "at": 4})
    return found


def _node(rng: random.Random) -> dict[str, Any]:
    counts = [rng.randrange(200) for _ in range(24)]
    signs = {"positive": _examples(rng, 1), "negative": _examples(rng, -1)}
    return {
        "reads": [(0, 1.2), (1, -0.7), (9, 0.4)],
        "writes": [(2, 0.9), (10, -0.2)],
        "mean": round(rng.gauss(0, 0.1), 3),
        "effect": round(abs(rng.gauss(0, 0.2)), 3),
        "text": signs | {"histogram": {"low": -2.0, "high": 3.0, "counts": counts, "zero": 0.4}},
        "task": signs,
    }


def entry(
    circuit: dict[str, Any], model: str, seed: int = 0, clean: list[str] = CLEAN, corrupt: list[str] = CORRUPT
) -> dict:
    """One circuit with two prompt pairs and invented effects."""
    rng = random.Random(seed)
    keys = [f"{site}:{channel}" for site, channels in circuit["nodes"].items() for channel in channels]
    nodes = {key: _node(rng) for key in keys}
    order = sorted(keys, key=lambda key: -nodes[key]["effect"])
    whole = evidence(circuit, 16, clean, corrupt, seed)
    pairs = []
    for i in range(2):
        found = evidence(circuit, 16, clean, corrupt, seed + i)
        pairs.append(
            {
                "clean_tokens": clean, "corrupt_tokens": corrupt, "probability": found["probability"],
                "nodes": {key: [node["clean"], node["corrupt"]] for key, node in found["nodes"].items()},
                "attention": {head: {side: [row[: q + 1] for q, row in enumerate(rows)] for side, rows in sides.items()}
                              for head, sides in found["attention"].items()},
                "unembed": found["unembed"],
            }
        )  # fmt: skip
    steps = [{"k": max(1, len(keys) * i // 6), "loss": 0.9 / i, "accuracy": 0.5 + i / 12} for i in range(1, 7)]
    return {
        "id": f"{model}/{circuit['task']}/abc123/{seed}", "model": model, "settings": "abc123def456",
        "circuit": circuit,
        "verification": make_report(n_tasks=1)["tasks"][0]["sparse"]["verification"],
        "base": {"loss": 0.142, "accuracy": 0.99, "difference": 3.0}, "pairs": pairs, "nodes": nodes,
        "edge_effects": {str(i): round(rng.random(), 3) for i in range(min(len(circuit["edges"]), 600))},
        "ladder": {"order": order, "steps": steps},
        "graph": neuronpedia_graph(circuit, whole, 2, model) if len(circuit["edges"]) <= 1000 else None,
    }  # fmt: skip


def quote_bundle(live: dict[str, Any] | None = None) -> dict[str, Any]:
    """The readable quote circuit in the sparse model, a larger one of the same task in the dense model, and another."""
    report = make_report(n_tasks=2)
    tasks = [task["name"] for task in report["tasks"]]
    found = [
        entry(report["tasks"][0]["sparse"]["circuit"], "sparse", 0),
        entry(report["tasks"][0]["dense"]["circuit"], "dense", 0),
        entry(report["tasks"][1]["sparse"]["circuit"], "sparse", 1),
    ]
    models = {
        name: {"n_layer": 2, "d_model": width, "d_head": 16, "density": density, "heldout_loss": 3.3,
               "fingerprint": "9f"}
        for name, width, density in (("sparse", 256, 0.05), ("dense", 32, 1.0))
    }  # fmt: skip
    return make_bundle(f"{len(tasks)} tasks", models, found, TOKENS, {"created": "2026-02-03T10:20:30+00:00"}, live)


def large_bundle(n_nodes: int, n_edges: int) -> dict[str, Any]:
    """One random circuit of about that size in a wide dense model."""
    width, n_layer = max(256, 16 * round(n_nodes / 10 / 16)), 8
    circuit = random_circuit("single_double_quote", width, n_nodes, n_edges, 0, n_layer=n_layer)
    model = {
        "n_layer": n_layer,
        "d_model": width,
        "d_head": 16,
        "density": 1.0,
        "heldout_loss": 3.3,
        "fingerprint": "9f",
    }
    return make_bundle("large", {"dense": model}, [entry(circuit, "dense")], TOKENS, {}, None)


__all__ = ["QUOTE_EDGES", "QUOTE_NODES", "entry", "large_bundle", "quote_bundle"]
