"""Text: is the circuit like the model where the answers occur in held-out text, outside the task's prompts?

KL(whole model || circuit) over the whole vocabulary at tokens of held-out text that are followed by one of the two
answers, beside the KL with every node removed. A circuit of one task does not have to predict text, so this is reported
and decides nothing; it says how far from the task's prompts the circuit still carries.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thinwire.circuits.ablation import isolate
from thinwire.circuits.prompts import Prompts
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Divergence
from thinwire.verification.budget import Budget
from thinwire.verification.finding import NotRun, Report
from thinwire.verification.material import TaskMaterial
from thinwire.verification.subject import Subject

BATCH = 32
"""Windows in one forward pass."""


@dataclass(frozen=True, kw_only=True)
class TextKL(Report):
    kl: Divergence
    """KL(whole model || circuit), nats per token, at tokens that one of the answers follows."""
    kl_nothing_kept: Divergence
    """The same with every node removed."""
    n_tokens: Count
    """Such tokens."""


@torch.no_grad()
def text_kl(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> TextKL:
    """Raises `NotRun` when there is no held-out text or neither answer occurs in it."""
    if material.windows is None:
        raise NotRun("there is no held-out text")
    model, totals, n_tokens = subject.model, [0.0, 0.0], 0
    nothing = isolate(model, {}, subject.means)
    answers = torch.tensor([material.test.answer, material.test.other], device=model.device)
    for windows in material.windows[: budget.text_windows].split(BATCH):
        tokens, at = windows[:, :-1], torch.isin(windows[:, 1:], answers)
        alone = subject.alone(_as_prompts(tokens, material.test))
        whole = model(tokens)[at].log_softmax(-1)
        kept = model(tokens, alone.hook, alone.edges)[at].log_softmax(-1)
        for i, other in enumerate((kept, model(tokens, nothing)[at].log_softmax(-1))):
            totals[i] += float(F.kl_div(other, whole, reduction="sum", log_target=True))
        n_tokens += int(at.sum())
    if not n_tokens:
        raise NotRun("neither answer occurs in the held-out text that was looked at")
    kl, kl_nothing = (max(0.0, total / n_tokens) for total in totals)
    return TextKL(
        sentence=f"At {n_tokens} tokens of held-out text before one of the answers the circuit is {kl:.3f} nats from "
        f"the whole model's distribution over all tokens; with every node removed it is {kl_nothing:.3f}.",
        kl=kl,
        kl_nothing_kept=kl_nothing,
        n_tokens=n_tokens,
    )


def _as_prompts(tokens: Tensor, like: Prompts) -> Prompts:
    """Windows as prompts, which a circuit can run on; their signs mean nothing."""
    lengths = torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
    return Prompts(tokens, lengths, torch.ones(len(tokens), device=tokens.device), like.answer, like.other)
