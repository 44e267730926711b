"""Own tasks: a file with one pair per line.

    {"clean": "print(\\"a", "corrupt": "print('a", "answer": "\\")\\n", "other": "')\\n"}

`answer` continues `clean` and `other` continues `corrupt`; both are the same on every line. A pair's split follows from
a hash of its two prompts, half of the pairs to train and a quarter each to validation and test: to add or to reorder
lines moves no pair. Unlike the built-in tasks, splits may share names.
"""

from dataclasses import dataclass
from pathlib import Path

from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.storage.files import MAX_RECORD, read_file, sha256
from thinwire.storage.records import parse_json
from thinwire.tasks.task import SPLITS, Answers, Pair, Split

KEYS = ("clean", "corrupt", "answer", "other")
SPLIT_OF_QUARTER: tuple[Split, ...] = ("train", "train", "validation", "test")


@dataclass(frozen=True)
class JsonlTask:
    """A task read from a file of pairs."""

    name: str
    version: int
    """31 bits of the file's checksum."""
    description: str
    excluded_cue: str
    alternatives: tuple[Answers, ...]
    all_pairs: tuple[Pair, ...]
    """In the order of the file."""

    def pairs(self, split: Split) -> list[Pair]:
        """The pairs whose hash falls into `split`, in the order of the file."""
        return [pair for pair in self.all_pairs if split_of(pair) == split]


def split_of(pair: Pair) -> Split:
    """The split of a pair, by the last two bits of a hash of both prompts."""
    return SPLIT_OF_QUARTER[int(sha256(f"{pair.clean}\0{pair.corrupt}".encode())[-1], 16) % 4]


def load_jsonl_task(path: Path | str) -> JsonlTask:
    """The task of a file; its name is the file's without `.jsonl`.

    Raises `UserError` naming file and line if a line is no pair, repeats one or has other answers than the first;
    naming the split if one stays empty.
    """
    path = Path(path)
    content = _read(path)
    answers: Answers | None = None
    lines: dict[Pair, int] = {}
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        pair, found = _parse(line, where)
        answers = answers or found
        if found != answers:
            raise UserError(f"{where}: its answers differ from the first line's; make one file per pair of answers")
        if pair in lines:
            raise UserError(f"{where}: repeats line {lines[pair]}; remove one of them")
        lines[pair] = number
    if answers is None:
        raise UserError(f"{path} holds no pairs; give one JSON object per line with {', '.join(KEYS)}")
    task = JsonlTask(
        name=path.stem,
        version=int(sha256(content.encode())[:8], 16) >> 1,
        description=f"Answer {answers.answer!r} after the clean and {answers.other!r} after the corrupt prompts.",
        excluded_cue="None is stated: the pairs come from a file.",
        alternatives=(answers,),
        all_pairs=tuple(lines),
    )
    for split in SPLITS:
        if not task.pairs(split):
            raise UserError(f"{path}: none of its {len(lines)} pairs falls into the {split} split; add more pairs")
    return task


def _read(path: Path) -> str:
    try:
        return read_file(path, MAX_RECORD).decode()
    except MissingFile:
        raise MissingFile(f"{path} is missing; a task of your own is a file of JSON lines") from None
    except (UnicodeDecodeError, OSError, CorruptFile) as error:
        raise UserError(f"{path} cannot be read ({error}); give a UTF-8 file of JSON lines") from None


def _parse(line: str, where: str) -> tuple[Pair, Answers]:
    values = parse_json(line.encode(), where)
    if not isinstance(values, dict) or values.keys() != set(KEYS):
        raise UserError(f"{where}: not an object with exactly the keys {', '.join(KEYS)}")
    for key in KEYS:
        if not isinstance(values[key], str) or not values[key]:
            raise UserError(f"{where}: {key} is not a text of at least one character")
    for first, second in (("clean", "corrupt"), ("answer", "other")):
        if values[first] == values[second]:
            raise UserError(f"{where}: {first} and {second} are equal; a pair needs two prompts and two answers")
    return Pair(values["clean"], values["corrupt"], where), Answers(values["answer"], values["other"])
