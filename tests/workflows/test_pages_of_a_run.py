"""The pages of a trained run, opened in a browser, show what its circuit.json and verify.json say."""

import json
from pathlib import Path
from typing import Any

import pytest
from chromium import opened
from playwright.sync_api import Browser

from thinwire.circuits.artefact import load_circuit
from thinwire.runs.run import load_run
from thinwire.workflows import view as viewing
from thinwire.workflows.report import report_run


@pytest.fixture(scope="module")
def stored(pruned_path: Path) -> dict[str, Any]:
    """circuit.json and verify.json of the run's one circuit."""
    (directory,) = load_run(pruned_path).circuit_directories()
    load_circuit(directory)
    return {name: json.loads((directory / f"{name}.json").read_text()) for name in ("circuit", "verify")}


def test_the_report(browser: Browser, pruned_path: Path, tmp_path: Path, stored: dict[str, Any]) -> None:
    out = tmp_path / "report.html"
    report_run(pruned_path, out)
    circuit, verified = stored["circuit"], stored["verify"]
    with opened(browser, out) as (page, _):
        values = page.locator("#main-table tbody td > data").evaluate_all("ds => ds.map(d => Number(d.value))")
        test = circuit["scores"]["test"]
        assert values[:4] == [circuit["n_nodes"], circuit["n_edges"], test["loss"], test["accuracy"]]
        need = verified["necessity"]
        assert need["nodes_loss"] in values and need["edges_loss"] in values
        words = page.locator(".questions").inner_text()
        assert "What does it decide?" in words and "What happens without it?" in words
        drawn = page.locator("figure.circuit .tw-edge[data-target]").count()
        assert drawn == min(circuit["n_edges"], 300)
        page.locator("figure.circuit [data-node]").first.click()
        assert page.locator(".inspector:visible").count() == 1


def test_the_viewer(
    browser: Browser, pruned_path: Path, tmp_path: Path, stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NODE_PAIRS": 2, "EDGE_EFFECTS": 4, "TEXT_WINDOWS": 16, "LADDER_STEPS": 3}.items():
        monkeypatch.setattr(viewing, name, value)
    out = tmp_path / "view.html"
    viewing.view([pruned_path], out, device="cpu")
    circuit = stored["circuit"]
    with opened(browser, out) as (page, _):
        assert page.locator("#drawing .tw-node").count() == circuit["n_nodes"]
        drawn = page.locator("#drawing .tw-edge[data-target]").evaluate_all("es => es.map(e => e.dataset.source)")
        assert len(drawn) == min(circuit["n_edges"], 1500)
        a, s, b, t, weight = max(circuit["edges"], key=lambda edge: abs(edge[4]))
        page.locator("#search").fill(f"{b} {t}")
        page.locator("#search").press("Enter")
        assert page.locator("#panel h2").inner_text() == f"{b}:{t}"
        row = page.get_by_role("row", name=f"{a}:{s}", exact=False).first.locator("td").first.inner_text()
        assert float(row.replace("−", "-").replace("+", "")) == pytest.approx(weight, abs=0.006)
        for tab in ("Circuit", "Prompts", "Tests", "Notes"):
            page.get_by_role("tab", name=tab).click()
            assert page.locator("#panel").inner_text().strip()
