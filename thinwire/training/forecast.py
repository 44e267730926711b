"""What a training will need, told before it starts: memory from the shapes, time from a few real steps.

Memory of one process is 16 bytes a parameter (weight, gradient, two moments), what a backward pass needs of the forward
pass, and scratch in proportion to it. The second part is counted, not modelled: the tensors that autograd saves for
one window of models of one and of two layers give, in a straight line, those of any number of windows and layers.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.structure import linear_shapes
from thinwire.progress import Progress, silent
from thinwire.sparsity.costs import default_costs
from thinwire.training.config import RunConfig
from thinwire.training.loop import schedule, train_step
from thinwire.training.loss import next_token_loss
from thinwire.training.modes import optimizer_for

STATE_BYTES = 16
SCRATCH, SCRATCH_IN_PARTS = 0.75, 1.1
"""Peak of what backward and the allocator take on top, per byte saved, for whole batches and for parts: measured."""
PROBE_TOKENS = 2048
"""Tokens of a probed step on CPU; longer steps take their multiple."""


def memory(config: RunConfig, n_parameters: int, n_processes: int = 1) -> dict[str, int]:
    """Bytes that training adds to one process, by what for."""
    windows = windows_at_once(config, n_processes)
    scratch = SCRATCH if config.train.micro_batches == 1 else SCRATCH_IN_PARTS
    activations = int((1 + scratch) * windows * saved_bytes(config))
    return {"weights, gradients and moments": STATE_BYTES * n_parameters, "activations": activations}


def windows_at_once(config: RunConfig, n_processes: int = 1) -> int:
    """Windows of one forward pass of one process."""
    return max(1, config.train.batch_size // (config.train.micro_batches * n_processes))


def saved_bytes(config: RunConfig) -> int:
    """Bytes that autograd saves for the backward pass of one window."""
    one, two = (_saved(replace(config, model=replace(config.model, n_layer=n))) for n in (1, 2))
    return one + (two - one) * (config.model.n_layer - 1)


def _saved(config: RunConfig) -> int:
    with torch.device("meta"):
        model = GPT(config.model)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.zero_()  # sizes do not depend on values, and drawing them takes long
    window = torch.zeros(1, config.model.context + 1, dtype=torch.long)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = next_token_loss(model, window)  # kept until the sizes are summed: addresses stay in use
    return sum(sizes.values()) if loss.requires_grad else 0


def seconds(config: RunConfig, device: torch.device, n_processes: int = 1, progress: Progress = silent) -> float:
    """Seconds of training, held-out losses and checkpoints left out, from three real steps on random tokens.

    The steps are the first one, one in the middle of the annealing and the last one: sparse steps cost less.
    """
    windows = windows_at_once(config, n_processes)
    probed = windows if device.type != "cpu" else min(windows, max(1, PROBE_TOKENS // config.model.context))
    start, end = config.train.anneal_start_frac, config.train.anneal_end_frac
    with torch.random.fork_rng(devices=[]):
        first, middle, last = _step_seconds(config, device, probed, [0.0, (start + end) / 2, 1.0], progress)
    mean = start * first + (end - start) * (first + 2 * middle + last) / 4 + (1 - end) * last
    return config.n_steps * config.train.micro_batches * mean * windows / probed


def _step_seconds(
    config: RunConfig, device: torch.device, windows: int, shares: list[float], progress: Progress
) -> list[float]:
    """Wall time of a step of `windows` windows at each share of training."""
    model = GPT(config.model).to(device)
    model.use_costs(default_costs(linear_shapes(config.model)))
    mode = "regrow" if config.train.mode == "regrow" else "exact"  # what is certified depends on the weights
    optimizer = optimizer_for(model, replace(config.train, mode=mode))
    tokens = torch.randint(config.model.vocab_size, (windows, config.model.context + 1), device=device)
    found = []
    with progress("probe", total=len(shares) + 1, unit="step") as advance:
        for share in [shares[0], *shares]:  # the first one warms up
            density = schedule(config, min(int(share * config.n_steps), config.n_steps - 1))[1]
            train_step(model, optimizer, tokens[:1], 0.0, density)  # leaves weights of that density
            found.append(_timed(lambda density=density: train_step(model, optimizer, tokens, 0.0, density), device))
            advance()
    return found[1:]


def _timed(work: Callable[[], Any], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
