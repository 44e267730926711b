"""Does training stay within 16 bytes a parameter, one largest matrix and the activations?

    python benchmarks/memory.py [--d-model 1024] [--n-layer 2] [--batch 1] [--freed kept|returned] [--json]

Peak resident memory of a few steps of one process above what it holds before the model is made, when every kernel is
compiled and every library loaded: a micro model has been trained. It is set against weights, gradients and moments (16
bytes a parameter), the largest matrix (scratch of the projection), and the activations that autograd saves, which are
counted afterwards. Linux only.
"""

import argparse
import gc
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does

import torch

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import linear_shapes
from thinwire.sparsity.costs import Cost, CostTable, default_costs
from thinwire.training import forecast
from thinwire.training.allocator import keep_freed_memory, return_freed_memory
from thinwire.training.config import RunConfig
from thinwire.training.loop import train_step
from thinwire.training.optimizer import SparseOptimizer

MICRO = ModelConfig(vocab_size=64, context=16, n_layer=1, d_model=128)
MIB = 1 << 20


def status(key: str) -> int:
    """Bytes of one line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def train(config: ModelConfig, batch: int, steps: int, density: float, costs: CostTable) -> tuple[int, int]:
    """(number of parameters, entries of the largest one) after `steps` steps; dense before the first one."""
    torch.manual_seed(0)
    model = GPT(config)
    model.use_costs(costs)
    optimizer = SparseOptimizer(model, 0.1, 4)
    for _ in range(steps):
        windows = torch.randint(config.vocab_size, (batch, config.context + 1))
        train_step(model, optimizer, windows, 1e-3, density)
    sizes = [p.numel() for p in model.parameters()]
    return sum(sizes), max(sizes)


def measure(config: ModelConfig, batch: int, steps: int, freed: str) -> dict[str, Any]:
    """Bytes: `growth`, `bound` and its parts, and their ratio."""
    shapes = linear_shapes(MICRO)
    over_weights = dict.fromkeys(shapes, Cost(dense=1.0, sparse=0.0, per_nonzero=0.0))
    over_activations = dict.fromkeys(shapes, Cost(dense=1.0, sparse=0.0, per_nonzero=1.0, per_kept=0.0))
    for costs in ({}, over_weights, over_activations):  # kernels are compiled before anything is measured
        train(MICRO, 4, 2, 0.25, costs)
    gc.collect()
    (keep_freed_memory if freed == "kept" else return_freed_memory)()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = status("VmRSS")
    n_parameters, largest = train(config, batch, steps, 0.05, default_costs(linear_shapes(config)))
    growth = status("VmHWM") - before
    parts = {
        "16 bytes a parameter": 16 * n_parameters,
        "largest matrix": 4 * largest,
        "saved activations": batch * forecast.saved_bytes(RunConfig(model=config)),
    }
    bound = sum(parts.values())
    return {"freed memory": freed, "growth": growth, "bound": bound, "ratio": growth / bound, "parts": parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-model", type=int, default=1024)
    parser.add_argument("--n-layer", type=int, default=2)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=1, help="windows of 64 tokens")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--freed", choices=("kept", "returned"), default="kept")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the text")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = ModelConfig(options.vocab_size, 64, options.n_layer, options.d_model)
    found = measure(config, options.batch, options.steps, options.freed)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    parts = ", ".join(f"{name} {n / MIB:.0f}" for name, n in found["parts"].items())
    print(f"freed memory {found['freed memory']}: {found['growth'] / MIB:.0f} MiB against {found['bound'] / MIB:.0f}")
    print(f"  ({parts}): {found['ratio']:.3f}")


if __name__ == "__main__":
    main()
