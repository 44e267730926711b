"""The parts of docs/results.md that follow from docs/results/*.json: python tests/results_page.py writes them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
PAGE, FRONTIER, DEMANDS = DOCS / "results.md", DOCS / "results/frontier.json", DOCS / "results/frontier-robust.json"
BLOCK = re.compile(r"(?<=<!-- from the files -->\n).*?(?=<!-- end -->)", re.DOTALL)
COUNTED = {"n_edges_unswept": "before any sweep", "n_edges": "after that of nodes", "n_minimal_edges": "minimal"}


def generated() -> list[str]:
    """Ratios, circuits behind them, and what does not enter; then the ratios by requirement."""
    found = json.loads(FRONTIER.read_text(encoding="utf-8"))
    demands = json.loads(DEMANDS.read_text(encoding="utf-8"))
    sizes = ("nodes", "edges", "minimal", "circuit's test loss")
    parts = [
        ratio_table(found),
        table(
            ("model", "kind", "held-out loss", "task", "asked for", *sizes, "the model does it"), circuit_rows(found)
        ),
        left_out(found),
    ]
    return ["\n\n".join(parts) + "\n", f"{ratio_table(demands)}\n"]


def ratio_table(found: dict[str, Any]) -> str:
    return table(("asked for", "edges", "times fewer at equal loss", "by task"), map(ratio_row, found["ratios"]))


def ratio_row(one: dict[str, Any]) -> tuple[str, ...]:
    value = "-" if one["ratio"] is None else f"{one['ratio']:.1f}"
    tasks = ", ".join(f"`{row['task']}` {row['dense'] / row['sparse']:.1f}" for row in one["tasks"])
    return f"`{one['requirement']}`", COUNTED[one["counted"]], value, tasks or "none"


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
    blocks = iter(generated())
    PAGE.write_text(BLOCK.sub(lambda _: next(blocks), page), encoding="utf-8")
