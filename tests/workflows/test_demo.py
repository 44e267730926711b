"""The demo from corpus to report, in a world of seconds."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_world import HARDER, SOLVED, quick, tiny_config

import thinwire
from thinwire.cli.main import main
from thinwire.errors import CorruptFile, UserError
from thinwire.progress import Advance, Progress, silent
from thinwire.storage.files import add_sealed, read_sealed
from thinwire.tasks.registry import get_task
from thinwire.training.config import RunConfig
from thinwire.workflows import demo

ABSENT = "bracket_counting"
"""A task whose answers are no tokens in the tiny world."""
SIZES = {"n_nodes", "n_edges", "n_edges_unswept", "n_minimal_edges"}
NUMBERS = SIZES | {"heldout_loss", "heldout_accuracy", "necessity_loss", "random_loss"}


@pytest.fixture(scope="module")
def small(tiny_corpus: Path) -> Iterator[None]:
    """The demo's constants, small."""

    def sparse() -> RunConfig:
        return tiny_config(tiny_corpus, steps=160)

    def dense(d_model: int = 32) -> RunConfig:
        return tiny_config(tiny_corpus, d_model=d_model, density=1.0, steps=60)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo.recipes, "demo", sparse)
        patch.setattr(demo.recipes, "demo_dense", dense)
        patch.setattr("thinwire.tasks.family.SIZES", {"train": 48, "validation": 24, "test": 24})
        patch.setattr(demo, "TWINS", ((16, 0.5), (16, 1.0), (32, 1.0)))
        patch.setattr(demo, "FIRST_TWINS", (0, 1))
        patch.setattr(demo, "N_TASKS", 2)
        patch.setattr(demo, "WORKERS", 1)  # other processes would not see these patches
        patch.setattr(demo, "K_COEFS", (1e-3,))
        patch.setattr(demo, "REQUIREMENTS", ("sufficient", "robust"))  # one rung is enough to see a ladder
        patch.setattr(demo, "PruneConfig", lambda **changes: quick(**({"steps": 15} | changes)))
        patch.setattr(demo, "all_tasks", lambda: {name: get_task(name) for name in (SOLVED, HARDER, ABSENT)})
        yield


def stopping_at(word: str, place: int) -> Progress:
    """Interrupts as the `place`-th bar whose title holds `word` starts."""
    left = [place]

    @contextlib.contextmanager
    def progress(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        left[0] -= word in title
        if left[0] == 0:
            raise KeyboardInterrupt
        with silent(title, total, unit) as advance:
            yield advance

    return progress


@pytest.fixture(scope="module")
def out(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo that was interrupted in its second pruning and went on with the same command."""
    path = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.raises(KeyboardInterrupt):
        demo.demo(path, progress=stopping_at("prune", 2))
    weights = sorted((path / "sparse" / "checkpoints").rglob("model.safetensors"))
    stamps = [p.stat().st_mtime_ns for p in weights]
    demo.demo(path)
    assert [p.stat().st_mtime_ns for p in weights] == stamps, "trained again"
    return path


@pytest.mark.slow
def test_the_summary_has_the_promised_shape(out: Path) -> None:
    summary = json.loads(read_sealed(out, "summary.json"))
    assert set(summary) == {
        "heldout_loss",
        "tasks",
        "tasks_compared",
        "tasks_left_out",
        "geomean_edges",
        "edge_ratio",
        "sweeps",
        "seconds",
        "ladder",
    }
    assert set(summary["heldout_loss"]) == set(summary["geomean_edges"]) == {"sparse", "dense"}
    assert all(isinstance(loss, float) for loss in summary["heldout_loss"].values())
    assert set(summary["tasks"]) == {HARDER, SOLVED}  # the sparse model solves both; the third has no answers here
    for cells in summary["tasks"].values():
        assert set(cells) == {"sparse", "dense"}
        for cell in cells.values():
            kinds = {type(cell[name]) for name in NUMBERS}
            assert kinds == {type(None)} or kinds <= {int, float}
            assert cell["solved"] == (not cell["why_not"])
    both = [n for n, c in summary["tasks"].items() if all(m["model_does"] and m["n_edges"] for m in c.values())]
    assert summary["tasks_compared"] == both
    assert set(summary["tasks_left_out"]) == set(summary["tasks"]) - set(both)
    if both:
        means = summary["geomean_edges"]
        assert summary["edge_ratio"] == pytest.approx(means["dense"] / means["sparse"])
    assert summary["seconds"] > 0


@pytest.mark.slow
def test_cells_are_the_stored_circuits_and_checks(out: Path) -> None:
    """Every number of a cell can be found in the run that it belongs to."""
    summary, journal = (json.loads(read_sealed(out, name)) for name in ("summary.json", "demo.json"))
    for name, paths in journal["chosen"].items():
        for kind, path in paths.items():
            circuit = json.loads(read_sealed(out / path, "circuit.json"))
            cell = summary["tasks"][name][kind]
            if circuit["status"] == "not_solved":
                assert {cell[number] for number in NUMBERS} == {None}
                continue
            necessity = json.loads(read_sealed(out / path, "verify.json"))["necessity"]
            assert (cell["n_nodes"], cell["n_edges"]) == (circuit["n_nodes"], circuit["n_edges"])
            assert cell["heldout_loss"] == circuit["scores"]["test"]["loss"]
            assert cell["heldout_accuracy"] == circuit["scores"]["test"]["accuracy"]
            assert cell["necessity_loss"] == necessity["nodes_loss"]


@pytest.mark.slow
def test_both_models_are_ordinary_runs(out: Path) -> None:
    sparse, dense = (thinwire.load_run(out / kind) for kind in ("sparse", "dense"))
    assert (sparse.config.train.density, dense.config.train.density) == (0.3, 1.0)
    assert sparse.corpus.sha256 == dense.corpus.sha256
    assert sparse.tokenizer.sha256 == dense.tokenizer.sha256
    assert sparse.fingerprint != dense.fingerprint


@pytest.mark.slow
def test_the_twin_follows_the_stated_rule(out: Path) -> None:
    journal = json.loads(read_sealed(out, "demo.json"))
    sparse, tried = journal["heldout_loss"]["sparse"], journal["twins"]
    (chosen,) = [twin for twin in tried if twin["chosen"]]
    assert all(abs(chosen["heldout_loss"] - sparse) <= abs(twin["heldout_loss"] - sparse) for twin in tried)
    losses = [twin["heldout_loss"] for twin in tried]
    assert min(losses) <= sparse <= max(losses) or len(tried) == 3
    assert journal["heldout_loss"]["dense"] == chosen["heldout_loss"]
    assert thinwire.load_run(out / "dense").config.model.d_model == chosen["d_model"]


@pytest.mark.slow
def test_tasks_are_chosen_by_the_whole_models_accuracy(out: Path) -> None:
    selection = json.loads(read_sealed(out, "demo.json"))["selection"]
    rows = {row["name"]: row for row in selection["tasks"]}
    assert set(rows) == {SOLVED, HARDER, ABSENT}
    assert rows[SOLVED]["solved"] and rows[SOLVED]["selected"] and rows[SOLVED]["sparse_accuracy"] >= 0.95
    assert rows[ABSENT]["unavailable"] and not rows[ABSENT]["selected"]


@pytest.mark.slow
def test_the_report_is_there_and_shows_the_table(out: Path) -> None:
    page = read_sealed(out, "report.html").decode()
    for name in (SOLVED, HARDER):
        assert name in page
    assert "Edges of the smallest circuit found at each requirement" in page and "robust: edges" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_a_finished_demo_is_told_again_as_one_json_document(
    out: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained or pruned twice; stdout holds the document and nothing else."""
    circuits = {p: p.stat().st_mtime_ns for p in out.rglob("circuit.json")}
    before = json.loads(read_sealed(out, "summary.json"))
    assert main(["demo", "--out", str(out), "--resume", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tasks"] == before["tasks"]
    assert document["report"] == str(out / "report.html")
    assert {stage["name"] for stage in document["stages"]} == set(demo.BUDGET)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("circuit.json")} == circuits


def test_the_stated_budget_is_a_quarter_of_an_hour() -> None:
    assert sum(demo.BUDGET.values()) <= 15 * 60


def damage_run(path: Path) -> None:
    (path / "sparse").mkdir()


def damage_file(path: Path) -> None:
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize("fill", [damage_run, damage_file])
def test_a_directory_that_holds_something_else_is_refused(
    small: None, tmp_path: Path, fill: Callable[[Path], None]
) -> None:
    fill(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="holds something else than a demo"):
        demo.demo(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_no_demo(small: None, own_run: Any) -> None:
    with pytest.raises(UserError, match="holds something else than a demo"):
        demo.demo(own_run.path)


@pytest.mark.slow
def test_a_demo_of_another_seed_is_refused(out: Path, small: None) -> None:
    with pytest.raises(UserError, match="holds a demo with seed 0; choose another --out"):
        demo.demo(out, seed=1)


@pytest.mark.parametrize("step", range(8))
def test_a_kill_while_the_journal_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whichever rename is the last that happens, the journal is there with its old or its new content."""
    journal = demo.Journal(tmp_path / "demo", seed=0)
    journal.keep(command="old")
    left = [step]
    replace = thinwire.storage.files.os.replace  # pyright: ignore[reportAttributeAccessIssue]

    def dying(*paths: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(*paths)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr("thinwire.storage.files.os.replace", dying)
        journal.keep(command="new")
    assert demo.Journal(tmp_path / "demo", seed=0).decided.command in ("old", "new")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mood": 1}, "unknown keys: mood"),
        ({"seed": "0"}, "seed: expected int, got str"),
        ({"twins": [{"d_model": 32}]}, "missing keys: twins.0.chosen"),
    ],
)
def test_a_journal_that_no_demo_writes_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    out = demo.Journal(tmp_path / "demo", seed=0).out
    values = json.loads(read_sealed(out, "demo.json")) | changes
    add_sealed(out, "demo.json", json.dumps(values))
    with pytest.raises(CorruptFile, match=message):
        demo.Journal(out, seed=0)
