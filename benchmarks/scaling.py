"""What does width cost at a fixed number of nonzero weights?

    python benchmarks/scaling.py                   widths 256 to 4096: seconds a step and memory, beside the dense step
    python benchmarks/scaling.py --showpiece       8 layers of 2048 channels with 1M nonzero weights: its rate

The step is that of `regrow` between full ones; the dense one is the paper's in the obvious torch operations. Both see
the same batches, in turns (A B A B); figures are medians, of wall time and of processor time. Memory is what training
stores of the weight matrices: positions, values and moments of the stored entries, beside the weights, gradients and
moments of all of them. (The model keeps its weights as dense tensors too, 4 bytes each, which a step hardly touches.)
Two layers, vocabulary 1024, context 64, as many nonzeros in the block matrices as the widest model needs for 4 a line.
The showpiece's full steps are taken as they come (every matrix once in 200 steps) and counted in its mean.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does, for both steps alike

import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.training.allocator import keep_freed_memory
from thinwire.training.config import TrainConfig
from thinwire.training.loop import train_step
from thinwire.training.reference import ReferenceOptimizer, reference_step
from thinwire.training.support_optimizer import SupportOptimizer

WIDTHS = (256, 512, 1024, 2048, 4096)
N_LAYER, DECAY, RATE, MIN_PER_LINE = 2, 0.1, 1e-3, 4
DENSE_BYTES = 16
"""A weight, its gradient and its two moments."""
SHOWPIECE = ModelConfig(d_model=2048, n_layer=8, vocab_size=2048, context=256)
SHOWPIECE_DENSITY = 1 / 400


def block_weights(config: ModelConfig) -> int:
    """Entries of all matrices of the blocks: 12 D^2 a layer."""
    return config.n_layer * 12 * config.d_model**2


def following(config: ModelConfig, density: float, every: int, parts: int = 1) -> tuple[SupportOptimizer, Callable]:
    """(optimizer, step) of `regrow` from a random start at the final density."""
    torch.manual_seed(0)
    model = GPT(config)
    train = TrainConfig(mode="regrow", density=density, regrow_every_steps=every, min_per_line=MIN_PER_LINE)
    optimizer = SupportOptimizer(model, train)
    return optimizer, lambda windows: train_step(model, optimizer, windows, RATE, density, parts)


def dense(config: ModelConfig, density: float) -> Callable[[Tensor], Any]:
    torch.manual_seed(0)
    model = GPT(config)
    optimizer = ReferenceOptimizer(model, DECAY, MIN_PER_LINE)
    return lambda windows: reference_step(model, optimizer, windows, RATE, density)


def stored_bytes(optimizer: SupportOptimizer) -> int:
    """Bytes of positions, values and moments of the matrices that are followed."""
    total = 0
    for matrix in optimizer.held:
        tensors = [matrix.moments.m, matrix.moments.v, matrix.moments.age]
        total += sum(t.nbytes for t in tensors) + (matrix.values.nbytes if matrix.values is not None else 0)
        if matrix.support is not None:
            total += sum(a.nbytes for a in vars(matrix.support).values() if hasattr(a, "nbytes"))
    return total


def measure(width: int, n_nonzero: int, batch: int, repeats: int, with_dense: bool) -> dict[str, Any]:
    config = ModelConfig(d_model=width, n_layer=N_LAYER)
    density = n_nonzero / block_weights(config)
    optimizer, step = following(config, density, every=10**6)
    compared = {"regrow": step} | ({"dense": dense(config, density)} if with_dense else {})
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in compared}
    generator = torch.Generator().manual_seed(0)
    for repeat in range(-2, repeats):
        windows = torch.randint(config.vocab_size, (batch, config.context + 1), generator=generator)
        for name, action in compared.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            action(windows)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - began)
                cpu_seconds[name].append(time.process_time() - began_cpu)
    held = sum(matrix.size for matrix in optimizer.held)
    row = {"width": width, "density": density, "nonzero": sum(len(m.nonzero()) for m in optimizer.held)}
    row |= {"stored_bytes": stored_bytes(optimizer), "dense_bytes": DENSE_BYTES * held}
    row |= {f"{name}_seconds": median(found) for name, found in seconds.items()}
    return row | {f"{name}_cpu_seconds": median(found) for name, found in cpu_seconds.items()}


def show(row: dict[str, Any]) -> None:
    def times(name: str) -> str:
        return f"{row[f'{name}_seconds']:.2f} s a step ({row[f'{name}_cpu_seconds']:.2f} of a processor)"

    beside = f", dense {times('dense')}" if "dense_seconds" in row else ""
    print(
        f"width {row['width']:5d}, density 1/{round(1 / row['density']):5d}, {row['nonzero']:,} nonzero: "
        f"{times('regrow')}{beside}; stored {row['stored_bytes'] / 2**20:.1f} MiB, "
        f"dense {row['dense_bytes'] / 2**20:.0f} MiB",
        flush=True,
    )


def showpiece(batch: int, parts: int, n_steps: int) -> dict[str, Any]:
    """Tokens a second over `n_steps` steps after one of warm-up."""
    optimizer, step = following(SHOWPIECE, SHOWPIECE_DENSITY, every=200, parts=parts)
    generator = torch.Generator().manual_seed(0)
    seconds, cpu_seconds, turns = [], [], []
    for _ in range(n_steps + 1):
        windows = torch.randint(SHOWPIECE.vocab_size, (batch, SHOWPIECE.context + 1), generator=generator)
        began, began_cpu = time.perf_counter(), time.process_time()
        step(windows)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - began_cpu)
        turns.append(sum(matrix.support is None for matrix in optimizer.held))
    tokens = batch * SHOWPIECE.context
    return {
        "parameters": sum(p.numel() for p in optimizer.model.parameters()),
        "nonzero": sum(len(matrix.nonzero()) for matrix in optimizer.held),
        "tokens_per_step": tokens,
        "seconds": mean(seconds[1:]),
        "cpu_seconds": mean(cpu_seconds[1:]),
        "full_matrices": sum(turns[1:]),
        "tokens_per_second": tokens / mean(seconds[1:]),
        "tokens_in_12_hours": 12 * 3600 * tokens / mean(seconds[1:]),
        "stored_bytes": stored_bytes(optimizer),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--dense-up-to", type=int, default=1024, help="widest dense model")
    parser.add_argument("--batch", type=int, default=16, help="sequences per step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--showpiece", action="store_true")
    parser.add_argument("--parts", type=int, default=4, help="parts of a batch of the showpiece")
    parser.add_argument("--steps", type=int, default=8, help="steps of the showpiece")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    if options.showpiece:
        found = showpiece(options.batch, options.parts, options.steps)
        print(json.dumps({"threads": options.threads} | found, indent=1))
        return
    n_nonzero = MIN_PER_LINE * block_weights(ModelConfig(d_model=max(WIDTHS), n_layer=N_LAYER)) // max(WIDTHS)
    rows = []
    for width in options.width:
        rows.append(measure(width, n_nonzero, options.batch, options.repeats, width <= options.dense_up_to))
        if not options.json:
            show(rows[-1])
    if options.json:
        print(json.dumps({"threads": options.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
