"""Live mode: a prompt of one's own, with parts of the circuit taken out, answered by the model at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from thinwire.circuits.artefact import StoredCircuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.runs.stored import open_circuit
from thinwire.viewer.live import LiveServer
from thinwire.viewer.page import render_view
from thinwire.workflows.view import Chosen, choose, circuit_id, gather


def evaluator(chosen: Sequence[Chosen]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function that answers one request of the live page.

    Request: `circuit` (its id on the page), `prompt` (text), `nodes` ("site:channel" to hold at their means), `edges`
    (positions in the circuit's list to remove). Answer: `tokens`, and the probability of the first answer among the
    two in the whole `model`, the `circuit`, and the circuit `changed` as asked. It raises `UserError` on a request
    that names what is not there.
    """
    stored: dict[str, tuple[Chosen, StoredCircuit]] = {}
    for item in chosen:
        found = open_circuit(item.run, item.path)
        stored[circuit_id(item, found.circuit)] = (item, found)

    def evaluate(request: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(request, Mapping) or request.get("circuit") not in stored:
            raise UserError("the request names no circuit of this page; reload it")
        return _evaluate(*stored[request["circuit"]], request)

    return evaluate


@torch.no_grad()
def _evaluate(item: Chosen, stored: StoredCircuit, request: Mapping[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    run, circuit, model = item.run, stored.circuit, item.run.model
    ids = _tokens(item, request.get("prompt"))
    tokens = torch.tensor([ids], device=run.device)
    one = torch.ones(1, device=run.device)
    answer, other = circuit.answer_tokens
    prompts = Prompts(tokens, torch.tensor([len(ids)], device=run.device), one, answer, other)
    alone = isolate_circuit(model, circuit, stored.means, prompts)
    removed = [circuit.edges[i] for i in _edges(len(circuit.edges), request.get("edges", ()))]
    changed = alone.without(_nodes(circuit.nodes, request.get("nodes", ())), removed)
    differences = {
        "model": logit_difference(model, prompts),
        "circuit": alone.difference(),
        "changed": changed.difference(),
    }
    shares = {name: float(difference.sigmoid()) for name, difference in differences.items()}
    texts = [run.tokenizer.token_text(token) for token in ids]
    return {"tokens": texts, **shares, "milliseconds": 1000 * (time.perf_counter() - began)}


def _tokens(item: Chosen, prompt: object) -> list[int]:
    if not isinstance(prompt, str) or not prompt:
        raise UserError("the prompt is empty; type some Python")
    ids, context = item.run.tokenizer.encode(prompt), item.run.context
    if len(ids) > context:
        raise UserError(f"the prompt has {len(ids)} tokens, the model reads at most {context}; shorten it")
    return ids


def _nodes(kept: Mapping[str, Sequence[int]], asked: object) -> list[tuple[str, int]]:
    known = {f"{site}:{channel}": (site, channel) for site, channels in kept.items() for channel in channels}
    if not isinstance(asked, Sequence) or not all(key in known for key in asked):
        raise UserError("the request names a node that the circuit does not keep; reload the page")
    return [known[key] for key in asked]


def _edges(n_edges: int, asked: object) -> list[int]:
    if not isinstance(asked, Sequence) or not all(isinstance(i, int) and 0 <= i < n_edges for i in asked):
        raise UserError("the request names an edge that the circuit does not have; reload the page")
    return list(asked)


def live_server(
    paths: Sequence[str | Path], *, port: int = 0, device: str = "auto", progress: Progress = silent
) -> LiveServer:
    """The server of a live page of the circuits under `paths`, not yet serving: call its `serve_forever()`.

    Raises `UserError` when the port is taken, before anything is computed.
    """
    chosen = choose(paths, device)
    try:
        server = LiveServer("", evaluator(chosen), port)
    except OSError as error:
        raise UserError(f"port {port} cannot be used ({error.strerror}); choose another one, or 0 for any") from None
    server.page = render_view(gather(chosen, live={"evaluate": "evaluate"}, progress=progress)).encode()
    return server
