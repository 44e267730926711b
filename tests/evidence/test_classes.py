"""What is said of a node over all prompts is what single prompts and single weights say."""

import statistics

import pytest
import torch
from micro_model import HandModel, bracket_counter, copy_model
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit, isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.evidence.classes import LAST, class_differences
from thinwire.evidence.degrees import degrees


@pytest.fixture(params=[bracket_counter, copy_model], scope="module")
def hand(request: pytest.FixtureRequest) -> HandModel:
    return request.param()


def activations(alone: IsolatedCircuit, prompts: Prompts, row: int) -> dict[str, Tensor]:
    """Site -> activations (T, width) of one prompt by itself, inside the circuit."""
    seen: dict[str, Tensor] = {}

    def keep(site: str, x: Tensor) -> Tensor:
        seen[site] = alone.hook(site, x)
        return seen[site]

    with torch.no_grad():
        alone.model(prompts.tokens[row : row + 1, : int(prompts.lengths[row])], keep, alone.edges)
    return {site: values[0] for site, values in seen.items()}


def test_class_means_and_spreads_are_those_of_single_prompts(hand: HandModel) -> None:
    prompts = hand.prompts.pairs(torch.arange(6))
    alone = isolate_circuit(hand.model, hand.circuit, hand.means, prompts)
    found = class_differences(alone, hand.nodes)
    singles = [activations(alone, prompts, row) for row in range(len(prompts.lengths))]
    n_places = min(LAST, int(prompts.lengths.min()))
    for site, channels in hand.nodes.items():
        for channel in channels:
            told = found[f"{site}:{channel}"]
            assert len(told.clean) == len(told.corrupt) == len(told.spread) == n_places
            for place in range(n_places):
                at = place - n_places  # from the end
                by_class: dict[bool, list[float]] = {True: [], False: []}
                for row, sign in enumerate(prompts.sign.tolist()):
                    by_class[sign > 0].append(float(singles[row][site][at, channel]))
                clean, corrupt = by_class[True], by_class[False]
                assert told.clean[place] == pytest.approx(statistics.fmean(clean), abs=1e-4)
                assert told.corrupt[place] == pytest.approx(statistics.fmean(corrupt), abs=1e-4)
                within = (statistics.pvariance(clean) + statistics.pvariance(corrupt)) / 2
                assert told.spread[place] == pytest.approx(within**0.5, abs=1e-3)


def test_a_final_channel_tells_the_classes_apart_at_the_last_place(hand: HandModel) -> None:
    alone = isolate_circuit(hand.model, hand.circuit, hand.means, hand.prompts)
    found = class_differences(alone, hand.nodes)
    told = [found[f"final:{channel}"] for channel in hand.nodes["final"]]
    assert max(abs(one.clean[-1] - one.corrupt[-1]) for one in told) > 0.5


def test_degrees_count_single_weights(hand: HandModel) -> None:
    model = hand.model
    found = degrees(model, hand.nodes)
    for site, channels in hand.nodes.items():
        for channel in channels:
            into = out_of = 0
            for name, (source, target) in model.space.matrices.items():
                weights = model.get_parameter(name)
                if target == site:
                    into += sum(float(weight) != 0 for weight in weights[channel])
                if source == site:
                    out_of += sum(float(weight) != 0 for weight in weights[:, channel])
            told = found[f"{site}:{channel}"]
            assert (told.into, told.out_of) == (into, out_of)
