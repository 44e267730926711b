"""Pruning against a plain reference loop: full-length padded batches, all logits, dense weights.

    python benchmarks/prune.py RUN [--task NAME] [--steps N] [--target LOSS] [--json]

Same model, task, seed, price and number of steps on both sides; both bisect on validation pairs, ours then sweeps. Wall
seconds, one after the other in one process. The reference learns gates of its own, by the plain loop to its last step,
and its edges are those of the circuit that bisection finds with them. Its seconds are those of the steps alone.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from thinwire.circuits.edges import induced_edges
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.pruning.gates import NodeGates
from thinwire.pruning.prune import BETAS, PairOrder, choose_nodes, finish, learn_gates
from thinwire.runs.run import load_run
from thinwire.workflows.prune import means_of, task_pairs


def plain_gates(problem: Problem, config: PruneConfig) -> NodeGates:
    """Gates learned by the plain loop: every position of every prompt, padded to the context, all logits."""
    model, prompts = problem.model, problem.prompts["train"]
    generator = torch.Generator().manual_seed(config.seed)
    gates = NodeGates(problem.means, generator)
    order = PairOrder(prompts.n_pairs, config.batch_pairs, generator)
    adamw = torch.optim.AdamW([gates.tau], lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay)
    warmup = max(1, round(config.warmup_frac * config.steps))
    for step in range(config.steps):
        batch = prompts.pairs(order.next())
        tokens = F.pad(batch.tokens, (0, model.config.context - batch.tokens.shape[1]))
        is_open = gates.open()
        logits = model(tokens, gates.hook(is_open))[torch.arange(len(tokens)), batch.lengths - 1]
        difference = logits[:, batch.answer] - logits[:, batch.other]
        loss = F.softplus(-batch.sign * difference).mean() + config.k_coef * is_open.sum()
        (gradient,) = torch.autograd.grad(loss, gates.tau)
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
    learn_gates(Problem(run.model, pairs, means, identity).objectives["train"], means, [PruneConfig(steps=2)])
    began = time.perf_counter()
    problem = Problem(run.model, pairs, means, identity)
    (gates,) = learn_gates(problem.objectives["train"], means, [config])
    learned = time.perf_counter()
    found = finish(problem, gates, config)
    ended = time.perf_counter()
    before = time.perf_counter()
    reference = plain_gates(problem, config)
    plain_seconds = time.perf_counter() - before
    kept, bisection = choose_nodes(reference, problem.objectives["validation"], config.target_loss)
    return {
        "task": task,
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
            "n_edges": len(induced_edges(run.model, reference.nodes(kept.nonzero().flatten()))),
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
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.run.exists():
        parser.exit(0, f"{arguments.run} is not there; make it with: make demo\n")
    config = PruneConfig(steps=arguments.steps, target_loss=arguments.target)
    result = compare(arguments.run, arguments.task, config)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for side in ("ours", "reference"):
        print(f"{side}: " + ", ".join(f"{name} {value}" for name, value in result[side].items()))
    print(f"gates that differ between the two loops: {result['gates_that_differ']}")
    print(f"{result['speedup_per_step']:.1f} times as fast per step, {result['speedup']:.1f} times with the sweep")


if __name__ == "__main__":
    main()
