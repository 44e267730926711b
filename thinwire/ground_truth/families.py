"""The families by name, and how one of their members is built."""

from collections.abc import Callable
from functools import lru_cache

from thinwire.errors import UserError
from thinwire.ground_truth.copying import copy, idle_weights, shared_attention, two_hop
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.neurons import bracket_depth, neuron_gate, superposed_features
from thinwire.ground_truth.places import induction, previous_token
from thinwire.ground_truth.sizes import SizeName
from thinwire.ground_truth.traps import cancelling_pair, correlated_decoy, dead_mechanism, redundant_head, split_heads

FAMILIES: dict[str, Callable[[SizeName, int], KnownModel]] = {
    build.__name__: build
    for build in (
        copy,
        previous_token,
        induction,
        bracket_depth,
        two_hop,
        neuron_gate,
        redundant_head,
        split_heads,
        cancelling_pair,
        correlated_decoy,
        dead_mechanism,
        superposed_features,
        shared_attention,
        idle_weights,
    )
}


@lru_cache(maxsize=64)
def known_model(family: str, size: SizeName = "small", seed: int = 0) -> KnownModel:
    """One hand-built model. Raises `UserError` naming the families when there is no such one."""
    if family not in FAMILIES:
        raise UserError(f"no family is called {family}; there are: {', '.join(FAMILIES)}")
    return FAMILIES[family](size, seed)
