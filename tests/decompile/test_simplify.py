"""Rewrites leave the answers as they are, and what remains of a planted circuit is what was planted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from decompiled import alone_of, evaluated, program_of, run_alone, texts_of
from micro_model import HandModel, bracket_counter, copy_model

from thinwire.circuits.prompts import Prompts
from thinwire.decompile.evaluate import Batch
from thinwire.decompile.expressions import (
    Attended,
    Constant,
    Expression,
    OfToken,
    Pattern,
    Product,
    Scale,
    Step,
    Sum,
    Survivor,
    walk,
)
from thinwire.decompile.fold import folded, tidied
from thinwire.decompile.judge import Judge
from thinwire.decompile.names import token_name
from thinwire.decompile.program import Program
from thinwire.decompile.refit import refitted
from thinwire.decompile.rewrites import line, step
from thinwire.decompile.simplify import Simplified, complexity, simplify
from thinwire.decompile.source import source
from thinwire.decompile.tables import by_importance, coarse, without

TOKENS = ("a", "b", "c", "d")


def _simplified(hand: HandModel, least: float = 1.0) -> tuple[Program, Simplified]:
    exact = program_of(alone_of(hand))
    batches = {split: Batch.of(Prompts.of(hand.pairs[split])) for split in ("train", "validation")}
    return exact, simplify(exact, batches["train"], batches["validation"], least)


def _agreement(hand: HandModel, exact: Program, program: Program) -> float:
    return Judge(Batch.of(hand.prompts), exact.difference).agreement(program).pairs


def test_the_bracket_counter_becomes_a_share_of_brackets() -> None:
    """One table, of the opening bracket alone, which a head averages evenly: that is what was planted."""
    hand = bracket_counter()
    exact, found = _simplified(hand)
    parts = list(walk(*found.program.outputs))
    heads = [x for x in parts if isinstance(x, Attended)]
    tables = [x for x in parts if isinstance(x, OfToken)]
    assert _agreement(hand, exact, found.program) >= 0.98
    assert [x.pattern.scores for x in heads] == [()]
    assert [table.listed for table in tables] == [[1]]
    assert not any(isinstance(x, Survivor | Scale | Product) for x in parts)


def test_the_copy_model_keeps_what_was_planted(tmp_path: Path) -> None:
    hand = copy_model()
    exact, found = _simplified(hand)
    assert _agreement(hand, exact, found.program) >= 0.98
    assert complexity(found.program) < complexity(exact)
    file = tmp_path / "copy.py"
    file.write_text(source(found.program, ["copy."]))
    some = hand.prompts.pairs(torch.arange(16))
    ours = evaluated(found.program, Batch.of(some))[:, 0]
    assert np.abs(run_alone(file, texts_of(some, exact.tokens)) - ours).max() < 1e-9


def test_a_rewrite_that_changes_an_answer_is_not_kept() -> None:
    """A program that has to agree on every validation pair does; one that has to agree on none answers nothing."""
    hand = copy_model()
    exact, found = _simplified(hand)
    validation = Judge(Batch.of(Prompts.of(hand.pairs["validation"])), exact.difference)
    assert validation.agreement(found.program).pairs == 1.0
    _, loose = _simplified(hand, least=0.0)
    assert validation.agreement(loose.program).pairs < 0.5
    assert complexity(loose.program) < complexity(found.program)


def test_agreement_is_of_pairs_and_of_prompts() -> None:
    batch = Batch(np.array([[0], [1], [2], [3]]), np.ones(4, dtype=np.int64))
    judge = Judge(batch, OfToken(np.array([1.0, 1.0, -1.0, -1.0])))
    program = Program((OfToken(np.array([1.0, -1.0, -1.0, -1.0])),), ("a", "b"), TOKENS)
    found = judge.agreement(program)  # prompt 1 differs: it is the clean side of the second pair, 1 and 3
    assert (found.pairs, found.prompts, found.n_pairs) == (0.5, 0.75, 2)


def test_values_that_one_head_brings_become_one_table() -> None:
    first, second = OfToken(np.array([1.0, 0.0, 0.0, 0.0])), OfToken(np.array([0.0, 2.0, 0.0, 0.0]))
    even = Pattern()
    total = Sum(1.0, ((2.0, Attended(even, first)), (3.0, Attended(even, second)), (1.0, Constant(4.0))))
    (found,) = folded(Program((total,), ("a", "b"), TOKENS)).outputs
    assert isinstance(found, Sum) and found.constant == 5.0
    ((weight, head),) = found.terms
    assert isinstance(head, Attended) and isinstance(head.value, OfToken)
    assert (weight * head.value.values).tolist() == [2.0, 6.0, 0.0, 0.0]


def test_tidying_changes_no_value() -> None:
    random = np.random.default_rng(0)
    key, value, last = (OfToken(random.integers(0, 3, 4) + 0.5) for _ in range(3))
    root = Sum(0.3, ((1.5, Attended(Pattern(((Constant(1.0), key),)), value)), (-2.0, last)))
    program = Program((root,), ("a", "b"), TOKENS)
    batch = Batch(random.integers(0, 4, (6, 5)), np.array([5, 4, 3, 2, 1, 5]))
    assert np.allclose(evaluated(tidied(program), batch), evaluated(program, batch), atol=1e-12)


def test_refitting_finds_the_numbers_of_the_same_form() -> None:
    """From zeros back to a table and a constant, as far as the pull to where they were allows."""
    random = np.random.default_rng(1)
    batch = Batch(random.integers(0, 4, (400, 6)), np.full(400, 6))
    wanted = batch.last(Sum(0.5, ((1.0, Attended(Pattern(), OfToken(np.array([3.0, -3.0, 1.0, 0.0])))),)))
    start = Attended(Pattern(), OfToken(np.array([0.1, 0.2, 0.3, 0.4])))
    program = Program((Sum(0.0, ((1.0, start),)),), ("a", "b"), TOKENS)
    found = refitted(program, batch, wanted)
    before = np.mean((evaluated(program, batch)[:, 0] - wanted) ** 2)
    assert np.mean((evaluated(found, batch)[:, 0] - wanted) ** 2) < 0.01 * before


def test_a_table_gets_the_few_values_that_fit_what_counts() -> None:
    table = OfToken(np.array([1.0, 1.2, 5.0, 5.2, 0.9, 0.8]))
    short = coarse(table, np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]), 2)
    assert short.values.tolist() == pytest.approx([1.1, 1.1, 5.1, 5.1, 1.1, 1.1])  # the last two never occur
    assert short.listed == [2, 3]
    assert by_importance(short, np.array([1.0, 1.0, 9.0, 1.0, 0.0, 0.0])) == [3, 2]
    assert without(short, [3]).listed == [2]


def test_lines_and_conditions_are_the_best_ones() -> None:
    x = OfToken(np.zeros(4))
    inputs = np.array([0.0, 1.0, 2.0, 3.0])
    found = line(x, inputs, 2 * inputs + 1)
    assert isinstance(found, Sum) and (found.constant, found.terms[0][0]) == pytest.approx((1.0, 2.0))
    cut = step(x, inputs, np.array([0.0, 0.0, 4.0, 6.0]))
    assert isinstance(cut, Step) and (cut.threshold, cut.low, cut.high) == (1.5, 0.0, 5.0)


def test_every_kind_of_expression_is_printed(tmp_path: Path) -> None:
    token = OfToken(np.array([1.0, 2.0, 0.0, 0.0]))
    inner = Attended(Pattern(((token, token),)), token)  # looked at by a later head: needed at every token
    later = Attended(Pattern(((Constant(1.0), inner),)), Step(inner, 0.7, -1.0, 1.0))
    root: Expression = Sum(0.1, ((1.0, later), (2.0, Product(Attended(Pattern(), inner), inner))))
    program = Program((root,), ("a", "b"), TOKENS)
    batch = Batch(np.array([[0, 1, 2], [3, 1, 0], [2, 0, 3]]), np.array([3, 2, 3]))
    (tmp_path / "all.py").write_text(source(program, ["all."]))
    found = run_alone(tmp_path / "all.py", [["a", "b", "c"], ["d", "b"], ["c", "a", "d"]])
    assert np.allclose(found, evaluated(program, batch)[:, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ('("', "paren_double_quote"),
        (" {", "brace"),
        (" raise", "raise"),
        ("       ", "spaces_7"),
        (":\n", "colon_newline"),
    ],
)
def test_names_are_made_of_tokens(token: str, name: str) -> None:
    assert token_name(token) == name


def test_a_program_of_words_that_python_has_compiles(tmp_path: Path) -> None:
    """Tokens with quotes, backslashes and keywords in them."""
    tokens = ("for", '"""', "\\", "it's")
    table = OfToken(np.array([1.0, 2.0, 3.0, 4.0]))
    program = Program((Sum(0.0, ((1.0, table), (2.0, Attended(Pattern(), table)))),), ("'", '"\n'), tokens)
    (tmp_path / "words.py").write_text(source(program, ['a """ head \\', "of two lines"]))
    batch = Batch(np.array([[0, 1, 2, 3]]), np.array([4]))
    found = run_alone(tmp_path / "words.py", [list(tokens)])
    assert found == pytest.approx(evaluated(program, batch)[:, 0])
