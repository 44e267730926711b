"""What expressions are worth on a batch of prompts: the reference that printed programs are held to."""

import math
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from thinwire.circuits.prompts import Prompts
from thinwire.decompile.expressions import (
    Activated,
    ActivationName,
    Attended,
    Constant,
    Expression,
    OfPlace,
    OfToken,
    Pattern,
    Product,
    Rivals,
    Scale,
    Step,
    Sum,
    Survivor,
    children,
    walk,
)

_ROWS = 1024
"""Tokens at a time whose rivals are ranked."""


@dataclass(frozen=True, eq=False)
class Batch:
    """P prompts of at most T tokens, and what was computed on them so far."""

    tokens: Int64[np.ndarray, "P T"]
    lengths: Int64[np.ndarray, " P"]
    everywhere: "Known" = field(default_factory=WeakKeyDictionary)
    """Values at every token. Forgets what nobody refers to any more."""
    at_last: "Known" = field(default_factory=WeakKeyDictionary)
    """Values at the last tokens alone."""

    @classmethod
    def of(cls, prompts: Prompts) -> "Batch":
        return cls(prompts.tokens.cpu().numpy(), prompts.lengths.cpu().numpy())

    @cached_property
    def inside(self) -> Bool[np.ndarray, "P T"]:
        """True at tokens of the prompts, False at padding."""
        return np.arange(self.tokens.shape[1]) < self.lengths[:, None]

    def at_tokens(self, x: Expression) -> Float64[np.ndarray, "P T"]:
        """What `x` is worth at every token; behind a prompt's last token, anything."""
        for part in walk(x):
            if part not in self.everywhere:
                self.everywhere[part] = self._at_tokens(part)
        return self.everywhere[x]

    def last(self, x: Expression) -> Float64[np.ndarray, " P"]:
        """What `x` is worth at every prompt's last token: the same as there in `at_tokens`, with less to compute."""
        if x not in self.at_last:
            self.at_last[x] = self._last(x)
        return self.at_last[x]

    def _at_tokens(self, x: Expression) -> np.ndarray:
        match x:
            case OfToken():
                return x.values[self.tokens]
            case OfPlace():
                return np.broadcast_to(x.values[: self.tokens.shape[1]], self.tokens.shape)
            case Attended():
                return np.einsum("pts,ps->pt", self._pattern(x.pattern), self.everywhere[x.value])
            case _:
                return _combined(x, self.everywhere, self.tokens.shape)

    def _last(self, x: Expression) -> np.ndarray:
        rows, last = np.arange(len(self.lengths)), self.lengths - 1
        match x:
            case OfToken():
                return x.values[self.tokens[rows, last]]
            case OfPlace():
                return x.values[last]
            case Attended():
                return np.einsum("ps,ps->p", self.pattern_of_last(x.pattern), self.at_tokens(x.value))
            case _:
                for part in children(x):
                    self.last(part)
                return _combined(x, self.at_last, self.lengths.shape)

    def _pattern(self, pattern: Pattern) -> Float64[np.ndarray, "P T T"]:
        """(prompt, token that looks, token looked at)."""
        if pattern not in self.everywhere:
            n = self.tokens.shape[1]
            scores = np.zeros((len(self.tokens), n, n))
            for query, key in pattern.scores:
                scores += self.everywhere[query][:, :, None] * self.everywhere[key][:, None, :]
            scores[:, np.triu(np.ones((n, n), dtype=bool), 1)] = -np.inf
            self.everywhere[pattern] = _softmax(scores)
        return self.everywhere[pattern]

    def pattern_of_last(self, pattern: Pattern) -> Float64[np.ndarray, "P T"]:
        """(prompt, token looked at), from the last token."""
        if pattern not in self.at_last:
            scores = np.where(self.inside, 0.0, -np.inf)
            for query, key in pattern.scores:
                scores += self.last(query)[:, None] * self.at_tokens(key)
            self.at_last[pattern] = _softmax(scores)
        return self.at_last[pattern]


Known = MutableMapping[Expression | Pattern | Rivals, np.ndarray]


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _combined(x: Expression, known: Known, shape: tuple[int, ...]) -> np.ndarray:
    """An expression of others whose values are known, each of `shape`."""
    match x:
        case Constant():
            return np.full(shape, x.value)
        case Sum():
            return x.constant + sum((weight * known[term] for weight, term in x.terms), np.zeros(shape))
        case Product():
            return known[x.left] * known[x.right]
        case Scale():
            squares = x.constant + sum((known[part] ** 2 for part in x.inputs), np.zeros(shape))
            return 1 / np.sqrt(squares / x.width + x.eps)
        case Activated():
            return activated(x.function, known[x.input])
        case Step():
            return np.where(known[x.input] < x.threshold, x.low, x.high)
        case Survivor():
            if x.rivals not in known:
                known[x.rivals] = survivors(x.rivals, [known[part] for part in x.rivals.inputs], shape)
            return known[x.rivals][..., x.rivals.asked.index(x.channel)]
        case OfToken() | OfPlace() | Attended():
            raise AssertionError("depends on the prompts")


def activated(function: ActivationName, x: np.ndarray) -> np.ndarray:
    """A neuron's function, as `model.gpt.ACTIVATIONS` has it."""
    match function:
        case "gelu":
            return 0.5 * x * (1 + torch.erf(torch.from_numpy(x / math.sqrt(2))).numpy())
        case "gelu_tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        case "relu":
            return np.maximum(x, 0)


def survivors(rivals: Rivals, inputs: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """(*shape, asked): the asked channels, 0 where AbsTopK takes them; `inputs` have the shape each."""
    asked, numbers = list(rivals.asked), np.arange(len(rivals.bias))
    flat = np.stack([x.reshape(-1) for x in inputs], -1) if inputs else np.zeros((math.prod(shape), 0))
    found = np.empty((len(flat), len(asked)))
    for start in range(0, len(flat), _ROWS):
        values = rivals.bias + flat[start : start + _ROWS] @ rivals.weights.T  # (rows, W)
        if rivals.activation:
            values = activated(rivals.activation, values)
        sizes = np.abs(values)
        for i, channel in enumerate(asked):
            own = sizes[:, channel, None]
            ahead = (sizes > own) | ((sizes == own) & (numbers < channel))
            found[start : start + _ROWS, i] = np.where(ahead.sum(-1) < rivals.n_kept, values[:, channel], 0.0)
    return found.reshape(*shape, len(asked))
