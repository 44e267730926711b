"""Evidence: what is shown of a node is what the node does inside the circuit."""

import math
from pathlib import Path

import pytest
import torch

import thinwire
from thinwire.circuits.ablation import isolate
from thinwire.circuits.artefact import StoredCircuit, load_circuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.evidence.gather import evidence
from thinwire.evidence.records import Evidence, PairEvidence
from thinwire.runs.run import Run

PAIR = 2


@pytest.fixture(scope="module")
def stored(pruned_path: Path) -> StoredCircuit:
    (path,) = thinwire.load_run(pruned_path).circuit_directories()
    return load_circuit(path)


@pytest.fixture(scope="module")
def found(stored: StoredCircuit, tiny_run: Run) -> Evidence:
    prompts = Prompts.of(stored.pairs["test"])
    return evidence(tiny_run.model, stored.circuit, stored.means, prompts, PAIR, tiny_run.tokenizer)


@pytest.fixture(scope="module")
def shown(found: Evidence) -> PairEvidence:
    return found.pair


def test_the_prompts_are_those_of_the_pair(shown: PairEvidence, stored: StoredCircuit, tiny_run: Run) -> None:
    test = stored.pairs["test"]
    for side, rows, lengths in (
        ("clean", test.clean, test.clean_length),
        ("corrupt", test.corrupt, test.corrupt_length),
    ):
        ids = rows[PAIR, : lengths[PAIR]].tolist()
        assert getattr(shown, f"{side}_tokens") == [tiny_run.tokenizer.token_text(i) for i in ids]


def test_every_kept_node_has_an_activation_per_token(shown: PairEvidence, stored: StoredCircuit) -> None:
    names = {f"{site}:{channel}" for site, channels in stored.circuit.nodes.items() for channel in channels}
    assert set(shown.nodes) == names
    for name, node in shown.nodes.items():
        site, channel = name.split(":")
        for side in ("clean", "corrupt"):
            assert len(getattr(node, side)) == len(getattr(shown, f"{side}_tokens"))
            assert all(map(math.isfinite, getattr(node, side)))
        assert node.mean == pytest.approx(float(stored.means[site][int(channel)]))


def test_activations_are_those_of_the_circuit_alone(shown: PairEvidence, stored: StoredCircuit, tiny_run: Run) -> None:
    keep, seen = isolate(tiny_run.model, stored.circuit.nodes, stored.means), {}

    def hook(site: str, x: torch.Tensor) -> torch.Tensor:
        seen[site] = keep(site, x)
        return seen[site]

    pairs = stored.pairs["test"]
    length = int(pairs.clean_length[PAIR])
    tiny_run.model(torch.as_tensor(pairs.clean[PAIR : PAIR + 1, :length]), hook)
    for name, node in shown.nodes.items():
        site, channel = name.split(":")
        assert node.clean == pytest.approx(seen[site][0, :, int(channel)].tolist(), abs=1e-4)


def test_probabilities_are_of_the_first_answer(shown: PairEvidence, stored: StoredCircuit, tiny_run: Run) -> None:
    prompts = Prompts.of(stored.pairs["test"]).pairs(torch.tensor([PAIR]))
    expected = logit_difference(tiny_run.model, prompts).sigmoid().tolist()
    found = shown.model
    assert [found.clean, found.corrupt] == pytest.approx(expected, abs=1e-5)
    assert found.clean > 0.5 > found.corrupt


def test_attention_rows_sum_to_one_and_never_look_ahead(shown: PairEvidence, stored: StoredCircuit) -> None:
    heads = {f"0.{channel // 16}" for channel in stored.circuit.nodes.get("0.attn.v", [])}
    assert set(shown.attention) == heads
    for look in shown.attention.values():
        for side, pattern in (("clean", look.clean), ("corrupt", look.corrupt)):
            assert len(pattern) == len(getattr(shown, f"{side}_tokens"))
            for query, row in enumerate(pattern):
                assert sum(row) == pytest.approx(1, abs=1e-4)
                assert not any(row[query + 1 :])


def test_scores_sum_over_channels_to_what_the_softmax_takes(shown: PairEvidence) -> None:
    """exp of the summed scores, normalised over the tokens so far, is the recorded pattern; shares add up to 1 here."""
    assert shown.scores.keys() == shown.attention.keys()
    for head, scores in shown.scores.items():
        for side in ("clean", "corrupt"):
            query = torch.tensor(getattr(scores, f"{side}_query"), dtype=torch.float64)
            key = torch.tensor(getattr(scores, f"{side}_key"), dtype=torch.float64)
            pattern = torch.tensor(getattr(shown.attention[head], side), dtype=torch.float64)
            n = len(pattern)
            total = (query.T @ key if len(scores.channels) else torch.zeros(n, n, dtype=torch.float64)) + scores.rest
            future = torch.ones(n, n).triu(1).bool()
            assert torch.allclose(total.masked_fill(future, -torch.inf).softmax(-1), pattern, atol=1e-5)


def test_words_and_heads_are_of_the_circuits_own_nodes(found: Evidence, stored: StoredCircuit) -> None:
    names = {f"{site}:{channel}" for site, channels in stored.circuit.nodes.items() for channel in channels}
    assert set(found.words) == names
    assert found.heads.n_prompts == 2 * min(64, len(stored.pairs["test"]))
