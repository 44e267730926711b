"""Pruning against a plain reference loop: full-length padded batches, all logits, dense weights.

    python benchmarks/prune.py RUN [--task NAME] [--steps N] [--target LOSS] [--require REQUIREMENT] [--json]

Same model, task, seed, price, terms and number of steps on both sides; both bisect on validation pairs, ours then
sweeps. Wall seconds, one after the other in one process. The reference learns gates of its own, by the plain loop to
its last step, and its edges are those of the circuit that bisection finds with them. Its seconds are the steps alone.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F

from thinwire.circuits.edges import induced_edges
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.pruning.engine import PlainEngine
from thinwire.pruning.gates import NodeGates
from thinwire.pruning.objective import Objective
from thinwire.pruning.prune import BETAS, PairOrder, choose_nodes, finish, learn_gates
from thinwire.pruning.requirement import Requirement, ladder
from thinwire.pruning.terms.registry import weighted
from thinwire.runs.run import load_run
from thinwire.workflows.prune import means_of, task_pairs


def plain_gates(problem: Problem, config: PruneConfig) -> NodeGates:
    """Gates learned by the plain loop: every position of every prompt, padded to the context, all logits.

    Terms beside the task loss go through `GPT.forward` too.
    """
    model, engine = problem.model, PlainEngine(problem.model, problem.prompts["train"], problem.means)
    weights = weighted(config.asked)
    others = Objective(engine, {name: weight for name, weight in weights.items() if name != "mean"}, config.target_loss)
    generator = torch.Generator().manual_seed(config.seed)
    gates = NodeGates(model.space, generator)
    order = PairOrder(engine.n_pairs, config.batch_pairs, generator)
    adamw = torch.optim.AdamW([gates.tau], lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay)
    warmup = max(1, round(config.warmup_frac * config.steps))
    for step in range(config.steps):
        rows = order.next()
        batch = engine.prompts.pairs(rows)
        tokens = F.pad(batch.tokens, (0, model.config.context - batch.tokens.shape[1]))
        is_open = gates.open()
        logits = model(tokens, engine.gated(is_open[None], batch))[torch.arange(len(tokens)), batch.lengths - 1]
        difference = logits[:, batch.answer] - logits[:, batch.other]
        loss = weights["mean"] * F.softplus(-batch.sign * difference).mean() + config.k_coef * is_open.sum()
        _, rise = others.gradients(is_open.detach()[None], [rows], [generator])
        (gradient,) = torch.autograd.grad([loss, is_open], gates.tau, [torch.ones(()), rise[0]])
        gates.tau.grad = gradient / gradient.square().mean().sqrt().clamp(min=1.0)
        rate = min((step + 1) / warmup, (config.steps - step) / max(1, config.steps - warmup))
        adamw.param_groups[0]["lr"] = config.learning_rate * rate
        adamw.step()
        gates.clamp_()
    return gates


def compare(run_path: Path, task: str, config: PruneConfig) -> dict[str, Any]:
    run = load_run(run_path, "cpu")
    means, pairs = means_of(run, config), task_pairs(run, task)
    identity = Identity(task, 1, run.fingerprint, run.tokenizer.sha256)
    warm = Problem(run.model, pairs, means, identity)
    learn_gates(warm.objective("train", config), run.model.space, [replace(config, steps=2)])
    began = time.perf_counter()
    problem = Problem(run.model, pairs, means, identity)
    (gates,) = learn_gates(problem.objective("train", config), run.model.space, [config])
    learned = time.perf_counter()
    found = finish(problem, gates, config)
    ended = time.perf_counter()
    before = time.perf_counter()
    reference = plain_gates(problem, config)
    plain_seconds = time.perf_counter() - before
    kept, bisection = choose_nodes(reference, problem.objective("validation", config))
    return {
        "task": task,
        "requirement": config.requirement,
        "steps": config.steps,
        "target_loss": config.target_loss,
        "threads": torch.get_num_threads(),
        "solved": found.solved,
        "ours": {
            "seconds": ended - began,
            "seconds_per_step": (learned - began) / config.steps,
            "n_edges_unswept": None if found.unswept is None else found.unswept[1],
            "n_edges": len(induced_edges(run.model, found.nodes)),
            "n_minimal_edges": None if found.minimal_edges is None else len(found.minimal_edges),
        },
        "reference": {
            "solved": bisection.solved,
            "seconds": plain_seconds,
            "seconds_per_step": plain_seconds / config.steps,
            "n_edges": len(induced_edges(run.model, run.model.space.nodes(kept))),
        },
        "gates_that_differ": int(((reference.tau >= 0) != (gates.tau >= 0)).sum()),
        "speedup_per_step": plain_seconds / (learned - began),
        "speedup": plain_seconds / (ended - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo/sparse"))
    parser.add_argument("--task", default="single_double_quote")
    parser.add_argument("--steps", type=int, default=PruneConfig().steps)
    parser.add_argument("--target", type=float, default=PruneConfig().target_loss)
    parser.add_argument("--require", choices=get_args(Requirement), default="sufficient")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.run.exists():
        parser.exit(0, f"{arguments.run} is not there; make it with: make demo\n")
    results = []
    for requirement in ladder(arguments.require):
        config = PruneConfig(steps=arguments.steps, target_loss=arguments.target, require=requirement)
        results.append(compare(arguments.run, arguments.task, config))
        results[-1]["times_sufficient"] = results[-1]["ours"]["seconds"] / results[0]["ours"]["seconds"]
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for result in results:
        print(f"{result['requirement']}: {result['times_sufficient']:.1f} times the time of sufficient")
        for side in ("ours", "reference"):
            print(f"  {side}: " + ", ".join(f"{name} {value}" for name, value in result[side].items()))
        print(f"  gates that differ between the two loops: {result['gates_that_differ']}")
        print(
            f"  {result['speedup_per_step']:.1f} times as fast per step, {result['speedup']:.1f} times with the sweep"
        )


if __name__ == "__main__":
    main()
