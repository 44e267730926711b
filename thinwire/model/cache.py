"""Activations of prompts by TransformerLens' names, as `run_with_cache` gives them, with gradients where wanted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, identity
from thinwire.model.names import Names, lens_name, named_places


@dataclass(frozen=True, eq=False)
class Cache(Mapping[str, Tensor]):
    """TransformerLens' name -> activation (prompt, position, channel); patterns are (prompt, head, query, key).

    A value can be asked for by our name of its place too: `cache["0.mlp.neuron"]` is
    `cache["blocks.0.mlp.hook_post"]`. What stands behind a prompt's end (`mask`) is padding and means nothing.
    """

    tokens: Int[Tensor, "B T"]
    """Prompts, padded on the right, which no position before sees."""
    lengths: Int[Tensor, " B"]
    logits: Float[Tensor, "B T V"]
    sites: Mapping[str, Tensor]
    """The same activations by our names."""

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True at tokens of the prompts, False at padding."""
        return torch.arange(self.tokens.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @property
    def last_logits(self) -> Float[Tensor, "B V"]:
        """Logits at each prompt's last token."""
        return self.logits[torch.arange(len(self.lengths), device=self.lengths.device), self.lengths - 1]

    @cached_property
    def _by_lens(self) -> dict[str, Tensor]:
        return {lens_name(site): x for site, x in self.sites.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self.sites[name] if name in self.sites else self._by_lens[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_lens)

    def __len__(self) -> int:
        return len(self.sites)


def cache(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    names: Names | None = None,
    hook: Hook = identity,
    edges: Edges | None = None,
    grad: bool = False,
) -> Cache:
    """What the model goes on with on each prompt (token ids), `hook` and `edges` applied.

    `names` are as for `names.named_places`; without any, all places are kept. With `grad` activations and logits keep
    their graph: after `backward` each activation has its gradient in `.grad`, also where the model itself is frozen.
    Raises `UserError` for unknown names, and for prompts that the model cannot read.
    """
    wanted = set(named_places(model.space, names))
    tokens, lengths = _padded(model, prompts)
    sites: dict[str, Tensor] = {}

    def keep(site: str, x: Tensor) -> Tensor:
        x = hook(site, x)
        if grad and not x.requires_grad:
            x = x.detach().requires_grad_()
        if site in wanted:
            sites[site] = x
            if grad:
                x.retain_grad()
        return x

    with torch.set_grad_enabled(grad):
        logits = model(tokens, keep, edges)
    return Cache(tokens, lengths, logits, sites)


def _padded(model: GPT, prompts: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]:
    if not prompts:
        raise UserError("there is no prompt to run; give one or more")
    context, vocab_size = model.config.context, model.config.vocab_size
    for i, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= context:
            raise UserError(f"prompt {i} has {len(prompt)} tokens; the model reads 1 to {context}")
        if not 0 <= min(prompt) <= max(prompt) < vocab_size:
            raise UserError(f"prompt {i} holds a token that is not in 0 to {vocab_size - 1}")
    rows = [torch.tensor(list(prompt)) for prompt in prompts]
    lengths = torch.tensor([len(row) for row in rows])
    return pad_sequence(rows, batch_first=True).to(model.device), lengths.to(model.device)
