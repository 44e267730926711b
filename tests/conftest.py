"""What every test runs under: checked shapes and types, one torch thread, a cache of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import runtime_checkable

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything of thinwire is imported. The compiled kernels stay out: numba cannot compile a wrapped function.
PACKAGES = ("data", "model", "tasks", "training", "circuits", "verification", "frontier", "viewer", "workflows")
install_import_hook(
    [
        f"thinwire.{name}"
        for name in (*PACKAGES, "storage", "sparsity.projection", "sparsity.schedules", "sparsity.topk")
    ],
    "beartype.beartype",
)

from thinwire.progress import Advance, Progress  # noqa: E402
from thinwire.tasks.task import Task  # noqa: E402

for protocol in (Advance, Progress, Task):
    runtime_checkable(protocol)  # beartype asks isinstance of what a caller hands over


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tokenizers and shards that tests make go where tests end, never into the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THINWIRE_CACHE", str(cache))
        yield cache
