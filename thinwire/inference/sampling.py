"""How the next token is chosen from logits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from thinwire.ranges import SEED, check


@dataclass(frozen=True)
class Sampling:
    """How a text goes on, and how far."""

    max_tokens: int = 64
    """Tokens to add at most; less where the context ends or the model ends its text."""
    temperature: float = 1.0
    """What logits are divided by before the softmax; 0 takes the likeliest token, of equal ones the lower id."""
    top_p: float = 1.0
    """Draw among the likeliest tokens alone, the fewest whose probabilities add up to this; 1 draws among all."""
    seed: int = 0
    """Of the draws. Every prompt has a generator of its own, so that it goes on as it would alone."""

    def __post_init__(self) -> None:
        check(
            self,
            max_tokens="[1, 1e6]",
            temperature="[0, 100]; 0 takes the likeliest token",
            top_p="(0, 1]; 1 draws among all tokens",
            seed=SEED,
        )

    def generator(self) -> np.random.Generator:
        """A prompt's own, at its beginning."""
        return np.random.default_rng(self.seed)


def next_token(logits: Float[np.ndarray, " V"], sampling: Sampling, generator: np.random.Generator) -> int:
    """The token that comes next; one number is drawn from `generator` unless the temperature is 0."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order, shares = kept_shares(logits, sampling)
    cumulative = np.cumsum(shares)
    place = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
    return int(order[min(place, len(order) - 1)])


def kept_shares(
    logits: Float[np.ndarray, " V"], sampling: Sampling
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(the tokens that may come next, likeliest first; their probabilities before the others were left out)."""
    with np.errstate(over="ignore"):  # what overflows is minus infinity: a share of 0
        shares = np.exp((logits.astype(np.float64) - logits.max()) / sampling.temperature)
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    if sampling.top_p < 1:
        n_kept = int(np.searchsorted(np.cumsum(shares[order]), sampling.top_p)) + 1
        order = order[:n_kept]
    return order, shares[order]
