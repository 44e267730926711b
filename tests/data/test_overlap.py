"""Held-out text that stands in training text: counted as a naive search counts it, and cut out on demand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.data import overlap
from thinwire.data.config import DataConfig
from thinwire.data.overlap import WINDOW, deduplicated, find_overlap, window_starts
from thinwire.data.shards import prepare
from thinwire.errors import UserError

END = 0


def windows(tokens: np.ndarray) -> list[tuple[int, bytes]]:
    """Reference: every run of 32 tokens without an end of text, and where it starts."""
    runs = [(i, tokens[i : i + WINDOW]) for i in range(len(tokens) - WINDOW + 1)]
    return [(i, run.tobytes()) for i, run in runs if END not in run]


def stream(draw: st.DrawFn, passages: list[np.ndarray]) -> np.ndarray:
    """Passages and noise in any order, with ends of text between some of them."""
    parts = draw(st.lists(st.sampled_from(passages) | noise(), min_size=1, max_size=8))
    ends = draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    return np.concatenate([np.append(p, END) if end else p for p, end in zip(parts, ends, strict=True)]).astype("<u2")


def noise() -> st.SearchStrategy[np.ndarray]:
    return st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 90)).map(
        lambda a: np.random.default_rng(a[0]).integers(1, 7, a[1])
    )


@st.composite
def two_streams(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    passages = draw(st.lists(noise(), min_size=1, max_size=4))
    return stream(draw, passages), stream(draw, passages)


@given(two_streams(), st.sampled_from([40, 1 << 20]))
def test_shared_windows_are_those_of_a_naive_search(streams: tuple[np.ndarray, np.ndarray], chunk: int) -> None:
    train, heldout = streams
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_CHUNK", chunk)
        found = find_overlap(train, heldout, END)
    known = {run for _, run in windows(train)}
    assert found.starts.tolist() == [i for i, _ in windows(heldout)] == window_starts(heldout, END).tolist()
    assert found.shared.tolist() == [run in known for _, run in windows(heldout)]


@given(two_streams())
def test_nothing_of_the_deduplicated_text_is_shared_and_all_of_it_is_held_out(
    streams: tuple[np.ndarray, np.ndarray],
) -> None:
    train, heldout = streams
    found = find_overlap(train, heldout, END)
    kept = deduplicated(heldout, found, END)
    assert find_overlap(train, kept, END).share == 0
    parts = [part for part in "".join(map(chr, kept)).split(chr(END)) if part]
    assert all(len(part) >= WINDOW and part in "".join(map(chr, heldout)) for part in parts)
    assert len(kept) == 0 or kept[-1] == END
    # every token that no shared window covers is kept, in stretches of a window or more
    covered = {i + j for i, shared in zip(found.starts, found.shared, strict=True) if shared for j in range(WINDOW)}
    free = "".join(chr(t) if i not in covered else chr(END) for i, t in enumerate(heldout.tolist())).split(chr(END))
    assert [part for part in free if len(part) >= WINDOW] == parts


def test_by_hand() -> None:
    passage = np.arange(1, 41)  # 40 tokens hold 40 - 32 + 1 = 9 windows
    train = np.concatenate([[99], passage, [END]]).astype("<u2")
    heldout = np.concatenate([np.arange(100, 150), passage, [END], np.arange(200, 220), [END]]).astype("<u2")
    found = find_overlap(train, heldout, END)
    # 50 + 40 tokens in one document: 59 windows, 9 of them shared; 20 tokens hold none
    assert (len(found.starts), int(found.shared.sum())) == (59, 9)
    assert found.share == 9 / 59
    assert deduplicated(heldout, found, END).tolist() == [*range(100, 150), END]


def test_short_streams_share_nothing() -> None:
    short = np.arange(1, 10, dtype="<u2")
    assert find_overlap(short, short, END).share == 0
    assert deduplicated(short, find_overlap(short, short, END), END).tolist() == []


def test_a_corpus_says_how_much_it_shares_and_drops_it_on_demand(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    licence = "# Permission is hereby granted, free of charge, to any person who obtains a copy of this file.\n" * 2
    for i in range(40):
        lines = "".join(f"def f{i}_{j}(a):\n    return a[{i * j}] + {i} * {j}\n" for j in range(12))
        (folder / f"m{i}.py").write_text(licence + lines)
    config = DataConfig(str(folder), heldout_frac=0.3)
    plain = prepare(config, 280, tmp_path / "cache")
    found = plain.corpus_manifest.heldout_overlap
    assert found and found.window == 32 and 0.1 < found.share < 0.9 and found.n_dropped_tokens == 0
    fewer = prepare(replace(config, dedupe_heldout=True), 280, tmp_path / "cache")
    assert np.array_equal(fewer.train, plain.train) and fewer.tokenizer.sha256 == plain.tokenizer.sha256
    dropped = fewer.corpus_manifest.heldout_overlap
    assert dropped and (dropped.share, dropped.share_before) == (0.0, found.share)
    assert dropped.n_dropped_tokens == len(plain.heldout) - len(fewer.heldout) > 0
    assert "Permission" in plain.tokenizer.decode(plain.heldout.tolist())
    assert "Permission" not in fewer.tokenizer.decode(fewer.heldout.tolist())


def test_held_out_text_that_is_all_known_is_refused(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"m{i}.py").write_text("abcdefgh ijklmnop qrstuvwx yz" * 9 + "\n" * i)
    with pytest.raises(UserError, match="every 32 tokens of the held-out text stand in training text; hold out more"):
        prepare(DataConfig(str(tmp_path), dedupe_heldout=True), 257, tmp_path / "cache")
