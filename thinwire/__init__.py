"""Weight-sparse transformers: train them, find their task circuits, check them, show them.

    run = thinwire.load("runs/demo/sparse")
    circuit = thinwire.prune(run, task="single_double_quote")
    thinwire.verify(run, circuit)
    thinwire.show(run, circuit)  # in a notebook

Importing this package is cheap: each name is loaded when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from thinwire.version import __version__

if TYPE_CHECKING:
    from thinwire.circuits.graph import Circuit
    from thinwire.model.record import record
    from thinwire.pruning.config import PruneConfig
    from thinwire.runs.run import load, load_run
    from thinwire.tasks.task import Pair, Task
    from thinwire.workflows.graph import graph
    from thinwire.workflows.prune import prune
    from thinwire.workflows.train import train
    from thinwire.workflows.verify import verify
    from thinwire.workflows.view import show

# Between two parallel regions threads sleep. By default GNU OpenMP's spin, and on a machine that does other work too a
# training step took four times as long. Read when torch is loaded; without effect where torch was imported first.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = [
    "Circuit",
    "Pair",
    "PruneConfig",
    "Task",
    "__version__",
    "graph",
    "load",
    "load_run",
    "prune",
    "record",
    "show",
    "train",
    "verify",
]

_HOME = {
    "Circuit": "thinwire.circuits.graph",
    "Pair": "thinwire.tasks.task",
    "PruneConfig": "thinwire.pruning.config",
    "Task": "thinwire.tasks.task",
    "graph": "thinwire.workflows.graph",
    "load": "thinwire.runs.run",
    "load_run": "thinwire.runs.run",
    "prune": "thinwire.workflows.prune",
    "record": "thinwire.model.record",
    "show": "thinwire.workflows.view",
    "train": "thinwire.workflows.train",
    "verify": "thinwire.workflows.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'thinwire' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
