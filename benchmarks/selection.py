"""How fast are AbsTopK and the projection beside torch.topk, exact on both sides?

    python benchmarks/selection.py [--threads N] [--json]

AbsTopK: 4096 rows, a quarter kept, against torch.topk + scatter. Projection: a 2048 x 2048 matrix (4M entries), against
torch.topk over the flattened matrix + mask, without and with 4 protected entries a line. In turns; medians.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does, for both sides alike

import torch

from thinwire.sparsity.projection import project_topk_
from thinwire.sparsity.topk import abs_topk
from thinwire.training.allocator import keep_freed_memory
from thinwire.training.reference import project_by_topk_, topk_scatter

Action = Callable[[], Any]


def compare(name: str, ours: Action, plain: Action, repeats: int, prepare: Action = lambda: None) -> dict[str, Any]:
    """Median of both, in turns, after one round of warm-up; `prepare` comes before each and is not timed."""
    times: dict[Action, list[float]] = {ours: [], plain: []}
    for repeat in range(-1, repeats):
        for action, found in times.items():
            prepare()
            began = time.perf_counter()
            action()
            if repeat >= 0:
                found.append(time.perf_counter() - began)
    fast, slow = median(times[ours]), median(times[plain])
    return {"name": name, "milliseconds": 1e3 * fast, "torch_milliseconds": 1e3 * slow, "ratio": slow / fast}


def rows(repeats: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for width in (256, 1024):
        x = torch.randn(4096, width, generator=generator)
        k = width // 4
        found.append(compare(f"AbsTopK, width {width}", partial(abs_topk, x, k), partial(topk_scatter, x, k), repeats))
    matrix = torch.randn(2048, 2048, generator=generator)
    work = matrix.clone()
    for density in (1 / 4, 1 / 20, 1 / 64):
        for protect in (None, "rows", "columns"):
            ours, plain = (partial(f, work, density, protect, 4) for f in (project_topk_, project_by_topk_))
            name = f"projection, density 1/{round(1 / density)}, protected lines: {protect or 'none'}"
            found.append(compare(name, ours, plain, repeats, prepare=partial(work.copy_, matrix)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    found = rows(options.repeats)
    if options.json:
        print(json.dumps({"threads": options.threads, "rows": found}, indent=1))
        return
    for row in found:
        ours, plain = row["milliseconds"], row["torch_milliseconds"]
        print(f"{row['name']:55s} {ours:7.2f} ms, torch {plain:7.2f} ms: {row['ratio']:.1f} x")


if __name__ == "__main__":
    main()
