"""Small random models of other programs, with what those programs compute (tests/interop/released/README.md)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).parent / "interop" / "released"


@cache
def records(program: str) -> dict[str, dict[str, Any]]:
    """Model name -> config, seed, tensors."""
    return json.loads((FOLDER / f"{program}.json").read_text())


@cache
def _arrays(program: str) -> dict[str, Tensor]:
    return load_file(FOLDER / f"{program}.safetensors")


def recorded(program: str, name: str) -> dict[str, Tensor]:
    """`tokens`, `logits` and, for some models, activations by the other program's hook names."""
    found = {key.removeprefix(f"{name}/"): value for key, value in _arrays(program).items()}
    return {key: value for key, value in found.items() if f"{name}/{key}" in _arrays(program)}


def state_dict(program: str, name: str) -> dict[str, Tensor]:
    """The weights of one model."""
    record = records(program)[name]
    draw, tensors = np.random.RandomState(record["seed"]), {}
    for key, shape in sorted(record["tensors"].items()):
        values, kept = draw.standard_normal(tuple(shape)), draw.uniform(size=tuple(shape)) < 0.5
        gain = "ln_" in key and key.endswith("weight")
        tensor = torch.from_numpy(np.where(kept | gain, values * 0.5 + gain, 0.0).astype(np.float32))
        tensors[key] = torch.ones(shape).tril() if len(shape) == 4 else tensor
    tensors |= {key: value for key, value in recorded(program, name).items() if key in tensors}
    if program == "openai" and record["config"].get("tied_unembed", True):
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"]
    if program == "sparse_pretrain" and record["config"]["model_config"]["tie_embeddings"]:
        tensors["lm_head.weight"] = tensors["wte.weight"]
    return tensors


def write_model(directory: Path, program: str, name: str, **changed: Any) -> Path:
    """The files that the other program writes; `changed` replaces keys of its config, None removes one."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        k: v for k, v in (records(program)[name]["config"] | changed).items() if v is not None or k not in changed
    }
    files = {"openai": "beeg_config.json", "sparse_pretrain": "config.json", "gpt2": "config.json"}
    (directory / files[program]).write_text(json.dumps(config))
    tensors = state_dict(program, name)
    if program == "gpt2":
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(tensors, directory / {"openai": "final_model.pt", "sparse_pretrain": "pytorch_model.bin"}[program])
    return directory
