"""Data-parallel training: the processes that torchrun started, each with its share of every batch.

    torchrun --nproc_per_node=N -m thinwire train --out runs/NAME ...

Every process holds the whole model and takes the same steps. Process r of N computes the gradients of the r-th N-th of
the batch's rows; the gradients are averaged before the optimizer normalises them, so that the normaliser is global.
The first process alone writes. Gloo carries the numbers between CPUs, NCCL between GPUs.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int64
from torch import Tensor

from thinwire.errors import UserError

T = TypeVar("T")
BUCKET = 1 << 23
"""Numbers that are averaged at a time: few messages, and no second copy of all gradients."""


class ProcessLost(UserError):
    """Another process of the job has ended."""

    def __init__(self, *_: Any) -> None:
        super().__init__(
            "another process of this job has ended; see its message, then give the same torchrun command with "
            "--resume: it goes on from the last checkpoint"
        )


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    """0 for the first."""
    count: int = 1
    device: torch.device = torch.device("cpu")
    """Where the numbers are that this process sends."""

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, windows: Int64[np.ndarray, "B window"]) -> Int64[np.ndarray, "share window"]:
        """This process's rows of a batch, the rank-th of `count` equal parts in order. B is a multiple of count."""
        size = len(windows) // self.count
        return windows[self.rank * size : (self.rank + 1) * size]

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over the processes, in place; the same bytes in every process."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            self._exchange(dist.all_reduce, flat)
            for tensor, mean in zip(bucket, flat.div_(self.count).split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def first_then_all(self, make: Callable[[], T]) -> T:
        """`make()` in the first process, then in the others. A `UserError` of the first is raised in all of them."""
        result = self.on_first(make)
        return result if result is not None else make()

    def on_first(self, make: Callable[[], T]) -> T | None:
        """`make()` in the first process alone, while the others wait. Its `UserError` is raised in all of them."""
        result, problem = None, b""
        if self.first:
            try:
                result = make()
            except UserError as error:
                problem = str(error).encode()
                if self.count == 1:
                    raise
        if message := self._from_first(problem):
            raise UserError(message.decode())
        return result

    def check_same(self, tensors: Sequence[Tensor]) -> None:
        """Raises `UserError` if the processes do not hold the same bytes: a fault of the hardware or of the network."""
        if self.count == 1:
            return
        sums = torch.stack([tensor.detach().view(torch.int32).sum(dtype=torch.int64) for tensor in tensors])
        least, most = sums.clone(), sums.clone()
        self._exchange(dist.all_reduce, least, op=dist.ReduceOp.MIN)
        self._exchange(dist.all_reduce, most, op=dist.ReduceOp.MAX)
        if not torch.equal(least, most):
            raise UserError("the processes no longer hold the same weights; go on from the last checkpoint: --resume")

    def _from_first(self, content: bytes) -> bytes:
        """The first process's bytes, in all of them."""
        if self.count == 1:
            return content
        size = torch.tensor([len(content)], device=self.device)
        self._exchange(dist.broadcast, size, src=0)
        data = torch.zeros(int(size) + 1, dtype=torch.uint8, device=self.device)
        if self.first:
            data[:-1] = torch.frombuffer(bytearray(content + b"\0"), dtype=torch.uint8)[:-1]
        self._exchange(dist.broadcast, data, src=0)
        return data[:-1].cpu().numpy().tobytes()

    def _exchange(self, operation: Callable[..., Any], tensor: Tensor, **options: Any) -> None:
        try:
            operation(tensor, **options)
        except RuntimeError:
            raise ProcessLost from None


ALONE = Processes()


def launched() -> int:
    """Number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_this_machine() -> int:
    """How many of them share this machine's cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes of this job, connected while the block runs; `ALONE` without torchrun."""
    if launched() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    previous = signal.signal(signal.SIGTERM, _end)  # torchrun's way to end a job that lost a process
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
    finally:
        signal.signal(signal.SIGTERM, previous)
        dist.destroy_process_group()


def _end(_number: int, _frame: Any) -> None:
    raise ProcessLost


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors in groups that end once they hold `BUCKET` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        bucket.append(tensor)
        if sum(t.numel() for t in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket
