"""How fast is the interactive page, inside headless Chromium? Prints times and file sizes against the limits.

Baseline: the same page with a circuit of one edge, measured in the same run. Limits: at 400 nodes and 3,000 edges the
page's own script takes under 300 ms to the first paint and under 50 ms for a selection; at 2,000 nodes and 20,000 edges
a selection takes under 200 ms; a sparse circuit's file stays under 2 MB.

    python benchmarks/viewer.py [--demo RUN]
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chromium import chromium, opened  # noqa: E402  # pyright: ignore[reportMissingImports]
from view_fixture import large_view  # noqa: E402  # pyright: ignore[reportMissingImports]

from thinwire.circuits.graph import Circuit  # noqa: E402
from thinwire.viewer.page import render_view  # noqa: E402

REPEATS = 5
PICKS = 20
# name -> (nodes, edges, layers, width), limits of first paint and of a selection in ms (None: no limit)
CASES: dict[str, tuple[tuple[int, int, int, int], float | None, float | None]] = {
    "baseline": ((20, 1, 2, 64), None, None),
    "400 / 3,000": ((400, 3000, 4, 512), 300.0, 50.0),
    "2,000 / 20,000": ((2000, 20000, 8, 1024), None, 200.0),
}


def page_of(n_nodes: int, n_edges: int, n_layer: int, width: int) -> tuple[str, Circuit]:
    """A page whose circuit has about so many nodes and, where there is room, exactly so many edges."""
    view = large_view(n_nodes, n_edges, n_layer, width)
    return render_view(view), view.circuits[0].circuit


FIRST = "performance.getEntriesByName('thinwire-first')[0].duration"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SELECT = """async (count) => {
  const nodes = [...document.querySelectorAll('#drawing .tw-node')];
  const times = [];
  for (let i = 0; i < count; i++) {
    const key = nodes[Math.floor(i * nodes.length / count)].dataset.node;
    const began = performance.now();
    thinwire.pick(key);
    document.body.getBoundingClientRect(); // style and layout count, too
    times.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""


def measure(browser: Any, path: Path) -> tuple[float, float, float, float]:
    """Medians over repeats, in ms: own script to first paint, first paint, a selection; and the worst selection."""
    firsts, paints, picks = [], [], []
    for _ in range(REPEATS):
        with opened(browser, path) as (page, _watch):
            page.wait_for_timeout(300)
            firsts.append(page.evaluate(FIRST))
            paints.append(page.evaluate(PAINT))
            picks += page.evaluate(SELECT, PICKS)
    return statistics.median(firsts), statistics.median(paints), statistics.median(picks), max(picks)


def judge(name: str, value: float, limit: float | None) -> str:
    if limit is None:
        return f"{name} {value:.0f} ms"
    return f"{name} {value:.0f} ms ({'within' if value < limit else 'OVER'} {limit:.0f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="A page written by `thinwire view`, to be measured too.")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        baseline = 0.0
        for name, (shape, first_limit, pick_limit) in CASES.items():
            path = Path(folder) / "page.html"
            page, circuit = page_of(*shape)
            path.write_text(page, encoding="utf-8")
            first, paint, pick, worst = measure(browser, path)
            baseline = baseline or first
            size = f"{circuit.n_nodes:,} nodes, {circuit.n_edges:,} edges, {len(page) / 1e6:.2f} MB"
            print(f"{name}: {size}")
            told = judge("own script to first paint", first, first_limit)
            print(f"  {told}, {first / baseline:.1f}x baseline; paint at {paint:.0f} ms")
            print(f"  {judge('selection', pick, pick_limit)}, worst {worst:.0f} ms")
            failed |= bool(first_limit and first >= first_limit) or bool(pick_limit and pick >= pick_limit)
        if arguments.demo:
            first, paint, pick, worst = measure(browser, arguments.demo)
            print(f"{arguments.demo}: {arguments.demo.stat().st_size / 1e6:.2f} MB (limit 2 for one sparse circuit)")
            print(
                f"  own script {first:.0f} ms, paint at {paint:.0f} ms, selection {pick:.0f} ms, worst {worst:.0f} ms"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
