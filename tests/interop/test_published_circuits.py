"""Circuits of others, by hook name or by mask, are sets of our nodes."""

import json
from pathlib import Path

import pytest
import torch
from model_builders import random_model

from thinwire.errors import UserError
from thinwire.interop.published_circuits import read_nodes

SPACE = random_model().space  # width 16, 64 neurons
HOOKS = {"0.attn.act_in": [3, 1], "1.mlp.post_act": [63], "1.attn.resid_delta": [], "0.attn.q": [0]}
NODES = {"0.attn.in": [1, 3], "0.attn.q": [0], "1.mlp.neuron": [63], "embed": [*range(16)], "final": [*range(16)]}


def save(path: Path, values: object) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        torch.save(values, path)
    return path


def test_hook_names_in_json_and_in_the_released_viewer_s_file(tmp_path: Path) -> None:
    assert read_nodes(save(tmp_path / "c.json", HOOKS), SPACE) == NODES
    tensors = {name: torch.tensor(channels, dtype=torch.long) for name, channels in HOOKS.items()}
    viewed = {"circuit_data": tensors, "samples": {"a": [1, "b", torch.ones(2)]}, "importances": {"loss": 0.1}}
    assert read_nodes(save(tmp_path / "viz_data.pt", viewed), SPACE) == NODES


def test_masks_of_ones_and_parameters_of_gates(tmp_path: Path) -> None:
    ones = {"layer0_attn_in": torch.zeros(16), "layer0_attn_q": torch.zeros(16), "layer1_mlp_neuron": torch.zeros(64)}
    ones["layer0_attn_in"][[1, 3]] = ones["layer0_attn_q"][0] = ones["layer1_mlp_neuron"][63] = 1
    ones["token_embed"] = torch.ones(24)
    assert read_nodes(save(tmp_path / "circuit_mask.pt", ones), SPACE) == NODES
    tau = {name: mask - 0.5 for name, mask in ones.items()}
    tau["layer0_attn_in"][1] = 0.0
    assert read_nodes(save(tmp_path / "masks.pt", tau), SPACE) == NODES


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.json", {"0.attn.y": [1]}, r"0\.attn\.y is no hook"),
        ("a.json", {"final_resid": [1]}, "final_resid is no hook"),
        ("a.json", {"0.attn.q": 3}, r"0\.attn\.q has no list of channels"),
        ("a.json", {"0.attn.q": [3, 3]}, "names a channel twice"),
        ("a.json", {"0.attn.q": [16]}, "0.attn.q has no channel 16"),
        ("a.json", {"2.attn.q": [1]}, r"no node site '2\.attn\.q'"),
        ("a.json", [], "holds no circuit"),
        ("a.pt", {"layer0_attn_in": torch.ones(2, 2)}, "layer0_attn_in is no mask"),
        ("a.pt", {"layer0_attn_in": torch.ones(16), "layer0_z": torch.ones(2)}, "layer0_z is no set of nodes"),
        ("a.pt", {"layer0_attn_in": torch.ones(16), "token_embed": torch.zeros(24)}, "token_embed is no set of nodes"),
        ("a.pt", {"circuit_data": {}}, "holds no circuit"),
    ],
)
def test_what_is_no_circuit_of_this_model_is_refused(name: str, values: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_nodes(save(tmp_path / name, values), SPACE)
