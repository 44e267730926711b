"""What a page says of a circuit's verification: verify.json in the page's own record."""

from pathlib import Path

from thinwire.runs.verdicts import stored_verification
from thinwire.verification.finding import Finding
from thinwire.verification.necessity import Necessity
from thinwire.verification.registry import TESTS
from thinwire.verification.stored import Judged, StoredVerification
from thinwire.verification.sufficiency import ACCURACY, Sufficiency
from thinwire.viewer.contract import JudgedTest, Judgement, Removals
from thinwire.viewer.verdicts import MEANINGS
from thinwire.viewer.wording import percent, plural


def stored_judgement(path: Path) -> Judgement | None:
    """What the verify.json in a circuit's directory says; None without one."""
    found = stored_verification(path)
    return None if found is None else judgement(found)


def judgement(found: StoredVerification) -> Judgement:
    """A verification as a page shows it: outcomes, sentences and numbers, not the lists of single nodes."""
    judged = found.judged
    return Judgement(
        verdict=judged.verdict,
        meaning=_meaning(judged.verdict, found.sufficiency),
        reasons=judged.reasons,
        tests=[_test(name, finding) for name, finding in found.findings.items()],
        paper=judged.paper_verdict,
        judged=_judged(judged),
        scope=judged.scope.sentence,
        cautions=judged.cautions,
        removals=_removals(found.necessity),
    )


def _judged(judged: Judged) -> str:
    """The edges that were judged, where they are not all weights between the nodes."""
    if judged.judged_edges == "induced":
        return ""
    return f"its {plural(judged.n_judged_edges, judged.judged_edges + ' edge')}"


def _meaning(verdict: str, sufficiency: Sufficiency) -> str:
    """What the verdict says of this circuit: a page knows which half of an `or` holds."""
    if verdict != "not supported":
        return MEANINGS.get(verdict, "")
    if sufficiency.model_accuracy < ACCURACY:
        right = percent(sufficiency.model_accuracy)
        return f"the whole model does not do the task well: it is right on {right} of the prompts"
    return "the circuit alone does not do the task as it should"


def _test(name: str, finding: Finding) -> JudgedTest:
    return JudgedTest(
        name=name,
        outcome=finding.outcome,
        sentence=finding.sentence,
        threshold=finding.threshold,
        n_prompts=None if finding.n_pairs is None else 2 * finding.n_pairs,
        role=TESTS[name].role,
    )


def _removals(necessity: Necessity) -> Removals:
    return Removals(
        n_prompts=None if necessity.n_pairs is None else 2 * necessity.n_pairs,
        model_loss=necessity.model_loss,
        nodes_loss=necessity.nodes_loss,
        nodes_accuracy=necessity.nodes_accuracy,
        edges_loss=necessity.edges_loss,
        edges_accuracy=necessity.edges_accuracy,
        random_mean=necessity.random_mean,
        random_largest=necessity.random_largest,
        n_random=len(necessity.random_losses),
        n_random_prompts=2 * necessity.n_null_pairs,
    )
