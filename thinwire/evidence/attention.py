"""Why a head looks where it looks: its scores before the softmax, channel by channel.

A score is the product of a query and a key, summed over the channels of the head and divided by sqrt(d_head). In a
circuit most channels of a head lie at their means; what they add is the same for every pair of tokens. What is left is
a sum of one product per channel of which the circuit keeps the query, the key or both.
"""

import math
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from thinwire.evidence.records import HeadScores
from thinwire.model.nodes import Nodes


def head_scores(
    queries: Mapping[str, Float[Tensor, "T D"]],
    keys: Mapping[str, Float[Tensor, "T D"]],
    kept: Nodes,
    layer: int,
    head: int,
    d_head: int,
) -> HeadScores:
    """The scores of one head on both sides of a pair; `queries` and `keys` are recorded inside the circuit."""
    own = range(head * d_head, (head + 1) * d_head)
    there = {*kept.get(f"{layer}.attn.q", ()), *kept.get(f"{layer}.attn.k", ())}
    channels = [channel for channel in own if channel in there]
    constant = [channel for channel in own if channel not in there]
    scale = 1 / math.sqrt(d_head)
    first_query, first_key = queries["clean"][0, constant], keys["clean"][0, constant]

    def rows(values: Tensor, factor: float = 1.0) -> list[list[float]]:
        return (factor * values[:, channels]).T.tolist()

    return HeadScores(
        channels=channels,
        clean_query=rows(queries["clean"], scale),
        clean_key=rows(keys["clean"]),
        corrupt_query=rows(queries["corrupt"], scale),
        corrupt_key=rows(keys["corrupt"]),
        rest=float(scale * (first_query * first_key).sum()),
    )
