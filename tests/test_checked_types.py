"""The suite runs with checked shapes and types: without that, wrong annotations would be seen by nobody."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from thinwire.sparsity.topk import abs_topk

ROOT = Path(__file__).parents[1]
UNCHECKED = {"cli", "interop", "kernels", "sparsity"}
"""Stages left out: parsers are strings; the kernels, and of `sparsity` what numba reads, cannot be wrapped."""


def test_a_wrong_type_raises_while_tests_run() -> None:
    with pytest.raises(Exception, match="abs_topk"):
        abs_topk(torch.zeros(4), "two")  # pyright: ignore[reportArgumentType]


def test_a_wrong_dtype_raises_while_tests_run() -> None:
    with pytest.raises(Exception, match="abs_topk"):
        abs_topk(torch.zeros(4, dtype=torch.int64), 2)


def test_every_stage_is_checked() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    (packages,) = (option for option in options if option.startswith("--jaxtyping-packages="))
    stages = {path.parent.name for path in (ROOT / "thinwire").glob("*/__init__.py")}
    assert {f"thinwire.{stage}" for stage in stages - UNCHECKED} <= set(packages.partition("=")[2].split(","))


def test_outside_of_tests_nothing_is_checked() -> None:
    code = "import torch\nfrom thinwire.sparsity.topk import abs_topk\nabs_topk(torch.zeros(4, dtype=torch.int64), 2)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
