"""An exported folder is all that transformers needs."""

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builders import random_model
from released_models import state_dict, write_model
from safetensors.torch import load_file, save_file

from thinwire.data.tokenizer import Tokenizer
from thinwire.interop.gpt2 import read_gpt2
from thinwire.interop.hugging_face_export import Card, fits_gpt2, write_hugging_face
from thinwire.model.checkpoint import load_model
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.sites import LAYER_SITES, RESIDUAL_SITES

TEXT = "def close(quote):\n"
TOKENIZER = Tokenizer.train([f"{TEXT}    return [[quote], (quote)]\n" * 20], 264)
BENT = Variant(norm="layer", residual="relu", activation="relu", topk_sites=(*LAYER_SITES, *RESIDUAL_SITES))
BESIDE = Variant(d_positions=6, n_head=4, d_mlp=20)
DENSE: dict[str, Any] = {"positions": "learned", "bigram": False, "activation_frac": 1.0}
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "sink_and_positions": {"sink": True, "positions": "learned"},
    "bent_stream": {"variant": BENT},
    "positions_beside": {"positions": "learned", "sink": True, "variant": BESIDE},
    "dense": DENSE,
    "native": {**DENSE, "variant": Variant(norm="layer", activation="gelu_tanh")},
}


def export(folder: Path, shape: dict[str, Any]) -> bool:
    folder.mkdir()
    model = random_model(vocab_size=TOKENIZER.vocab_size, context=32, **shape)
    card = Card("someone/model", "A model.", {"parameters": "1"}, ["Nothing to remark."])
    native = write_hugging_face(folder, model, TOKENIZER, card)
    tokens = torch.randint(TOKENIZER.vocab_size, (3, 20), generator=torch.Generator().manual_seed(0))
    save_file({"tokens": tokens, "logits": model(tokens)}, folder.with_suffix(".safetensors"))
    return native


@pytest.mark.slow
def test_models_of_every_kind_load_and_generate_without_thinwire(tmp_path: Path) -> None:
    """A fresh environment that borrows installed packages; it does not follow the link to this checkout among them."""
    (tmp_path / "out").mkdir()
    for name, shape in MODELS.items():
        export(tmp_path / "out" / name, shape)
    venv.create(tmp_path / "env")
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    script = Path(__file__).parent / "loads_exported.py"
    command = [tmp_path / "env" / "bin" / "python", script, tmp_path / "out"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["thinwire"]
    assert found["models"].keys() == MODELS.keys()
    for name, facts in found["models"].items():
        assert facts["class"] == ("GPT2LMHeadModel" if name == "native" else "ThinwireForCausalLM")
        assert facts["error"] <= 1e-5
        assert facts["ids"] == TOKENIZER.encode(TEXT)
        assert facts["n_new"] == 6 and facts["padding_changes_nothing"]


def test_a_folder_has_the_files_that_its_class_needs(tmp_path: Path) -> None:
    common = {"README.md", "config.json", "generation_config.json", "model.safetensors"}
    common |= {"tokenizer.json", "tokenizer_config.json"}
    assert not export(tmp_path / "own", {})
    assert {path.name for path in (tmp_path / "own").iterdir()} == common | {"modeling_thinwire.py"}
    assert export(tmp_path / "native", MODELS["native"])
    assert {path.name for path in (tmp_path / "native").iterdir()} == common
    for name, call in (("own", ", trust_remote_code=True)"), ("native", 'from_pretrained("someone/model")')):
        card = (tmp_path / name / "README.md").read_text()
        assert call in card and "$" not in card and "Nothing to remark." in card
    compile((tmp_path / "own" / "modeling_thinwire.py").read_text(), "modeling_thinwire.py", "exec")


def test_gpt2_comes_back_under_its_own_names(tmp_path: Path) -> None:
    found = read_gpt2(write_model(tmp_path / "theirs", "gpt2", "n_inner"))
    model = load_model(found.config, found.tensors, "here")
    assert fits_gpt2(model.config)
    (tmp_path / "ours").mkdir()
    write_hugging_face(tmp_path / "ours", model, TOKENIZER, Card("m", "A model."))
    written, theirs = load_file(tmp_path / "ours" / "model.safetensors"), state_dict("gpt2", "n_inner")
    assert written.keys() == theirs.keys() | {"lm_head.weight"}
    assert all(torch.equal(written[name], theirs[name]) for name in theirs)


def test_only_what_gpt2_computes_is_written_as_gpt2() -> None:
    def dense(norm: Any = "layer", more: dict[str, Any] | None = None, **changed: Any) -> ModelConfig:
        return ModelConfig(**{**DENSE, **changed}, variant=Variant(norm=norm, **(more or {})))

    assert fits_gpt2(dense())
    others = [
        dense(norm="rms"),
        dense(bigram=True),
        dense(activation_frac=0.5),
        dense(positions="none"),
        dense(sink=True),
        dense(more={"residual": "relu"}),
        dense(more={"d_positions": 8}),
        dense(more={"n_head": 3}),
    ]
    assert not any(map(fits_gpt2, others))
