"""Scores against their definitions: counting over all subsets, tails summed by hand, coverage by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.scores import bootstrap, mcnemar, pass_at_k, wilson


@settings(deadline=None)
@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(numbers: tuple[int, int, int]) -> None:
    """The estimator is the share of the k-subsets of n candidates that hold one of the c that passed."""
    n, c, k = numbers
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_holds_for_many_candidates() -> None:
    """It neither overflows nor loses the small values: 1 of 2,000 candidates is found with probability k / n."""
    assert pass_at_k(2000, 1, 100) == pytest.approx(0.05)
    assert pass_at_k(2000, 1901, 100) == 1.0


@pytest.mark.parametrize("numbers", [(0, 0, 1), (3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)])
def test_pass_at_k_refuses_what_cannot_be(numbers: tuple[int, int, int]) -> None:
    """More passes than candidates, or more drawn than there are, is a mistake of the caller."""
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(*numbers)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_shares_that_the_normal_test_accepts(counts: tuple[int, int]) -> None:
    """Its ends are the p at which the observed share lies 1.96 standard errors (of p) away; it holds the share itself."""
    count, total = counts
    low, high = wilson(count, total)
    assert 0 <= low <= count / total <= high <= 1
    for end, is_border in ((low, count > 0), (high, count < total)):
        if is_border:
            standard_error = math.sqrt(end * (1 - end) / total)
            assert abs(count / total - end) == pytest.approx(1.959964 * standard_error, rel=1e-5)


def test_wilson_of_nothing_says_nothing() -> None:
    """Without problems every share is possible."""
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    """Over 200 samples of 40 problems its interval holds the true mean in 95 % of the cases, give or take 5 %."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = bootstrap(generator.random(40).tolist())
        hits += low <= 0.5 <= high
    assert 0.90 <= hits / 200 <= 0.995


def test_bootstrap_depends_on_values_and_seed_alone() -> None:
    """Equal calls give equal intervals, other seeds others."""
    values = np.random.default_rng(2).random(30).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    assert bootstrap(values).low <= sum(values) / 30 <= bootstrap(values).high


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_exact_sign_test(only_first: int, only_second: int) -> None:
    """The p-value is the share of all ways to deal the differing problems that are at least as one-sided."""
    total = only_first + only_second
    spread = abs(only_first - only_second)
    as_extreme = sum(math.comb(total, k) for k in range(total + 1) if abs(total - 2 * k) >= spread)
    assert mcnemar(only_first, only_second) == pytest.approx(as_extreme / 2**total)
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


def test_mcnemar_holds_for_many_problems() -> None:
    """Counts whose powers of two are no floats."""
    assert mcnemar(2000, 2000) == 1.0
    assert 0 <= mcnemar(0, 2000) < 1e-300
