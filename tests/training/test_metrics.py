import json
from pathlib import Path

import pytest

from thinwire.errors import CorruptFile, UserError
from thinwire.storage.files import sha256
from thinwire.training.metrics import MetricsLog, read_metrics


def written(path: Path, n_rows: int, seconds: float = 0.5) -> str:
    """Write rows 1, 2, ...; returns their checksum."""
    log = MetricsLog(path)
    for n in range(1, n_rows + 1):
        log.append({"step": n, "loss": 1 / n, "seconds": n * seconds})
    log.close()
    return log.checksum


def test_rows_are_read_back_and_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    written(path, 2)
    with open(path, "ab") as file:
        file.write(b'{"step": 3, "lo')
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    assert read_metrics(path)[1]["loss"] == 0.5


def test_opening_cuts_back_to_the_rows_that_a_checkpoint_saw(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    two = written(path, 2)
    log = MetricsLog(path, 2, two)
    log.append({"step": 3, "seconds": 9.0})
    path.write_bytes(path.read_bytes() + b'{"step": 4, "lo')
    log.close()
    log = MetricsLog(path, 2, two)
    log.append({"step": 3, "loss": 0.25, "seconds": 8.0})
    log.close()
    assert [row.get("loss") for row in read_metrics(path)] == [1.0, 0.5, 0.25]


def test_the_checksum_leaves_the_clock_out_and_nothing_else(tmp_path: Path) -> None:
    slow, fast = written(tmp_path / "slow", 3, seconds=7.0), written(tmp_path / "fast", 3)
    assert slow == fast
    # sha256 of the rows without their seconds, one JSON object a line
    assert fast == sha256(
        b'{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 0.5}\n{"step": 3, "loss": 0.3333333333333333}\n'
    )
    with pytest.raises(CorruptFile, match="was altered before its last checkpoint; restore it, or train into a new"):
        MetricsLog(tmp_path / "fast", 2, fast)


@pytest.mark.parametrize("damage", [b'"loss": 0.25', b'"loss": 0x50', b"\0" * 11])
def test_a_damaged_line_is_noticed(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    checksum = written(path, 3)
    path.write_bytes(path.read_bytes().replace(b'"loss": 0.5', damage))
    with pytest.raises(CorruptFile, match=f"{path} .*restore it, or train into a new directory"):
        MetricsLog(path, 3, checksum)
    if damage != b'"loss": 0.25':  # which is JSON still
        with pytest.raises(CorruptFile, match="holds a damaged line"):
            read_metrics(path)


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    checksum = written(tmp_path / "metrics.jsonl", 3)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(CorruptFile, match="was altered"):
        MetricsLog(tmp_path / "metrics.jsonl", 3, checksum)


def test_two_processes_do_not_write_the_same_run(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match="is being trained by another process"):
        MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1})
    log.close()
    MetricsLog(tmp_path / "metrics.jsonl", 1, log.checksum).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_no_number_that_json_does_not_know_is_written(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append({"loss": float("nan")})
    log.close()
    assert json.dumps(read_metrics(tmp_path / "metrics.jsonl")) == "[]"
