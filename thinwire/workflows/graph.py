"""A stored circuit as a graph from tokens to answers."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from thinwire.circuits.connections import CircuitGraph, connect
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.runs.run import opened
from thinwire.runs.stored import directory_of, open_circuit
from thinwire.runs.trained import Trained


def graph(
    run: Trained | str | Path, circuit: Circuit | str | Path, edges: Literal["induced", "minimal"] = "induced"
) -> CircuitGraph:
    """The graph of one circuit of `run`: its sources are the tokens of all its pairs, its ends the two answers.

    `run` is what `thinwire.load` gave, or its directory; `circuit` is one that `thinwire.prune` returned, or the
    directory of one. Raises `UserError` when the run does not hold it, or it has no minimal edges and these are asked
    for.
    """
    run = opened(run)
    stored = open_circuit(run, directory_of(run, circuit))
    found = stored.circuit
    chosen = found.edges if edges == "induced" else found.minimal_edges
    if chosen is None:
        raise UserError(f"no edges of the circuit of {found.task} were swept; prune it with: --sweep edges")
    parts = [
        (rows, lengths)
        for pairs in stored.pairs.values()
        for rows, lengths in ((pairs.clean, pairs.clean_length), (pairs.corrupt, pairs.corrupt_length))
    ]
    tokens = np.concatenate([rows[np.arange(rows.shape[1]) < lengths[:, None]] for rows, lengths in parts])
    longest = max(int(lengths.max()) for _, lengths in parts)
    return connect(
        run.model, found, torch.from_numpy(tokens.astype(np.int64)), longest, run.tokenizer.token_text, chosen
    )
