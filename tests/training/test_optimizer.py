"""The optimizer against the five numbered steps, written out in numpy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import protected_lines
from thinwire.sparsity.projection import count_nonzero, projection_mask
from thinwire.training.optimizer import SparseOptimizer

CONFIG = ModelConfig(vocab_size=24, context=6, n_layer=1, d_model=16, d_head=8, sink=True)


def micro() -> tuple[GPT, SparseOptimizer]:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    return model, SparseOptimizer(model, weight_decay=0.1, min_per_line=2)


def give_gradients(model: GPT, seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Normal gradients for every parameter; returns them as float64."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return {name: gradient(p).double().numpy() for name, p in model.named_parameters()}


def gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.detach().clone()


def values(model: GPT) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in model.named_parameters()}


class ByHand:
    """Steps 2 to 5 of the paper, one tensor at a time, in float64."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = {name: w.copy() for name, w in weights.items()}
        self.m = {name: np.zeros_like(w) for name, w in weights.items()}
        self.v = {name: np.zeros_like(w) for name, w in weights.items()}
        self.t = 0

    def step(self, gradients: dict[str, np.ndarray], rate: float, density: float) -> float:
        self.t += 1
        total = sum(float((g**2).sum()) for g in gradients.values())
        rms = (total / sum(g.size for g in gradients.values())) ** 0.5
        for name, w in self.weights.items():
            g = gradients[name] / (rms + 1e-5)
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.95 * self.v[name] + 0.05 * g**2
            m, v = self.m[name] / (1 - 0.9**self.t), self.v[name] / (1 - 0.95**self.t)
            w -= rate * m / (np.sqrt(v) + 0.1)
            if name.endswith((".weight", ".bias")):
                k = count_nonzero(w.size, density)
                w *= projection_mask(torch.from_numpy(w), k, protected_lines(name), 2).numpy()
            if name.endswith(".weight"):
                w *= 1 - rate * 0.1
        return rms


@pytest.mark.parametrize("density", [0.25, 0.6, 1.0])
def test_three_steps_equal_the_ones_by_hand(density: float) -> None:
    model, optimizer = micro()
    by_hand = ByHand(values(model))
    for step in range(3):
        expected = by_hand.step(give_gradients(model, step, scale=0.01), 0.02, density)
        assert optimizer.step(0.02, density).item() == pytest.approx(expected, rel=1e-5)
        for name, weight in values(model).items():
            np.testing.assert_allclose(weight, by_hand.weights[name], rtol=1e-5, atol=1e-7, err_msg=name)
            assert np.array_equal(weight != 0, by_hand.weights[name] != 0), name


def test_the_moments_are_the_ones_by_hand_and_travel_under_the_parameters_names() -> None:
    model, optimizer = micro()
    by_hand = ByHand(values(model))
    for step in range(2):
        by_hand.step(give_gradients(model, step), 0.02, 0.25)
        optimizer.step(0.02, 0.25)
    tensors = optimizer.state_tensors()
    assert tensors.keys() == {f"{kind}.{name}" for kind in "mv" for name, _ in model.named_parameters()}
    for name in by_hand.m:
        np.testing.assert_allclose(tensors[f"m.{name}"].numpy(), by_hand.m[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(tensors[f"v.{name}"].numpy(), by_hand.v[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_step_does_not_depend_on_the_scale_of_the_gradients(scale: float) -> None:
    """The normaliser is no clipping: small gradients grow as large ones shrink (1e-5 beside the rms is felt)."""
    model, optimizer = micro()
    give_gradients(model, 0)
    optimizer.step(0.02, 1.0)
    other, other_optimizer = micro()
    give_gradients(other, 0, scale)
    other_optimizer.step(0.02, 1.0)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02 * 0.02)


def test_decay_touches_the_matrices_alone() -> None:
    """Without gradients only step 5 moves weights: by 1 - 0.5 x 0.1."""
    model, optimizer = micro()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5, 1.0)
    for name, weight in values(model).items():
        np.testing.assert_allclose(weight, 0.95 if name.endswith(".weight") else 1.0, rtol=1e-6, err_msg=name)


def test_bigram_gains_and_sinks_are_never_projected() -> None:
    model, optimizer = micro()
    give_gradients(model, 0)
    optimizer.step(0.02, 0.125)
    for name, weight in values(model).items():
        share = np.count_nonzero(weight) / weight.size
        assert share <= 0.125 or name.endswith(("bigram", "gain", "sink")), name
        assert share == 1.0 or name.endswith((".weight", ".bias")), name


def test_a_zeroed_weight_comes_back_when_its_gradient_asks_for_it() -> None:
    model, optimizer = micro()
    give_gradients(model, 0)
    optimizer.step(0.02, 0.25)
    weight = model.unembed.weight
    i, j = (weight == 0).nonzero()[0].tolist()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(40):
        gradient_of = torch.zeros_like(weight)
        gradient_of[i, j] = -1.0
        weight.grad = gradient_of
        optimizer.step(0.02, 0.25)
    assert weight[i, j] > 0


def test_a_restored_optimizer_takes_the_same_step() -> None:
    model, optimizer = micro()
    give_gradients(model, 0)
    optimizer.step(0.02, 0.5)
    restored, restored_optimizer = micro()
    restored.load_state_dict(model.state_dict())
    restored_optimizer.load_state_tensors({name: t.clone() for name, t in optimizer.state_tensors().items()}, 1)
    for m, o in ((model, optimizer), (restored, restored_optimizer)):
        give_gradients(m, 1)
        o.step(0.02, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), restored.parameters(), strict=True))


def test_missing_moments_are_named() -> None:
    _, optimizer = micro()
    with pytest.raises(CorruptFile, match="no moments of"):
        optimizer.load_state_tensors({}, 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t[1:], "not torch.float32"),
        (lambda t: t.double(), "not torch.float32"),
        (lambda t: t * math.nan, "not finite"),
        (lambda t: t - 1e9, "v.* holds negative numbers"),
    ],
)
def test_impossible_moments_are_refused(damage: Callable[[Tensor], Tensor], message: str) -> None:
    model, optimizer = micro()
    give_gradients(model, 0)
    optimizer.step(0.02, 0.5)
    tensors = optimizer.state_tensors()
    name = next(name for name in tensors if name.startswith("v."))
    with pytest.raises(CorruptFile, match=message):
        micro()[1].load_state_tensors(tensors | {name: damage(tensors[name])}, 1)
