"""Byte-level BPE in the two files of GPT-2: the tokenizer `tinypython_2k` of the released weight-sparse models.

    encoder.json   token, in GPT-2's alphabet for bytes -> id
    vocab.bpe      a header line, then one merge a line, in the order of their ids

Ids 0 to 255 are the bytes in the order of that alphabet, the next ones the merges. Whoever encodes with tiktoken joins
any two neighbours whose bytes together are a token, lowest id first; so every way to split a token is a merge here,
not only the one in the file.
"""

import json
from pathlib import Path

from tokenizers import models

from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import BYTE_OF, END_OF_TEXT, SPLIT_PATTERN
from thinwire.errors import UserError
from thinwire.storage.files import write_atomic, write_json

ENCODER, MERGES = "encoder.json", "vocab.bpe"


def holds_tokenizer(directory: Path) -> bool:
    """Whether both files are there."""
    return all((directory / name).is_file() for name in (ENCODER, MERGES))


def read_gpt2_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of `directory`, with the split pattern of the paper's and `<|endoftext|>` as the last token.

    Raises `UserError` naming the file that cannot be read, or both where they contradict each other.
    """
    merged = _merged_tokens(directory / MERGES)
    ranks = {token: rank for rank, token in enumerate([*BYTE_OF, *merged])}
    vocabulary = _vocabulary(directory / ENCODER)
    end_of_text = vocabulary.pop(END_OF_TEXT, len(ranks))
    if vocabulary != ranks or end_of_text != len(ranks):
        raise UserError(
            f"{directory / ENCODER} and {directory / MERGES} do not fit each other: bytes, merges in their order and "
            f"{END_OF_TEXT} should have the ids 0 to {len(ranks)}; fetch both again"
        )
    return Tokenizer.of_bpe(models.BPE({**ranks, END_OF_TEXT: end_of_text}, _all_merges(ranks), ignore_merges=True))


def write_gpt2_tokenizer(directory: Path, tokenizer: Tokenizer) -> list[int]:
    """Write both files; returns the id that each token of the files, in their order, has in `tokenizer`.

    Raises `UserError` when the two files cannot say what the tokenizer does.
    """
    values = json.loads(tokenizer.to_json())
    first, *_ = values["pre_tokenizer"].get("pretokenizers", [{}])
    if first.get("pattern") != {"Regex": SPLIT_PATTERN}:
        raise UserError(f"{MERGES} has no room for another split pattern than that of tinypython_2k")
    ids = values["model"]["vocab"]
    merges: dict[str, str] = {}
    for left, right in values["model"]["merges"]:
        merges.setdefault(left + right, f"{left} {right}")
    tokens = [*BYTE_OF, *merges, END_OF_TEXT]
    if sorted(merges, key=ids.__getitem__) != list(merges) or len(tokens) != tokenizer.vocab_size:
        raise UserError(f"{MERGES} has no room for special tokens, or for ids that are not in the order of the merges")
    write_json(directory / ENCODER, {token: i for i, token in enumerate(tokens)})
    write_atomic(directory / MERGES, "\n".join(["#version: 0.2", *merges.values(), ""]))
    return [tokenizer.end_of_text if token == END_OF_TEXT else ids[token] for token in tokens]


def _vocabulary(path: Path) -> dict[str, int]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None
    if not isinstance(values, dict) or not all(isinstance(rank, int) for rank in values.values()):
        raise UserError(f"{path} does not map tokens to ids; fetch it again")
    return values


def _merged_tokens(path: Path) -> list[str]:
    """What each merge joins, in the order of the file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None
    pairs = [line.split() for line in lines[1:] if line]
    if wrong := next((pair for pair in pairs if len(pair) != 2 or set("".join(pair)) - set(BYTE_OF)), None):
        raise UserError(f"{path} has the line {' '.join(wrong)!r}, which is no merge of two tokens; fetch it again")
    return ["".join(pair) for pair in pairs]


def _all_merges(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """Every split of every token in two tokens, by the token's id."""
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        splits = ((token[:i], token[i:]) for i in range(1, len(token)))
        merges += sorted(
            (s for s in splits if s[0] in ranks and s[1] in ranks), key=lambda s: (ranks[s[0]], ranks[s[1]])
        )
    return merges
