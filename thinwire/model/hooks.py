"""The two arguments through which every intervention enters a forward pass.

A `Hook` is called at each node site (after AbsTopK), at each RMSNorm scale (`0.attn.scale`, `final.scale`), at each
attention pattern (`0.attn.pattern`) and on the residual stream (`0.resid.pre`); it returns the value to go on with.
An `EdgeMask` removes single weights of one matrix. Both are arguments of the forward, so nothing has to be undone
afterwards.

Each of these places is a module as well, a `Site` whose output is what the hook returned, for torch's own forward hooks
and for tools that wrap modules.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from thinwire.model.nodes import NodeSpace

Hook = Callable[[str, Tensor], Tensor]


def identity(_site: str, x: Tensor) -> Tensor:
    """The hook that changes nothing."""
    return x


def hooks_at(space: NodeSpace, functions: Mapping[str, Callable[[Tensor], Tensor]]) -> Hook:
    """The hook that applies one function at each named place and nothing elsewhere.

    Raises `UserError` when hooks are never called at one of these places, so that a misspelt one is no silent no-op.
    """
    space.check_hook_sites(functions)

    def hook(site: str, x: Tensor) -> Tensor:
        return functions[site](x) if site in functions else x

    return hook


def compose(*hooks: Hook) -> Hook:
    """One hook that applies `hooks` from left to right at every site."""

    def hook(site: str, x: Tensor) -> Tensor:
        for inner in hooks:
            x = inner(site, x)
        return x

    return hook


class Site(nn.Module):
    """A place where hooks are called, as a module without parameters: its output is what the model goes on with."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def watched(self) -> bool:
        """Whether anybody looks: a hook of torch's, or a tool that put its own `forward` in place (nnsight does)."""
        hooks = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        return bool(hooks) or "forward" in vars(self)

    def forward(self, x: Tensor, hook: Hook) -> Tensor:
        return hook(self.name, x)


@dataclass(frozen=True)
class EdgeMask:
    """Which edges of one weight matrix are kept, and what stands in for the sources of the others."""

    keep: Bool[Tensor, "target source"]
    mean: Float[Tensor, "*batch source"]
    """Mean activation of each source node; zeros for zero ablation; or an activation for every prompt and position."""

    @property
    def varies(self) -> bool:
        """Whether what stands in differs between prompts or positions."""
        return self.mean.ndim > 1


Edges = Mapping[str, EdgeMask]
"""Weight matrix name (see `NodeSpace.matrices`) -> EdgeMask; matrices that are left out stay whole."""


def edge_linear(
    linear: nn.Linear,
    x: Float[Tensor, "*batch source"],
    mask: EdgeMask | None,
    gain: Float[Tensor, "*batch source"] | None = None,
) -> Float[Tensor, "*batch target"]:
    """`linear(x)` in which the removed edges carry their source's mean: (W M) x + (W (1 - M)) mean + b.

    `gain` scales the mean where a source does not arrive with weight 1 (value channels under an attention sink).
    """
    if mask is None:
        return linear(x)
    kept = linear.weight * mask.keep
    removed = linear.weight - kept
    mean = mask.mean if gain is None else mask.mean * gain
    return F.linear(x, kept, linear.bias) + F.linear(mean, removed)
