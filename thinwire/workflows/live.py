"""Live mode: a prompt of one's own, with parts of the circuit taken out, answered by the model at once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from thinwire.circuits.artefact import StoredCircuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.model.sites import parse_key
from thinwire.progress import Progress, silent
from thinwire.ranges import check_range
from thinwire.runs.stored import open_circuit
from thinwire.tasks.answers import PREFIX
from thinwire.viewer.live import LiveServer, Question
from thinwire.viewer.page import render_view
from thinwire.workflows.view import Chosen, choose, circuit_id, gather


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the live page asks: a prompt, put to a circuit without some of its parts."""

    circuit: str
    """Its id on the page."""
    prompt: str
    nodes: list[str] = []
    """`site:channel` of the nodes that are held at what stands in for them."""
    edges: list[int] = []
    """Positions in the circuit's list of the edges that are removed."""


class Answer(msgspec.Struct, frozen=True):
    """The probability of the first answer among the two, after the prompt."""

    tokens: list[str]
    model: float
    circuit: float
    changed: float
    """The circuit without the parts."""
    milliseconds: float


def evaluator(chosen: Sequence[Chosen]) -> Callable[[Ask], Answer]:
    """A function that answers the live page. It raises `UserError` on a request that names what is not there."""
    stored: dict[str, tuple[Chosen, StoredCircuit]] = {}
    for item in chosen:
        found = open_circuit(item.run, item.path)
        stored[circuit_id(item, found.circuit)] = (item, found)

    def evaluate(request: Ask) -> Answer:
        if request.circuit not in stored:
            raise UserError("the request names no circuit of this page; reload it")
        return _evaluate(*stored[request.circuit], request)

    return evaluate


@torch.no_grad()
def _evaluate(item: Chosen, stored: StoredCircuit, request: Ask) -> Answer:
    began = time.perf_counter()
    run, circuit, model = item.run, stored.circuit, item.run.model
    ids = _tokens(item, request.prompt)
    one = torch.ones(1, device=run.device)
    tokens, lengths = torch.tensor([ids], device=run.device), torch.tensor([len(ids)], device=run.device)
    prompts = Prompts(tokens, lengths, one, *circuit.answer_tokens)
    alone = isolate_circuit(model, circuit, stored.means, prompts)
    removed = [circuit.edges[i] for i in _edges(len(circuit.edges), request.edges)]
    changed = alone.without(_nodes(circuit.nodes, request.nodes), removed)
    differences = {
        "model": logit_difference(model, prompts),
        "circuit": alone.difference(),
        "changed": changed.difference(),
    }
    shares = {name: float(difference.sigmoid()) for name, difference in differences.items()}
    texts = [run.tokenizer.token_text(token) for token in ids]
    return Answer(texts, **shares, milliseconds=1000 * (time.perf_counter() - began))


def _tokens(item: Chosen, prompt: str) -> list[int]:
    """Token ids of a prompt behind the newline that stands before every prompt of a task."""
    if not prompt:
        raise UserError("the prompt is empty; type some Python")
    ids, context = item.run.tokenizer.encode(PREFIX + prompt), item.run.context
    if len(ids) > context:
        raise UserError(f"the prompt has {len(ids)} tokens, the model reads at most {context}; shorten it")
    return ids


def _nodes(kept: dict[str, list[int]], asked: Sequence[str]) -> list[tuple[str, int]]:
    nodes = [parse_key(key) for key in asked]
    if not all(channel in kept.get(site, ()) for site, channel in nodes):
        raise UserError("the request names a node that the circuit does not keep; reload the page")
    return nodes


def _edges(n_edges: int, asked: Sequence[int]) -> list[int]:
    if not all(0 <= i < n_edges for i in asked):
        raise UserError("the request names an edge that the circuit does not have; reload the page")
    return list(asked)


def live_server(
    paths: Sequence[str | Path], *, port: int = 0, device: str = "auto", progress: Progress = silent
) -> LiveServer:
    """The server of a live page of the circuits under `paths`, not yet serving: call its `serve_forever()`.

    Raises `UserError` when the port is taken.
    """
    check_range("port", port, "[0, 65535]; 0 takes a free one")
    chosen = choose(paths, device)
    page = render_view(gather(chosen, live=True, progress=progress))
    try:
        return LiveServer(page, {"evaluate": Question(Ask, evaluator(chosen))}, port)
    except OSError as error:
        raise UserError(f"port {port} cannot be used ({error.strerror}); choose another one, or 0 for any") from None
