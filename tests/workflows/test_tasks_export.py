"""Tasks as files: everything that a task is made of, readable without this package, and by it as own pairs."""

import json
from pathlib import Path

import pytest

from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.storage.files import read_sealed
from thinwire.tasks.jsonl import load_jsonl_task
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.tasks.shifts import shifted_pairs, shifts_of
from thinwire.tasks.task import SPLITS
from thinwire.workflows.tasks_export import export_tasks

NAME = "single_double_quote"


def test_a_tasks_files_hold_its_pairs_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, task = tmp_path / "tasks", get_task(NAME)
    assert main(["tasks", "export", NAME, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["name"] == NAME
    (stored,) = json.loads(read_sealed(out, "tasks.json"))["tasks"]
    parts = {split: task.pairs(split) for split in SPLITS}
    parts |= {f"shift-{shift}": shifted_pairs(task, shift) for shift in shifts_of(task)}
    assert stored["files"] == {f"{NAME}/{part}.jsonl": len(pairs) for part, pairs in parts.items()}
    for part, pairs in parts.items():
        rows = [json.loads(line) for line in read_sealed(out, f"{NAME}/{part}.jsonl").splitlines()]
        assert [(row["clean"], row["corrupt"]) for row in rows] == [(pair.clean, pair.corrupt) for pair in pairs]
        assert {(row["answer"], row["other"]) for row in rows} == {
            (task.alternatives[0].answer, task.alternatives[0].other)
        }


def test_a_file_is_one_of_own_pairs(tmp_path: Path) -> None:
    export_tasks(tmp_path / "tasks", [NAME])
    own = load_jsonl_task(tmp_path / "tasks" / NAME / "train.jsonl")
    assert {pair for split in SPLITS for pair in own.pairs(split)} == set(get_task(NAME).pairs("train"))


def test_all_tasks_are_written_and_unknown_ones_leave_nothing(tmp_path: Path) -> None:
    assert [task.name for task in export_tasks(tmp_path / "all").tasks] == list(all_tasks())
    with pytest.raises(UserError, match="no_such_task"):
        export_tasks(tmp_path / "none", ["no_such_task"])
    assert not (tmp_path / "none").exists()
