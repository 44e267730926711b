"""How fast is a training step of each mode, after annealing, beside the paper's step in the obvious torch operations?

    python benchmarks/modes.py                              the sizes and densities of the targets
    python benchmarks/modes.py --size 256 --density 0.05    one of them
    python benchmarks/modes.py --run                        the demo's whole training, from steps at five densities

All steps start from the same weights and see the same batches, in turns (A B A B); figures are medians. Wall time
decides; the ratio of processor time is beside it, because it holds on a machine that does other work too. `regrow`
computes every matrix in full every 20 steps, in turns. `certified` is shown where every row is certified: its best
case, as far from the threshold as random weights are; a run's own share stands in its metrics, and --run leaves it out.
Sizes: d_model, 2 layers, vocabulary 1024, context 64 (1024: 4 layers, vocabulary 2048).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does, for all steps alike

import numpy as np
import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import linear_shapes
from thinwire.sparsity.costs import default_costs
from thinwire.training.allocator import keep_freed_memory
from thinwire.training.config import Mode, TrainConfig
from thinwire.training.loop import schedule, train_step
from thinwire.training.modes import optimizer_for
from thinwire.training.recipes import recipe
from thinwire.training.reference import ReferenceOptimizer, reference_step
from thinwire.training.support_optimizer import SUPPORT_DENSITY

SIZES = {"256": ModelConfig(d_model=256), "1024": ModelConfig(d_model=1024, n_layer=4, vocab_size=2048)}
TARGETS = {("256", 1 / 20): 2.5, ("1024", 1 / 64): 5.0, ("1024", 1 / 256): 8.0}
"""Smallest ratio to the reference that was promised of the mode that is fastest."""
MODES: tuple[Mode, ...] = ("exact", "certified", "regrow")
REFERENCE, DECAY, RATE = "reference", 0.1, 1e-3


def steps(config: ModelConfig, density: float, min_per_line: int) -> dict[str, Callable[[Tensor], Any]]:
    """The steps that are compared, each with its own model."""
    torch.manual_seed(0)
    plain = GPT(config)
    start = {name: value.clone() for name, value in plain.state_dict().items()}
    optimizer = ReferenceOptimizer(plain, DECAY, min_per_line)
    found: dict[str, Callable[[Tensor], Any]] = {
        REFERENCE: lambda windows: reference_step(plain, optimizer, windows, RATE, density)
    }
    for mode in MODES:
        found[mode] = _step(config, start, TrainConfig(mode=mode, density=density, min_per_line=min_per_line))
    return found


def _step(config: ModelConfig, start: dict[str, Tensor], train: TrainConfig) -> Callable[[Tensor], Any]:
    model = GPT(config)
    model.load_state_dict(start)
    model.use_costs(default_costs(linear_shapes(config)))
    optimizer = optimizer_for(model, train)
    return lambda windows: train_step(model, optimizer, windows, RATE, train.density)


def measure(size: str, density: float, batch: int, repeats: int) -> dict[str, Any]:
    """Medians over `repeats` rounds after two rounds of warm-up."""
    config = SIZES[size]
    min_per_line = min(4, int(density * config.d_model))
    compared = steps(config, density, min_per_line)
    wall: dict[str, list[float]] = {name: [] for name in compared}
    cpu: dict[str, list[float]] = {name: [] for name in compared}
    generator = torch.Generator().manual_seed(0)
    for repeat in range(-2, repeats):
        windows = torch.randint(config.vocab_size, (batch, config.context + 1), generator=generator)
        for name, step in compared.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            step(windows)
            if repeat >= 0:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - began_cpu)
    row: dict[str, Any] = {"d_model": config.d_model, "n_layer": config.n_layer, "density": density}
    row |= {"min_per_line": min_per_line, "target": TARGETS.get((size, density))}
    for name in compared:
        row[name] = {
            "seconds": median(wall[name]),
            "cpu_seconds": median(cpu[name]),
            "ratio": median(wall[REFERENCE]) / median(wall[name]),
            "cpu_ratio": median(cpu[REFERENCE]) / median(cpu[name]),
        }
    return row


def measure_run(batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of all steps of the demo recipe: steps at densities of its annealing, straight lines between them."""
    config = recipe("demo")
    densities = [1.0, 0.5, SUPPORT_DENSITY + 1e-3, SUPPORT_DENSITY, config.train.density]
    rows = [measure("256", density, batch, repeats) for density in densities]
    met = [schedule(config, step)[1] for step in range(config.n_steps)]
    found: dict[str, Any] = {"steps": config.n_steps, "densities": densities}
    for name in (REFERENCE, "exact", "regrow"):
        for kind in ("seconds", "cpu_seconds"):
            at = [row[name][kind] for row in rows]
            found.setdefault(name, {})[kind] = float(np.interp(met, densities[::-1], at[::-1]).sum())
    for name in ("exact", "regrow"):
        found[name]["ratio"] = found[REFERENCE]["seconds"] / found[name]["seconds"]
        found[name]["cpu_ratio"] = found[REFERENCE]["cpu_seconds"] / found[name]["cpu_seconds"]
    return found


def show(row: dict[str, Any]) -> None:
    target = f", target {row['target']:g} x" if row["target"] else ""
    print(f"d_model {row['d_model']}, {row['n_layer']} layers, density 1/{round(1 / row['density'])}{target}")
    for name in (REFERENCE, *MODES):
        figures = row[name]
        print(
            f"  {name:10s} {figures['seconds']:7.3f} s a step, {figures['ratio']:.2f} x the reference "
            f"({figures['cpu_ratio']:.2f} x by processor time)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--density", nargs="+", type=float, help="default: those of the targets")
    parser.add_argument("--run", action="store_true", help="the demo's whole training in place of single steps")
    parser.add_argument("--batch", type=int, default=64, help="sequences per step")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    if options.run:
        print(json.dumps({"threads": options.threads} | measure_run(options.batch, options.repeats), indent=1))
        return
    rows = []
    for size in options.size:
        for density in options.density or [density for wide, density in TARGETS if wide == size]:
            rows.append(measure(size, density, options.batch, options.repeats))
            if not options.json:
                show(rows[-1])
    if options.json:
        print(json.dumps({"threads": options.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
