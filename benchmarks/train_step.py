"""How fast is a training step beside the paper's step in the obvious torch operations?

    python benchmarks/train_step.py                              every size, every density that its width allows
    python benchmarks/train_step.py --size 256 --density 0.05    one of them
    python benchmarks/train_step.py --device cuda --size 1024-8  on a GPU; also against a dense model's step

Both steps start from the same weights and see the same batches, in turns (A B A B); figures are medians. Wall time
decides; the ratio of processor time is beside it, because it holds on a machine that does other work too.
Sizes: d_model, 2 layers, vocabulary 1024, context 64 (1024: 4 layers, vocabulary 2048; 1024-8: 8 layers, context 256).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does, for both steps alike

import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import linear_shapes
from thinwire.sparsity.costs import default_costs
from thinwire.training.allocator import keep_freed_memory
from thinwire.training.loss import next_token_loss
from thinwire.training.optimizer import SparseOptimizer
from thinwire.training.reference import Mark, ReferenceOptimizer, reference_step

SIZES = {
    "128": ModelConfig(d_model=128),
    "256": ModelConfig(d_model=256),
    "512": ModelConfig(d_model=512),
    "1024": ModelConfig(d_model=1024, n_layer=4, vocab_size=2048),
    "1024-8": ModelConfig(d_model=1024, n_layer=8, vocab_size=2048, context=256),
}
DENSITIES = (1 / 4, 1 / 20, 1 / 64, 1 / 256)
MIN_PER_LINE, DECAY, RATE = 4, 0.1, 1e-3

Step = Callable[[Tensor, Mark], Any]


class Stages:
    """Seconds by stage of one step."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, dict[str, float]()
        self._wait()
        self.began = self.last = time.perf_counter()
        self.began_cpu = time.process_time()

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def mark(self, stage: str) -> None:
        self._wait()
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    @property
    def total(self) -> tuple[float, float]:
        """(wall, processor) seconds since the start."""
        self._wait()
        return time.perf_counter() - self.began, time.process_time() - self.began_cpu


def fast_step(model: GPT, optimizer: SparseOptimizer, density: float, windows: Tensor, mark: Mark) -> None:
    """What `thinwire.training.loop.train_step` does, with marks in between."""
    optimizer.prepare(RATE, density)
    loss = next_token_loss(model, windows)
    mark("forward")
    loss.backward()
    mark("backward")
    optimizer.step(RATE, density)
    loss.item()
    mark("normalise, adam, project, decay")


def plain_step(model: GPT, optimizer: ReferenceOptimizer, density: float, windows: Tensor, mark: Mark) -> None:
    reference_step(model, optimizer, windows, RATE, density, mark)


def steps(config: ModelConfig, density: float, device: str) -> dict[str, Step]:
    """The steps that are compared, each with its own model; sparse ones start at `density`."""
    torch.manual_seed(0)
    plain = GPT(config).to(device)
    plain_optimizer = ReferenceOptimizer(plain, DECAY, MIN_PER_LINE)
    fast = GPT(config).to(device)
    fast.load_state_dict(plain.state_dict())
    fast.use_costs(default_costs(linear_shapes(config)))
    fast_optimizer = SparseOptimizer(fast, DECAY, MIN_PER_LINE)
    found: dict[str, Step] = {
        "fast": partial(fast_step, fast, fast_optimizer, density),
        "reference": partial(plain_step, plain, plain_optimizer, density),
    }
    if device == "cuda":
        dense = GPT(replace(config, activation_frac=1.0)).to(device)
        found["dense"] = partial(fast_step, dense, SparseOptimizer(dense, DECAY, 0), 1.0)
    return found


def measure(config: ModelConfig, density: float, batch: int, repeats: int, device: str) -> dict[str, Any]:
    """Medians over `repeats` rounds after two rounds of warm-up."""
    generator = torch.Generator().manual_seed(0)
    compared = steps(config, density, device)
    rounds: dict[str, list[Stages]] = {name: [] for name in compared}
    totals: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for repeat in range(-2, repeats):
        windows = torch.randint(config.vocab_size, (batch, config.context + 1), generator=generator).to(device)
        for name, step in compared.items():
            stages = Stages(device)
            step(windows, stages.mark)
            if repeat >= 0:
                rounds[name].append(stages)
                totals[name].append(stages.total)
    return _summary(config, density, batch, rounds, totals)


def _summary(
    config: ModelConfig,
    density: float,
    batch: int,
    rounds: dict[str, list[Stages]],
    totals: dict[str, list[tuple[float, float]]],
) -> dict[str, Any]:
    row: dict[str, Any] = {"d_model": config.d_model, "n_layer": config.n_layer, "density": density}
    wall = {name: median(w for w, _ in times) for name, times in totals.items()}
    cpu = {name: median(c for _, c in times) for name, times in totals.items()}
    for name, stages in rounds.items():
        parts = {stage: median(s.seconds[stage] for s in stages) for stage in stages[0].seconds}
        row[name] = {
            "tokens_per_second": batch * config.context / wall[name],
            "seconds": wall[name],
            "cpu_seconds": cpu[name],
            "shares": {stage: seconds / sum(parts.values()) for stage, seconds in parts.items()},
        }
    row["ratio"] = wall["reference"] / wall["fast"]
    row["cpu_ratio"] = cpu["reference"] / cpu["fast"]
    if "dense" in wall:
        row["time_beside_dense"] = wall["fast"] / wall["dense"]
    return row


def show(row: dict[str, Any]) -> None:
    print(f"d_model {row['d_model']}, {row['n_layer']} layers, density 1/{round(1 / row['density'])}")
    for name in ("fast", "reference", "dense"):
        if name in row:
            shares = ", ".join(f"{stage} {share:.0%}" for stage, share in row[name]["shares"].items())
            print(f"  {name:10s} {row[name]['tokens_per_second']:9.0f} tokens/s   {shares}")
    beside = f"; {row['time_beside_dense']:.2f} x a dense step's time" if "time_beside_dense" in row else ""
    print(f"  {row['ratio']:.2f} x the reference ({row['cpu_ratio']:.2f} x by processor time){beside}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["128", "256", "512", "1024"])
    parser.add_argument("--density", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--batch", type=int, default=64, help="sequences per step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    rows = []
    for size in options.size:
        for density in options.density:
            if density * SIZES[size].d_model < MIN_PER_LINE:
                continue
            rows.append(measure(SIZES[size], density, options.batch, options.repeats, options.device))
            if not options.json:
                show(rows[-1])
    if options.json:
        print(json.dumps({"threads": options.threads, "device": options.device, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
