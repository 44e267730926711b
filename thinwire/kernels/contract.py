"""What a kernel and its callers agree on. Neither numba nor triton is imported here."""

from functools import cache
from importlib.util import find_spec
from typing import Literal

Protect = Literal["rows", "columns"] | None
"""Which lines of a matrix keep their own largest entries: rows feed one q/k/v channel or neuron each,
columns carry one value channel or neuron out."""

SPAN = 128
"""Floats that the product over activations' nonzeros sums at a time."""


@cache
def has_triton() -> bool:
    """Whether the GPU kernels can be compiled here; without them the torch references run."""
    return find_spec("triton") is not None
