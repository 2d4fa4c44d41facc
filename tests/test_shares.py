"""Shares and means with their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.scores import wilson
from syntaxdiff.eval.shares import RESAMPLES, pooled_mean, pooled_share, share_of

SAMPLES = st.lists(st.integers(0, 9).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), max_size=12)


@settings(deadline=None)
@given(SAMPLES)
def test_a_share_lies_in_its_interval(samples: list[tuple[int, int]]) -> None:
    """The value is all counted over all there were; its interval holds it, within [0, 1]."""
    share = pooled_share([one for one, _ in samples], [of for _, of in samples])
    assert (share.total, share.of) == (sum(one for one, _ in samples), sum(of for _, of in samples))
    assert share.samples == sum(of > 0 for _, of in samples)
    if share.value is None:
        assert share.of == 0
    else:
        assert share.value == share.total / share.of
        if share.low is not None and share.high is not None:
            assert 0 <= share.low <= share.value <= share.high <= 1


def test_the_bootstrap_draws_whole_samples() -> None:
    """Against a literal one: samples with all their tokens, drawn with replacement, 2.5 and 97.5 % of the ratios."""
    right, of = [3, 0, 10, 4, 1, 7], [4, 5, 10, 9, 2, 7]
    generator = np.random.Generator(np.random.Philox(7))
    ratios = []
    for _ in range(20 * RESAMPLES):
        drawn = generator.integers(0, len(of), len(of)).tolist()
        ratios.append(sum(right[one] for one in drawn) / sum(of[one] for one in drawn))
    share = pooled_share(right, of)
    expected = np.percentile(ratios, (2.5, 97.5)).tolist()
    assert [share.low, share.high] == pytest.approx(expected, abs=0.03)


def test_dependent_tokens_widen_the_interval() -> None:
    """A hundred tokens that are right or wrong together say no more than one does."""
    many = pooled_share([100, 0, 100, 0] * 5, [100] * 20)
    one = pooled_share([1, 0, 1, 0] * 5, [1] * 20)
    assert (many.low, many.high) == (one.low, one.high)


@pytest.mark.parametrize("is_right", [False, True])
def test_nothing_or_everything_is_not_certain(is_right: bool) -> None:
    """Where resamples cannot differ, the interval is that of so many samples, not of so many tokens."""
    share = pooled_share([5 * is_right] * 8, [5] * 8)
    assert (share.low, share.high) == wilson(8 * is_right, 8)


def test_one_sample_and_none() -> None:
    """One sample has no interval of its own, none has no value."""
    assert pooled_share([2], [4])[:4] == (0.5, None, None, 2)
    assert pooled_share([], [])[:3] == share_of(0, 0)[:3] == pooled_mean([0], [0])[:3] == (None, None, None)


def test_a_mean_is_weighted_by_its_numbers() -> None:
    """Nats of two samples, one with three times the tokens."""
    mean = pooled_mean([2.0, 9.0], [1, 3])
    assert mean.value is not None
    assert math.isclose(mean.value, 11 / 4)
    assert (mean.low, mean.high) == (2.0, 3.0)


def test_independent_samples_have_wilsons_interval() -> None:
    """The formula is that of the scores."""
    assert share_of(3, 10)[1:3] == wilson(3, 10)
