"""docs/tutorial.md prints what its commands print."""

from pathlib import Path

import pytest
from tutorial_page import PAGE, alike, blocks, printed

QUICK = ("tasks", "eval")
"""Verbs of the page that take seconds."""
AGAIN = "run: .venv/bin/python tests/tutorial_page.py"


@pytest.mark.parametrize("number", [n for n, (command, _) in enumerate(blocks()) if command.split()[1] in QUICK])
def test_what_is_quick_prints_what_the_page_says(number: int) -> None:
    command, stated = blocks()[number]
    assert alike(printed(command), stated), AGAIN


@pytest.mark.slow
def test_the_whole_page_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In a cache of its own, where no step finds what another run left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THINWIRE_CACHE", str(tmp_path_factory.mktemp("tutorial")))
    different = [command for command, stated in blocks() if not alike(printed(command), stated)]
    assert different == [], AGAIN


def test_every_stage_is_shown() -> None:
    assert [command.split()[1] for command, _ in blocks()] == ["tasks", "tasks", "prune", "verify", "eval"]
    assert all(stated.strip() for _, stated in blocks()), AGAIN
    assert "thinwire view headline" in PAGE.read_text(encoding="utf-8")


def test_outputs_are_compared_word_for_word_and_number_by_number() -> None:
    """Numbers may differ by rounding, in the last place or by 2 %; words and the count of numbers may not."""
    stated = "loss 0.123  42 edges\n━━━━\n"
    assert alike("loss 0.124 42 edges\n━━\n", stated)
    assert not alike("loss 0.133 42 edges\n", stated)
    assert not alike("loss 0.123 44 edges\n", stated)
    assert not alike("loss 0.123 42 nodes\n", stated)
    assert not alike("loss 0.123 42 edges 7\n", stated)
