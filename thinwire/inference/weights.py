"""The weights of a model by their nonzeros, in the order in which decoding walks them."""

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.kernels.decoding import Lines
from thinwire.model.checkpoint import check_finite
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import weight_shapes
from thinwire.storage.sparse_tensors import Nonzeros, sparser

Weights = Mapping[str, Tensor | Nonzeros]
"""Parameter name -> its values, by their nonzeros where these take less room."""


def weights_of(model: GPT) -> Weights:
    """The weights of a model in memory."""
    return {name: sparser(tensor.cpu()) for name, tensor in model.state_dict().items()}


def check_weights(config: ModelConfig, weights: Weights, where: str) -> None:
    """Raises `CorruptFile` naming `where` unless names and shapes fit `config` and every number is a finite float32."""
    wanted = weight_shapes(config)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise CorruptFile(
            f"{where} does not fit its config.yaml: {odd[0]} is {found.get(odd[0], 'missing')}, the model has "
            f"{wanted.get(odd[0], 'none')}"
        )
    check_finite({name: t.values if isinstance(t, Nonzeros) else t for name, t in weights.items()}, where)


class Dense(Mapping[str, Tensor]):
    """Weights as dense tensors, each made when it is asked for."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Tensor:
        found = self._weights[name]
        return found.dense() if isinstance(found, Nonzeros) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def by_rows(matrix: Tensor | Nonzeros) -> Lines:
    """A (rows, columns) matrix row by row."""
    n_rows, n_columns = matrix.shape
    if isinstance(matrix, Tensor):
        return Lines(np.arange(n_rows + 1) * n_columns, np.empty(0, np.uint32), matrix.contiguous().numpy().ravel())
    starts = np.searchsorted(matrix.places, np.arange(n_rows + 1, dtype=np.int64) * n_columns)
    return Lines(starts, matrix.places % np.uint32(n_columns), matrix.values.numpy())


def by_columns(matrix: Tensor | Nonzeros) -> Lines:
    """A (rows, columns) matrix column by column."""
    if isinstance(matrix, Tensor):
        return by_rows(matrix.T)
    n_rows, n_columns = matrix.shape
    rows, columns = np.divmod(matrix.places, np.uint32(n_columns))
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(n_columns + 1))
    return Lines(starts, rows[order].astype(np.uint32), matrix.values.numpy()[order])
