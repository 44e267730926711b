"""Terms: each says what it promises of circuits that are known, both engines agree, and gradients go the right way."""

from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from micro_model import copy_model
from model_builders import random_gates, random_means, random_model, random_prompts

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Demand
from thinwire.circuits.patching import aligned_pairs, other_side, patch, record
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.model.checkpoint import fingerprint
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.pruning.engine import FastEngine, PlainEngine
from thinwire.pruning.objective import Objective
from thinwire.pruning.patching import FastPatching, Patching, PlainPatching
from thinwire.pruning.requirement import REQUIREMENTS, ladder
from thinwire.pruning.terms import interchange
from thinwire.pruning.terms.interchange import normalised_error, subset
from thinwire.pruning.terms.registry import TERMS, weighted
from thinwire.pruning.terms.sides import Sides
from thinwire.pruning.terms.stochastic import SHARES, Stochastic, reopened

TARGET = 0.15


@cache
def problem() -> Problem:
    hand = copy_model()
    return Problem(hand.model, hand.pairs, hand.means, Identity(hand.task, 1, fingerprint(hand.model), "0" * 64))


@cache
def asked(name: str, split: str = "validation"):
    return TERMS[name](problem().engines[split], TARGET)  # pyright: ignore[reportArgumentType]


def truth() -> torch.Tensor:
    return problem().model.space.mask(copy_model().nodes).float()


def aligned_prompts() -> Prompts:
    """Random prompts whose two sides are equally long."""
    prompts = random_prompts()
    return replace(prompts, lengths=prompts.lengths[: prompts.n_pairs].repeat(2))


def generators(n: int = 1) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(n)]


def test_a_node_that_matters_in_the_circuit_alone_is_patched_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model has a backup, to first order it does not need the node that the circuit leans on."""
    monkeypatch.setattr(interchange, "SINGLES", 1)
    term, gates = interchange.Interchange(problem().engines["validation"], TARGET), truth()
    leans_on = int(torch.where(gates > 0, problem().engines["validation"].effects(gates)[0].abs(), -1).argmax())
    first = int(next(place for place in gates.nonzero().flatten() if place != leans_on))
    term.first_order = torch.zeros_like(gates).index_fill(0, torch.tensor([first]), 1.0)
    assert set(term.strongest(gates).tolist()) == {leans_on, first}
    assert set(term.strongest(torch.ones_like(gates)).tolist()) >= {first}
    assert len(term.strongest(torch.zeros_like(gates))) == 0


@pytest.mark.parametrize("name", TERMS)
def test_the_true_circuit_meets_every_demand(name: str) -> None:
    found = asked(name).measure(truth())
    assert found.met, f"{name}: {found.value} of {found.limit}"


@pytest.mark.parametrize("name", ["mean", "stochastic", "counterfactual", "interchange", "kl", "adversarial"])
def test_a_circuit_without_one_of_its_nodes_does_not(name: str) -> None:
    """A value channel that carries the answer: without it nothing moves."""
    hand, gates = copy_model(), truth()
    (channel, *_) = hand.nodes["0.attn.v"]
    gates[problem().model.space.offsets["0.attn.v"] + channel] = 0
    assert not asked(name).measure(gates).met


@pytest.mark.parametrize("name", [name for name in TERMS if name != "interchange"])  # of nothing nothing can be patched
def test_the_loss_of_the_truth_is_lower_than_that_of_nothing(name: str) -> None:
    rows = [torch.arange(32)] * 2
    gates = torch.stack([truth(), torch.zeros_like(truth())])
    kept, nothing = asked(name, "train").losses(gates, rows, generators(2))
    assert kept.item() < nothing.item()


@pytest.mark.parametrize("name", TERMS)
def test_gates_hear_of_every_term(name: str) -> None:
    """At half of the true nodes the gradient says that the others would help: opening one lowers the loss."""
    model, prompts = random_model(), aligned_prompts()
    term = TERMS[name](FastEngine(model, prompts, random_means(model)), TARGET)
    gates = random_gates(model, 0.5).repeat(8, 1).requires_grad_()
    losses = term.losses(gates, [torch.arange(prompts.n_pairs)] * 8, generators(8))
    (gradient,) = torch.autograd.grad(losses.sum(), gates)
    assert torch.isfinite(gradient).all() and gradient.count_nonzero() > 0


@pytest.mark.parametrize("name", TERMS)
def test_both_engines_measure_the_same(name: str) -> None:
    model, prompts = random_model(), aligned_prompts()
    means, gates = random_means(model), random_gates(model, 0.5)
    fast, plain = (TERMS[name](kind(model, prompts, means), TARGET) for kind in (FastEngine, PlainEngine))
    assert fast.measure(gates).value == pytest.approx(plain.measure(gates).value, rel=1e-3, abs=1e-4)
    rows = [torch.arange(prompts.n_pairs)]
    ours, theirs = (term.losses(gates[None], rows, generators()) for term in (fast, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_sum_of_terms_is_what_gates_learn_from() -> None:
    engine, gates, rows = problem().engines["train"], random_like_truth(), [torch.arange(16)]
    both = Objective(engine, {"mean": 1.0, "kl": 0.5}, TARGET).gradients(gates, rows, generators())
    mean = Objective(engine, {"mean": 1.0}, TARGET).gradients(gates, rows, generators())
    kl = Objective(engine, {"kl": 1.0}, TARGET).gradients(gates, rows, generators())
    torch.testing.assert_close(both[0], mean[0] + 0.5 * kl[0])
    torch.testing.assert_close(both[1], mean[1] + 0.5 * kl[1])


def random_like_truth() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.maximum(truth(), (torch.rand(len(truth()), generator=generator) < 0.3).float())[None]


def test_the_term_that_refused_last_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(
        problem().engines["validation"], dict.fromkeys(("mean", "stochastic", "counterfactual"), 1.0), TARGET
    )
    asked_for: list[str] = []
    values = {"mean": 0.0, "stochastic": 2.0, "counterfactual": 0.0}
    for name, term in objective.terms.items():

        def measure(*_: object, name: str = name) -> Demand:
            asked_for.append(name)
            return Demand(values[name], 1.0)

        monkeypatch.setattr(term, "measure", measure)
    assert objective.lack(truth(), limit=TARGET) == pytest.approx(2 * TARGET)
    assert objective.lack(truth(), limit=TARGET) == pytest.approx(2 * TARGET)
    assert asked_for == ["mean", "stochastic", "stochastic"]
    values |= {"stochastic": 0.5, "counterfactual": 0.7}
    assert objective.lack(truth(), limit=TARGET) == pytest.approx(0.7 * TARGET)  # met: all were asked, the worst counts
    assert asked_for[3:] == ["stochastic", "mean", "counterfactual"]
    assert list(objective.measure(truth())) == ["mean", "stochastic", "counterfactual"]  # as they are written down


def test_what_is_lacking_most_decides_on_the_scale_of_the_target() -> None:
    objective = Objective(problem().engines["validation"], dict.fromkeys(("mean", "stochastic"), 1.0), TARGET)
    nothing = torch.zeros_like(truth())
    mean, stochastic = objective.measure(nothing).values()
    assert objective.lack(nothing) == pytest.approx(max(mean.value, stochastic.value / stochastic.limit * TARGET))
    assert objective.lack(truth()) <= TARGET < objective.lack(nothing)
    assert objective.lack(nothing, limit=TARGET) > TARGET


def test_random_shares_cost_one_pass_in_all() -> None:
    """Every pair is used by exactly one draw."""
    term = Stochastic(problem().engines["validation"], TARGET)
    rows = [row for draws in term.draws for draw in draws for row in draw.rows.tolist()]
    assert sorted(rows) == list(range(problem().engines["validation"].n_pairs))
    for share, draws in zip(SHARES, term.draws, strict=True):
        for draw in draws:
            assert float(draw.opened.mean()) == pytest.approx(share, abs=0.08)


def test_reopening_opens_and_never_shuts() -> None:
    gates, opened = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert reopened(gates, opened).tolist() == [0, 1, 1, 1]


def test_subsets_are_of_open_nodes_and_at_least_one() -> None:
    gates, order = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]), torch.tensor([0.4, 0.0, 0.3, 0.2, 0.1])
    assert subset(gates, order, 0.5).tolist() == [False, False, False, True, True]
    assert subset(gates, order, 0.01).tolist() == [False, False, False, False, True]
    assert not subset(torch.zeros(5), order, 0.5).any()


def both_ways(model, prompts, means, frozen: bool = False) -> tuple[Patching, Patching]:
    rows = torch.arange(prompts.n_pairs)
    fast, plain = (kind(model, prompts, means, frozen) for kind in (FastEngine, PlainEngine))
    return fast.patching(rows), plain.patching(rows)


def test_effects_are_shares_of_the_way_to_the_other_side() -> None:
    """All nodes of a model patched at once: each prompt says what its other side says, mean 1."""
    hand = copy_model()
    everything = torch.ones(1, hand.model.space.n_nodes, dtype=torch.bool)
    for patching in both_ways(hand.model, hand.prompts, hand.means):
        assert float(patching.effects(everything).mean()) == pytest.approx(1.0, rel=1e-4)
        assert patching.effects(torch.zeros_like(everything)).abs().max() < 1e-5


def test_many_sets_in_one_batch_are_each_set_by_itself() -> None:
    hand = copy_model()
    sets = torch.rand(5, hand.model.space.n_nodes, generator=torch.Generator().manual_seed(0)) < 0.1
    for patching in both_ways(hand.model, hand.prompts, hand.means):
        alone = torch.cat([patching.effects(one[None]) for one in sets])
        torch.testing.assert_close(patching.effects(sets), alone, rtol=1e-4, atol=1e-5)


PATCHED = [
    {},
    {"sink": True},
    {"n_layer": 1},
    {"n_layer": 3, "positions": "none"},
]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("settings", PATCHED, ids=str)
def test_both_ways_of_patching_are_the_same(settings: dict, frozen: bool) -> None:
    """Effects in the model and in a circuit without some edges, against the other side, and gradients of each."""
    model, prompts = random_model(**settings), aligned_prompts()
    gates, means = random_gates(model, 0.5), random_means(model)
    sets = (torch.rand(3, len(gates), generator=torch.Generator().manual_seed(1)) < 0.2) & (gates > 0)
    removed = induced_edges(model, model.space.nodes(gates))[::3]
    fast, plain = both_ways(model, prompts, means, frozen)
    assert isinstance(fast, FastPatching)
    assert isinstance(plain, PlainPatching)
    with torch.no_grad():
        close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)
        close(fast.whole, plain.whole)
        close(fast.effects(sets), plain.effects(sets))
        close(fast.effects(sets, gates, removed), plain.effects(sets, gates, removed))
        close(fast.against(gates, removed), plain.against(gates, removed))
        close(fast.against(torch.zeros_like(gates)), plain.against(torch.zeros_like(gates)))

    def slope(patching: Patching) -> tuple[torch.Tensor, ...]:
        leaf = gates.clone().requires_grad_()
        asked = (patching.effects(sets, leaf).square().sum(), patching.against(leaf).square().sum())
        return tuple(torch.autograd.grad(value, leaf)[0] for value in asked)

    for ours, theirs in zip(slope(fast), slope(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_an_edge_that_was_taken_out_carries_the_other_side_under_the_pattern_of_this_one() -> None:
    """All nodes open and all edges out: what reads them is as if every source were as on the other side."""
    model, prompts = random_model(), aligned_prompts()
    edges = [e for e in induced_edges(model, model.space.everything()) if e.target_site == "0.attn.out"]
    fast, plain = both_ways(model, prompts, random_means(model))
    everything = torch.ones(model.space.n_nodes)
    shut = model.space.mask({"0.attn.v": list(range(model.space.widths["0.attn.v"]))}).float()
    with torch.no_grad():
        for patching in (fast, plain):
            cut, replaced = patching.against(everything, edges), patching.against(everything - shut)
            torch.testing.assert_close(cut, replaced, rtol=1e-3, atol=1e-4)


def test_a_patch_by_hand() -> None:
    """One channel of the final site: the difference moves by the channel's change times its two unembedding weights."""
    model, prompts = copy_model().model, copy_model().prompts
    seen, before = record(model, prompts)
    (channel, *_) = copy_model().nodes["final"]
    masks = {"final": torch.zeros(1, model.config.d_model, dtype=torch.bool)}
    masks["final"][0, channel] = True
    other = other_side(seen, prompts.n_pairs)
    after = logit_difference(model, prompts, patch(masks, other))
    weight = model.unembed.weight[prompts.answer, channel] - model.unembed.weight[prompts.other, channel]
    moved = (other["final"] - seen["final"])[:, channel] * weight
    torch.testing.assert_close(after - before, moved, rtol=1e-4, atol=1e-4)


def test_errors_are_normalised_by_the_model() -> None:
    assert normalised_error(torch.tensor([0.5, 0.2]), torch.tensor([0.4, 0.4])) == pytest.approx(0.3 / 0.8)
    assert normalised_error(torch.tensor([0.5]), torch.tensor([0.0])) == float("inf")
    assert normalised_error(torch.tensor([]), torch.tensor([])) == 0.0


def test_pairs_of_unequal_length_cannot_be_patched_and_say_so() -> None:
    prompts = copy_model().prompts
    lengths = prompts.lengths.clone()
    lengths[: prompts.n_pairs] -= 1
    uneven = replace(prompts, lengths=lengths)
    assert len(aligned_pairs(uneven)) == 0
    with pytest.raises(UserError, match="--require sufficient"):
        Sides(PlainEngine(copy_model().model, uneven, copy_model().means))
    lengths[0] += 1
    assert aligned_pairs(replace(prompts, lengths=lengths)).tolist() == [0]


@pytest.mark.parametrize(
    "requirement", ["sufficient", *(pytest.param(name, marks=pytest.mark.slow) for name in ("robust", "faithful"))]
)
def test_every_requirement_finds_the_hand_built_circuit(requirement) -> None:
    from thinwire.pruning.prune import prune_together

    config = PruneConfig(require=requirement, steps=40, learning_rate=3e-2, batch_pairs=32, means_tokens=1024)
    (circuit,) = prune_together(problem(), [config])
    assert circuit.nodes == copy_model().nodes
    assert circuit.requirement == requirement
    assert list(circuit.demands) == list(REQUIREMENTS[requirement])
    assert all(demand.met for demand in circuit.demands.values())


def test_a_demand_that_cannot_be_met_is_named() -> None:
    from thinwire.pruning.prune import prune_together

    pairs = {s: replace(t, answer=t.other, other=t.answer) for s, t in copy_model().pairs.items()}
    flipped = replace(problem(), pairs=pairs)
    config = PruneConfig(require="robust", steps=5, batch_pairs=16, means_tokens=1024, sweep="nodes")
    (circuit,) = prune_together(flipped, [config])
    assert circuit.status == "not_solved"
    assert [name for name, demand in circuit.demands.items() if not demand.met]


def test_terms_are_named_and_weighted() -> None:
    assert weighted(("interchange", "mean=2")) == {"mean": 2.0, "interchange": 1.0}
    for wrong, message in (("meen", "there are mean,"), ("mean=x", "write it as a number"), ("mean=-1", "positive")):
        with pytest.raises(UserError, match=message):
            weighted((wrong,))


def test_requirements_are_a_ladder() -> None:
    assert ladder("faithful") == ("sufficient", "robust", "faithful")
    assert ladder("sufficient") == ("sufficient",)
    for weaker, stronger in zip(ladder("faithful"), ladder("faithful")[1:], strict=False):
        assert set(REQUIREMENTS[weaker]) < set(REQUIREMENTS[stronger])


def test_settings_of_before_there_were_terms_keep_their_name() -> None:
    """The hash names a folder of stored circuits; that of the defaults is the one of 0.1.0."""
    assert "require" not in PruneConfig().hyperparameters()
    robust = PruneConfig(require="robust")
    assert robust.hyperparameters()["require"] == "robust"
    assert robust.settings_hash() != PruneConfig().settings_hash()
    assert PruneConfig.of(robust.hyperparameters(), 3) == replace(robust, seed=3)
    with pytest.raises(ValueError, match="unknown settings of the pruning: price"):
        PruneConfig.of({"price": 1})


def test_frozen_scales_hold_in_the_terms_too() -> None:
    model, prompts, means = random_model(), aligned_prompts(), random_means(random_model())
    gates = random_gates(model, 0.5)
    own, frozen = (TERMS["counterfactual"](FastEngine(model, prompts, means, f), TARGET) for f in (False, True))
    assert own.measure(gates).value != pytest.approx(frozen.measure(gates).value, rel=1e-4)
    whole = torch.ones_like(gates)
    assert (
        own.measure(whole).value == pytest.approx(frozen.measure(whole).value, abs=1e-4) == pytest.approx(0, abs=1e-4)
    )
