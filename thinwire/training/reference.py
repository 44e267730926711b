"""The training step in the obvious torch operations: what the fast step is held to, and measured against.

Source: Gao et al. 2025, section 2.1. AbsTopK is torch.topk and scatter, the projection torch.topk over each flattened
matrix and a mask, Adam torch's fused one; gradient normalisation and decay are passes of their own. Nothing here
calls a kernel of this package. Ties fall as torch.topk lets them fall, which is felt where fewer than k activations are
nonzero: a kept zero passes its gradient. `sort_scatter` in place of `topk_scatter` lets the lower index win.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.kernels.contract import Protect
from thinwire.model.gpt import GPT, MLP, Attention
from thinwire.model.structure import is_decayed, sparse_parameters
from thinwire.sparsity.projection import count_nonzero
from thinwire.training.optimizer import BETAS, EPS, RMS_EPS

Mark = Callable[[str], None]
"""Called with a stage's name when that stage has ended."""


def unmarked(stage: str) -> None:
    """The mark that nobody listens to."""


def topk_scatter(x: Float[Tensor, "*batch width"], k: int) -> Float[Tensor, "*batch width"]:
    """AbsTopK by torch.topk and scatter."""
    if k >= x.shape[-1]:
        return x
    kept = x.abs().topk(k, dim=-1).indices
    return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))


def sort_scatter(x: Float[Tensor, "*batch width"], k: int) -> Float[Tensor, "*batch width"]:
    """AbsTopK by a stable sort and scatter: lower index wins ties."""
    kept = x.abs().sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))


Select = Callable[[Tensor, int], Tensor]


def reference_loss(model: GPT, windows: Int[Tensor, "B window"], select: Select = topk_scatter) -> Tensor:
    """Next-token cross-entropy of `model`, nats, mean; its forward pass written out again from its parameters."""
    tokens, targets = windows[:, :-1], windows[:, 1:]
    x = model.embed(tokens)
    if model.positions is not None:
        x = x + model.positions.weight[: tokens.shape[1]]
    for block in model.blocks:
        x = x + _attention(block.attn, x, select)  # pyright: ignore[reportArgumentType]
        x = x + _mlp(block.mlp, x, select)  # pyright: ignore[reportArgumentType]
    logits = model.unembed(F.rms_norm(x, x.shape[-1:], model.norm.gain))
    if model.bigram is not None:
        logits = logits + F.embedding(tokens, model.bigram)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _attention(attn: Attention, x: Tensor, select: Select) -> Tensor:
    h = select(F.rms_norm(x, x.shape[-1:], attn.norm.gain), attn.n_kept["in"])
    heads = [select(linear(h), attn.n_kept[name]) for name, linear in zip("qkv", (attn.q, attn.k, attn.v), strict=True)]
    q, k, v = (y.unflatten(-1, (attn.n_head, attn.d_head)).transpose(1, 2) for y in heads)
    if attn.sink is None:
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        scores = q @ k.transpose(-1, -2) / math.sqrt(attn.d_head)
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        sink = attn.sink[:, None, None].expand(*scores.shape[:-1], 1)
        mixed = torch.cat([scores, sink], -1).softmax(-1)[..., :-1] @ v
    return select(attn.out(mixed.transpose(1, 2).flatten(2)), attn.n_kept["out"])


def _mlp(mlp: MLP, x: Tensor, select: Select) -> Tensor:
    h = select(F.rms_norm(x, x.shape[-1:], mlp.norm.gain), mlp.n_kept["in"])
    return select(mlp.out(select(F.gelu(mlp.neuron(h)), mlp.n_kept["neuron"])), mlp.n_kept["out"])


@torch.no_grad()
def project_by_topk_(weight: Tensor, density: float, protect: Protect, min_per_line: int) -> None:
    """The projection by torch.topk over the flattened tensor and a mask, after a torch.topk over its lines."""
    k = count_nonzero(weight.numel(), density)
    if k >= weight.numel():
        return
    rank = weight.abs()
    if protect and min_per_line:
        dim = 1 if protect == "rows" else 0
        rank.scatter_(dim, rank.topk(min(min_per_line, weight.shape[dim]), dim=dim).indices, torch.inf)
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[rank.flatten().topk(k, sorted=False).indices] = True
    weight.masked_fill_(~mask.view_as(weight), 0)


class ReferenceOptimizer:
    """Steps 2 to 5, one pass over the parameters each."""

    def __init__(self, model: GPT, weight_decay: float, min_per_line: int) -> None:
        self.parameters = list(model.parameters())
        self.sparse = sparse_parameters(model)
        self.decayed = [p for name, p in model.named_parameters() if is_decayed(name)]
        self.weight_decay, self.min_per_line = weight_decay, min_per_line
        self.adam = torch.optim.Adam(self.parameters, lr=0.0, betas=BETAS, eps=EPS, fused=True)

    @torch.no_grad()
    def step(self, learning_rate: float, density: float, mark: Mark = unmarked) -> Tensor:
        """Apply the gradients that the parameters hold; returns their rms before normalisation."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        rms = torch.cat([g.flatten() for g in gradients]).square().mean().sqrt()
        for g in gradients:
            g.mul_(1 / (rms + RMS_EPS))
        mark("normalise")
        self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()
        mark("adam")
        for parameter in self.sparse:
            project_by_topk_(parameter.value, density, parameter.protect, self.min_per_line)
        mark("project")
        for p in self.decayed:
            p.mul_(1 - learning_rate * self.weight_decay)
        mark("decay")
        return rms


def reference_step(
    model: GPT,
    optimizer: ReferenceOptimizer,
    windows: Int[Tensor, "B window"],
    learning_rate: float,
    density: float,
    mark: Mark = unmarked,
    select: Select = topk_scatter,
) -> tuple[float, float]:
    """One step on one batch; returns (loss in nats, gradient rms before normalisation)."""
    optimizer.adam.zero_grad()
    loss = reference_loss(model, windows, select)
    mark("forward")
    loss.backward()
    mark("backward")
    rms = optimizer.step(learning_rate, density, mark)
    return loss.item(), rms.item()
