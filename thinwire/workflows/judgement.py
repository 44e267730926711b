"""What a page says of a circuit's verification: verify.json in the page's own record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thinwire.circuits.graph import Circuit
from thinwire.runs.verdicts import stored_verification
from thinwire.verification.registry import TESTS
from thinwire.verification.sufficiency import ACCURACY
from thinwire.viewer.contract import JudgedTest, Judgement, Outcome, Removals
from thinwire.viewer.verdicts import MEANINGS
from thinwire.viewer.wording import percent, plural

_OUTCOMES: dict[bool | None, Outcome] = {True: "passed", False: "failed", None: "not run"}


def stored_judgement(path: Path, circuit: Circuit) -> Judgement | None:
    """What the verify.json in a circuit's directory says; None without one."""
    found = stored_verification(path)
    return None if found is None else judgement(found.values, circuit)


def judgement(found: Mapping[str, Any], circuit: Circuit) -> Judgement:
    """The content of verify.json as a page shows it: outcomes, sentences and numbers, not the lists of single nodes."""
    verdict, scope = str(found.get("verdict") or ""), found.get("scope") or {}
    return Judgement(
        verdict=verdict,
        meaning=_meaning(verdict, found, circuit),
        reasons=[str(reason) for reason in found.get("reasons") or ()],
        tests=[_test(name, found[name]) for name in TESTS if name in found],
        paper=str(found.get("paper_verdict") or ""),
        judged=_judged(found),
        scope=str(scope.get("sentence") or ""),
        cautions=[str(caution) for caution in found.get("cautions") or ()],
        kl=(found.get("sufficiency") or {}).get("kl"),
        removals=_removals(found.get("necessity") or {}),
    )


def _judged(found: Mapping[str, Any]) -> str:
    """The edges that were judged, where they are not all weights between the nodes."""
    if found.get("judged_edges") in (None, "induced"):
        return ""
    return f"its {plural(found['n_judged_edges'], found['judged_edges'] + ' edge')}"


def _meaning(verdict: str, found: Mapping[str, Any], circuit: Circuit) -> str:
    """What the verdict says of this circuit: a page knows which half of an `or` holds."""
    if verdict != "not supported":
        return MEANINGS.get(verdict, "")
    accuracy = (found.get("sufficiency") or {}).get("model_accuracy", circuit.model_scores["test"].accuracy)
    if accuracy < ACCURACY:
        return f"the whole model does not do the task well: it is right on {percent(accuracy)} of the prompts"
    return "the circuit alone does not do the task as it should"


def _test(name: str, test: Mapping[str, Any]) -> JudgedTest:
    n_pairs = test.get("n_pairs")
    return JudgedTest(
        name=name,
        outcome="reported" if test.get("verdict") == "reported" else _OUTCOMES[test.get("passed")],
        sentence=str(test.get("sentence") or ""),
        threshold=str(test.get("threshold") or ""),
        n_prompts=None if n_pairs is None else 2 * n_pairs,
        role=TESTS[name].role,
    )


def _removals(test: Mapping[str, Any]) -> Removals | None:
    if test.get("nodes_loss") is None:
        return None
    losses, n_null = test.get("random_losses") or [], test.get("n_null_pairs", test.get("n_pairs"))
    return Removals(
        n_prompts=2 * test["n_pairs"] if test.get("n_pairs") is not None else None,
        model_loss=test["model_loss"],
        nodes_loss=test["nodes_loss"],
        nodes_accuracy=test["nodes_accuracy"],
        edges_loss=test["edges_loss"],
        edges_accuracy=test["edges_accuracy"],
        random_mean=test.get("random_mean"),
        random_largest=max(losses) if losses else None,
        n_random=len(losses),
        n_random_prompts=None if n_null is None else 2 * n_null,
    )
