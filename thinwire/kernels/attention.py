"""CPU kernels (numba): causal softmax attention of many narrow heads, and its gradients.

LANES queries of one head are worked on at a time, one in each lane: their scores with every earlier key are a tile of
(keys, LANES), small enough for a core's first cache. The way back makes the pattern again from the scores and the log
of each query's softmax denominator (Dao et al. 2022, "FlashAttention", section 3.1). One head of one batch row belongs
to one thread: any number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.tiles import LANES, Lanes, add_product, each_row, fetch_ahead, turn

_NEVER = np.float32(-1e30)
"""Score of a key that a query may not see; its share is then set to 0 exactly."""


def _softmax_row(row: Lanes, most: Lanes, total: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    share = (row - most).exp()
    return share, most, total + share


_fill = each_row(lambda row, value: (value, value), n_tiles=1, n_shared=1)
_raise = each_row(lambda row, most: (row, most.largest(row)), n_tiles=1, n_shared=1)
_exp_and_sum = each_row(_softmax_row, n_tiles=1, n_shared=2)
_exp = each_row(lambda row: (row.exp(),), n_tiles=1, n_shared=0)
_weigh = each_row(lambda row, weight: (row * weight, weight), n_tiles=2, n_shared=0)


@kernel()
def _take(x: np.ndarray, channel: int, d_head: int, factor: float, out: np.ndarray) -> None:
    """out[n, r, c] = factor x[r, channel + LANES n + c] for the head's channels; 0 beyond the rows of `x`."""
    for n in range(out.shape[0]):
        start = channel + n * LANES
        stop = min(start + LANES, channel + d_head)
        for r in range(x.shape[0]):
            source, target = x[r, start:stop], out[n, r]
            for c in range(source.size):
                target[c] = source[c] * factor
        for r in range(x.shape[0], out.shape[1]):
            out[n, r] = np.float32(0)


@kernel()
def _fetch_next(x: np.ndarray, first: int, last: int, channel: int) -> None:
    """Rows are far apart in memory: fetch some of the next head's while this one's are worked on."""
    for r in range(first, last):
        fetch_ahead(x, r * x.shape[1] + channel)


@kernel()
def _give(tiles: np.ndarray, channel: int, d_head: int, x: np.ndarray) -> None:
    """Inverse of `_take`."""
    for n in range(tiles.shape[0]):
        start = channel + n * LANES
        stop = min(start + LANES, channel + d_head)
        for r in range(x.shape[0]):
            target, source = x[r, start:stop], tiles[n, r]
            for c in range(target.size):
                target[c] = source[c]


@kernel()
def _hide_future(scores: np.ndarray, n_keys: int, value: float) -> None:
    """Of the last LANES keys: those after a query."""
    for j in range(1, LANES):
        for i in range(j):
            scores[n_keys - LANES + j, i] = value


@kernel()
def _score(keys: np.ndarray, queries: np.ndarray, n_keys: int, start: np.ndarray, scores: np.ndarray) -> None:
    """scores[j, i] = start[i] + keys[j] . queries[i]; `queries` by channel, a query in each lane."""
    _fill(n_keys, scores, start)
    for n in range(keys.shape[0]):
        add_product(scores, keys[n], LANES, 1, queries[n], n_keys)


@kernel()
def _mix(pattern: np.ndarray, values: np.ndarray, n_keys: int, factors: np.ndarray, mixed: np.ndarray) -> None:
    """mixed[i] = factors[i] x sum over j of pattern[j, i] values[j]."""
    for n in range(values.shape[0]):
        mixed[n] = np.float32(0)
        for j in range(0, n_keys, LANES):
            add_product(mixed[n], pattern[j:], 1, LANES, values[n, j:], LANES)
        for i in range(LANES):
            for c in range(LANES):
                mixed[n, i, c] *= factors[i]


@kernel()
def _head(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    channel: int,
    d_head: int,
    sink: float,
    out: np.ndarray,
    largest: np.ndarray,
    totals: np.ndarray,
    sources: np.ndarray,
    tiles: np.ndarray,
    scores: np.ndarray,
    rows: np.ndarray,
) -> None:
    """The values of one head mixed; its keys' `largest` score, and sum of exp beyond it, for each query.

    A `sink` of _NEVER counts as none. The last four are room to work in.
    """
    n_tokens = q.shape[0]
    keys, values, queries, turned = sources[0], sources[1], tiles[0], tiles[1]
    most, total, none = rows[0], rows[1], rows[2]
    _take(k, channel, d_head, np.float32(1), keys)
    _take(v, channel, d_head, np.float32(1), values)
    for first in range(0, n_tokens, LANES):
        last, n_keys = min(first + LANES, n_tokens), first + LANES
        _take(q[first:last], channel, d_head, np.float32(1 / math.sqrt(d_head)), queries)
        for x in (q, k, v, out):
            _fetch_next(x, first, last, channel + d_head)
        for n in range(queries.shape[0]):
            turn(queries[n], turned[n])
        _score(keys, turned, n_keys, none, scores)
        _hide_future(scores, n_keys, _NEVER)
        most[:] = sink
        _raise(n_keys, scores, most)
        for i in range(LANES):
            total[i] = math.exp(sink - most[i]) if sink > _NEVER else np.float32(0)
        _exp_and_sum(n_keys, scores, most, total)
        _hide_future(scores, n_keys, np.float32(0))
        largest[first:last], totals[first:last] = most[: last - first], total[: last - first]
        for i in range(LANES):
            total[i] = np.float32(1) / total[i]
        _mix(scores, values, n_keys, total, queries)
        _give(queries, channel, d_head, out[first:last])


@kernel(parallel=True)
def _forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    sinks: np.ndarray,
    out: np.ndarray,
    largest: np.ndarray,
    totals: np.ndarray,
    n_blocks: int,
) -> None:
    n_batch, n_head, n_tokens = largest.shape
    d_head = q.shape[2] // n_head
    n_chunks, n_padded = (d_head + LANES - 1) // LANES, (n_tokens + LANES - 1) // LANES * LANES
    for block in prange(n_blocks):
        sources = np.zeros((2, n_chunks, n_padded, LANES), np.float32)
        tiles = np.zeros((2, n_chunks, LANES, LANES), np.float32)
        scores, rows = np.empty((n_padded, LANES), np.float32), np.zeros((3, LANES), np.float32)
        for unit in range(n_batch * n_head * block // n_blocks, n_batch * n_head * (block + 1) // n_blocks):
            b, h = unit // n_head, unit % n_head
            _head(
                q[b], k[b], v[b], h * d_head, d_head, sinks[h],
                out[b], largest[b, h], totals[b, h], sources, tiles, scores, rows,
            )  # fmt: skip


@kernel(fastmath={"contract", "reassoc"})
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = np.float32(0)
    for c in range(a.size):
        total += a[c] * b[c]
    return total


@kernel()
def _head_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    channel: int,
    d_head: int,
    sink: float,
    out: np.ndarray,
    log_total: np.ndarray,
    d_out: np.ndarray,
    d_q: np.ndarray,
    d_k: np.ndarray,
    d_v: np.ndarray,
    sources: np.ndarray,
    tiles: np.ndarray,
    scores: np.ndarray,
    rows: np.ndarray,
) -> float:
    """Gradients of one head; returns that of its sink. The last four arrays are room to work in."""
    n_tokens, scale, one = q.shape[0], np.float32(1 / math.sqrt(d_head)), np.float32(1)
    keys, values, d_keys, d_values = sources[0], sources[1], sources[2], sources[3]
    queries, turned, d_mixed, d_turned = tiles[0], tiles[1], tiles[2], tiles[3]
    pattern, d_scores, shift, along, scales = scores[0], scores[1], rows[0], rows[1], rows[2]
    _take(k, channel, d_head, one, keys)
    _take(v, channel, d_head, one, values)
    sources[2:] = np.float32(0)
    scales[:] = scale
    d_sink = np.float32(0)
    for first in range(0, n_tokens, LANES):
        last, n_keys = min(first + LANES, n_tokens), first + LANES
        _take(q[first:last], channel, d_head, scale, queries)
        for x in (q, k, v, out, d_out, d_q, d_k, d_v):
            _fetch_next(x, first, last, channel + d_head)
        _take(d_out[first:last], channel, d_head, one, d_mixed)
        for n in range(queries.shape[0]):
            turn(queries[n], turned[n])
            turn(d_mixed[n], d_turned[n])
        shift[:], along[:] = _NEVER, np.float32(0)  # for lanes without a query
        for i in range(last - first):
            shift[i] = -log_total[first + i]
            along[i] = -_dot(out[first + i, channel : channel + d_head], d_out[first + i, channel : channel + d_head])
            if sink > _NEVER:
                d_sink += math.exp(sink + shift[i]) * along[i]
        _score(keys, turned, n_keys, shift, pattern)
        _hide_future(pattern, n_keys, _NEVER)
        _exp(n_keys, pattern)
        _hide_future(pattern, n_keys, np.float32(0))
        _score(values, d_turned, n_keys, along, d_scores)
        _weigh(n_keys, d_scores, pattern)
        for n in range(queries.shape[0]):
            add_product(d_values[n], pattern, LANES, 1, d_mixed[n], n_keys)
            add_product(d_keys[n], d_scores, LANES, 1, queries[n], n_keys)
        _mix(d_scores, keys, n_keys, scales, queries)
        _give(queries, channel, d_head, d_q[first:last])
    _give(d_keys, channel, d_head, d_k)
    _give(d_values, channel, d_head, d_v)
    return d_sink


@kernel(parallel=True)
def _backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    sinks: np.ndarray,
    out: np.ndarray,
    log_totals: np.ndarray,
    d_out: np.ndarray,
    d_q: np.ndarray,
    d_k: np.ndarray,
    d_v: np.ndarray,
    d_sinks: np.ndarray,
    n_blocks: int,
) -> None:
    n_batch, n_head, n_tokens = log_totals.shape
    d_head = q.shape[2] // n_head
    n_chunks, n_padded = (d_head + LANES - 1) // LANES, (n_tokens + LANES - 1) // LANES * LANES
    for block in prange(n_blocks):
        sources = np.zeros((4, n_chunks, n_padded, LANES), np.float32)
        tiles = np.zeros((4, n_chunks, LANES, LANES), np.float32)
        scores, rows = np.empty((2, n_padded, LANES), np.float32), np.zeros((3, LANES), np.float32)
        for unit in range(n_batch * n_head * block // n_blocks, n_batch * n_head * (block + 1) // n_blocks):
            b, h = unit // n_head, unit % n_head
            d_sinks[b, h] = _head_backward(
                q[b], k[b], v[b], h * d_head, d_head, sinks[h],
                out[b], log_totals[b, h], d_out[b], d_q[b], d_k[b], d_v[b], sources, tiles, scores, rows,
            )  # fmt: skip


class Inputs(NamedTuple):
    """Contiguous float32 (B, T, D) queries, keys and values; head h owns channels h D/H to (h + 1) D/H - 1."""

    q: Tensor
    k: Tensor
    v: Tensor
    sinks: Tensor | None
    """(H,) logits in the softmax denominators, each of a key whose value is 0."""
    n_head: int

    def arrays(self) -> list[np.ndarray]:
        sinks = np.full(self.n_head, _NEVER) if self.sinks is None else self.sinks.detach().numpy()
        return [*(x.detach().numpy() for x in (self.q, self.k, self.v)), sinks]


def forward(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """(values mixed over positions (B, T, D), log of the softmax denominators (B, H, T))."""
    q = inputs.q
    out, largest = torch.empty_like(q), q.new_empty(len(q), inputs.n_head, q.shape[1])
    totals = torch.empty_like(largest)
    _forward(*inputs.arrays(), out.numpy(), largest.numpy(), totals.numpy(), count_blocks())
    return out, totals.log_().add_(largest)


def backward(inputs: Inputs, out: Tensor, log_totals: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and the sinks, given what `forward` returned."""
    d_qkv = [torch.empty_like(inputs.q) for _ in range(3)]
    d_sinks = log_totals.new_empty(log_totals.shape[:2])
    arrays = [x.detach().numpy() for x in (out, log_totals, d_out, *d_qkv, d_sinks)]
    _backward(*inputs.arrays(), *arrays, count_blocks())
    return d_qkv[0], d_qkv[1], d_qkv[2], d_sinks.sum(0)
