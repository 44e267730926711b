"""Precision, recall, AUROC, CPR and CMD on numbers that can be counted by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thinwire.ground_truth.scores import FRACTIONS, areas, auroc, overlap


def test_overlap_counts_both_ways() -> None:
    found = overlap({1, 2, 3, 4}, {3, 4, 5})
    assert (found.n_found, found.n_true) == (4, 3)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert not found.exact
    assert overlap({1}, {1}).exact
    assert overlap(set(), {1}).precision == 0.0


def test_auroc_of_a_perfect_a_reversed_and_an_undecided_ranking() -> None:
    true = torch.tensor([True, True, False, False])
    assert auroc(torch.tensor([4.0, 3.0, 2.0, 1.0]), true) == 1.0
    assert auroc(torch.tensor([1.0, 2.0, 3.0, 4.0]), true) == 0.0
    assert auroc(torch.zeros(4), true) == 0.5
    # pairs (true, false): 4 > 3, 4 > 1 right; 2 < 3 wrong, 2 > 1 right
    assert auroc(torch.tensor([4.0, 2.0, 3.0, 1.0]), true) == 3 / 4


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_share_of_pairs_in_the_right_order(items: list[tuple[int, bool]]) -> None:
    true = [score for score, is_true in items if is_true]
    false = [score for score, is_true in items if not is_true]
    if not true or not false:
        return
    wins = sum((t > f) + 0.5 * (t == f) for t in true for f in false)
    scores, labels = torch.tensor([float(s) for s, _ in items]), torch.tensor([b for _, b in items])
    assert auroc(scores, labels) == pytest.approx(wins / (len(true) * len(false)))


def test_areas_of_a_method_that_is_there_at_once_and_of_one_that_comes_late() -> None:
    at_once = areas([6.0] * len(FRACTIONS), nothing=0.0, everything=6.0)
    assert at_once.cpr == pytest.approx(0.999) and at_once.cmd == 0.0  # the first share is 0.001
    late = areas([0.0] * 9 + [6.0], nothing=0.0, everything=6.0)
    assert late.cpr == pytest.approx(0.25) and late.cmd == pytest.approx(0.749)  # rises from 0.5 to 1 only
    over = areas([9.0] * 9 + [6.0], nothing=0.0, everything=6.0)
    assert over.faithfulness[0] == 1.5  # more than the whole model: counts for CPR, against CMD
    assert over.cpr == pytest.approx(0.499 * 1.5 + 0.5 * 1.25) and over.cmd == pytest.approx(0.499 * 0.5 + 0.5 * 0.25)


def test_what_is_left_with_nothing_kept_counts_as_zero() -> None:
    assert areas([2.0] * 9 + [6.0], nothing=2.0, everything=6.0).faithfulness == [0.0] * 9 + [1.0]
