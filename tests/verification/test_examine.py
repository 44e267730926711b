"""All tests of one circuit: each is handed the model that it needs."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter

from thinwire.model.gpt import GPT
from thinwire.verification.examine import examine
from thinwire.verification.pruner import Pruned
from thinwire.verification.registry import TESTS


def test_a_pruner_is_handed_the_model_whose_means_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller's pruner knows by identity that it may take these means: a twin of equal weights will not do."""
    hand = bracket_counter()
    pruned: list[GPT] = []

    def pruner(model, pairs, seed, forbidden) -> Pruned:
        pruned.append(model)
        return Pruned({}, False, 0.7, 0)

    monkeypatch.setattr("thinwire.verification.examine.TESTS", {name: TESTS[name] for name in ("controls", "seeds")})
    budget = budget_of(controls=True, seeds=1, rounds=1)
    found = examine(subject_of(hand), material_of(hand, pairs=hand.pairs, pruner=pruner), budget)
    assert found["controls"].outcome == "passed" and found["seeds"].outcome == "passed"
    # Permuted and unrelated pairs, random and shuffled weights; then another seed and a round of exhaustion.
    assert [model is hand.model for model in pruned] == [True, True, False, False, True, True]
