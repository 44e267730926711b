"""The node space: all nodes of a model in the order of the forward pass, and every way to write down a set of them.

A set of nodes is a list of channels by site (`Nodes`, what a person reads), a mask by site (what a hook needs), or one
vector over all nodes (what gates are). Whatever names a site, a channel, a matrix or an edge that the model does not
have is refused here, with the ones that it has.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.model.sites import matrix_ends, node_sites, other_sites, part_of
from thinwire.sparsity.topk import count_kept

Nodes = Mapping[str, Sequence[int]]
"""Node site -> channels; sites without any may be left out."""


@dataclass(frozen=True)
class NodeSpace:
    """Sites, widths and matrices of all models of one shape. Made by `node_space`."""

    config: ModelConfig

    @cached_property
    def widths(self) -> dict[str, int]:
        """Node site -> number of channels, in the order of the forward pass."""
        config = self.config
        sites = node_sites(config.n_layer, config.variant.residual_sites)
        return {site: part_width(config, part_of(site)) for site in sites}

    def n_kept(self, site: str) -> int:
        """Entries that AbsTopK keeps at a site; the site's width where it does not act."""
        width, config = self.widths[site], self.config
        return count_kept(width, config.activation_frac) if part_of(site) in config.variant.topk_sites else width

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Node site -> place of its channel 0 in a vector over all nodes."""
        *starts, _ = accumulate(self.widths.values(), initial=0)
        return dict(zip(self.widths, starts, strict=True))

    @cached_property
    def matrices(self) -> dict[str, tuple[str, str]]:
        """Weight matrix name -> (source site, target site)."""
        return matrix_ends(self.config.n_layer)

    @cached_property
    def _names(self) -> dict[tuple[str, str], str]:
        return {ends: name for name, ends in self.matrices.items()}

    @cached_property
    def n_nodes(self) -> int:
        return sum(self.widths.values())

    @property
    def sites(self) -> tuple[str, ...]:
        """Node sites in the order of the forward pass."""
        return tuple(self.widths)

    @property
    def hook_sites(self) -> tuple[str, ...]:
        """Where hooks are called: node sites, then the places that carry no nodes."""
        return (*self.widths, *other_sites(self.config.n_layer, self.config.variant.residual_sites))

    def everything(self) -> dict[str, range]:
        """All nodes."""
        return {site: range(width) for site, width in self.widths.items()}

    def by_site(self, flat: Shaped[Tensor, "*batch nodes"]) -> dict[str, Shaped[Tensor, "*batch _width"]]:
        """A vector over all nodes as one view per site."""
        return dict(zip(self.widths, flat.split(list(self.widths.values()), dim=-1), strict=True))

    def flat(self, by_site: Mapping[str, Shaped[Tensor, "*batch _width"]]) -> Shaped[Tensor, "*batch nodes"]:
        """One vector over all nodes from the values of every site. Raises as `ordered` does."""
        return torch.cat(list(self.ordered(by_site).values()), dim=-1)

    def ordered(self, by_site: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same values, sites in the order of the forward pass. Raises `UserError` when one lacks or is unknown."""
        for site in by_site:
            self.check_site(site)
        if missing := [site for site in self.widths if site not in by_site]:
            raise UserError(f"values for {', '.join(missing)} are missing; every node site needs some")
        return {site: by_site[site] for site in self.widths}

    def mask(self, nodes: Nodes, device: torch.device | str = "cpu") -> Bool[Tensor, " nodes"]:
        """True at `nodes`. Raises `UserError` for a node that the model lacks."""
        self.check(nodes)
        mask = torch.zeros(self.n_nodes, dtype=torch.bool)
        mask[[self.offsets[site] + channel for site, channel in list_nodes(nodes)]] = True
        return mask.to(device)

    def masks(self, nodes: Nodes, device: torch.device | str = "cpu") -> dict[str, Bool[Tensor, " _width"]]:
        """`mask` by site, all sites."""
        return self.by_site(self.mask(nodes, device))

    def nodes(self, chosen: Shaped[Tensor, " nodes"]) -> dict[str, list[int]]:
        """Ascending channels by site where `chosen` is not 0; sites without any are left out."""
        lists = {site: part.nonzero().flatten().tolist() for site, part in self.by_site(chosen.detach().cpu()).items()}
        return {site: channels for site, channels in lists.items() if channels}

    def places(self, nodes: Nodes) -> Int[Tensor, " n"]:
        """Places of `nodes` in a vector over all nodes, ascending."""
        return self.mask(nodes).nonzero().flatten()

    def node(self, place: int) -> tuple[str, int]:
        """(site, channel) at a place of a vector over all nodes."""
        site = next(site for site in reversed(self.sites) if self.offsets[site] <= place)
        return site, place - self.offsets[site]

    def matrix(self, source_site: str, target_site: str) -> str:
        """Name of the matrix between two sites. Raises `UserError` when none leads there."""
        self.check_site(source_site)
        self.check_site(target_site)
        if (source_site, target_site) not in self._names:
            to = [target for source, target in self._names if source == source_site]
            there = f"from there to {', '.join(to)}" if to else "none does from there"
            raise UserError(f"no weight matrix leads from {source_site} to {target_site}; {there}")
        return self._names[source_site, target_site]

    def check_site(self, site: str) -> None:
        """Raises `UserError` when the model has no such node site."""
        if site not in self.widths:
            raise UserError(f"this model has no node site {site!r}; {_known(site, self.widths)}")

    def check(self, nodes: Nodes) -> None:
        """Raises `UserError` when a site or channel is not one of the model's."""
        for site, channels in nodes.items():
            self.check_site(site)
            for channel in channels:
                self._check_channel(site, channel)

    def check_edge(self, source_site: str, source: int, target_site: str, target: int) -> str:
        """Name of the matrix that an edge lies in. Raises `UserError` when the model can have no such edge."""
        name = self.matrix(source_site, target_site)
        self._check_channel(source_site, source)
        self._check_channel(target_site, target)
        return name

    def check_matrices(self, names: Iterable[str]) -> None:
        """Raises `UserError` when one is not the name of a matrix that carries edges."""
        for name in names:
            if name not in self.matrices:
                raise UserError(f"this model has no matrix {name!r} that carries edges; {_known(name, self.matrices)}")

    def check_hook_sites(self, names: Iterable[str]) -> None:
        """Raises `UserError` when hooks are never called at one of these places."""
        known = self.hook_sites
        for name in names:
            if name not in known:
                raise UserError(f"hooks are never called at {name!r}; {_known(name, known)}")

    def _check_channel(self, site: str, channel: int) -> None:
        if type(channel) is bool or not 0 <= channel < self.widths[site]:
            raise UserError(f"{site} has no channel {channel}; its channels are 0 to {self.widths[site] - 1}")


def list_nodes(nodes: Nodes) -> list[tuple[str, int]]:
    """(site, channel) of every node, in the order of the sites."""
    return [(site, channel) for site, channels in nodes.items() for channel in channels]


def gathered(nodes: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Channels by site, the inverse of `list_nodes`; channels in the order in which they come."""
    found: dict[str, list[int]] = {}
    for site, channel in nodes:
        found.setdefault(site, []).append(channel)
    return found


def part_width(config: ModelConfig, part: str) -> int:
    """Number of channels at a site of a layer, `embed` or `final`."""
    if part == "mlp.neuron":
        return config.d_mlp
    if part in ("attn.q", "attn.k", "attn.v"):
        return config.d_attn
    return config.d_read if part in ("attn.in", "mlp.in") else config.d_model


@cache
def node_space(config: ModelConfig) -> NodeSpace:
    """The node space of models of this shape."""
    return NodeSpace(config)


def _known(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
