from pathlib import Path

import pytest
from step_rows import step_row

from thinwire.errors import CorruptFile, UserError
from thinwire.storage.files import sha256
from thinwire.training.metrics import MetricsLog, read_metrics


def written(path: Path, n_rows: int, seconds: float = 0.5) -> str:
    """Write rows 1, 2, ...; returns their checksum."""
    log = MetricsLog(path)
    for n in range(1, n_rows + 1):
        log.append(step_row(n, 1 / n, seconds=n * seconds))
    log.close()
    return log.checksum


def test_rows_are_read_back_and_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    written(path, 2)
    with open(path, "ab") as file:
        file.write(b'{"step": 3, "lo')
    assert [row.step for row in read_metrics(path)] == [1, 2]
    assert read_metrics(path)[1].loss == 0.5


def test_opening_cuts_back_to_the_rows_that_a_checkpoint_saw(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    two = written(path, 2)
    log = MetricsLog(path, 2, two)
    log.append(step_row(3, 2.0, seconds=9.0))
    path.write_bytes(path.read_bytes() + b'{"step": 4, "lo')
    log.close()
    log = MetricsLog(path, 2, two)
    log.append(step_row(3, 0.25, seconds=8.0))
    log.close()
    assert [row.loss for row in read_metrics(path)] == [1.0, 0.5, 0.25]


def test_the_checksum_leaves_the_clock_out_and_nothing_else(tmp_path: Path) -> None:
    slow, fast = written(tmp_path / "slow", 3, seconds=7.0), written(tmp_path / "fast", 3)
    assert slow == fast
    # sha256 of the rows without their seconds, one JSON object a line
    rest = '"density": 0.5, "learning_rate": 0.1, "grad_rms": 1.0}\n'
    rows = ((1, 8, "1.0"), (2, 16, "0.5"), (3, 24, "0.3333333333333333"))
    lines = [f'{{"step": {step}, "tokens": {tokens}, "loss": {loss}, {rest}' for step, tokens, loss in rows]
    assert fast == sha256("".join(lines).encode())
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
    log.append(step_row(1))
    log.close()
    MetricsLog(tmp_path / "metrics.jsonl", 1, log.checksum).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [step_row(1)]


def test_no_number_that_json_does_not_know_is_written(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append(step_row(1, float("nan")))
    log.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ((b'"loss"', b'"lost"'), "line 2: unknown keys: lost"),
        ((b'"loss": 0.5, ', b""), "line 2: missing keys: loss"),
        ((b'"loss": 0.5', b'"loss": "low"'), "line 2: loss: expected float, got str"),
        ((b'"loss": 0.5', b'"loss": -0.5'), "line 2: loss: expected float >= 0"),
    ],
)
def test_a_row_that_no_training_writes_is_named_by_line_and_key(
    tmp_path: Path, change: tuple[bytes, bytes], problem: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, 3)
    before, damaged, after = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(before + damaged.replace(*change) + after)
    with pytest.raises(CorruptFile, match=f"{path}, {problem}"):
        read_metrics(path)


def test_the_rows_that_a_checkpoint_saw_are_held_to_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    checksum = written(path, 3)
    written(tmp_path / "two", 2)
    assert len(read_metrics(path, 3, checksum)) == 3
    path.write_bytes(path.read_bytes().replace(b'"loss": 0.5', b'"loss": 0.25'))
    for n_vouched, name in ((3, "metrics.jsonl"), (3, "two"), (1, "absent")):
        with pytest.raises(CorruptFile, match="does not hold the steps that the last checkpoint saw; restore it"):
            read_metrics(tmp_path / name, n_vouched, checksum)
