"""A report made by hand, shaped like a demo run: a readable sparse circuit, a large dense one, invented numbers."""

import math
import random
from dataclasses import replace
from typing import Any

from thinwire.circuits.graph import Calibration, Circuit, Edge, Score
from thinwire.circuits.solved import SOLVED_MEANS, standing
from thinwire.evidence.records import (
    Chances,
    Effect,
    Evidence,
    HeadEffects,
    HeadLook,
    HeadScores,
    NodeActivity,
    NodeWords,
    PairEvidence,
    Said,
)
from thinwire.viewer.contract import (
    Corpus,
    CurvePoint,
    ExamplePair,
    JudgedTest,
    Judgement,
    Means,
    ModelReport,
    Removals,
    Report,
    Selection,
    Side,
    Sizes,
    Stage,
    TaskModel,
    TaskReport,
    TaskSelection,
    Twins,
    TwinTried,
)

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


def _circuit(task: str, nodes: dict[str, list[int]], edges: list[Edge], loss: float, status: Any = "solved") -> Circuit:
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
    )


def random_circuit(
    task: str, d_model: int, n_nodes: int, n_edges: int, seed: int, status: str = "solved", n_layer: int = 2
) -> Circuit:
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


def evidence(circuit: Circuit, d_head: int, clean: list[str], corrupt: list[str], seed: int) -> Evidence:
    """Invented activations that differ between the prompts from the first differing token on."""
    rng = random.Random(seed)
    n, spot = len(clean), next((i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b), 0)
    nodes, words = {}, {}
    for site, channels in circuit.nodes.items():
        for channel in channels:
            base = [round(rng.gauss(0, 0.25), 4) for _ in range(n)]
            other = [value if i < spot else round(value + rng.gauss(0, 0.05), 4) for i, value in enumerate(base)]
            last = site.startswith(("1.attn.out", "1.mlp", "final"))
            kick = round(rng.choice((-1, 1)) * rng.uniform(0.8, 2.4), 4)
            if channel % 5 != 2:
                base[-1 if last else spot], other[-1 if last else spot] = kick, round(-kick * rng.uniform(-0.9, 0.9), 4)
            key = f"{site}:{channel}"
            nodes[key] = NodeActivity(base, other, round(rng.gauss(0, 0.1), 4))
            reads = [('"', 1.2), (' "', 0.8), ('("', -0.7)] if site == "embed" else []
            writes = [('")\n', 0.9), ('"', 0.4), ('",', -0.2)] if site == "final" else []
            words[key] = Said(NodeWords(reads, writes), NodeWords(reads, writes))
    heads = sorted({f"{site.split('.')[0]}.{c // d_head}" for site, channels in circuit.nodes.items()
                    if site.endswith((".q", ".k", ".v")) for c in channels})  # fmt: skip

    def pattern() -> list[list[float]]:
        rows = []
        for query in range(n):
            raw = [math.exp(rng.gauss(0, 0.4) + (3.4 if key == spot else 0)) for key in range(query + 1)]
            rows.append([round(v / sum(raw), 4) for v in raw] + [0.0] * (n - query - 1))
        return rows

    def scores(head: str) -> HeadScores:
        layer, index = map(int, head.split("."))
        own = range(index * d_head, (index + 1) * d_head)
        kept = {c for part in "qk" for c in circuit.nodes.get(f"{layer}.attn.{part}", ()) if c in own}
        rows = [[round(rng.gauss(0, 1), 3) for _ in range(n)] for _ in kept]
        return HeadScores(sorted(kept), rows, rows, rows, rows, 0.1)

    pair = PairEvidence(
        clean_tokens=clean,
        corrupt_tokens=corrupt,
        model=Chances(0.998, 0.004),
        circuit=Chances(0.91, 0.13),
        nodes=nodes,
        attention={head: HeadLook(pattern(), pattern()) for head in heads},
        scores={head: scores(head) for head in heads},
        unembed={f"final:{c}": (round(rng.gauss(0, 1), 4), round(rng.gauss(0, 1) * (c % 3), 4))
                 for c in circuit.nodes.get("final", [])},
    )  # fmt: skip
    without = {head: Effect(0.69 - 0.06 * i, 0.51 + 0.06 * i, 0.1) for i, head in enumerate(heads)}
    return Evidence(pair, words, HeadEffects(128, Effect(0.142, 0.99, 3.1), without))


def _judgement(loss: float, seed: int) -> Judgement:
    return Judgement(
        verdict="sufficient only",
        paper="sufficient and necessary",
        judged="its 17 minimal edges",
        scope="on the task's prompts; holds on 2 of 3 shifts, not on byte strings",
        cautions=["There are only 20 test pairs, fewer than 50: every share is coarse."],
        meaning="the circuit alone does the task, but something speaks against it being how the model does it",
        reasons=["interchange: patching 1.attn.v:49 moves the circuit by 0.81 of the way, the model by 0.34"],
        tests=[
            JudgedTest("sufficiency", "passed", "The circuit alone is right on 98.9 % of the test prompts.",
                       "loss <= 0.15 + 2 standard errors, accuracy >= 90 %", 512, "must pass"),
            JudgedTest("necessity", "passed", "Without the circuit accuracy is 50.3 %.",
                       "accuracy <= 75 %", 32, "must pass"),
            JudgedTest("interchange", "failed", "Signs agree on 81 % of nodes.", "same sign >= 90 %", 32, "must pass"),
            JudgedTest("controls", "not run", "not run", "no control is solved by so few nodes", None, "must not fail"),
        ],
        removals=Removals(32, 0.0213, 2.9471 + seed / 100, 0.503, 1.8832, 0.512, 0.0312, 0.0498, 137, 24),
    )  # fmt: skip


def _curve(final_density: float, floor: float, n_tokens: int) -> list[CurvePoint]:
    points, n = [], 60
    for i in range(n + 1):
        done = i / n
        density = 1 + (final_density - 1) * min(max((done - 0.01) / 0.49, 0), 1)
        wobble = 0.05 * math.sin(3.1 * i)
        loss = floor + 3.6 * math.exp(-7 * done) + 0.35 * math.exp(-((done - 0.5) ** 2) / 0.005) * (1 - final_density)
        held = round(loss, 4) if i % 15 == 0 else None
        points.append(CurvePoint(10 * i, n_tokens * i // n, round(loss + wobble, 4), round(density, 4), 0.0128, held))
    return points


def _model(label: str, d_model: int, density: float, heldout: float) -> ModelReport:
    n = 2 * 12 * d_model**2 + 2 * 1024 * d_model + 1024**2
    return ModelReport(
        label=label, recipe="demo" if density < 1 else "demo_twin", mode="exact", savings={}, n_layer=2,
        d_model=d_model, d_head=16, context=64, density=density, n_parameters=n,
        n_nonzero=1024**2 + int((n - 1024**2) * density), n_bigram=1024**2, n_tokens=2_500_000, heldout_loss=heldout,
        n_loss_tokens=131_072, n_curve_tokens=32_704,
        curve=_curve(density, heldout - 0.02, 2_500_000), fingerprint="9f3c" * 16,
    )  # fmt: skip


def _task(name: str, index: int, clean: list[str], corrupt: list[str], dense_status: str = "solved") -> TaskReport:
    if name == "single_double_quote":
        sparse = _circuit(name, QUOTE_NODES, [Edge(*edge) for edge in QUOTE_EDGES], 0.1423)
    else:
        sparse = random_circuit(name, 256, 18 + 9 * index, 14 + 9 * index, index)
    dense = random_circuit(name, 32, 85 + 4 * index, 400 + 30 * index, 50 + index, dense_status)
    solved = dense_status == "solved"
    models: dict[Side, TaskModel] = {
        "sparse": TaskModel(sparse, SETTING, standing(sparse), 512, _judgement(0.1423, index),
                            evidence(sparse, 16, clean, corrupt, index)),
        "dense": TaskModel(dense, SETTING, standing(dense), 512, _judgement(0.1471, index + 7) if solved else None,
                           evidence(dense, 16, clean, corrupt, index) if solved else None),
    }  # fmt: skip
    return TaskReport(
        name=name,
        description="Close a string with the quote that opened it."
        if index == 0
        else f"Choose between two next tokens ({name.replace('_', ' ')}).",
        excluded_cue="The text between the quotes is the same in both prompts, so it gives nothing away.",
        example=ExamplePair("".join(clean), "".join(corrupt), '")\n', "')\n"),
        models=models,
    )


SETTING = "target loss 0.15, mean ablation, gate price 0.001, seed 0"


def _means(tasks: list[TaskReport]) -> Means:
    both = [task for task in tasks if all(part.target_met for part in task.models.values())]
    sides: tuple[Side, Side] = ("sparse", "dense")

    def mean(side: Side) -> float:
        sizes = [max(task.models[side].circuit.n_edges, 1) for task in both]
        return math.exp(sum(map(math.log, sizes)) / len(sizes))

    means: dict[Side, float | None] = {side: mean(side) if both else None for side in sides}
    headline = Sizes("induced edges after the sweep of nodes", means, mean("dense") / mean("sparse") if both else None)
    sizes = [
        Sizes("induced edges before the sweep", {"sparse": 123.4, "dense": 2468.0}, 20.0),
        headline,
        Sizes("minimal edges, after the sweep of edges", {"sparse": None, "dense": None}, None),
    ]
    missing = {task.name: "no circuit of the dense twin met the target" for task in tasks if task not in both}
    return Means([task.name for task in both], missing, sizes, headline)


def make_report(
    clean: list[str] = CLEAN, corrupt: list[str] = CORRUPT, dense_status: str = "solved", n_tasks: int = len(TASKS)
) -> Report:
    """A whole report; `dense_status` is that of the second task in the dense twin."""
    tasks = [
        _task(name, i, clean, corrupt, dense_status if i == 1 else "solved") for i, name in enumerate(TASKS[:n_tasks])
    ]
    names = [*TASKS, "bracket_counting", "lambda_func"]
    selection = [
        TaskSelection(name, i < 4, i < 4, 0.99 - 0.08 * i, 0.02 + 0.1 * i, 0.995, 0.015) for i, name in enumerate(names)
    ]
    missing = "the vocabulary has no single token for this answer; train a tokenizer of 1024 tokens or more for it"
    selection.append(TaskSelection("fstring_brace", False, False, unavailable=missing))
    stages = (("tokenise", 30.0, 21.4), ("train sparse", 420.0, 388.0), ("prune", 240.0, 251.7))
    return Report(
        title="Sparse circuits on Python, beside a dense twin",
        command="thinwire demo --out runs/demo --seed 0",
        view_command="thinwire view runs/demo",
        created="2026-02-03T10:20:30+00:00",
        environment={"python": "3.11.9", "torch": "2.13.0", "thinwire": "0.1.0", "machine": "x86_64",
                     "cpu": "2 cores", "threads": 2, "seed": 0},
        corpus=Corpus("the standard library of CPython 3.11.9", "5e" * 32, 1043, 18_220_111, 4_912_004, 262_144),
        models={"sparse": _model("sparse", 256, 0.05, 3.3513), "dense": _model("dense twin", 32, 1.0, 3.3127)},
        tasks=tasks,
        means=_means(tasks),
        solved_means=SOLVED_MEANS,
        choice_rule="Of several circuits of a task the page shows the smallest that meets its target.",
        twins=Twins(
            "The width (16, 32, 48, 64) whose held-out loss after the same number of tokens is nearest to the sparse "
            "model's; fixed before any pruning.",
            [TwinTried(16, 1.0, 3.6021, False), TwinTried(32, 1.0, 3.3127, True), TwinTried(48, 1.0, 3.0884, False)],
        ),
        selection=Selection("The tasks that both whole models solve on validation pairs.", selection),
        stages=[Stage(name, budget, spent) for name, budget, spent in stages],
        seconds=812.4,
    )  # fmt: skip


def with_task(report: Report, index: int, **changes: Any) -> Report:
    """A copy in which one task has other values."""
    tasks = [replace(task, **changes) if i == index else task for i, task in enumerate(report.tasks)]
    return replace(report, tasks=tasks)


def with_part(report: Report, index: int, side: Side, **changes: Any) -> Report:
    """A copy in which one task has other values in one of the models."""
    models = report.tasks[index].models
    return with_task(report, index, models={**models, side: replace(models[side], **changes)})
