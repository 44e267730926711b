"""Which circuits a verb means, and that it never takes sizes for one another that were asked for different things."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hand_circuit import circuit_of

from thinwire.circuits.graph import Circuit, Edge
from thinwire.errors import UserError
from thinwire.pruning.config import PruneConfig
from thinwire.runs import selection
from thinwire.runs.selection import Where, choose, select
from thinwire.runs.settings import asked_name, settings_name


def circuit(n_edges: int, task: str = "quotes", seed: int = 0, **settings: Any) -> tuple[Path, Circuit]:
    config = PruneConfig(seed=seed, **settings)
    edges = [Edge("0.mlp.in", i, "0.mlp.neuron", 0, 1.0) for i in range(n_edges)]
    found = circuit_of(edges=edges, task=task, seed=seed, hyperparameters=config.hyperparameters())
    return Path("run/circuits", task, config.settings_hash(), str(seed)), found


def stored(monkeypatch: pytest.MonkeyPatch, *circuits: tuple[Path, Circuit]) -> list[Path]:
    """The directories of circuits that are read as if they were there."""
    held: Mapping[Path, Circuit] = dict(circuits)
    monkeypatch.setattr(selection, "load_circuit", lambda path: SimpleNamespace(circuit=held[path]))
    return list(held)


# --- names ----------------------------------------------------------------------------------------------------------


def test_settings_are_named_by_what_differs_from_the_defaults() -> None:
    named = PruneConfig(target_loss=0.3, k_coef=3e-4, ablation="zero").hyperparameters()
    assert settings_name(named) == "target_loss=0.3 k_coef=0.0003 ablation=zero"
    assert asked_name(named) == "target_loss=0.3 ablation=zero"
    assert settings_name(PruneConfig().hyperparameters()) == "defaults"


def test_settings_that_this_version_does_not_know_are_named_too() -> None:
    assert settings_name({"colour": ["red", "blue"], "steps": 60}) == "colour=red+blue"
    assert settings_name({}) == "not stated"


# --- conditions -----------------------------------------------------------------------------------------------------


def test_circuits_are_selected_by_task_seed_setting_and_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    first, low, other = circuit(9), circuit(7, seed=1, target_loss=0.3), circuit(5, "brackets", k_coef=3e-4)
    paths = stored(monkeypatch, first, low, other)

    def found(*words: str) -> list[Path]:
        return select(paths, Where.of(words))

    assert found() == paths
    assert found("task=brackets") == [other[0]]
    assert found("seed=1") == [low[0]]
    assert found("target-loss=3e-1") == [low[0]]  # numbers are compared as numbers, names may have dashes
    assert found("k_coef=0.0003", "task=brackets") == [other[0]]
    assert found(f"settings={low[0].parent.name[:6]}") == [low[0]]
    assert found("task=quotes", "task=brackets") == paths  # values of one name are alternatives
    with pytest.raises(UserError, match=r"no circuit here has seed=7; .* lists the 3 there are"):
        found("seed=7")


def test_a_setting_that_a_file_leaves_out_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not in another tool's circuit, which states no settings."""
    plain, robust, foreign = circuit(5), circuit(9, require="robust"), circuit(7, "brackets")
    foreign = foreign[0], replace(foreign[1], hyperparameters={})
    paths = stored(monkeypatch, plain, robust, foreign)
    assert "require" not in plain[1].hyperparameters
    assert select(paths, Where.of(["require=sufficient"])) == [plain[0]]
    assert select(paths, Where.of(["require=robust", "starts=1"])) == [robust[0]]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("target_los=1", "--where knows no target_los; did you mean target_loss?"),
        ("colour=red", "--where knows no colour; there are: task, settings, target_loss"),
        ("seed", "--where seed has no value; write it as in: --where seed=1"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(word: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        Where.of([word])
    assert str(error.value).startswith(message)


# --- choice ---------------------------------------------------------------------------------------------------------


def test_the_smallest_of_the_default_settings_is_chosen_however_small_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`prune --target_loss 0.3` beside the demo's circuits: 12 edges at 0.3 are no better than 22 at 0.15."""
    loose, zero = circuit(12, target_loss=0.3), circuit(7, ablation="zero")
    cheap, costly = circuit(22, k_coef=3e-4), circuit(30, k_coef=1e-3)
    choice = choose(stored(monkeypatch, loose, zero, costly, cheap))
    assert choice.circuits == {"quotes": cheap[0]}
    assert choice.others == {"ablation=zero": 1, "target_loss=0.3": 1}
    assert choice.rule.startswith("Of a task's circuits with default settings this is the smallest")
    assert "1 with target_loss=0.3" in choice.rule


def test_one_other_thing_that_all_were_asked_for_is_taken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    low, lower = circuit(12, target_loss=0.3), circuit(9, target_loss=0.3, seed=1)
    choice = choose(stored(monkeypatch, low, lower))
    assert choice.circuits == {"quotes": lower[0]}
    assert choice.asked == "target_loss=0.3"
    assert choice.rule.startswith("Of a task's circuits with target_loss=0.3 this is the smallest")


def test_different_things_without_a_default_have_to_be_chosen_between(monkeypatch: pytest.MonkeyPatch) -> None:
    low, zero = circuit(12, target_loss=0.3), circuit(9, ablation="zero")
    paths = stored(monkeypatch, low, zero)
    with pytest.raises(UserError, match=r"asked for different things \(ablation=zero; target_loss=0.3\); choose with"):
        choose(paths)
    assert choose(paths, Where.of(["target_loss=0.3"])).circuits == {"quotes": low[0]}


def test_no_circuits_are_nothing_to_choose_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no circuits to choose from"):
        choose(stored(monkeypatch))
