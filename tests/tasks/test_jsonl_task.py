"""Own tasks, from a file and as a Python object: read, tokenized, checked on a run, refused by name and line."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from test_task_tokens import stdlib_tokenizer
from tiny_world import SOLVED

from thinwire.circuits.prompts import Prompts
from thinwire.cli.main import main
from thinwire.errors import MissingFile, UserError
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.jsonl import load_jsonl_task, split_of
from thinwire.tasks.registry import all_tasks, get_task, resolve_task
from thinwire.tasks.shifts import shifted_pairs, shifts_of
from thinwire.tasks.task import SPLITS, Answers, Pair, Split
from thinwire.tasks.tokens import tokenize_splits
from thinwire.verification.finding import NotRun
from thinwire.verification.patching import require_aligned
from thinwire.workflows.tasks import check_task, check_tasks

NAMES = ("result", "line", "data", "text", "args", "node", "item", "pos")
LINES = [
    {"clean": f'print("{word}', "corrupt": f"print('{word}", "answer": '")\n', "other": "')\n"}
    for word in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")
]


def write(path: Path, lines: Sequence[object]) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def write_while_return(path: Path, words: Sequence[str] = ("while", "return")) -> Path:
    """64 pairs `NAME = NAME / while True`, one word for the clean and one for the corrupt side."""
    lines = [
        {"clean": f"    {a} = {b}\n    {words[0]} True", "corrupt": f"    {a} = {b}\n    {words[1]} True"}
        for a, b in product(NAMES, NAMES)
    ]
    return write(path, [{**line, "answer": ":\n", "other": "\n"} for line in lines])


def test_own_task_splits_its_pairs_by_hash_whatever_their_order(tmp_path):
    task = get_task(str(write(tmp_path / "quotes.jsonl", [*LINES, ""])))
    assert task.name == "quotes"
    assert task.alternatives[0].answer == '")\n'
    pairs = [pair for split in SPLITS for pair in task.pairs(split)]
    assert len(pairs) == len(set(pairs)) == len(LINES)
    assert all(split_of(pair) == split for split in SPLITS for pair in task.pairs(split))
    reordered = load_jsonl_task(write(tmp_path / "reordered.jsonl", LINES[::-1]))
    assert set(reordered.pairs("train")) == set(task.pairs("train"))
    assert reordered.version != task.version


def test_own_task_puts_half_of_many_pairs_into_train(tmp_path):
    lines = [{**LINES[0], "clean": f"a{i}", "corrupt": f"b{i}"} for i in range(1000)]
    task = load_jsonl_task(write(tmp_path / "many.jsonl", lines))
    # Binomial(1000, 1/2) and Binomial(1000, 1/4): four standard deviations are 64 and 55.
    assert abs(len(task.pairs("train")) - 500) < 64
    assert abs(len(task.pairs("validation")) - 250) < 55


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'clean'", "line 11 is not valid JSON"),
        ("[1]", "line 11: not an object with exactly the keys clean, corrupt, answer, other"),
        ({"clean": "a"}, "line 11: not an object with exactly the keys"),
        ({**LINES[0], "extra": 1}, "line 11: not an object with exactly the keys"),
        ({**LINES[0], "clean": 3}, "line 11: clean is not a text"),
        ({**LINES[0], "other": ""}, "line 11: other is not a text"),
        ({**LINES[0], "clean": "a", "corrupt": "a"}, "line 11: clean and corrupt are equal"),
        ({**LINES[0], "answer": "')\n"}, "line 11: answer and other are equal"),
        ({**LINES[0], "clean": "new", "answer": "]"}, "line 11: its answers differ from the first line's"),
        (LINES[2], "line 11: repeats line 3"),
    ],
)
def test_own_task_errors_name_file_and_line(tmp_path, line, reason):
    with pytest.raises(UserError, match=re.escape(f"bad.jsonl, {reason}")):
        load_jsonl_task(write(tmp_path / "bad.jsonl", [*LINES, line]))


def test_own_task_that_is_missing_empty_binary_or_too_small_is_refused(tmp_path):
    with pytest.raises(MissingFile, match="none.jsonl is missing"):
        get_task(str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="holds no pairs"):
        load_jsonl_task(write(tmp_path / "empty.jsonl", []))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="give a UTF-8 file"):
        load_jsonl_task(tmp_path / "binary.jsonl")
    with pytest.raises(UserError, match="falls into the .* split; add more pairs"):
        load_jsonl_task(write(tmp_path / "one.jsonl", LINES[:1]))


def test_own_task_needs_a_name_of_its_own(tmp_path):
    with pytest.raises(UserError, match="with_as is a built-in task; give your own task, or its file, another name"):
        get_task(str(write(tmp_path / "with_as.jsonl", LINES)))
    with pytest.raises(UserError, match=r"name '\.\./up' cannot name a folder"):
        resolve_task(Loops(name="../up"))


def test_own_task_becomes_aligned_tokens_with_one_token_for_each_answer(tmp_path):
    task = load_jsonl_task(write_while_return(tmp_path / "own.jsonl"))
    splits = tokenize_splits(task, stdlib_tokenizer(2048), 64)
    assert sum(len(tokens) for tokens in splits.values()) == 64
    for split in SPLITS:
        assert splits[split].answer_texts == (":\n", "\n")
        assert [len(splits[split]), splits[split].aligned.all()] == [len(task.pairs(split)), True]
        require_aligned(Prompts.of(splits[split]), task.name)
    assert shifts_of(task) == ()
    with pytest.raises(UserError, match="task own has no shift 'deeper'; there are: none: only built-in tasks have"):
        shifted_pairs(task, "deeper")


def test_unequal_own_pairs_stay_and_are_refused_by_name_where_alignment_is_needed(tmp_path):
    # In 1,024 tokens ` while` is two and ` return` one.
    task = load_jsonl_task(write_while_return(tmp_path / "own.jsonl"))
    tokens = tokenize_splits(task, stdlib_tokenizer(1024), 64)["test"]
    assert len(tokens) == len(task.pairs("test")) > 5
    assert not tokens.aligned.any()
    message = rf"interchange interventions need .* of task own {len(tokens)} of {len(tokens)} have not: pair 1 "
    with pytest.raises(NotRun, match=message):
        require_aligned(Prompts.of(tokens), task.name)


def test_a_prompt_that_does_not_fit_or_swallows_its_answer_is_named_by_its_line(tmp_path):
    lines = [json.loads(line) for line in write_while_return(tmp_path / "own.jsonl").read_text().splitlines()]
    long = write(tmp_path / "long.jsonl", [*lines, {**lines[0], "clean": "    x = y\n" * 20 + "    while True"}])
    with pytest.raises(UserError, match=r"more than the model's context of 64: .*long\.jsonl, line 65\)"):
        tokenize_splits(load_jsonl_task(long), stdlib_tokenizer(2048), 64)
    # Behind `a(` the split pattern glues `:\n` to the parenthesis.
    glued = [
        {"clean": f"    {a} = {b}(", "corrupt": f"    {a}.{b}", "answer": "):\n", "other": "\n"}
        for a in NAMES
        for b in NAMES
    ]
    with pytest.raises(Unavailable, match=r"'\):\\n' changes the tokens of the prompt .*glued\.jsonl, line \d+\)"):
        tokenize_splits(load_jsonl_task(write(tmp_path / "glued.jsonl", glued)), stdlib_tokenizer(1024), 64)


@dataclass(frozen=True)
class Loops:
    """A user's own task as a Python object, with nothing from the package but the two small types."""

    name: str = "loops"
    version: int = 1
    description: str = "A loop goes on with ` in`, a condition with a colon."
    excluded_cue: str = "Both prompts end in the same name."
    alternatives: tuple[Answers, ...] = (Answers(" in", ":\n"), Answers(" i", ":\n"))

    def pairs(self, split: Split) -> list[Pair]:
        part = NAMES[SPLITS.index(split) :: len(SPLITS)]
        return [Pair(f"    {a} = 1\n    for {b}", f"    {a} = 1\n    if {b}") for a in part for b in part if a != b]


def test_check_takes_files_and_objects_and_tells_why_a_task_is_unavailable(tiny_run, tmp_path):
    own = check_task(tiny_run, str(write_while_return(tmp_path / "own.jsonl")))
    assert (own.name, own.aligned, own.reason) == ("own", True, None)
    assert own.answers == (":\n", "\n")
    assert own.accuracy is not None and own.loss is not None
    assert own.model_does == (own.accuracy >= 0.95 and own.loss <= 0.15)
    loops = check_task(tiny_run, Loops())
    assert not loops.reason or "unavailable with this tokenizer of 448 tokens" in loops.reason
    far = check_task(tiny_run, "var_swap")
    assert (far.model_does, far.loss, far.refused) == (False, None, False)
    assert "var_swap is unavailable with this tokenizer of 448 tokens" in (far.reason or "")


def test_check_lists_every_task_whatever_the_run_lacks(tiny_path):
    rows = check_tasks(tiny_path).tasks
    assert [row.name for row in rows] == list(all_tasks())
    assert {row.reason is None for row in rows} == {True, False}
    assert SOLVED in {row.name for row in rows if row.model_does}
    assert not any(row.model_does for row in rows if row.reason)


def test_one_bad_file_costs_the_others_nothing(tiny_path, tmp_path, capsys):
    """The good ones are measured, the bad one is a line with its reason, and the exit code says that one is bad."""
    good = write_while_return(tmp_path / "own.jsonl")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert main(["tasks", "check", str(tiny_path), str(good), str(tmp_path / "bad.jsonl"), "with_a", "--json"]) == 2
    rows = json.loads(capsys.readouterr().out)["tasks"]
    assert [(row["reason"] is None, row["refused"]) for row in rows] == [(True, False), (False, True), (False, True)]
    assert "bad.jsonl, line 1: not an object with exactly the keys" in rows[1]["reason"]
    assert "did you mean with_as" in rows[2]["reason"]


def test_the_verb_checks_own_tasks_and_refuses_bad_lines(tiny_path, tmp_path, capsys):
    own = write_while_return(tmp_path / "own.jsonl")
    assert main(["tasks", "check", str(tiny_path), "--task", str(own), "with_as", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["tasks"]] == ["own", "with_as"]
    assert main(["tasks", "check", str(tiny_path), "--task", "with_as"]) == 0
    assert "with_as is unavailable" in " ".join(capsys.readouterr().out.split())
    bad = write(tmp_path / "bad.jsonl", [*LINES, "{"])
    assert main(["tasks", "check", str(tiny_path), "--task", str(bad)]) == 2
    assert "bad.jsonl, line 11 is not valid JSON" in capsys.readouterr().err
    assert main(["tasks", "show", str(bad)]) == 2
