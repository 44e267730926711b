"""`thinwire --print_completion SHELL`: what a shell offers, asked of a real bash."""

import shutil
import subprocess
from pathlib import Path

import pytest

from thinwire.cli.completion import SHELLS, completion_script
from thinwire.cli.main import main
from thinwire.cli.registry import VERBS
from thinwire.tasks.registry import all_tasks

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p thinwire); function=${function##*-F }; ${function%% *}
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Loads a script and asks for the last of some words, as bash does when Tab is pressed."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "thinwire.bash"
    path.write_text(completion_script("bash", VERBS))
    return path


def offered(script: Path, line: str, place: Path | None = None) -> list[str]:
    """What bash offers for the last word of `line`, in the working directory `place`."""
    words = ["thinwire", *line.split(" ")]
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", script, *words], capture_output=True, text=True, check=True, cwd=place
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pr", ["prune"]),
        ("tasks ", ["list", "show", "check", "export"]),
        ("tasks sh", ["show"]),
        ("prune headl", ["headline"]),
        ("prune headline single", ["single_double_quote"]),
        ("prune headline indent_for single", ["single_double_quote"]),
        ("prune headline --task single", ["single_double_quote"]),
        ("prune headline indent_for --requ", ["--require"]),
        ("prune headline indent_for --require ", ["sufficient", "robust", "faithful"]),
        ("train --model.d_m", ["--model.d_model"]),
        ("train --data.dedupe_heldout ", ["true", "false"]),
        ("export op", ["openai"]),
        ("--print_completion ", list(SHELLS)),
    ],
)
def test_bash_offers(script: Path, line: str, expected: list[str]) -> None:
    assert offered(script, line) == expected


def test_files_are_offered_where_one_is_named(script: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").touch()
    (tmp_path / "oats").mkdir()
    for line in ("prune o", "prune headline o", "train --out o", "verify headline o"):
        assert sorted(word for word in offered(script, line, tmp_path) if word.startswith("o")) == ["oats", "own.jsonl"]


def test_every_verb_and_every_task_is_offered(script: Path) -> None:
    groups: dict[str, list[str]] = {"": []}
    for first, _, second in (name.partition(" ") for name in VERBS):
        if first not in groups[""]:
            groups[""].append(first)
        if second:
            groups.setdefault(f"{first} ", []).append(second)
    assert {group: offered(script, group) for group in groups} == groups
    assert set(all_tasks()) <= set(offered(script, "tasks show "))


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_what_the_shell_reads(
    shell: str, capsys: pytest.CaptureFixture[str], script: Path, tmp_path: Path
) -> None:
    """Printed by the command, without a word more; read by the shell where it is there."""
    assert main(["--print-completion", shell]) == 0
    printed = capsys.readouterr().out
    assert "single_double_quote" in printed and "headline" in printed and "/root" not in printed
    (tmp_path / "script").write_text(printed)
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n", str(tmp_path / "script")], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("argv", [["--print_completion"], ["--print_completion", "csh"]])
def test_another_shell_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.endswith("; there is: bash, zsh, fish\n")
