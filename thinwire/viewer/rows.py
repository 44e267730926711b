"""The rows of a drawing: which site stands in which row, and how high the rows are."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from thinwire.model.sites import is_in_head

HEAD_PARTS = ("q", "k", "v")
_WEIGHT_GAP, _STREAM_GAP, _EMPTY_GAP, _ANSWER_GAP = 62.0, 36.0, 12.0, 66.0


def row_key(site: str) -> str:
    """The row in which a site's nodes stand: a head's queries, keys and values share one."""
    return f"{site.rpartition('.')[0]}.qkv" if is_in_head(site) else site


def row_keys(n_layer: int) -> list[str]:
    """All rows from the bottom to the top."""
    sites = ("attn.in", "attn.qkv", "attn.out", "mlp.in", "mlp.neuron", "mlp.out")
    return ["embed", *(f"{layer}.{site}" for layer in range(n_layer) for site in sites), "final", "answers"]


def _block(key: str) -> str:
    return key.rpartition(".")[0]


def row_heights(keys: Sequence[str], filled: Mapping[str, int]) -> dict[str, float]:
    """Row -> pixels above the embedding row.

    `filled` gives each row's number of nodes; a block (attention or MLP of a layer) without nodes is squeezed.
    """
    kept = {_block(key) for key in keys if filled[key]}
    heights, y = {keys[0]: 0.0}, 0.0
    for below, key in pairwise(keys):
        inside = bool(_block(key)) and _block(key) == _block(below)
        if key == "answers":
            y += _ANSWER_GAP
        elif inside:
            y += _WEIGHT_GAP if _block(key) in kept else _EMPTY_GAP
        else:
            y += _STREAM_GAP
        heights[key] = y
    return heights
