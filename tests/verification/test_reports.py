"""What is measured without a threshold: variance unexplained, and the circuit on text."""

import pytest
import torch
import torch.nn.functional as F
from judged import budget_of, material_of, subject_of
from micro_model import COPY_ANSWERS, copy_model

from thinwire.circuits.ablation import isolate
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.scales import freeze_scales, record_scales
from thinwire.model.hooks import compose, identity
from thinwire.verification.finding import NotRun
from thinwire.verification.reconstruction import reconstruction
from thinwire.verification.text import text_kl


def test_a_true_circuit_explains_its_nodes_variance() -> None:
    hand = copy_model()
    found = reconstruction(subject_of(hand, norm_scales="whole"), material_of(hand), budget_of(survey_pairs=16))
    assert set(found.unexplained) == set(hand.nodes)
    assert found.worst is not None and found.worst < 0.05
    assert found.passed is None and found.outcome == "reported"
    own = reconstruction(subject_of(hand), material_of(hand), budget_of(survey_pairs=16))
    assert own.worst is not None and 0.05 < own.worst < 1  # its own norms see fewer channels: larger values


def test_a_node_without_its_input_explains_nothing_and_one_at_its_own_value_all() -> None:
    """The embedding is what it is; the value behind a cut edge stays at its bias, where its mean is."""
    hand = copy_model()
    edges = [edge for edge in hand.circuit.edges if edge.target_site != "0.attn.v"]
    found = reconstruction(subject_of(hand, edges=edges), material_of(hand), budget_of(survey_pairs=16))
    assert found.unexplained["embed"] == 0.0
    assert found.unexplained["0.attn.v"] == pytest.approx(1.0, abs=0.1)


def test_text_kl_is_over_tokens_before_an_answer() -> None:
    hand = copy_model()
    found = text_kl(subject_of(hand), material_of(hand), budget_of(text_windows=40))
    windows = hand.windows[:40]
    at = (windows[:, 1:] == COPY_ANSWERS[0]) | (windows[:, 1:] == COPY_ANSWERS[1])
    whole = hand.model(windows[:, :-1])[at].log_softmax(-1)
    kept = hand.model(windows[:, :-1], isolate(hand.model, hand.nodes, hand.means))[at].log_softmax(-1)
    assert found.n_tokens == int(at.sum()) > 10
    assert found.kl == pytest.approx(float(F.kl_div(kept, whole, reduction="batchmean", log_target=True)), abs=1e-5)
    assert found.kl_nothing_kept > 0


@pytest.mark.parametrize("norm_scales", ["own", "whole"])
def test_text_is_read_under_the_circuits_norms(norm_scales: str) -> None:
    """Its own, or those that the whole model has on the same windows."""
    hand = copy_model()
    windows = hand.windows[:40]
    text = Prompts(windows[:, :-1], torch.full((40,), windows.shape[1] - 1), torch.ones(40), *COPY_ANSWERS)
    norms = {"own": identity, "whole": freeze_scales(record_scales(hand.model, text))}
    at = torch.isin(windows[:, 1:], torch.tensor(COPY_ANSWERS))
    whole = hand.model(text.tokens)[at].log_softmax(-1)

    def kl(norm_scales: str) -> float:
        hook = compose(isolate(hand.model, hand.nodes, hand.means), norms[norm_scales])
        kept = hand.model(text.tokens, hook)[at].log_softmax(-1)
        return float(F.kl_div(kept, whole, reduction="batchmean", log_target=True))

    found = text_kl(subject_of(hand, norm_scales=norm_scales), material_of(hand), budget_of(text_windows=40))
    assert found.kl == pytest.approx(kl(norm_scales), abs=1e-5)
    assert abs(kl("own") - kl("whole")) > 0.02


def test_without_text_or_answers_in_it_it_is_not_run() -> None:
    hand = copy_model()
    with pytest.raises(NotRun, match="no held-out text"):
        text_kl(subject_of(hand), material_of(hand, windows=None), budget_of())
    with pytest.raises(NotRun, match="neither answer occurs"):
        text_kl(subject_of(hand), material_of(hand, windows=torch.ones(2, 8, dtype=torch.long)), budget_of())
