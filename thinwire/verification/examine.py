"""All tests of one circuit, under one budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.prompts import Prompts
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.verification import controls, interchange, robustness, seeds, selectivity
from thinwire.verification.budget import Budget
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, not_run
from thinwire.verification.necessity import necessity
from thinwire.verification.pruner import Pairs, Pruner
from thinwire.verification.simplicity import simplicity
from thinwire.verification.stochastic import stochastic
from thinwire.verification.sufficiency import sufficiency
from thinwire.verification.variants import sample_pairs
from thinwire.verification.verdict import TESTS

PAIRS_SEED = 0
"""Which pairs a budget takes does not depend on the seed, so that two seeds differ in what is drawn besides."""


@dataclass(frozen=True)
class Material:
    """What a circuit is judged on."""

    test: Prompts
    search: Prompts
    """Other pairs of the task, on which steps are fitted and the adversarial subset is searched."""
    others: Mapping[str, Prompts] = field(default_factory=dict)
    """Other tasks."""
    shifted: Mapping[str, Prompts] = field(default_factory=dict)
    """Kind of shift -> prompts unlike the task's."""
    windows: Int[Tensor, "N window"] | None = None
    """Held-out text."""
    pairs: Pairs | None = None
    """All splits, where the task is pruned again."""
    pruner: Pruner | None = None


def examine(
    model: GPT,
    claim: Claim,
    means: Means,
    material: Material,
    budget: Budget,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Finding]:
    """Name of the test -> finding, in the order of `TESTS`."""
    test = sample_pairs(material.test, budget.pairs, PAIRS_SEED)
    search = sample_pairs(material.search, budget.search_pairs, PAIRS_SEED)
    others = {name: sample_pairs(p, budget.other_pairs, PAIRS_SEED) for name, p in material.others.items()}
    shifted = {name: sample_pairs(p, budget.shifted_pairs, PAIRS_SEED) for name, p in material.shifted.items()}
    windows = None if material.windows is None else material.windows[: budget.text_windows]
    sets, edge_sets = budget.random_sets, budget.random_edge_sets
    tests: dict[str, Callable[[], Finding]] = {
        "sufficiency": lambda: sufficiency(model, claim, means, material.test, budget.pairs, seed),
        "necessity": lambda: necessity(
            model, claim, means, test, sets, edge_sets, budget.nodes, budget.edges, seed, progress
        ),
        "selectivity": lambda: selectivity.selectivity(model, claim, means, test, others, windows),
        "interchange": lambda: _interchange(model, claim, means, test, budget, seed),
        "stochastic": lambda: stochastic(
            model, claim, means, test, search, budget.draws, budget.adversarial_steps, seed, progress
        ),
        "controls": lambda: _controls(model, claim, material, budget, seed, progress),
        "seeds": lambda: _seeds(model, claim, means, material, budget, seed, progress),
        "robustness": lambda: robustness.robustness(model, claim, means, shifted),
        "simplicity": lambda: simplicity(model, claim, means, test, search, budget.nodes, seed),
    }
    findings = {}
    with progress(f"verify {claim.task}", total=len(TESTS), unit="test") as advance:
        for name in TESTS:
            findings[name] = tests[name]()
            advance(1, test=name)
    return findings


def _interchange(model: GPT, claim: Claim, means: Means, test: Prompts, budget: Budget, seed: int) -> Finding:
    """Pairs of unequal length are no mistake in a circuit: the test is not run, and says why."""
    try:
        return interchange.interchange(model, claim, means, test, budget.nodes, budget.edges, seed)
    except UserError as error:
        return not_run(interchange.THRESHOLD, f"Not run: {error}.")


WITHOUT_PRUNING = "Not run: the fast budget does not prune again; use --budget full."


def _controls(model: GPT, claim: Claim, material: Material, budget: Budget, seed: int, progress: Progress) -> Finding:
    if not budget.prunings or material.pruner is None or material.pairs is None:
        return not_run(controls.THRESHOLD, WITHOUT_PRUNING)
    return controls.controls(model, claim, material.pairs, material.pruner, seed, progress)


def _seeds(
    model: GPT, claim: Claim, means: Means, material: Material, budget: Budget, seed: int, progress: Progress
) -> Finding:
    if not budget.prunings or material.pruner is None or material.pairs is None:
        return not_run(seeds.THRESHOLD, WITHOUT_PRUNING)
    n = budget.prunings
    return seeds.seeds(model, claim, means, material.pairs, material.pruner, n, n, seed, progress)
