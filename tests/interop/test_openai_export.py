"""What is written in the released format is read back as the same model; names and keys are the released ones."""

import json
from pathlib import Path

import pytest
import torch
from model_builders import random_model
from released_models import records, write_model

from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.interop.gpt2_tokenizer import read_gpt2_tokenizer
from thinwire.interop.openai import read_openai
from thinwire.interop.openai_export import released_config, write_checkpoint, write_openai
from thinwire.interop.torch_file import read_state_dict
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.gpt import GPT

TEXT = "def close(quote):\n    return [[quote], (quote)]\n" * 20
TRAINED = Tokenizer.train([TEXT], 264)


def read(directory: Path) -> GPT:
    found = read_openai(directory)
    return load_model(found.config, found.tensors, str(directory)).requires_grad_(False).eval()


def test_a_model_means_the_same_text_after_a_round_trip(tmp_path: Path) -> None:
    model = random_model(vocab_size=TRAINED.vocab_size, sink=True, positions="learned", context=64)
    write_openai(tmp_path, model, TRAINED)
    again, tokenizer = read(tmp_path), read_gpt2_tokenizer(tmp_path)
    assert again.config == model.config
    assert tokenizer.end_of_text == TRAINED.vocab_size - 1 != TRAINED.end_of_text
    ids, ours = tokenizer.encode(TEXT)[:60], TRAINED.encode(TEXT)[:60]
    assert [tokenizer.token_text(i) for i in ids] == [TRAINED.token_text(i) for i in ours]
    # Rows are moved, not changed: the logits of every token are those of the token with the same text.
    twin = {TRAINED.token_text(i): i for i in range(TRAINED.vocab_size)}
    order = [twin[tokenizer.token_text(i)] for i in range(tokenizer.vocab_size)]
    assert torch.equal(again(torch.tensor([ids]))[0], model(torch.tensor([ours]))[0][:, order])


@pytest.mark.parametrize("name", sorted(records("openai")))
def test_every_variant_comes_back_and_is_written_under_the_released_names(name: str, tmp_path: Path) -> None:
    model = read(write_model(tmp_path / "theirs", "openai", name))
    (tmp_path / "ours").mkdir()
    write_checkpoint(tmp_path / "ours", model, range(32))
    again = read(tmp_path / "ours")
    assert again.config == model.config and fingerprint(again) == fingerprint(model)
    written, theirs = (read_state_dict(tmp_path / folder / "final_model.pt") for folder in ("ours", "theirs"))
    masks = {key for key, value in theirs.items() if value.ndim == 4}
    zeros = {key for key in written if key.endswith(".bias") and not written[key].any()}  # of models without biases
    older = {"final_logits_bias", "bigram_table"}  # the one may be missing, and makes the other where it is there
    assert written.keys() - older - zeros == theirs.keys() - older - masks - zeros


def test_keys_are_those_of_the_released_class() -> None:
    known = records("openai")["paper"]["config"].keys()
    assert released_config(ModelConfig()).keys() <= known
    assert json.dumps(released_config(ModelConfig()))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(variant=Variant(activation="gelu_tanh")), "GELU without GPT-2's approximation"),
        (ModelConfig(variant=Variant(topk_sites=("resid.pre",))), r"no AbsTopK at resid\.pre"),
        (ModelConfig(variant=Variant(n_head=3)), "d_model 256 to be a multiple of n_head 3"),
        (ModelConfig(d_model=16, activation_frac=0.05), "keep none of 16 entries at 0"),
    ],
)
def test_what_the_released_class_cannot_compute_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        released_config(config)
