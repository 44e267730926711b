"""Live mode: prompts of one's own, with parts of a circuit taken out, answered by the model at once.

The page appears before anything is measured; what it shows of a circuit is measured when that circuit is first opened.
"""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch

from thinwire.circuits.artefact import StoredCircuit
from thinwire.circuits.graph import Edge
from thinwire.circuits.isolated import IsolatedCircuit, isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.evidence.effects import effect
from thinwire.evidence.prompt import prompt_activity
from thinwire.model.sites import parse_key
from thinwire.progress import Progress, silent
from thinwire.ranges import check_range
from thinwire.runs.stored import open_circuit
from thinwire.tasks.answers import PREFIX
from thinwire.viewer.bundle import own_prompt_data, view_entry
from thinwire.viewer.live import LiveServer, Question
from thinwire.viewer.page import render_view
from thinwire.workflows.view import Chosen, choose, circuit_id, examples_tokens, gather_circuit, outline


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which circuit is meant, by its id on the page."""

    circuit: str


class Parts(Which, frozen=True, forbid_unknown_fields=True):
    """A circuit without some of its parts."""

    nodes: list[str] = []
    """`site:channel` of the nodes that are taken out."""
    edges: list[int] = []
    """Positions in the circuit's list of the edges that are taken out."""


class Ask(Parts, frozen=True, forbid_unknown_fields=True):
    """A prompt, put to a circuit without some of its parts."""

    prompt: str = ""


class Score(msgspec.Struct, frozen=True):
    """A circuit without some of its parts on all test prompts of its task."""

    n_prompts: int
    loss: float
    accuracy: float
    recovered: float
    """Mean logit difference of the two answers over the whole model's."""


class Resident:
    """A circuit of the page, read when it is first asked for."""

    def __init__(self, item: Chosen) -> None:
        self.item = item

    @cached_property
    def stored(self) -> StoredCircuit:
        return open_circuit(self.item.run, self.item.path)

    @cached_property
    def on_test(self) -> IsolatedCircuit:
        """The circuit alone on all test prompts of its task."""
        prompts = Prompts.of(self.stored.pairs["test"], self.item.run.device)
        return isolate_circuit(self.item.run.model, self.stored.circuit, self.stored.means, prompts)

    @cached_property
    def whole_difference(self) -> float:
        """Mean logit difference of the whole model on the test prompts."""
        prompts = self.on_test.prompts
        return float((logit_difference(self.item.run.model, prompts) * prompts.sign).mean())

    def named(self, parts: Parts) -> tuple[list[tuple[str, int]], list[Edge]]:
        """The nodes and edges that a request takes out. Raises `UserError` for unknown ones."""
        circuit = self.stored.circuit
        nodes = [parse_key(key) for key in parts.nodes]
        if not all(channel in circuit.nodes.get(site, ()) for site, channel in nodes):
            raise UserError("the request names a node that the circuit does not keep; reload the page")
        if not all(0 <= i < circuit.n_edges for i in parts.edges):
            raise UserError("the request names an edge that the circuit does not have; reload the page")
        return nodes, [circuit.edges[i] for i in parts.edges]

    def evaluate(self, request: Ask) -> dict[str, Any]:
        """The two answers and every node after one prompt: whole model, circuit, and the circuit without the parts."""
        began = time.perf_counter()
        circuit, device = self.stored.circuit, self.item.run.device
        ids = _tokens(self.item, request.prompt)
        tokens, lengths = torch.tensor([ids], device=device), torch.tensor([len(ids)], device=device)
        prompt = Prompts(tokens, lengths, torch.ones(1, device=device), *circuit.answer_tokens)
        parts, text = self.named(request), self.item.run.tokenizer.token_text
        data = own_prompt_data(prompt_activity(self.on_test.on(prompt), circuit, *parts, text))
        return {**data, "milliseconds": 1000 * (time.perf_counter() - began)}

    def score(self, parts: Parts) -> Score:
        """What is left of the task without the parts."""
        found, whole = effect(self.on_test.without(*self.named(parts))), self.whole_difference
        n_prompts = 2 * self.on_test.prompts.n_pairs
        return Score(n_prompts, found.loss, found.accuracy, found.difference / whole if whole else 0.0)

    def measured(self) -> dict[str, Any]:
        """All that the page shows of the circuit, with the texts of the tokens in its examples."""
        entry = gather_circuit(self.item)
        tokens = examples_tokens(entry, self.item.run.tokenizer)
        shape = self.item.run.model_config
        return {**view_entry(entry, shape.n_layer, shape.d_head), "tokens": tokens}


def _tokens(item: Chosen, prompt: str) -> list[int]:
    """Token ids of a prompt behind the newline that stands before every prompt of a task."""
    if not prompt:
        raise UserError("the prompt is empty; type some Python")
    ids, context = item.run.tokenizer.encode(PREFIX + prompt), item.run.context
    if len(ids) > context:
        raise UserError(f"the prompt has {len(ids)} tokens, the model reads at most {context}; shorten it")
    return ids


class Residents:
    """The circuits of a live page, by id."""

    def __init__(self, chosen: Sequence[Chosen]) -> None:
        residents = [Resident(item) for item in chosen]
        self.by_id: Mapping[str, Resident] = {circuit_id(one.item, one.stored.circuit): one for one in residents}

    def __getitem__(self, request: Which) -> Resident:
        if request.circuit not in self.by_id:
            raise UserError("the request names no circuit of this page; reload it")
        return self.by_id[request.circuit]

    def questions(self) -> dict[str, Question]:
        """What the page may ask."""
        return {
            "evaluate": Question(Ask, lambda request: self[request].evaluate(request)),
            "score": Question(Parts, lambda request: self[request].score(request)),
            "circuit": Question(Which, lambda request: self[request].measured()),
        }


def live_server(
    paths: Sequence[str | Path],
    *,
    port: int = 0,
    where: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = silent,
) -> LiveServer:
    """The server of a live page of the circuits under `paths`, not yet serving: call its `serve_forever()`.

    Circuits are measured when a page asks for them, models at once where their held-out loss is not stored. Raises
    `UserError` when the port is taken.
    """
    check_range("port", port, "[0, 65535]; 0 takes a free one")
    chosen = choose(paths, device, where)
    page = render_view(outline(chosen, progress))
    try:
        return LiveServer(page, Residents(chosen).questions(), port)
    except OSError as error:
        raise UserError(f"port {port} cannot be used ({error.strerror}); choose another one, or 0 for any") from None
