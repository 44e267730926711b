"""A report dictionary made by hand, shaped like a demo run: a readable sparse circuit, a large dense one.

The numbers are invented; the shapes are those of real artefacts (`Circuit.to_dict`, schema.py).
"""

import math
import random
from typing import Any

from thinwire.circuits.graph import Calibration, Circuit, Edge, Score

TASKS = ("single_double_quote", "while_return_true", "bracket_brace", "else_elif")
CLEAN = ["print", '("', "hello", " ", "world", ", ", "again"]
CORRUPT = ["print", "('", "hello", " ", "world", ", ", "again"]

QUOTE_NODES = {
    "embed": [41, 87, 130],
    "0.mlp.in": [41, 87, 130],
    "0.mlp.neuron": [412, 988],
    "0.mlp.out": [12, 87, 203],
    "1.attn.in": [12, 87, 203],
    "1.attn.q": [52],
    "1.attn.k": [50],
    "1.attn.v": [49, 57],
    "1.attn.out": [12, 77, 151],
    "final": [12, 77, 151, 203],
}
QUOTE_EDGES = [
    ("0.mlp.in", 41, "0.mlp.neuron", 412, 1.84),
    ("0.mlp.in", 87, "0.mlp.neuron", 412, -0.91),
    ("0.mlp.in", 130, "0.mlp.neuron", 412, 0.22),
    ("0.mlp.in", 41, "0.mlp.neuron", 988, -1.12),
    ("0.mlp.in", 87, "0.mlp.neuron", 988, 1.37),
    ("0.mlp.neuron", 412, "0.mlp.out", 12, 1.61),
    ("0.mlp.neuron", 412, "0.mlp.out", 203, 0.58),
    ("0.mlp.neuron", 988, "0.mlp.out", 12, -1.2),
    ("0.mlp.neuron", 988, "0.mlp.out", 87, 0.8),
    ("1.attn.in", 203, "1.attn.q", 52, 0.44),
    ("1.attn.in", 203, "1.attn.k", 50, 1.95),
    ("1.attn.in", 87, "1.attn.k", 50, 0.71),
    ("1.attn.in", 12, "1.attn.v", 49, 1.22),
    ("1.attn.in", 87, "1.attn.v", 49, -0.35),
    ("1.attn.in", 12, "1.attn.v", 57, -0.66),
    ("1.attn.v", 49, "1.attn.out", 77, 2.05),
    ("1.attn.v", 49, "1.attn.out", 151, -1.74),
    ("1.attn.v", 57, "1.attn.out", 151, 0.83),
    ("1.attn.v", 57, "1.attn.out", 12, 0.31),
    ("1.attn.v", 49, "1.attn.out", 12, -0.18),
]


def _circuit(task: str, nodes: dict[str, list[int]], edges: list[Edge], loss: float, status: Any = "solved") -> dict:
    n = sum(map(len, nodes.values()))
    counts = sorted({4 * n, 2 * n, n, *(max(1, n * k // 8) for k in (1, 3, 5, 6, 7))})
    score = Score(loss, 0.99 if status == "solved" else 0.61, 0.31)
    model = Score(0.02, 0.998, 0.0)
    curve = [(k, round(loss * (1 if k >= n else (n / max(k, 1)) ** 1.6), 4)) for k in counts]
    return Circuit(
        status=status,
        model_fingerprint="9f" * 32,
        tokenizer_sha256="ab" * 32,
        task=task,
        task_version=1,
        answer_tokens=(301, 302),
        answer_texts=('")\n', "')\n"),
        target_loss=0.15,
        nodes={site: sorted(channels) for site, channels in nodes.items()},
        edges=edges,
        minimal_edges=None,
        embed_edges=9,
        unembed_edges=6,
        n_biases=3,
        residual_links=11,
        scores=dict.fromkeys(("train", "validation", "test"), score),
        calibrated_scores=dict.fromkeys(("train", "validation", "test"), score),
        model_scores=dict.fromkeys(("train", "validation", "test"), model),
        calibration=Calibration(1.3, 0.02),
        ablation="mean",
        loss_curve=curve,
        seed=0,
        hyperparameters={"steps": 400, "learning_rate": 0.01},
        versions={"thinwire": "0.1.0"},
    ).to_dict()


def random_circuit(
    task: str, d_model: int, n_nodes: int, n_edges: int, seed: int, status: str = "solved", n_layer: int = 2
) -> dict[str, Any]:
    """About `n_nodes` nodes spread over every site of `n_layer` layers, `n_edges` edges between them."""
    rng = random.Random(seed)
    sites = [f"{i}.{s}" for i in range(n_layer) for s in
             ("attn.in", "attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.neuron", "mlp.out")]  # fmt: skip
    sites = ["embed", *sites, "final"]
    nodes: dict[str, list[int]] = {}
    stream = rng.sample(range(d_model), min(d_model, max(4, n_nodes // 5)))
    for site in sites:
        mine = site.endswith((".q", ".k", ".v", ".neuron"))
        pool = range(4 * d_model if site.endswith("neuron") else d_model) if mine else stream
        share = max(1, n_nodes // (len(sites) if not site.endswith("neuron") else len(sites) // 2))
        nodes[site] = sorted(rng.sample(pool, min(len(pool), share)))
    kinds = [("attn.in", "attn.q"), ("attn.in", "attn.k"), ("attn.in", "attn.v"), ("attn.v", "attn.out"),
             ("mlp.in", "mlp.neuron"), ("mlp.neuron", "mlp.out")]  # fmt: skip
    places = [
        (f"{i}.{a}", s, f"{i}.{b}", t)
        for i in range(n_layer) for a, b in kinds for s in nodes[f"{i}.{a}"] for t in nodes[f"{i}.{b}"]
    ]  # fmt: skip
    chosen = sorted(rng.sample(places, min(n_edges, len(places))))
    edges = [Edge(*edge, round(rng.gauss(0, 0.6), 4)) for edge in chosen]
    return _circuit(task, nodes, edges, 0.147 if status == "solved" else 0.42, status)


def evidence(circuit: dict[str, Any], d_head: int, clean: list[str], corrupt: list[str], seed: int) -> dict[str, Any]:
    """Invented activations that differ between the prompts from the first differing token on."""
    rng = random.Random(seed)
    n, spot = len(clean), next((i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b), 0)
    nodes = {}
    for site, channels in circuit["nodes"].items():
        for channel in channels:
            base = [round(rng.gauss(0, 0.25), 4) for _ in range(n)]
            other = [value if i < spot else round(value + rng.gauss(0, 0.05), 4) for i, value in enumerate(base)]
            last = site.startswith(("1.attn.out", "1.mlp", "final"))
            kick = round(rng.choice((-1, 1)) * rng.uniform(0.8, 2.4), 4)
            if channel % 5 != 2:
                base[-1 if last else spot], other[-1 if last else spot] = kick, round(-kick * rng.uniform(-0.9, 0.9), 4)
            nodes[f"{site}:{channel}"] = {
                "clean": base, "corrupt": other, "mean": round(rng.gauss(0, 0.1), 4),
                "reads": ['"', ' "', '("'] if site == "embed" else [],
                "writes": ['")\n', '"', '",'] if site == "final" else [],
            }  # fmt: skip
    heads = sorted({f"{site.split('.')[0]}.{c // d_head}" for site, channels in circuit["nodes"].items()
                    if site.endswith((".q", ".k", ".v")) for c in channels})  # fmt: skip

    def pattern() -> list[list[float]]:
        rows = []
        for query in range(n):
            raw = [math.exp(rng.gauss(0, 0.4) + (3.4 if key == spot else 0)) for key in range(query + 1)]
            rows.append([round(v / sum(raw), 4) for v in raw] + [0.0] * (n - query - 1))
        return rows

    return {
        "pair": {"clean_tokens": clean, "corrupt_tokens": corrupt},
        "probability": {"model": {"clean": 0.998, "corrupt": 0.004}, "circuit": {"clean": 0.91, "corrupt": 0.13}},
        "nodes": nodes,
        "attention": {head: {"clean": pattern(), "corrupt": pattern()} for head in heads},
        "unembed": {f"final:{c}": [round(rng.gauss(0, 1), 4), round(rng.gauss(0, 1) * (c % 3), 4)]
                    for c in circuit["nodes"].get("final", [])},
        "measured_in": "the circuit",
        "with_all_heads": {"loss": 0.142, "accuracy": 0.99, "difference": 3.1},
        "without_head": {head: {"loss": 0.69 - 0.06 * i, "accuracy": 0.51 + 0.06 * i, "difference": 0.1}
                         for i, head in enumerate(heads)},
    }  # fmt: skip


def _verification(loss: float, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    losses = [round(rng.uniform(0.018, 0.05), 4) for _ in range(20)]
    return {
        "verdict": "sufficient only",
        "reasons": ["interchange: patching 1.attn.v:49 moves the circuit by 0.81 of the way, the model by 0.34"],
        "sufficiency": {"loss": loss, "accuracy": 0.9893, "kl": 0.3127, "passed": True,
                        "threshold": "loss <= 0.15 + 2 standard errors, accuracy >= 90 %",
                        "sentence": "The circuit alone is right on 98.9 % of the test prompts."},
        "interchange": {"passed": False, "threshold": "same sign >= 90 %", "sentence": "Signs agree on 81 % of nodes."},
        "controls": {"passed": None, "threshold": "no control is solved by so few nodes", "sentence": "not run"},
        "necessity": {
            "passed": True, "threshold": "accuracy <= 75 %", "sentence": "Without the circuit accuracy is 50.3 %.",
            "model_loss": 0.0213, "nodes_loss": 2.9471 + seed / 100, "nodes_accuracy": 0.503,
            "edges_loss": 1.8832, "edges_accuracy": 0.512,
            "random_losses": losses, "random_mean": sum(losses) / len(losses),
        },
    }  # fmt: skip


def _curve(final_density: float, floor: float, n_tokens: int) -> list[dict[str, Any]]:
    points, n = [], 60
    for i in range(n + 1):
        done = i / n
        density = 1 + (final_density - 1) * min(max((done - 0.01) / 0.49, 0), 1)
        wobble = 0.05 * math.sin(3.1 * i)
        loss = floor + 3.6 * math.exp(-7 * done) + 0.35 * math.exp(-((done - 0.5) ** 2) / 0.005) * (1 - final_density)
        point = {"step": 10 * i, "tokens": n_tokens * i // n, "loss": round(loss + wobble, 4),
                 "density": round(density, 4), "learning_rate": 0.0128}  # fmt: skip
        points.append(point | ({"heldout_loss": round(loss, 4)} if i % 15 == 0 else {}))
    return points


def _model(label: str, d_model: int, density: float, heldout: float) -> dict[str, Any]:
    n = 2 * 12 * d_model**2 + 2 * 1024 * d_model + 1024**2
    return {
        "label": label, "recipe": "demo" if density < 1 else "demo_twin", "mode": "exact", "savings": {},
        "n_layer": 2, "d_model": d_model,
        "d_head": 16, "context": 64, "density": density, "n_parameters": n,
        "n_nonzero": 1024**2 + int((n - 1024**2) * density), "n_tokens": 2_500_000, "heldout_loss": heldout,
        "curve": _curve(density, heldout - 0.02, 2_500_000), "fingerprint": "9f3c" * 16,
    }  # fmt: skip


def _cell(part: dict[str, Any]) -> dict[str, Any] | None:
    if part["circuit"]["status"] != "solved":
        return None
    suff, need = part["verification"]["sufficiency"], part["verification"]["necessity"]
    return {
        "n_nodes": part["circuit"]["n_nodes"], "n_edges": part["circuit"]["n_edges"],
        "n_edges_unswept": 6 * part["circuit"]["n_edges"], "n_minimal_edges": part["circuit"]["n_edges"] // 2,
        "heldout_loss": suff["loss"],
        "heldout_accuracy": suff["accuracy"], "necessity_loss": need["nodes_loss"], "random_loss": need["random_mean"],
    }  # fmt: skip


def _task(name: str, index: int, clean: list[str], corrupt: list[str], dense_status: str = "solved") -> dict[str, Any]:
    if name == "single_double_quote":
        sparse = _circuit(name, QUOTE_NODES, [Edge(*edge) for edge in QUOTE_EDGES], 0.1423)
    else:
        sparse = random_circuit(name, 256, 18 + 9 * index, 14 + 9 * index, index)
    dense = random_circuit(name, 32, 85 + 4 * index, 400 + 30 * index, 50 + index, dense_status)
    return {
        "name": name,
        "description": "Close a string with the quote that opened it."
        if index == 0
        else f"Choose between two next tokens ({name.replace('_', ' ')}).",
        "excluded_cue": "The text between the quotes is the same in both prompts, so it gives nothing away.",
        "example": {"clean": "".join(clean), "corrupt": "".join(corrupt), "answer": '")\n', "other": "')\n"},
        "sparse": {"circuit": sparse, "verification": _verification(0.1423 + index / 1000, index),
                   "evidence": evidence(sparse, 16, clean, corrupt, index)},
        "dense": {"circuit": dense,
                  "verification": _verification(0.1471, index + 7) if dense_status == "solved" else None,
                  "evidence": evidence(dense, 16, clean, corrupt, index) if dense_status == "solved" else None},
    }  # fmt: skip


def _summary(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    cells: dict[str, Any] = {t["name"]: {side: _cell(t[side]) for side in ("sparse", "dense")} for t in tasks}
    both = [name for name, cell in cells.items() if cell["sparse"] and cell["dense"]]
    mean: dict[str, Any] = {
        side: math.exp(sum(math.log(max(cells[name][side]["n_edges"], 1)) for name in both) / len(both))
        if both else None
        for side in ("sparse", "dense")
    }  # fmt: skip
    ratio = mean["dense"] / mean["sparse"] if both else None
    return {
        "heldout_loss": {"sparse": 3.3513, "dense": 3.3127}, "tasks": cells, "geomean_edges": mean,
        "edge_ratio": ratio, "tasks_compared": both, "seconds": 812.4,
        "sweeps": {
            "n_edges_unswept": {"sparse": 123.4, "dense": 2468.0, "ratio": 20.0}, "n_edges": {**mean, "ratio": ratio},
            "n_minimal_edges": {**dict.fromkeys(mean), "ratio": None},
        },
    }  # fmt: skip


def make_report(
    clean: list[str] = CLEAN, corrupt: list[str] = CORRUPT, dense_status: str = "solved", n_tasks: int = len(TASKS)
) -> dict[str, Any]:
    """A whole report; `dense_status` is that of the second task in the dense twin."""
    tasks = [
        _task(name, i, clean, corrupt, dense_status if i == 1 else "solved") for i, name in enumerate(TASKS[:n_tasks])
    ]
    names = [*TASKS, "bracket_counting", "lambda_func"]
    selection = [
        {"name": name, "sparse_accuracy": 0.99 - 0.08 * i, "sparse_loss": 0.02 + 0.1 * i, "dense_accuracy": 0.995,
         "dense_loss": 0.015, "solved": i < 4, "selected": i < 4, "unavailable": None}
        for i, name in enumerate(names)
    ]  # fmt: skip
    missing = "the vocabulary has no single token for this answer"
    selection.append(
        {"name": "fstring_brace", "sparse_accuracy": None, "sparse_loss": None, "dense_accuracy": None,
         "dense_loss": None, "solved": False, "selected": False, "unavailable": missing}
    )  # fmt: skip
    return {
        "title": "Sparse circuits on Python, beside a dense twin",
        "command": "thinwire demo --out runs/demo --seed 0",
        "created": "2026-02-03T10:20:30+00:00",
        "environment": {"python": "3.11.9", "torch": "2.13.0", "thinwire": "0.1.0", "machine": "x86_64",
                        "cpu": "2 cores", "threads": 2, "seed": 0},
        "corpus": {"source": "the standard library of CPython 3.11.9", "sha256": "5e" * 32, "n_files": 1043,
                   "n_bytes": 18_220_111, "n_train_tokens": 4_912_004, "n_heldout_tokens": 262_144},
        "models": {"sparse": _model("sparse", 256, 0.05, 3.3513), "dense": _model("dense twin", 32, 1.0, 3.3127)},
        "twin_rule": "The width (16, 32, 48, 64) whose held-out loss after the same number of tokens is nearest to "
        "the sparse model's; fixed before any pruning.",
        "twins_tried": [{"d_model": 16, "tokens_frac": 1.0, "heldout_loss": 3.6021, "chosen": False},
                        {"d_model": 32, "tokens_frac": 1.0, "heldout_loss": 3.3127, "chosen": True},
                        {"d_model": 48, "tokens_frac": 1.0, "heldout_loss": 3.0884, "chosen": False}],
        "selection": {"rule": "The tasks that both whole models solve on validation pairs (accuracy at least 0.95).",
                      "tasks": selection},
        "target_loss": 0.15,
        "tasks": tasks,
        "summary": _summary(tasks),
        "stages": [{"name": name, "budget_seconds": budget, "seconds": spent} for name, budget, spent in
                   (("tokenise", 30, 21.4), ("train sparse", 420, 388.0), ("train dense", 120, 96.2),
                    ("prune", 240, 251.7), ("check", 60, 40.1), ("report", 10, 1.3))],
    }  # fmt: skip
