"""The part of a shipped model's card that follows from its files: python tests/model_card.py writes it anew."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import SOLVED_MEANS, standing
from thinwire.model.structure import count_parameters
from thinwire.runs.run import load
from thinwire.runs.settings import settings_words
from thinwire.runs.shipped import SHIPPED, shipped_models
from thinwire.runs.trained import Trained
from thinwire.runs.verdicts import stored_verification
from thinwire.tasks.registry import all_tasks
from thinwire.workflows.tasks import TaskCheck, check_task

CARD = "README.md"
BLOCK = re.compile(r"(?<=<!-- from the files -->\n).*(?=<!-- end -->)", re.DOTALL)


def generated(run: Trained) -> str:
    """Shape, tasks of the whole model and circuits, as three tables."""
    checks = [check_task(run, name, "test") for name in all_tasks()]
    known = [check for check in checks if check.reason is None]
    does = [check for check in known if check.model_does]
    head = f"Does {len(does)} of the {len(checks)} built-in tasks ({len(checks) - len(known)} cannot be asked here)"
    circuits = [(path, load_circuit(path).circuit) for path in run.circuit_directories()]
    tables = [
        table(("", ""), facts(run)),
        f"## Tasks of the whole model\n\n{head}: at least 95 % right at a loss of at most 0.15 nats, on test pairs.",
        table(("task", "does it", "right", "loss", "test pairs"), map(task_row, known)),
        f"## Circuits\n\nSolved: {SOLVED_MEANS}. What the verdicts mean: docs/verification.md.",
        table(
            ("task", "asked for", "nodes", "edges", "minimal", "test loss", "right", "solved", "as the paper tests it",
             "verdict"),
            [circuit_row(path, circuit) for path, circuit in circuits],
        ),
    ]  # fmt: skip
    return "\n\n".join(tables) + "\n"


def facts(run: Trained) -> Iterator[tuple[str, str]]:
    config, counts = run.model_config, count_parameters(run.model)
    training = yaml.safe_load((run.path / "training.yaml").read_text(encoding="utf-8"))
    yield "layers, width, head width", f"{config.n_layer}, {config.d_model}, {config.d_head}"
    yield "vocabulary, context", f"{config.vocab_size:,} tokens, {config.context} tokens"
    yield "nonzero parameters", f"{counts['nonzero']:,} of {counts['parameters']:,}"
    yield "of these in the bigram table", f"{run.model.state_dict()['bigram'].numel():,}"
    yield "density of all other matrices", f"1 in {1 / run.density:.1f}"
    yield "training tokens", f"{training['train']['n_tokens']:,}"
    yield "text", ", ".join(f"`{source}`" for source in training["data"]["source"])
    yield "held-out loss", f"{run.heldout_loss():.3f} nats a token"
    yield "fingerprint", f"`{run.fingerprint[:16]}`"


def task_row(check: TaskCheck) -> tuple[str, ...]:
    assert check.accuracy is not None and check.loss is not None
    return (f"`{check.name}`", yes(check.model_does), f"{check.accuracy:.1%}", f"{check.loss:.3f}", str(check.n_pairs))


def circuit_row(path: Path, circuit: Circuit) -> tuple[str, ...]:
    judged, score = stored_verification(path), circuit.scores["test"]
    return (
        f"`{circuit.task}`",
        settings_words(circuit.hyperparameters).replace("default settings", "sufficient").replace("require=", ""),
        str(circuit.n_nodes),
        str(circuit.n_edges),
        str(circuit.n_minimal_edges),
        f"{score.loss:.3f}",
        f"{score.accuracy:.1%}",
        yes(standing(circuit).solved),
        judged.judged.paper_verdict if judged else "not verified",
        judged.verdict if judged else "not verified",
    )


def yes(value: bool) -> str:
    return "yes" if value else "no"


def table(head: "tuple[str, ...]", rows: "Iterator[tuple[str, ...]] | list[tuple[str, ...]] | map") -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    for name in shipped_models():
        card = SHIPPED / name / CARD
        found = generated(load(SHIPPED / name, "cpu"))
        card.write_text(BLOCK.sub(lambda _, found=found: found, card.read_text(encoding="utf-8")), encoding="utf-8")
