"""GPU kernels (Triton): the same exact selections as `cpu`, on the bit patterns of magnitudes as float32.

AbsTopK gives one program a row and finds the k-th largest bit by bit. The projection narrows its threshold down by four
histograms of eight bits each; nothing between them waits for the device. Ties: lower index wins. Counts are whole
numbers, so that the order in which programs run changes nothing.
"""

# Triton's functions are untyped for pyright.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from thinwire.kernels.contract import Protect

_BLOCK = 1024
_PROTECTED = tl.constexpr(0x7FFFFFFF)  # above every number; only a NaN with all bits set would share it


@triton.jit
def _magnitude(x):
    return x.to(tl.float32).to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def _abs_topk_row(x_ptr, kept_ptr, mask_ptr, width, k, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    x = tl.load(x_ptr + row + columns, mask=inside, other=0)
    bits = tl.where(inside, _magnitude(x), -1)
    threshold = 0
    for place in range(31):
        candidate = threshold | (1 << (30 - place))
        reached = tl.sum((bits >= candidate).to(tl.int32)) >= k
        threshold = tl.where(reached, candidate, threshold)
    ties = k - tl.sum((bits > threshold).to(tl.int32))
    tied = (bits == threshold).to(tl.int32)
    keep = (bits > threshold) | ((tied == 1) & (tl.cumsum(tied, 0) <= ties))
    tl.store(kept_ptr + row + columns, tl.where(keep, x, 0), mask=inside)
    tl.store(mask_ptr + row + columns, keep, mask=inside)


@triton.jit
def _ranks(weight_ptr, protected_ptr, rank_ptr, size, HAS_PROTECTED: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rank = _magnitude(tl.load(weight_ptr + at, mask=at < size, other=0))
    if HAS_PROTECTED:
        rank = tl.where(tl.load(protected_ptr + at, mask=at < size, other=0) != 0, _PROTECTED, rank)
    tl.store(rank_ptr + at, rank, mask=at < size)


@triton.jit
def _histogram(rank_ptr, state_ptr, count_ptr, size, SHIFT: tl.constexpr, BLOCK: tl.constexpr):
    """Counts by eight bits of those whose higher bits are the ones found so far."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rank = tl.load(rank_ptr + at, mask=at < size, other=0)
    counted = at < size
    if SHIFT < 24:
        counted = counted & ((rank >> (SHIFT + 8)) == tl.load(state_ptr).to(tl.int32))
    tl.atomic_add(count_ptr + ((rank >> SHIFT) & 255), 1, mask=counted)


@triton.jit
def _count_ties(rank_ptr, state_ptr, tie_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rank = tl.load(rank_ptr + at, mask=at < size, other=-1)
    tl.store(tie_ptr + tl.program_id(0), tl.sum((rank == tl.load(state_ptr).to(tl.int32)).to(tl.int64)))


@triton.jit
def _zero_dropped(weight_ptr, rank_ptr, state_ptr, before_ptr, size, BLOCK: tl.constexpr):
    """Keep what is above the threshold, and the first ties; `before` counts the ties of earlier blocks."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rank = tl.load(rank_ptr + at, mask=at < size, other=-1)
    threshold = tl.load(state_ptr).to(tl.int32)
    tied = (rank == threshold).to(tl.int64)
    place = tl.load(before_ptr + tl.program_id(0)) + tl.cumsum(tied, 0)
    dropped = (rank < threshold) | ((tied == 1) & (place > tl.load(state_ptr + 1)))
    tl.store(weight_ptr + at, tl.zeros([BLOCK], weight_ptr.dtype.element_ty), mask=(at < size) & dropped)


def abs_topk(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(kept, mask) of contiguous `x`, rows along the last axis; see `thinwire.sparsity.topk`."""
    kept, mask = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
    width = x.shape[-1]
    n_rows = x.numel() // width
    if n_rows:
        _abs_topk_row[(n_rows,)](x.detach(), kept, mask, width, k, BLOCK=triton.next_power_of_2(width))
    return kept, mask


def _protected(weight: Tensor, protect: Protect, min_per_line: int) -> Tensor | None:
    """Mask of the entries that lines keep for themselves; None where there are none."""
    if not protect or not min_per_line:
        return None
    lines = weight if protect == "rows" else weight.T.contiguous()
    mask = abs_topk(lines, min(min_per_line, lines.shape[1]))[1]
    return mask if protect == "rows" else mask.T.contiguous()


def _narrow(state: Tensor, counts: Tensor) -> None:
    """state = (bits of the threshold found so far, entries wanted at or above it); take up eight more bits."""
    from_above = counts.flip(0)
    reached = from_above.cumsum(0)
    bin_ = (reached < state[1]).sum()
    state[1] -= reached[bin_] - from_above[bin_]
    state[0] = state[0] * 256 + (255 - bin_)


def project_topk_(weight: Tensor, k: int, protect: Protect, min_per_line: int) -> None:
    """Keep `k` entries of contiguous `weight`; see `thinwire.sparsity.projection`."""
    flat, size = weight.detach().view(-1), weight.numel()
    protected = _protected(weight.detach(), protect, min_per_line)
    if protected is not None and protect:
        lines, length = weight.shape if protect == "rows" else weight.shape[::-1]
        k = max(k, lines * min(min_per_line, length))
    grid = (triton.cdiv(size, _BLOCK),)
    ranks = torch.empty(size, dtype=torch.int32, device=weight.device)
    _ranks[grid](flat, flat if protected is None else protected, ranks, size, protected is not None, BLOCK=_BLOCK)
    state = torch.tensor([0, k], dtype=torch.int64, device=weight.device)
    for shift in (24, 16, 8, 0):
        counts = torch.zeros(256, dtype=torch.int64, device=weight.device)
        _histogram[grid](ranks, state, counts, size, SHIFT=shift, BLOCK=_BLOCK)
        _narrow(state, counts)
    ties = torch.empty(grid, dtype=torch.int64, device=weight.device)
    _count_ties[grid](ranks, state, ties, size, BLOCK=_BLOCK)
    _zero_dropped[grid](flat, ranks, state, ties.cumsum(0) - ties, size, BLOCK=_BLOCK)
