"""Run in an environment without thinwire: what transformers makes of exported folders. Prints one JSON object."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = "def close(quote):\n"


def facts(folder: Path) -> dict[str, object]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    recorded = load_file(folder.with_suffix(".safetensors"))
    with torch.no_grad():
        logits = model(recorded["tokens"]).logits
    inputs = tokenizer(TEXT, return_tensors="pt")
    alone = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)[0]
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    both = tokenizer([TEXT * 2, TEXT], return_tensors="pt", padding=True)
    padded = model.generate(**both, max_new_tokens=6, min_new_tokens=6, do_sample=False)[1]
    return {
        "class": type(model).__name__,
        "error": float((logits - recorded["logits"]).abs().max() / recorded["logits"].abs().max()),
        "ids": inputs["input_ids"][0].tolist(),
        "n_new": len(alone) - inputs["input_ids"].shape[1],
        "padding_changes_nothing": alone[-6:].tolist() == padded[-6:].tolist(),
    }


if __name__ == "__main__":
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    found = {folder.name: facts(folder) for folder in folders}
    json.dump({"thinwire": find_spec("thinwire") is not None, "models": found}, sys.stdout)
