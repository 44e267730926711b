"""Is another way to train as good as the paper's? Seeds, held-out loss, tasks, circuits; the verdict by a stated rule.

    python benchmarks/variants.py OUT --variant exact=5 geometric=3 early=3     train, check, prune; then the table
    python benchmarks/variants.py OUT                                           the table of what OUT holds

A variant is the demo recipe with other options. Every run is one thread, `OUT/VARIANT/SEED`; a call that was stopped
goes on. Rule: the margin is one standard deviation over the seeds of `exact`. A variant is within it when the mean of
its seeds is worse by no more than that margin in each of: held-out loss, number of tasks solved, logarithm of circuit
size (geometric mean of induced edges over the tasks of TASKS whose circuits meet the target in both).
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from thinwire.pruning.config import PruneConfig
from thinwire.runs.run import load_run
from thinwire.storage.files import MANIFEST
from thinwire.tasks.registry import all_tasks
from thinwire.training import recipes
from thinwire.training.config import RunConfig
from thinwire.workflows.prune import prune
from thinwire.workflows.tasks import check_task
from thinwire.workflows.train import train

VARIANTS: dict[str, dict[str, Any]] = {
    "exact": {"anneal": "linear"},
    "geometric": {"anneal": "geometric"},
    "early": {"anneal": "linear", "anneal_end_frac": 0.25},
    "certified": {"anneal": "linear", "mode": "certified"},
    "regrow": {"anneal": "linear", "mode": "regrow", "regrow_every_steps": 20},
}
"""`exact` is the paper's way: every gradient in every step, the density falling by the same amount."""
TASKS = ("single_double_quote", "bracket_brace", "indent_for", "except_raise")
"""The tasks that the first measured demo solved, fixed before any run here."""


def config_of(variant: str, seed: int) -> RunConfig:
    demo = recipes.demo()
    return replace(demo, threads=1, train=replace(demo.train, seed=seed, **VARIANTS[variant]))


def measure(out: Path, variant: str, seed: int) -> dict[str, Any]:
    """Train one run if need be, check all tasks, prune those of TASKS; the row is kept beside the run."""
    path = out / variant / str(seed)
    kept = path.parent / f"{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = train(config_of(variant, seed), path, resume=(path / MANIFEST).exists())
    run = load_run(path)
    checks = [check_task(run, name) for name in all_tasks()]
    circuits = [prune(run, name, PruneConfig(seed=seed)) for name in TASKS]
    row = {
        "variant": variant,
        "seed": seed,
        "heldout_loss": trained.heldout_loss,
        "seconds": trained.seconds,
        "solved": sorted(check.name for check in checks if check.model_does),
        "edges": {c.task: c.n_edges if c.status == "solved" else None for c in circuits},
    }
    kept.write_text(json.dumps(row, indent=1))
    print(json.dumps(row), flush=True)
    return row


def rows_of(out: Path) -> dict[str, list[dict[str, Any]]]:
    """What `out` holds, by variant."""
    found = {name: sorted((out / name).glob("*.json"), key=lambda path: int(path.stem)) for name in VARIANTS}
    return {name: [json.loads(path.read_text()) for path in paths] for name, paths in found.items() if paths}


def log_sizes(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean logarithm of a task's number of edges over the seeds whose circuit meets the target."""
    by_task = {
        task: [math.log(max(1, r["edges"][task])) for r in rows if r["edges"][task] is not None] for task in TASKS
    }
    return {task: mean(values) for task, values in by_task.items() if values}


def compare(exact: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, dict[str, float | bool]]:
    """By measure: what the variant loses, the margin, and whether it is within."""
    usual, own = log_sizes(exact), log_sizes(rows)
    shared = sorted(set(usual) & set(own))
    per_seed = [log_sizes([row]) for row in exact]
    spread = [mean(sizes[task] - usual[task] for task in sizes) for sizes in per_seed if sizes]
    loses = {
        "heldout_loss": (
            mean(r["heldout_loss"] for r in rows) - mean(r["heldout_loss"] for r in exact),
            stdev(r["heldout_loss"] for r in exact),
        ),
        "tasks": (
            mean(len(r["solved"]) for r in exact) - mean(len(r["solved"]) for r in rows),
            stdev(len(r["solved"]) for r in exact),
        ),
        "log_edges": (mean(own[task] - usual[task] for task in shared) if shared else math.nan, stdev(spread)),
    }
    return {name: {"worse_by": lost, "margin": by, "within": lost <= by} for name, (lost, by) in loses.items()}


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    exact = found.get("exact", [])
    for name, rows in found.items():
        losses = ", ".join(f"{r['heldout_loss']:.3f}" for r in rows)
        print(f"{name}: {len(rows)} seeds, held-out {mean(r['heldout_loss'] for r in rows):.3f} ({losses})")
        print(f"  tasks solved {', '.join(str(len(r['solved'])) for r in rows)}")
        for task in TASKS:
            print(f"  {task}: {', '.join(str(r['edges'][task] or 'not solved') for r in rows)} edges")
        if name != "exact" and len(exact) > 1:
            for measure_name, verdict in compare(exact, rows).items():
                word = "within" if verdict["within"] else "outside"
                print(f"  {measure_name}: worse by {verdict['worse_by']:.3f}, margin {verdict['margin']:.3f}: {word}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/variants"))
    parser.add_argument("--variant", nargs="*", default=[], metavar="NAME=SEEDS", help=", ".join(VARIANTS))
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    options = parser.parse_args()
    for wanted in options.variant:
        name, seeds = wanted.split("=")
        for seed in range(int(seeds)):
            measure(options.out, name, seed)
    found = rows_of(options.out)
    if options.json:
        exact = found.get("exact", [])
        verdicts = {name: compare(exact, rows) for name, rows in found.items() if name != "exact" and len(exact) > 1}
        print(json.dumps({"rows": found, "verdicts": verdicts}, indent=1))
    elif found:
        show(found)
    else:
        print(f"{options.out} holds no runs; train some with --variant exact=5 regrow=3 (a quarter of an hour each)")


if __name__ == "__main__":
    main()
