"""A found circuit as an artefact: calibrated, counted, scored on every split."""

import platform
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.anatomy import anatomy
from thinwire.circuits.edges import (
    count_biases,
    count_embed_edges,
    count_residual_links,
    count_unembed_edges,
    induced_edges,
)
from thinwire.circuits.graph import Calibration, Circuit, Demand, Edge, Score
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import difference_of, score
from thinwire.model.gpt import GPT
from thinwire.pruning.calibrate import calibrate
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.engine import Engine, PlainEngine, engine
from thinwire.pruning.objective import Objective
from thinwire.pruning.terms.registry import weighted
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens
from thinwire.version import __version__


@dataclass(frozen=True)
class Identity:
    """What a circuit belongs to."""

    task: str
    task_version: int
    model_fingerprint: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class FoundCircuit:
    """What a search came to, before anything is measured on it."""

    nodes: dict[str, list[int]]
    solved: bool
    """Whether the validation loss met the target."""
    curve: list[tuple[int, float]]
    """(number of nodes, validation loss)."""
    unswept: tuple[int, int] | None = None
    """(nodes, induced edges) before a sweep."""
    minimal_edges: list[Edge] | None = None
    demands: dict[str, Demand] = field(default_factory=dict)
    """Term -> what was asked and found, on validation pairs, with the edges that are kept."""


@dataclass(frozen=True)
class Problem:
    """What all prunings of one task in one model share: made once, used for every seed and price."""

    model: GPT
    pairs: dict[Split, TaskTokens]
    means: Means
    identity: Identity
    norm_scales: Literal["own", "whole"] = "own"

    def __post_init__(self) -> None:
        """Gates lie end to end in the order of the forward pass; means that come from a file come in another."""
        object.__setattr__(self, "means", self.model.space.ordered(self.means))

    @cached_property
    def prompts(self) -> dict[Split, Prompts]:
        device = self.model.device
        return {split: Prompts.of(self.pairs[split], device) for split in SPLITS}

    @cached_property
    def engines(self) -> dict[Split, Engine]:
        """Train and validation the fast way; test through `GPT.forward` itself, as whoever judges a circuit does."""
        frozen = self.norm_scales == "whole"
        return {
            "train": engine(self.model, self.prompts["train"], self.means, frozen),
            "validation": engine(self.model, self.prompts["validation"], self.means, frozen),
            "test": PlainEngine(self.model, self.prompts["test"], self.means, frozen),
        }

    def objective(self, split: Split, config: PruneConfig) -> Objective:
        """What `config` asks for, on one split."""
        return Objective(self.engines[split], weighted(config.asked), config.target_loss)

    @cached_property
    def whole(self) -> dict[Split, Tensor]:
        """The whole model's logits at the end of every prompt."""
        everything = torch.ones(self.model.space.n_nodes, device=self.model.device)
        return {split: engine.logits(everything) for split, engine in self.engines.items()}


def _inside(prompts: Prompts) -> Tensor:
    """The tokens of all prompts without their padding."""
    return prompts.tokens[prompts.inside]


@torch.no_grad()
def describe(problem: Problem, found: FoundCircuit, config: PruneConfig) -> Circuit:
    """Calibrate on validation, count edges, score every split. This is where the test pairs are read."""
    model, nodes, minimal, prompts = problem.model, found.nodes, found.minimal_edges, problem.prompts
    gates = model.space.mask(nodes, model.device).float()

    edges = induced_edges(model, nodes)

    def kept(removed: list[Edge]) -> dict[Split, Tensor]:
        return {split: e.logits(gates, removed) for split, e in problem.engines.items()}

    def scores(logits: dict[Split, Tensor], calibration: Calibration | None = None) -> dict[str, Score]:
        return {s: score(logits[s], problem.whole[s], prompts[s], calibration) for s in SPLITS}

    alone, validation = kept([]), prompts["validation"]
    calibration = calibrate(difference_of(alone["validation"], validation), validation.sign)
    answers = (validation.answer, validation.other)
    return Circuit(
        status="solved" if found.solved else "not_solved",
        task=problem.identity.task,
        task_version=problem.identity.task_version,
        model_fingerprint=problem.identity.model_fingerprint,
        tokenizer_sha256=problem.identity.tokenizer_sha256,
        answer_tokens=answers,
        answer_texts=problem.pairs["validation"].answer_texts,
        target_loss=config.target_loss,
        nodes={site: list(channels) for site, channels in nodes.items()},
        anatomy=anatomy(nodes, model.config.d_head),
        edges=edges,
        minimal_edges=minimal,
        embed_edges=count_embed_edges(model, nodes, torch.cat([_inside(p) for p in prompts.values()])),
        unembed_edges=count_unembed_edges(model, nodes, answers),
        n_biases=count_biases(model, nodes),
        residual_links=count_residual_links(nodes, model.config.n_layer),
        scores=scores(alone),
        calibrated_scores=scores(alone, calibration),
        model_scores=scores(problem.whole),
        calibration=calibration,
        ablation=config.ablation,
        loss_curve=found.curve,
        seed=config.seed,
        hyperparameters=config.hyperparameters(),
        versions={"thinwire": __version__, "torch": torch.__version__, "python": platform.python_version()},
        norm_scales=config.norm_scales,
        unswept=found.unswept,
        requirement=config.requirement,
        scope=list(config.scope),
        demands=found.demands,
        minimal_scores=None if minimal is None else scores(kept(sorted(set(edges) - set(minimal)))),
    )
