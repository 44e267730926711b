"""What training minimises: the cross-entropy of every next token."""

from jaxtyping import Int
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.training.cross_entropy import unembed_loss, unembed_support_loss


def next_token_loss(model: GPT, windows: Int[Tensor, "B window"]) -> Tensor:
    """Cross-entropy of every next token of `windows`, nats, mean."""
    tokens, targets = windows[:, :-1], windows[:, 1:]
    x = model.final(tokens).flatten(0, 1)
    if model.unembed.support is not None:
        return unembed_support_loss(x, model.unembed.support, model.bigram, tokens.flatten(), targets.flatten())
    return unembed_loss(x, model.unembed.weight, model.bigram, tokens.flatten(), targets.flatten(), model.unembed.costs)
