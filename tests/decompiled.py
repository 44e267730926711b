"""Circuits whose programs tests look at, and programs as users run them: files, without torch."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from micro_model import HandModel

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts
from thinwire.decompile.evaluate import Batch
from thinwire.decompile.program import Program
from thinwire.decompile.unroll import unroll

RUN = """
import json, runpy, sys
sys.modules["torch"] = None  # importing it is an error
program = runpy.run_path(sys.argv[1])
print(json.dumps([float(program["difference"](json.loads(line))) for line in sys.stdin]))
"""


def alone_of(hand: HandModel, nodes: dict[str, list[int]] | None = None) -> IsolatedCircuit:
    """The true circuit of a hand-built model on its test prompts, or other nodes."""
    return IsolatedCircuit(hand.model, nodes or hand.nodes, hand.means, hand.prompts)


def program_of(alone: IsolatedCircuit) -> Program:
    """The exact program, tokens named `t0`, `t1`, ..."""
    tokens = [f"t{token}" for token in range(alone.model.config.vocab_size)]
    return unroll(alone, ("a", "b"), tokens)


def logits_of(alone: IsolatedCircuit) -> np.ndarray:
    """(P, 2): the circuit's logits of the two answers, by the model itself."""
    with torch.no_grad():
        return alone.logits()[:, [alone.prompts.answer, alone.prompts.other]].numpy()


def evaluated(program: Program, batch: Batch) -> np.ndarray:
    """(P, outputs): the same by the program."""
    return np.stack([batch.last(x) for x in program.outputs], -1)


def texts_of(prompts: Prompts, tokens: Sequence[str]) -> list[list[str]]:
    """The prompts as printed programs take them."""
    rows = zip(prompts.tokens.tolist(), prompts.lengths.tolist(), strict=True)
    names = list(tokens)
    return [[str(names[token]) for token in row[:length]] for row, length in rows]


def run_alone(file: Path, prompts: list[list[str]]) -> np.ndarray:
    """Logit differences by a printed program, in a process that cannot import torch."""
    lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
    done = subprocess.run([sys.executable, "-c", RUN, str(file)], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))
