"""What the places of a model are called elsewhere, and which module stands at each: the one map of names.

Here a place is `0.mlp.neuron`, in TransformerLens `blocks.0.mlp.hook_post`, and the module whose output is the value
there `blocks.0.mlp.hook_neuron`. docs/glossary.md shows the map; a test holds the two together.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from thinwire.errors import UserError
from thinwire.model.nodes import NodeSpace
from thinwire.model.sites import EMBED, FINAL, SCALE, layer_of, part_of

Names = str | Sequence[str] | Callable[[str], bool]
"""Places by our names or TransformerLens', patterns such as `blocks.*.mlp.hook_post` among them; or a choice among
TransformerLens' names."""

_LENS = {
    "resid.pre": "hook_resid_pre",
    "attn.scale": "ln1.hook_scale",
    "attn.in": "ln1.hook_normalized",
    "attn.q": "attn.hook_q",
    "attn.k": "attn.hook_k",
    "attn.v": "attn.hook_v",
    "attn.pattern": "attn.hook_pattern",
    "attn.out": "hook_attn_out",
    "resid.mid": "hook_resid_mid",
    "mlp.scale": "ln2.hook_scale",
    "mlp.in": "ln2.hook_normalized",
    "mlp.neuron": "mlp.hook_post",
    "mlp.out": "hook_mlp_out",
    "resid.post": "hook_resid_post",
}
_LENS_OUTSIDE = {EMBED: "hook_embed", f"{FINAL}{SCALE}": "ln_final.hook_scale", FINAL: "ln_final.hook_normalized"}
_SITES = {lens: place for place, lens in _LENS.items()}
_SITES_OUTSIDE = {lens: place for place, lens in _LENS_OUTSIDE.items()}
_MODULES_OUTSIDE = {EMBED: "hook_embed", f"{FINAL}{SCALE}": "norm.hook_scale", FINAL: "hook_final"}


def lens_name(site: str) -> str:
    """TransformerLens' name of a place where hooks are called."""
    if site in _LENS_OUTSIDE:
        return _LENS_OUTSIDE[site]
    return f"blocks.{layer_of(site)}.{_LENS[part_of(site)]}"


def module_name(site: str) -> str:
    """Name of the module (`GPT.get_submodule`) whose output is the value at a place where hooks are called."""
    if site in _MODULES_OUTSIDE:
        return _MODULES_OUTSIDE[site]
    block, _, place = part_of(site).partition(".")
    if block == "resid":
        return f"blocks.{layer_of(site)}.stream.hook_{place}"
    return f"blocks.{layer_of(site)}.{block}.{'norm.' if place == 'scale' else ''}hook_{place}"


def named_places(space: NodeSpace, names: Names | None) -> list[str]:
    """The places that `names` mean, in the order of `NodeSpace.hook_sites`; all of them without any.

    Raises `UserError` for a name or pattern of nothing, and for a choice that takes none.
    """
    places = {place: lens_name(place) for place in space.hook_sites}
    if names is None:
        return list(places)
    if callable(names):
        if found := [place for place, lens in places.items() if names(lens)]:
            return found
        raise UserError(f"names chooses none of the model's places; {_known(places.values())}")
    meant: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        found = [place for place, lens in places.items() if fnmatchcase(place, name) or fnmatchcase(lens, name)]
        if not found:
            close = difflib.get_close_matches(name, [*places, *places.values()], n=1)
            hint = f"did you mean {close[0]}?" if close else _known(places.values())
            raise UserError(f"{name!r} names no place of this model; {hint}")
        meant.update(found)
    return [place for place in places if place in meant]


def site_named(name: str) -> str:
    """Our name of a place that is given by ours or TransformerLens'; any other name comes back as it is."""
    if name in _SITES_OUTSIDE:
        return _SITES_OUTSIDE[name]
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    return f"{found[1]}.{_SITES[found[2]]}" if found and found[2] in _SITES else name


def _known(names: Iterable[str]) -> str:
    patterns = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "blocks.*.", name) for name in names)
    return f"there are: {', '.join(patterns)}"
