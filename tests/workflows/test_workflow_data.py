"""`thinwire data inspect`: rates by source, and of all sources as they are mixed."""

import json
from pathlib import Path

import pytest

from thinwire.cli.main import main
from thinwire.data.config import DataConfig
from thinwire.errors import UserError
from thinwire.workflows.data import ALL, inspect

DOUBLE, SINGLE = 'call("text")\n', "call('text')\n"


def write(folder: Path, text: str, n: int) -> str:
    folder.mkdir()
    for i in range(n):
        (folder / f"m{i}.py").write_text(text * 10 + f"# {i:04}\n")
    return str(folder)


@pytest.fixture
def both(tmp_path: Path) -> tuple[str, str]:
    return write(tmp_path / "double", DOUBLE, 40), write(tmp_path / "single", SINGLE, 80)


def test_rates_are_places_per_megabyte_of_each_source(both: tuple[str, str]) -> None:
    found = inspect(DataConfig(both))
    rows = {row.source: row for row in found.tasks if row.task == "single_double_quote"}
    # a file of 10 lines of 13 bytes and one of 7 has 10 places: 10 / 137 x 1,000,000
    assert rows[both[0]].clean == pytest.approx(1e7 / 137) and rows[both[0]].corrupt == 0
    assert rows[both[1]].corrupt == pytest.approx(1e7 / 137) and rows[both[1]].clean == 0
    given = {row.source: row.train_bytes for row in found.sources}
    n_double, n_single = given[both[0]], given[both[1]]
    assert rows[ALL].clean == pytest.approx(1e7 / 137 * n_double / (n_double + n_single))
    assert [row.n_documents for row in found.sources] == [40, 80]


def test_shares_weigh_what_they_give(both: tuple[str, str]) -> None:
    rows = inspect(DataConfig((f"{both[0]}=0.25", f"{both[1]}=0.75"))).tasks
    (row,) = [row for row in rows if (row.task, row.source) == ("single_double_quote", ALL)]
    assert row.clean / row.corrupt == pytest.approx(1 / 3, rel=0.05)


def test_the_verb_prints_a_table_or_json(both: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", *both]) == 0
    printed = capsys.readouterr().out
    assert "single_double_quote" in printed and "clean / corrupt" in printed
    assert main(["data", "inspect", f"--source={both[0]}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [source["source"] for source in found["sources"]] == [both[0]]
    assert {row["source"] for row in found["tasks"]} == {both[0]}  # a single source has no sum
    assert main(["data", "inspect", f"{both[0]}=0.5", both[1]]) == 2
    assert "has no share and others have one" in capsys.readouterr().err
    assert main(["data", "inspect", both[0], "--recipe", "demo"]) == 2
    assert "give --recipe or sources" in capsys.readouterr().err


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no file or folder"):
        inspect(DataConfig(str(tmp_path / "absent")))
