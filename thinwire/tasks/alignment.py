"""Both sides of a pair as equally many tokens: what built-in tasks promise, under each tokenizer.

Interventions that exchange activations between the sides need it. Where a tokenizer writes the two words of a contrast
with different numbers of tokens, the pair is left out; a task that would keep too few pairs is unavailable.
"""

from thinwire.tasks.answers import Encoder, Side, Unavailable, pairs_of, sides
from thinwire.tasks.family import SIZES, Family
from thinwire.tasks.task import Split, Task

MIN_ALIGNED = {split: size // 2 for split, size in SIZES.items()}
"""Pairs of a built-in task's split whose sides are equally long; with fewer the task is unavailable."""


def kept_sides(task: Task, split: Split, tokenizer: Encoder) -> tuple[Side, Side]:
    """Both sides of a split as tokens, a built-in task's without its unequal pairs; own tasks keep all.

    Raises `Unavailable` if fewer than `MIN_ALIGNED` are left, `UserError` if the split has no pairs.
    """
    clean, corrupt = sides(pairs_of(task, split), tokenizer)
    if not isinstance(task, Family):
        return clean, corrupt
    rows = aligned_rows(clean, corrupt)
    if len(rows) < min(MIN_ALIGNED[split], len(clean.ids)):
        raise Unavailable(
            f"task {task.name} is unavailable with this tokenizer of {tokenizer.vocab_size} tokens: only {len(rows)} "
            f"of its {len(clean.ids)} {split} pairs have sides of equal length ({_difference(clean, corrupt)}); "
            f"train with a larger model.vocab_size, or with the tokenizer of a run that has the task: "
            f"--data.tokenizer RUN/tokenizer.json"
        )
    return clean.only(rows), corrupt.only(rows)


def aligned_rows(clean: Side, corrupt: Side) -> list[int]:
    """Numbers of the pairs whose sides have equally many tokens."""
    both = zip(clean.ids, corrupt.ids, strict=True)
    return [row for row, (ids, corrupt_ids) in enumerate(both) if len(ids) == len(corrupt_ids)]


def _difference(clean: Side, corrupt: Side) -> str:
    """The tokens between the common beginning and the common end of the first pair whose sides differ in length."""
    a, b = next((a, b) for a, b in zip(clean.ids, corrupt.ids, strict=True) if len(a) != len(b))
    start = _n_common(a, b)
    end = _n_common(a[start:][::-1], b[start:][::-1])
    texts = (
        " ".join(repr(clean.tokenizer.token_text(token)) for token in ids[start : len(ids) - end]) for ids in (a, b)
    )
    return " against ".join(texts)


def _n_common(a: list[int], b: list[int]) -> int:
    """Number of equal tokens that two rows begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
