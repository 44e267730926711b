"""What a tokenizer.json must be before it is handed to Hugging Face `tokenizers`.

The file says how a text is split, by a regular expression that its reader runs as it stands, and may ask for things
that lose or change text (truncation, normalisers, dropout). thinwire reads byte-level BPE in the shape that it writes
itself, with one of the split patterns below, whose time is linear in the text; everything else is refused unread.
"""

from pathlib import Path
from typing import Any, NoReturn

from thinwire.errors import CorruptFile
from thinwire.storage.records import parse_json

END_OF_TEXT = "<|endoftext|>"
SPLIT_PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The released tokenizer's, and that of every tokenizer that thinwire learns."""
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KNOWN_PATTERNS = (SPLIT_PATTERN, _GPT2, _GPT4)
MAX_CHARACTERS = 1 << 26
"""Of a file; the largest known vocabularies of this kind take a quarter of it."""
MAX_VOCAB = 65536
"""Token shards are uint16."""


def byte_characters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the n-th other byte is U+0100 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTE_OF = byte_characters()


def check_tokenizer(text: str, where: str = "tokenizer.json") -> None:
    """Raises `CorruptFile`, naming `where`, if `text` is no tokenizer.json of the one kind that is read."""
    try:
        _check(text)
    except _Refused as problem:
        raise unreadable(where, str(problem)) from None


def unreadable(where: str | Path, problem: str) -> CorruptFile:
    """The error for a file that is no tokenizer."""
    return CorruptFile(f"{where} cannot be read: {problem[:200]}; restore it, or name the tokenizer.json of a run")


class _Refused(Exception):
    """What is wrong."""


def _check(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        _refuse(f"it has {len(text)} characters, more than {MAX_CHARACTERS}")
    try:
        values = parse_json(text.encode(), "it")
    except CorruptFile as error:
        _refuse(str(error).partition(";")[0])
    model = _of(values, "model", dict)
    _check_splitting(values, model)
    _check_tokens(_added(values), _of(model, "vocab", dict, "model."), _of(model, "merges", list, "model."))


def _refuse(problem: str) -> NoReturn:
    raise _Refused(problem)


def _of(values: Any, key: str, kind: type, prefix: str = "") -> Any:
    if not isinstance(values, dict) or not isinstance(values.get(key), kind):
        _refuse(f"{prefix}{key} is no {'object' if kind is dict else 'list'}")
    return values[key]


def _check_splitting(values: dict[str, Any], model: dict[str, Any]) -> None:
    """Nothing but a known way to split stands between a text and its tokens."""
    if model.get("type", "BPE") != "BPE" or not _is_byte_level(values.get("decoder")):
        _refuse("it is no byte-level BPE")
    lossy = {"truncation", "padding", "normalizer"} & {key for key, value in values.items() if value is not None}
    changing = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}
    if found := sorted(lossy) + sorted(f"model.{key}" for key in changing if model.get(key)):
        _refuse(f"{found[0]} would change or lose text")
    if values.get("post_processor") is not None and not _is_byte_level(values["post_processor"]):
        _refuse("its post_processor would add tokens")
    step = values.get("pre_tokenizer")
    steps = step.get("pretokenizers") if isinstance(step, dict) and step.get("type") == "Sequence" else [step]
    *before, last = steps if isinstance(steps, list) and steps else [None]
    if not isinstance(last, dict) or not _is_byte_level(last) or last.get("add_prefix_space"):
        _refuse("its pre_tokenizer is not one that thinwire knows")
    patterns = [_pattern(step) for step in before] + ([_GPT2] if last.get("use_regex", True) else [])
    if len(patterns) != 1 or patterns[0] not in KNOWN_PATTERNS:
        _refuse("its split pattern is not one of those that thinwire knows to be safe to run")


def _is_byte_level(step: Any) -> bool:
    return isinstance(step, dict) and step.get("type") == "ByteLevel"


def _pattern(step: Any) -> Any:
    """The regular expression of a plain split, None for any other step."""
    plain = isinstance(step, dict) and step.get("type") == "Split" and not step.get("invert")
    if not plain or step.get("behavior") != "Isolated" or not isinstance(step.get("pattern"), dict):
        return None
    return step["pattern"].get("Regex")


def _added(values: dict[str, Any]) -> dict[str, int]:
    """Text -> id of the tokens beside the vocabulary; they must be special, so that no text is taken for one."""
    added = {}
    for token in _of(values, "added_tokens", list):
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or token.get("special") is not True:
            _refuse("one of its added_tokens is not special")
        added[token["content"]] = token.get("id")
    if END_OF_TEXT not in added:
        _refuse(f"it has no special token {END_OF_TEXT}")
    return added


def _check_tokens(added: dict[str, int], vocabulary: dict[str, Any], merges: list[Any]) -> None:
    """Ids are 0, 1, ... without a gap, every byte has one, and merges join tokens to tokens."""
    tokens = {**vocabulary, **added}
    ids = list(tokens.values())
    if not all(type(token) is int for token in ids) or sorted(ids) != list(range(len(ids))):
        _refuse("the ids of its tokens are not 0, 1, 2 and so on")
    if any(added[text] != vocabulary[text] for text in added.keys() & vocabulary.keys()):
        _refuse("an added token has another id in the vocabulary")
    if len(ids) > MAX_VOCAB:
        _refuse(f"it has {len(ids)} tokens, more than {MAX_VOCAB}")
    ordinary = vocabulary.keys() - added.keys()
    if BYTE_OF.keys() - vocabulary.keys() or not all(text and set(text) <= BYTE_OF.keys() for text in ordinary):
        _refuse("its vocabulary is not one of bytes")
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            _refuse(f"{merge!r:.60} is no merge of two tokens")
        if not {*parts, "".join(parts)} <= ordinary:
            _refuse(f"the merge {' '.join(parts)!r:.60} is not between tokens of its vocabulary")
