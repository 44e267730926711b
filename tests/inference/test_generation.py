"""Texts: what the model would write token by token, in pieces or at once, alone or beside others."""

from functools import cache

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_builders import lively

from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import BYTE_OF, END_OF_TEXT
from thinwire.errors import UserError
from thinwire.inference.decoder import Decoder
from thinwire.inference.generation import Generated, Generation, generate_each
from thinwire.inference.sampling import Sampling, next_token
from thinwire.inference.weights import weights_of
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT

CONTEXT = 16
GREEDY = Sampling(temperature=0.0)


@cache
def byte_tokenizer() -> Tokenizer:
    """A token for every byte, and the end of text, which is token 0."""
    vocabulary = {word: token for token, word in enumerate([END_OF_TEXT, *BYTE_OF])}
    return Tokenizer.of_bpe(tokenizers.models.BPE(vocab=vocabulary, merges=[]))


@cache
def writer(vocab_size: int = 257) -> GPT:
    """A random model of bytes, which never draws the end of the text."""
    model = lively(ModelConfig(vocab_size, CONTEXT, n_layer=2, d_model=12, d_head=4)).eval()
    assert model.bigram is not None
    model.bigram[:, 0] = -1e4
    return model


def decoder_of(model: GPT) -> Decoder:
    return Decoder(model.config, weights_of(model))


def generated(prompt: str, sampling: Sampling, model: GPT | None = None) -> Generated:
    return Generation(decoder_of(model or writer()), byte_tokenizer(), prompt, sampling).result()


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=3), Sampling(temperature=0.5, top_p=0.7, seed=1)])
def test_every_token_is_drawn_from_what_the_model_says_of_all_before_it(sampling: Sampling) -> None:
    model, generator = writer(), sampling.generator()
    ids = byte_tokenizer().encode("x = ")
    while len(ids) <= CONTEXT:
        ids.append(next_token(model(torch.tensor([ids]))[0, -1].numpy(), sampling, generator))
    found = generated("x = ", sampling)
    assert [*byte_tokenizer().encode("x = "), *found.tokens] == ids
    assert (found.stopped, found.n_prompt_tokens, len(found.tokens)) == ("context", 4, CONTEXT + 1 - 4)


def test_pieces_come_one_by_one_and_add_up_to_the_text() -> None:
    writing = Generation(decoder_of(writer()), byte_tokenizer(), "def", Sampling(8, seed=2))
    first = next(writing)
    pieces = [first, *writing]
    found = writing.result()
    assert "".join(pieces) == found.text == byte_tokenizer().decode(found.tokens)
    assert len(found.tokens) == 8 and found.stopped == "max_tokens" and len(pieces) == 9  # the last ends a character
    assert list(writing) == [] and writing.result() == found


@given(st.lists(st.integers(1, 256), max_size=12))
def test_characters_appear_when_their_last_byte_is_there(tokens: list[int]) -> None:
    """Bytes of any order: what is given out piece by piece is what decoding them at once gives."""
    known = byte_tokenizer()

    class Scripted(Decoder):
        """Says the tokens one after the other, then the end of the text."""

        def __init__(self) -> None:
            self.config, self._left = ModelConfig(257, 32, d_model=16), [*tokens, 0]

        def start(self, rooms):  # pyright: ignore[reportIncompatibleMethodOverride]
            return None

        def read(self, cache, new):
            return np.eye(257, dtype=np.float32)[[self._left.pop(0)]]

    writing = Generation(Scripted(), known, "x", GREEDY)
    pieces = list(writing)
    found = writing.result()
    assert "".join(pieces) == found.text == known.decode(tokens)
    assert (found.tokens, found.stopped) == (tuple(tokens), "end_of_text")
    for n in range(len(tokens)):  # nothing is given out that a later byte would change
        assert known.decode(tokens).startswith("".join(pieces[: n + 1]))


@pytest.mark.parametrize("sampling", [Sampling(6, temperature=0.0), Sampling(20, seed=4)])
def test_in_a_batch_every_prompt_goes_on_as_it_would_alone(sampling: Sampling) -> None:
    prompts = ["a", "while True:", "if x == 12345678", "a"]
    found = generate_each(decoder_of(writer()), byte_tokenizer(), prompts, sampling)
    assert found == [generated(prompt, sampling) for prompt in prompts]
    assert found[0] == found[3] and found[2].stopped == "context" and len(found[2].tokens) == 1
    assert generate_each(decoder_of(writer()), byte_tokenizer(), [], sampling) == []


def test_the_end_of_the_text_is_no_part_of_it() -> None:
    model = lively(writer().config).eval()
    assert model.bigram is not None
    model.bigram[:, 0] = 1e4
    assert generated("x", Sampling(5), model) == Generated("x", "", (), 1, "end_of_text")


def test_tokens_that_the_tokenizer_does_not_know_are_never_drawn() -> None:
    model = lively(ModelConfig(300, CONTEXT, n_layer=1, d_model=12, d_head=4)).eval()
    assert model.bigram is not None
    model.bigram[:, 257:] = 1e4
    assert all(token < 257 for token in generated("x", Sampling(seed=1), model).tokens)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "the prompt is empty"),
        ("x" * 17, "the prompt has 17 tokens, the model reads at most 16; shorten it"),
        ("\udc80", "the prompt is no text in UTF-8"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(prompt: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generated(prompt, GREEDY)
    with pytest.raises(UserError, match=message):
        generate_each(decoder_of(writer()), byte_tokenizer(), ["x", prompt], GREEDY)
