"""Every place where hooks are called is a module too, and has one name here, one in TransformerLens."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_builders import CONFIG, lively, tokens
from torch import Tensor, nn

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, Site, hooks_at, identity
from thinwire.model.names import lens_name, module_name, named_places
from thinwire.model.record import record
from thinwire.model.sites import EMBED, FINAL

EVERY_STREAM = ("resid.pre", "resid.mid", "resid.post", "mlp.neuron")
SHAPES = {
    "plain": CONFIG,
    "sink": replace(CONFIG, sink=True),
    "positions": replace(CONFIG, positions="learned"),
    "concatenated": replace(CONFIG, positions="learned", variant=Variant(d_positions=4)),
    "layer norm, relu": replace(CONFIG, variant=Variant(norm="layer", activation="relu", residual="relu")),
    "stream": replace(CONFIG, variant=Variant(topk_sites=EVERY_STREAM)),
    "gpt2": replace(CONFIG, activation_frac=1.0, bigram=False, variant=Variant(norm="layer", activation="gelu_tanh")),
}
ALL = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
LAYER = [site.removeprefix("0.") for site in GPT(CONFIG).space.hook_sites if site.startswith("0.")]
GLOSSARY = Path(__file__).parents[2] / "docs/glossary.md"


def bent(x: Tensor) -> Tensor:
    """Another value at every site; no multiple of it, which a norm would undo."""
    return 0.5 * x + torch.linspace(0, 1, x.shape[-1])


def instead(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return bent(output)


def watched(model: GPT, x: Tensor, hook: Hook = identity) -> tuple[dict[str, Tensor], Tensor]:
    """(what torch's forward hooks see at every site, logits)."""
    seen: dict[str, Tensor] = {}
    handles = []
    for site in model.space.hook_sites:

        def keep(_module: nn.Module, _inputs: object, output: Tensor, site: str = site) -> None:
            assert site not in seen
            seen[site] = output

        handles.append(model.get_submodule(module_name(site)).register_forward_hook(keep))
    logits = model(x, hook)
    for handle in handles:
        handle.remove()
    return seen, logits


@ALL
def test_torch_s_forward_hooks_see_what_is_recorded(config: ModelConfig) -> None:
    model, x = lively(config), tokens()
    seen, logits = watched(model, x)
    expected = record(model, x, model.space.hook_sites)
    assert seen.keys() == expected.keys() == set(model.space.hook_sites)
    for site, value in seen.items():
        torch.testing.assert_close(value, expected[site], msg=site)
    torch.testing.assert_close(logits, model(x), atol=1e-5, rtol=1e-5)


def test_what_our_hook_returns_is_what_torch_s_see() -> None:
    model, x = lively(), tokens()
    seen, _ = watched(model, x, lambda site, value: value + 1 if site == "0.mlp.neuron" else value)
    torch.testing.assert_close(seen["0.mlp.neuron"], record(model, x, ["0.mlp.neuron"])["0.mlp.neuron"] + 1)


@ALL
def test_a_module_that_is_replaced_by_torch_s_hook_is_one_that_ours_replaces(config: ModelConfig) -> None:
    model, x = lively(config), tokens()
    for site in model.space.hook_sites:
        module = model.get_submodule(module_name(site))
        handle = module.register_forward_hook(instead)
        patched = model(x)
        handle.remove()
        ours = model(x, hooks_at(model.space, {site: bent}))
        torch.testing.assert_close(patched, ours, atol=1e-5, rtol=1e-5, msg=site)
        assert not torch.allclose(patched, model(x), atol=1e-5), site


@ALL
def test_every_site_is_in_the_map_under_names_of_its_own(config: ModelConfig) -> None:
    model = GPT(config)
    found = {name: module.name for name, module in model.named_modules() if isinstance(module, Site)}
    beside = {name for name in found if ".position_norm." in name}  # of positions, which no hook reaches
    places = model.space.hook_sites
    assert {name: site for name, site in found.items() if name not in beside} == {module_name(s): s for s in places}
    assert len({lens_name(site) for site in places}) == len(places)


@ALL
def test_sites_have_no_weights(config: ModelConfig) -> None:
    model = GPT(config)
    assert not [name for name in model.state_dict() if "hook" in name]
    assert not any(list(site.parameters()) for site in model.modules() if isinstance(site, Site))


def test_nobody_watches_unless_somebody_does() -> None:
    """Else the forward pass would take the slower way of attention and norms for nothing."""
    model = lively()
    sites = [module for module in model.modules() if isinstance(module, Site)]
    assert not any(site.watched for site in sites)
    handle = sites[0].register_forward_hook(lambda *_: None)
    assert [site.watched for site in sites] == [True, *[False] * (len(sites) - 1)]
    handle.remove()
    assert not any(site.watched for site in sites)


def test_the_glossary_shows_the_map() -> None:
    """The rows of its first table: our name, TransformerLens', the module."""
    rows = re.findall(r"^\| `([^|]*)` \| `([^|]*)` \| `([^|]*)` \|", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    sites = [EMBED, *(f"3.{place}" for place in LAYER), f"{FINAL}.scale", FINAL]
    assert {tuple(cell.replace("L.", "3.") for cell in row) for row in rows} == {
        (site, lens_name(site), module_name(site)) for site in sites
    }


def test_names_may_be_ours_theirs_patterns_or_a_choice() -> None:
    space = lively().space
    assert named_places(space, "0.mlp.neuron") == named_places(space, ["blocks.0.mlp.hook_post"]) == ["0.mlp.neuron"]
    assert named_places(space, ["blocks.*.attn.hook_q", "*.attn.k"]) == ["0.attn.q", "0.attn.k", "1.attn.q", "1.attn.k"]
    assert named_places(space, lambda name: name.endswith("hook_post")) == ["0.mlp.neuron", "1.mlp.neuron"]
    assert named_places(space, None) == list(space.hook_sites)


def test_names_of_nothing_are_refused_with_those_there_are() -> None:
    space = lively().space
    with pytest.raises(UserError, match=r"did you mean blocks\.0\.mlp\.hook_post\?"):
        named_places(space, ["blocks.0.mlp.hook_pos"])
    with pytest.raises(
        UserError, match=r"names no place of this model; there are: hook_embed, .*blocks\.\*\.hook_mlp_out"
    ):
        named_places(space, ["zzzz"])
    with pytest.raises(UserError, match="chooses none"):
        named_places(space, lambda name: False)
