"""The next token: hand-computed shares, fewest tokens of top-p, the same draws for the same seed."""

import math

import numpy as np
import pytest

from thinwire.errors import UserError
from thinwire.inference.sampling import Sampling, kept_shares, next_token

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))


def test_shares_are_those_of_the_softmax_likeliest_first() -> None:
    order, shares = kept_shares(LOGITS, Sampling())
    assert order.tolist() == [1, 3, 2, 0]
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.2, 0.1], rtol=1e-6)


def test_a_temperature_of_a_half_squares_the_shares() -> None:
    # 0.16, 0.09, 0.04, 0.01 of 0.30
    _, shares = kept_shares(LOGITS, Sampling(temperature=0.5))
    np.testing.assert_allclose(shares, np.array([16, 9, 4, 1]) / 30, rtol=1e-5)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 2]), (1e-9, [1])]
)
def test_top_p_keeps_the_fewest_that_add_up_to_it(top_p: float, kept: list[int]) -> None:
    assert kept_shares(LOGITS, Sampling(top_p=top_p))[0].tolist() == kept


def test_tokens_are_drawn_as_often_as_their_shares_say() -> None:
    generator = Sampling(seed=5).generator()
    drawn = [next_token(LOGITS, Sampling(top_p=0.8), generator) for _ in range(4000)]
    # 4/9, 3/9, 2/9 and none of the last; three standard errors of 4000 draws are 0.024.
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, [0, 4 / 9, 2 / 9, 3 / 9], atol=0.024)


def test_at_temperature_0_the_likeliest_token_comes_next_and_of_equal_ones_the_lower() -> None:
    generator = Sampling().generator()
    before = generator.bit_generator.state
    assert next_token(np.array([0, 2, 2, 1], np.float32), Sampling(temperature=0.0), generator) == 1
    assert generator.bit_generator.state == before


def test_the_smallest_temperature_is_the_likeliest_token() -> None:
    sampling = Sampling(temperature=math.ulp(0.0))
    assert {next_token(LOGITS, sampling, sampling.generator()) for _ in range(20)} == {1}


def test_the_same_seed_draws_the_same() -> None:
    def draws(seed: int) -> list[int]:
        sampling = Sampling(seed=seed)
        generator = sampling.generator()
        return [next_token(LOGITS, sampling, generator) for _ in range(20)]

    assert draws(1) == draws(1) != draws(2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": math.nan}, "temperature nan is no finite number"),
        ({"temperature": -1.0}, r"temperature -1.0 is not in \[0, 100\]; 0 takes the likeliest token"),
        ({"top_p": 0.0}, r"top_p 0.0 is not in \(0, 1\]; 1 draws among all tokens"),
        ({"max_tokens": 0}, r"max_tokens 0 is not in \[1, 1e6\]"),
        ({"seed": -1}, r"seed -1 is not in \[0, 1e18\]"),
    ],
)
def test_settings_have_ranges(changed: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**changed)
