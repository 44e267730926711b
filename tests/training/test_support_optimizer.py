"""Training that follows the nonzeros takes the steps that it promises, and no others."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from thinwire.data.batches import Batches
from thinwire.errors import CorruptFile, UserError
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.structure import is_decayed, sparse_parameters
from thinwire.sparsity.projection import Protect, count_nonzero, projection_mask
from thinwire.training.config import Mode, RunConfig, TrainConfig
from thinwire.training.loop import schedule, train_step
from thinwire.training.loss import next_token_loss
from thinwire.training.modes import optimizer_for
from thinwire.training.optimizer import BETAS, EPS, RMS_EPS, SparseOptimizer
from thinwire.training.support_optimizer import SupportOptimizer

CONFIG = RunConfig(
    model=ModelConfig(vocab_size=64, context=8, n_layer=1, d_model=32),
    train=TrainConfig(n_tokens=8 * 12 * 60, batch_size=12, density=0.15, min_per_line=3, regrow_every_steps=5),
)
TOKENS = torch.randint(0, 64, (3000,), generator=torch.Generator().manual_seed(0)).numpy().astype("<u2")
MODES: list[Mode] = ["certified", "regrow"]


def fresh(mode: Mode, **changes: float) -> tuple[GPT, SupportOptimizer, RunConfig]:
    config = replace(CONFIG, train=replace(CONFIG.train, mode=mode, **changes))
    torch.manual_seed(0)
    model = GPT(config.model)
    optimizer = optimizer_for(model, config.train)
    assert isinstance(optimizer, SupportOptimizer)
    return model, optimizer, config


def batch(step: int) -> Tensor:
    return torch.from_numpy(Batches(TOKENS, 12, 8, 0).at(step))


def go(model: GPT, optimizer: SupportOptimizer, config: RunConfig, first: int, last: int, parts: int = 1) -> list[dict]:
    """Steps `first` to `last` - 1; their rows."""
    rows = []
    for step in range(first, last):
        rate, density = schedule(config, step)
        train_step(model, optimizer, batch(step), rate, density, parts)
        rows.append(dict(optimizer.row))
    return rows


def plain_step(
    model: GPT,
    tensors: dict[str, Tensor],
    step: int,
    config: RunConfig,
    rms: float,
    fixed: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """The step on dense weights and moments: `tensors`, zeros where there are none. The normaliser is given.

    In the parameters `fixed` zeros stay zeros.
    """
    rate, density = schedule(config, step)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    copy = GPT(config.model)
    copy.load_state_dict(weights)
    next_token_loss(copy, batch(step)).backward()
    protects: dict[str, Protect] = {p.name: p.protect for p in sparse_parameters(copy)}
    for name, parameter in copy.named_parameters():
        m, v, age = (stored(tensors, kind, name, parameter, step) for kind in ("m", "v", "age"))
        assert parameter.grad is not None
        g = parameter.grad / (rms + RMS_EPS)
        m, v, age = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g, age + 1
        mean, square = m / (1 - BETAS[0] ** age), v / (1 - BETAS[1] ** age)
        w = weights[name] - rate * mean / (square.sqrt() + EPS)
        if name in fixed:
            w = torch.where(weights[name] != 0, w, 0)
        if name in protects:
            k = count_nonzero(w.numel(), density)
            w = torch.where(projection_mask(w, k, protects[name], config.train.min_per_line), w, 0)
        weights[name] = w * (1 - rate * config.train.weight_decay) if is_decayed(name) else w
    return weights


def stored(tensors: dict[str, Tensor], kind: str, name: str, parameter: Tensor, step: int) -> Tensor:
    """Moments or ages of all entries of a parameter, 0 where none are stored."""
    if kind == "age" and f"age.{name}" not in tensors:
        return torch.full_like(parameter, float(step))
    values = tensors[f"{kind}.{name}"].to(torch.float32)
    if f"entries.{name}" not in tensors:
        return values.view_as(parameter).clone()
    dense = torch.zeros(parameter.numel())
    dense[tensors[f"entries.{name}"]] = values
    return dense.view_as(parameter)


@pytest.mark.parametrize("mode", MODES)
def test_a_step_on_stored_entries_is_that_on_dense_ones(mode: Mode) -> None:
    """All steps of a training; a certified step is the full one, a step of regrow leaves zeros between turns.

    Supports are equal but for weights at the threshold to float tolerance.
    """
    model, optimizer, config = fresh(mode)
    spared = []
    for step in range(60):
        rate, density = schedule(config, step)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        tensors = {name: t.clone() for name, t in optimizer.state_tensors().items()}
        _, rms = train_step(model, optimizer, batch(step), rate, density)
        after = {name: p.detach().clone() for name, p in model.named_parameters()}
        spared.append(optimizer.row["spared_rows"])
        if step == 0 or not optimizer.held:
            continue
        between = [matrix.name for matrix in optimizer.held if mode == "regrow" and matrix.support is not None]
        source = GPT(config.model)
        source.load_state_dict(before)
        for name, expected in plain_step(source, tensors, step, config, rms, frozenset(between)).items():
            swapped = (after[name] == 0) != (expected == 0)
            assert int(swapped.sum()) <= 2, (step, name)
            torch.testing.assert_close(after[name][~swapped], expected[~swapped], rtol=1e-4, atol=2e-6)
    assert max(spared) > 0.3  # the test is about something


def test_regrow_changes_a_matrix_in_its_turn_alone() -> None:
    """Seven matrices, five steps: matrix i has its turn at step floor(5 i / 7) of every five."""
    model, optimizer, config = fresh("regrow", learning_rate=0.1)
    first = next(s for s in range(60) if schedule(config, s)[1] <= 0.25)
    go(model, optimizer, config, 0, first)
    turns = [0, 0, 1, 2, 2, 3, 4]
    total = 0
    for step in range(first, 60):
        before = [matrix.weight != 0 for matrix in optimizer.held]
        row = go(model, optimizer, config, step, step + 1)[0]
        n_lines = [m.shape[1] if m.protect == "columns" else m.shape[0] for m in optimizer.held]
        spared = [n for n, turn in zip(n_lines, turns, strict=True) if step % 5 != turn]
        assert row["spared_rows"] == pytest.approx(sum(spared) / sum(n_lines))
        if step == first:
            continue
        entered = [int(((m.weight != 0) & ~b).sum()) for m, b in zip(optimizer.held, before, strict=True)]
        assert row["exchanges"] == sum(entered)
        assert all(n == 0 for n, turn in zip(entered, turns, strict=True) if step % 5 != turn)
        total += sum(entered)
    assert total >= 5


@pytest.mark.parametrize("mode", MODES)
def test_training_may_start_at_its_final_density(mode: Mode) -> None:
    model, optimizer, config = fresh(mode, anneal_start_frac=0.0, anneal_end_frac=1e-9)
    go(model, optimizer, config, 0, 1)
    losses = [train_step(model, optimizer, batch(s), *schedule(config, s))[0] for s in range(1, 60)]
    stored = optimizer.state_tensors()["m.blocks.0.attn.q.weight"].numel()
    assert mode == "certified" or stored == count_nonzero(32 * 32, 0.15)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    for name, value, _ in sparse_parameters(model):
        assert int(value.count_nonzero()) <= count_nonzero(value.numel(), 0.15), name


@pytest.mark.parametrize("mode", MODES)
def test_density_and_the_minimum_of_every_line_hold_in_every_step(mode: Mode) -> None:
    model, optimizer, config = fresh(mode)
    for step in range(60):
        go(model, optimizer, config, step, step + 1)
        for name, value, protect in sparse_parameters(model):
            k = count_nonzero(value.numel(), schedule(config, step)[1])
            assert int(value.count_nonzero()) <= k, (step, name)
            if protect and step > 30:
                lines = value.count_nonzero(1 if protect == "rows" else 0)
                assert int(lines.min()) >= config.train.min_per_line, (step, name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop", [3, 29, 36, 41])
def test_a_restored_optimizer_goes_on_to_the_same_bytes(mode: Mode, stop: int) -> None:
    model, optimizer, config = fresh(mode)
    go(model, optimizer, config, 0, stop)
    tensors = {name: t.clone() for name, t in optimizer.state_tensors().items()}
    restored, again, _ = fresh(mode)
    restored.load_state_dict({name: t.clone() for name, t in model.state_dict().items()})
    again.load_state_tensors(tensors, stop)
    assert go(model, optimizer, config, stop, 50) == go(restored, again, config, stop, 50)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), restored.parameters(), strict=True))
    for name, tensor in optimizer.state_tensors().items():
        assert torch.equal(tensor, again.state_tensors()[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_in_parts_gives_the_same_step(mode: Mode) -> None:
    model, optimizer, config = fresh(mode)
    go(model, optimizer, config, 0, 40)
    tensors = {name: t.clone() for name, t in optimizer.state_tensors().items()}
    other, other_optimizer, _ = fresh(mode)
    other.load_state_dict({name: t.clone() for name, t in model.state_dict().items()})
    other_optimizer.load_state_tensors(tensors, 40)
    go(model, optimizer, config, 40, 42)
    go(other, other_optimizer, config, 40, 42, parts=3)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert int(((a == 0) != (b == 0)).sum()) <= 2
        torch.testing.assert_close(a, b, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("mode", MODES)
def test_above_the_density_at_which_it_pays_the_step_is_the_exact_one(mode: Mode) -> None:
    model, optimizer, config = fresh(mode)
    plain = GPT(config.model)
    plain.load_state_dict({name: t.clone() for name, t in model.state_dict().items()})
    exact = SparseOptimizer(plain, config.train.weight_decay, config.train.min_per_line)
    for step in range(10):
        rate, density = schedule(config, step)
        train_step(model, optimizer, batch(step), rate, density)
        train_step(plain, exact, batch(step), rate, density)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_the_estimated_normaliser_is_near_the_true_one() -> None:
    """Rows in which all is computed say how far off the probes would have been."""
    model, optimizer, config = fresh("regrow", regrow_every_steps=1)
    errors = [row["norm_error"] for row in go(model, optimizer, config, 0, 60) if "norm_error" in row]
    assert len(errors) > 20 and abs(np.mean(errors)) < 0.05 and max(map(abs, errors)) < 0.3
    assert min(map(abs, errors)) > 0


@pytest.mark.parametrize("mode", MODES)
def test_after_training_the_model_is_as_any_other(mode: Mode) -> None:
    model, optimizer, config = fresh(mode)
    go(model, optimizer, config, 0, 45)
    with torch.no_grad():
        followed = next_token_loss(model, batch(0))
        optimizer.release()
        torch.testing.assert_close(next_token_loss(model, batch(0)), followed)
    copy = GPT(config.model)
    copy.load_state_dict(model.state_dict())
    assert all(p.requires_grad for p in model.parameters())


def test_missing_moments_are_named() -> None:
    model, optimizer, config = fresh("regrow")
    go(model, optimizer, config, 0, 40)
    tensors = optimizer.state_tensors()
    del tensors["m.blocks.0.attn.q.weight"]
    with pytest.raises(CorruptFile, match=r"no moments of blocks\.0\.attn\.q\.weight"):
        fresh("regrow")[1].load_state_tensors(tensors, 40)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("entries", lambda t: t + 10**6, "are no places of its matrix"),
        ("entries", lambda t: t.flip(0), "are no places of its matrix"),
        ("entries", lambda t: t[1:], "is torch.float32"),
        ("m", lambda t: t[1:], "is torch.float32"),
        ("age", lambda t: t.long(), "is torch.int64"),
        ("norms", lambda t: t * float("nan"), "not finite"),
    ],
)
def test_impossible_moments_are_refused(name: str, damage: Callable[[Tensor], Tensor], message: str) -> None:
    """A position outside its matrix would be written to by compiled code that looks at no bounds."""
    model, optimizer, config = fresh("regrow")
    go(model, optimizer, config, 0, 40)
    tensors = optimizer.state_tensors()
    key = f"{name}.blocks.0.attn.q.weight"
    with pytest.raises(CorruptFile, match=message):
        fresh("regrow")[1].load_state_tensors(tensors | {key: damage(tensors[key])}, 40)


def test_other_types_are_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match="train.mode regrow runs on CPU in float32, .*; use train.mode exact"):
        optimizer_for(GPT(CONFIG.model).double(), replace(CONFIG.train, mode="regrow"))
    with pytest.raises(ValueError, match="mode certified needs precision float32; use train.mode exact"):
        replace(CONFIG, precision="bfloat16", train=replace(CONFIG.train, mode="certified"))
    with pytest.raises(ValueError, match="regrow_every_steps 0 is not in"):
        replace(CONFIG.train, regrow_every_steps=0)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_averaged_over_processes_give_the_step_of_the_whole_batch(mode: Mode) -> None:
    """Two shares of a batch from the same state, each as a process would compute it."""
    model, optimizer, config = fresh(mode)
    go(model, optimizer, config, 0, 40)
    other, other_optimizer, _ = fresh(mode)
    other.load_state_dict({name: t.clone() for name, t in model.state_dict().items()})
    other_optimizer.load_state_tensors({name: t.clone() for name, t in optimizer.state_tensors().items()}, 40)
    rate, density = schedule(config, 40)
    shares = []
    for share in batch(40).chunk(2):
        other_optimizer.prepare(rate, density)
        next_token_loss(other, share).backward()
        shares.append([gradient.clone() for gradient in other_optimizer.gradients()])
    for gradient, first, second in zip(other_optimizer.gradients(), *shares, strict=True):
        gradient.copy_((first + second) / 2)
    rms = other_optimizer.step(rate, density)
    _, expected_rms = train_step(model, optimizer, batch(40), rate, density)
    assert float(rms) == pytest.approx(expected_rms, rel=1e-4)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert int(((a == 0) != (b == 0)).sum()) <= 2
        torch.testing.assert_close(a, b, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_gradient_that_is_no_number_is_told_not_raised(mode: Mode) -> None:
    """The loop stops the run by the rms, with its own message."""
    model, optimizer, config = fresh(mode)
    go(model, optimizer, config, 0, 40)
    rate, density = schedule(config, 40)
    optimizer.prepare(rate, density)
    (next_token_loss(model, batch(40)) * torch.nan).backward()
    assert optimizer.step(rate, density).isnan()
