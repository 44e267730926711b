"""Whether what files say agrees with the model that they are said to be about.

Types and ranges are checked where a file is read (`storage.records`); here values are held to the model: its
fingerprint and tokenizer, its nodes, its weights, its vocabulary and context.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from thinwire.circuits.anatomy import anatomy
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.stated import StatedEdge
from thinwire.errors import CorruptFile, UserError
from thinwire.model.checkpoint import check_finite, fingerprint
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes, NodeSpace, list_nodes
from thinwire.tasks.task import Split
from thinwire.tasks.tokens import TaskTokens


@runtime_checkable
class OfModel(Protocol):
    """What names the model that it is about: a circuit, a claim, a verification."""

    @property
    def task(self) -> str: ...

    @property
    def model_fingerprint(self) -> str: ...


def check_belongs(what: OfModel, model: GPT) -> None:
    """Raises `UserError` when the circuit was found in another model."""
    check_fingerprint(what, fingerprint(model))


def check_fingerprint(what: OfModel, actual: str) -> None:
    """The same, of a model whose fingerprint is known."""
    if actual != what.model_fingerprint:
        raise UserError(
            f"the circuit of {what.task} belongs to model {what.model_fingerprint[:12]}, this model is "
            f"{actual[:12]}; give the run that it was found in"
        )


def check_tokenizer(task: str, stated: str, actual: str) -> None:
    """Raises `UserError` when a circuit's token ids are those of another tokenizer."""
    if stated != actual:
        raise UserError(
            f"the circuit of {task} was found with tokenizer {stated[:12]}, this run's is {actual[:12]}; give the run "
            f"that it was found in"
        )


def check_circuit(circuit: Circuit, model: GPT, where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` unless the nodes are the model's and `edges` all weights between them."""
    check_nodes(circuit.nodes, model.space, where)
    induced = set(induced_edges(model, circuit.nodes))
    if strangers := set(circuit.edges) - induced:
        edge = min(strangers)
        raise CorruptFile(f"{where}: the model has no edge {_shown(edge)} of weight {edge.weight:g}; prune again")
    if len(induced) > len(circuit.edges):
        raise CorruptFile(f"{where}: edges are not all of the model's weights between the nodes; prune again")
    if circuit.anatomy and circuit.anatomy != anatomy(circuit.nodes, model.config.d_head):
        raise CorruptFile(f"{where}: the anatomy is not that of the nodes; prune again")
    if max(circuit.answer_tokens) >= model.config.vocab_size:
        raise CorruptFile(f"{where}: answer_tokens are not in the model's vocabulary; prune again")


def check_nodes(nodes: Nodes, space: NodeSpace, where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` when a site or channel is not one of the model's."""
    try:
        space.check(nodes)
    except UserError as error:
        raise CorruptFile(f"{where}: {error}") from None


def stated_edges(stated: Iterable[StatedEdge], nodes: Nodes, model: GPT, where: Path | str) -> list[Edge]:
    """Edges as somebody lists them, with the weights that the model has there.

    Raises `CorruptFile` naming `where` for an edge that the model cannot have or whose weight is 0, one that is listed
    twice or leads outside the nodes, and one that is stated with another weight.
    """
    kept = set(list_nodes(nodes))
    edges: list[Edge] = []
    for said in stated:
        try:
            name = model.space.check_edge(said.source_site, said.source, said.target_site, said.target)
        except UserError as error:
            raise CorruptFile(f"{where}: {error}") from None
        weight = float(model.get_parameter(name)[said.target, said.source])
        edge = Edge(said.source_site, said.source, said.target_site, said.target, weight)
        edges.append(edge)
        if not {edge[:2], edge[2:4]} <= kept:
            problem = "leads from or to a node that is not kept"
        elif weight == 0:
            problem = "has weight 0 in this model"
        elif said.weight is not None and said.weight != weight:
            problem = f"is stated with weight {said.weight:g} and has {weight:g} in this model"
        else:
            continue
        raise CorruptFile(f"{where}: the edge {_shown(edge)} {problem}; leave it out or write it again")
    if repeated := [edge for edge, times in Counter(edges).items() if times > 1]:
        raise CorruptFile(f"{where}: the edge {_shown(repeated[0])} is listed twice; leave one out")
    return edges


def _shown(edge: Edge) -> str:
    return f"{edge.source_site}:{edge.source} -> {edge.target_site}:{edge.target}"


def check_means(means: Mapping[str, Tensor], space: NodeSpace, where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` unless there is a finite float32 for every channel of every node site."""
    shapes = {site: tuple(mean.shape) for site, mean in means.items()}
    if shapes != {site: (width,) for site, width in space.widths.items()}:
        raise CorruptFile(f"{where} does not have this model's sites and widths; measure it again")
    check_finite(means, where)


def check_pairs(pairs: Mapping[Split, TaskTokens], model: GPT, where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` when prompts or answers are not the model's to read."""
    vocab_size, context = model.config.vocab_size, model.config.context
    for split, tokens in pairs.items():
        for name in ("clean", "corrupt"):
            rows = getattr(tokens, name)
            if rows.shape[1] > context:
                raise CorruptFile(f"{where}: {split}.{name} is wider than the model's context of {context}")
            if rows.min() < 0 or rows.max() >= vocab_size:
                raise CorruptFile(f"{where}: {split}.{name} holds tokens that are not in 0..{vocab_size - 1}")
        if not {tokens.answer, tokens.other} <= set(range(vocab_size)):
            raise CorruptFile(f"{where}: {split}.answers are not in 0..{vocab_size - 1}")
