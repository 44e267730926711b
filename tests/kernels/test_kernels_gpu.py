"""The Triton kernels' logic on CPU, through Triton's interpreter, against the torch references."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined

import numpy as np
import pytest
import torch

from thinwire.kernels import gpu
from thinwire.sparsity.projection import Protect, count_nonzero, projection_mask
from thinwire.sparsity.topk import abs_topk_mask

KINDS = ("normal", "ties", "zeros", "inf")


def values(kind: str, *shape: int) -> torch.Tensor:
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape) if kind in ("normal", "inf") else generator.integers(-2, 3, shape)
    if kind == "inf":
        x.flat[::5] = -np.inf
    return torch.from_numpy((x * (kind != "zeros")).astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "k"), [(1, 1), (5, 2), (16, 4), (37, 9)])
def test_abs_topk_equals_the_reference(kind: str, width: int, k: int) -> None:
    x = values(kind, 2, 3, width)
    kept, mask = gpu.abs_topk(x, k)
    assert torch.equal(mask, abs_topk_mask(x, k))
    assert torch.equal(kept, torch.where(mask, x, 0))


def test_abs_topk_in_half_precision() -> None:
    x = values("normal", 4, 24).bfloat16()
    kept, mask = gpu.abs_topk(x, 6)
    assert kept.dtype == torch.bfloat16
    assert torch.equal(mask, abs_topk_mask(x, 6)) and torch.equal(kept, torch.where(mask, x, 0))


@pytest.mark.parametrize("kind", ["normal", "ties"])
@pytest.mark.parametrize("protect", ["rows", "columns", None])
@pytest.mark.parametrize("density", [0.05, 0.6])
def test_the_projection_equals_the_reference(
    kind: str, protect: Protect, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 64: 12 x 13 entries are two whole ones and a part of one; at 0.05 protection asks for more than k."""
    monkeypatch.setattr(gpu, "_BLOCK", 64)
    weight = values(kind, 12, 13)
    k = count_nonzero(weight.numel(), density)
    expected = torch.where(projection_mask(weight, k, protect, 4), weight, 0)
    gpu.project_topk_(weight, k, protect, 4)
    assert torch.equal(weight, expected)
