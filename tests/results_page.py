"""The part of docs/results.md that follows from docs/results/frontier.json: python tests/results_page.py writes it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
PAGE, FRONTIER = DOCS / "results.md", DOCS / "results" / "frontier.json"
BLOCK = re.compile(r"(?<=<!-- from frontier\.json -->\n).*?(?=<!-- end -->)", re.DOTALL)
COUNTED = {"n_edges_unswept": "before the sweep", "n_edges": "after it", "n_minimal_edges": "minimal"}


def generated() -> str:
    """Ratios, circuits behind them, and what does not enter."""
    found = json.loads(FRONTIER.read_text(encoding="utf-8"))
    sizes = ("nodes", "edges", "minimal", "circuit's test loss")
    parts = [
        table(("asked for", "edges", "times fewer at equal loss", "95 %", "tasks"), map(ratio_row, found["ratios"])),
        table(
            ("model", "kind", "held-out loss", "task", "asked for", *sizes, "the model does it"), circuit_rows(found)
        ),
        left_out(found),
    ]
    return "\n\n".join(parts) + "\n"


def ratio_row(one: dict[str, Any]) -> tuple[str, ...]:
    interval = "one task" if one["low"] is None else f"{one['low']:.1f} to {one['high']:.1f}"
    value = "-" if one["ratio"] is None else f"{one['ratio']:.1f}"
    tasks = ", ".join(f"`{row['task']}` {row['dense'] / row['sparse']:.1f}" for row in one["tasks"])
    return f"`{one['requirement']}`", COUNTED[one["counted"]], value, interval, tasks or "none"


def circuit_rows(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    models = {model["name"]: model for model in found["models"]}
    for one in sorted(found["circuits"], key=lambda c: (c["task"], models[c["model"]]["heldout_loss"])):
        model, cell = models[one["model"]], one["cell"]
        does = "yes" if cell["model_does"] else f"no: {cell['model_accuracy']:.1%} right, {cell['model_loss']:.3f} nats"
        sizes = (str(cell[name]) if one["met"] else "-" for name in ("n_nodes", "n_edges", "n_minimal_edges"))
        loss = f"{cell['heldout_loss']:.3f}" if cell["heldout_loss"] is not None else "limit not met"
        named = (f"`{one['model']}`", model["kind"], f"{model['heldout_loss']:.3f}", f"`{one['task']}`")
        yield *named, f"`{one['requirement']}`", *sizes, loss, does


def left_out(found: dict[str, Any]) -> str:
    reasons = {(one["requirement"], task): why for one in found["ratios"] for task, why in one["left_out"].items()}
    lines = [f"- `{task}`, `{requirement}`: {why}." for (requirement, task), why in sorted(reasons.items())]
    return "Tasks of the sparse model that do not enter:\n\n" + "\n".join(lines)


def table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: generated(), page), encoding="utf-8")
