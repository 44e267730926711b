"""What `--json` prints is what scripts read: the keys of every document stay."""

import json
from dataclasses import dataclass, fields

import pytest

from thinwire.cli.tables import plain, show_json
from thinwire.decompile.judge import Agreement
from thinwire.frontier.compare import Summary
from thinwire.workflows.benchmark import (
    BenchmarkResult,
    BenchmarkSummary,
    Means,
    MethodSummary,
    VerdictCounts,
)
from thinwire.workflows.data import Inspected, InspectedSource, TaskRates
from thinwire.workflows.decompile import Facts, WrittenProgram
from thinwire.workflows.demo import DemoPlan, DemoResult
from thinwire.workflows.doctor import Check, Checkup
from thinwire.workflows.tasks import ListedTask, ShownTask, TaskList
from thinwire.workflows.train import Plan, TimedPlan, TrainResult
from thinwire.workflows.verify import VerifyResult

RESULTS = {
    Checkup: "checks ok",
    Check: "name status detail remedy",
    TaskList: "tasks",
    ListedTask: "name version description",
    ShownTask: "name version description excluded_cue alternatives shifts n_pairs pairs",
    Inspected: "sources tasks",
    InspectedSource: "source share n_documents n_bytes train_bytes heldout_bytes skipped duplicates links",
    TaskRates: "task source clean clean_wrong corrupt corrupt_wrong",
    Plan: "recipe parameters nonzero steps tokens memory_bytes threads",
    TimedPlan: "recipe parameters nonzero steps tokens memory_bytes threads seconds",
    VerifyResult: "run budget circuits",
    WrittenProgram: "program facts",
    Facts: "task circuit requirement n_edges exact lines exact_error validation test right circuit_right shifted kept "
    "n_tried",
    Agreement: "pairs prompts n_pairs",
    BenchmarkResult: "out summary models",
    BenchmarkSummary: "n_models methods verdicts",
    MethodSummary: "n_exact n_minimal_sufficient nodes edges seconds",
    Means: "precision recall auroc cpr cmd",
    VerdictCounts: "n_truths n_truths_faithful n_mutations n_mutations_faithful",
    Summary: "heldout_loss tasks tasks_compared tasks_left_out geomean_edges edge_ratio sweeps seconds ladder",
    DemoPlan: "budget_seconds sparse dense first_task n_tasks k_coefs",
}
"""Record -> its keys."""
TRAINED = TrainResult(
    run="runs/x",
    steps=20,
    tokens=2560,
    seconds=None,
    heldout_loss=3.5,
    unigram_loss=4.5,
    learned=True,
    heldout_in_training=0.0,
    fingerprint="0" * 64,
    mode="exact",
    parameters=100,
    nonzero=40,
    sparse_parameters=90,
    sparse_nonzero=30,
    savings={},
)


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Counted:
    n: int

    def to_dict(self) -> dict[str, int]:
        return {"twice": 2 * self.n}


@dataclass(frozen=True)
class Outer:
    by_name: dict[str, Inner]
    rows: tuple[Counted, ...]
    nothing: None = None


def test_a_record_is_printed_by_its_fields_or_as_it_says_itself(capsys: pytest.CaptureFixture[str]) -> None:
    record = Outer({"a": Inner((1, 2))}, (Counted(3),))
    document = {"by_name": {"a": {"sizes": [1, 2]}}, "rows": [{"twice": 6}], "nothing": None}
    assert plain(record) == document
    show_json(record)
    assert json.loads(capsys.readouterr().out) == document


@pytest.mark.parametrize("record", list(RESULTS))
def test_documents_keep_their_keys(record: type) -> None:
    assert [field.name for field in fields(record)] == RESULTS[record].split()


def test_a_demo_prints_its_summary_with_the_report_and_the_stages() -> None:
    told = [field.name for field in fields(DemoResult)]
    assert told == [*RESULTS[Summary].split(), "report", "stages"]


def test_savings_stand_beside_the_other_numbers_of_a_training() -> None:
    keys = "run steps tokens seconds heldout_loss unigram_loss learned heldout_in_training fingerprint mode"
    keys += " parameters nonzero sparse_parameters sparse_nonzero"
    assert list(plain(TRAINED)) == keys.split()
    regrown = TrainResult(**vars(TRAINED) | {"mode": "regrow", "savings": {"exchanges": 2.0}})
    assert plain(regrown) == {**plain(TRAINED), "mode": "regrow", "exchanges": 2.0}
