"""Statistics against their definitions and published tables: subsets counted, tails summed, densities integrated, coverage."""

import itertools
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.stats import (
    RATIO_RESAMPLES,
    RESAMPLES,
    Share,
    bootstrap,
    mcnemar,
    mean_over_seeds,
    pass_at_k,
    pooled_mean,
    pooled_share,
    share_of,
    wilson,
)


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


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_has_the_published_values(passed: int, total: int, low: float, high: float) -> None:
    """Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3."""
    assert wilson(passed, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("total", [1, 2, 17, 164, 500])
def test_wilson_at_the_edges(total: int) -> None:
    """None passed: from exactly 0 to z² / (n + z²); all passed: from n / (n + z²) to exactly 1."""
    z = statistics.NormalDist().inv_cdf(0.975)
    low, high = wilson(0, total)
    assert low == 0.0
    assert high == pytest.approx(z**2 / (total + z**2))
    low, high = wilson(total, total)
    assert low == pytest.approx(total / (total + z**2))
    assert high == 1.0


def test_bootstrap_is_percentiles_of_resampled_means() -> None:
    """The numbers are those of the literal procedure, so that results of earlier versions can be compared."""
    values = np.random.default_rng(5).random(37)
    generator = np.random.default_rng(3)
    means = np.concatenate([values[generator.integers(0, 37, size=(1000, 37))].mean(axis=1) for _ in range(RESAMPLES // 1000)])
    assert bootstrap(values.tolist(), seed=3) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)


def test_bootstrap_of_too_little() -> None:
    """One problem is its own interval, none has no number."""
    assert bootstrap([0.25]) == (0.25, 0.25)
    assert all(map(math.isnan, bootstrap([])))


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


# ------------------------------------------------------------------------------------------------------- shares over samples


SAMPLES = st.lists(st.integers(0, 9).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), max_size=12)


@settings(deadline=None)
@given(SAMPLES)
def test_a_share_lies_in_its_interval(samples: list[tuple[int, int]]) -> None:
    """The value is all counted over all there were; its interval holds it, within [0, 1]."""
    share = pooled_share([count for count, _ in samples], [of for _, of in samples])
    assert (share.total, share.of) == (sum(count for count, _ in samples), sum(of for _, of in samples))
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
    for _ in range(20 * RATIO_RESAMPLES):
        drawn = generator.integers(0, len(of), len(of)).tolist()
        ratios.append(sum(right[index] for index in drawn) / sum(of[index] for index in drawn))
    share = pooled_share(right, of)
    expected = np.percentile(ratios, (2.5, 97.5)).tolist()
    assert [share.low, share.high] == pytest.approx(expected, abs=0.03)


def test_dependent_tokens_widen_the_interval() -> None:
    """A hundred tokens that are right or wrong together say no more than one does."""
    many = pooled_share([100, 0, 100, 0] * 5, [100] * 20)
    whole = pooled_share([1, 0, 1, 0] * 5, [1] * 20)
    assert (many.low, many.high) == (whole.low, whole.high)


@pytest.mark.parametrize("is_right", [False, True])
def test_nothing_or_everything_is_not_certain(is_right: bool) -> None:
    """Where resamples cannot differ, the interval is that of so many samples, not of so many tokens."""
    share = pooled_share([5 * is_right] * 8, [5] * 8)
    assert (share.low, share.high) == wilson(8 * is_right, 8)


def test_one_sample_and_none() -> None:
    """One sample has no interval of its own, none has no value."""
    assert pooled_share([2], [4]) == Share(value=0.5, low=None, high=None, total=2, of=4, samples=1)
    for share in (pooled_share([], []), share_of(0, 0), pooled_mean([0], [0])):
        assert share == Share(value=None, low=None, high=None, total=0, of=0, samples=0)


def test_a_mean_is_weighted_by_its_numbers() -> None:
    """Nats of two samples, one with three times the tokens."""
    mean = pooled_mean([2.0, 9.0], [1, 3])
    assert mean.value is not None
    assert math.isclose(mean.value, 11 / 4)
    assert (mean.low, mean.high) == (2.0, 3.0)


def test_independent_samples_have_wilsons_interval() -> None:
    """The formula is that of the scores."""
    share = share_of(3, 10)
    assert (share.low, share.high) == wilson(3, 10)


# ------------------------------------------------------------------------------------------------------------ means over seeds

# Two-sided 95 % quantiles of Student's distribution by degrees of freedom, as in any textbook's table.
STUDENT = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 15: 2.131, 16: 2.120, 19: 2.093, 29: 2.045, 39: 2.023, 59: 2.001, 99: 1.984}


def quantile_of(num_values: int) -> float:
    """The quantile behind an interval over so many seeds: half its width in standard errors."""
    values = [float(number % 7) for number in range(num_values)]
    mean = mean_over_seeds(values)
    assert mean.low is not None
    assert mean.high is not None
    return (mean.high - mean.low) / 2 / (statistics.stdev(values) / math.sqrt(num_values))


@pytest.mark.parametrize(("degrees_of_freedom", "quantile"), STUDENT.items())
def test_students_quantile_is_the_tables(degrees_of_freedom: int, quantile: float) -> None:
    """The interval of a mean over n seeds has the quantile of n - 1 degrees of freedom, for few and for many seeds."""
    assert quantile_of(degrees_of_freedom + 1) == pytest.approx(quantile, abs=6e-4)


def test_students_quantile_leaves_5_percent_outside() -> None:
    """For n = 2 to 100 the density of Student's distribution, integrated between the ends, is 0.95."""
    angle = np.linspace(0, 1, 20_001)  # x = tan(angle * arctan(quantile)): the tails are long
    for num_values in range(2, 101):
        nu = num_values - 1
        end = math.atan(quantile_of(num_values))
        x = np.tan(angle * end)
        scale = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(nu * math.pi)
        density = scale * (1 + x**2 / nu) ** (-(nu + 1) / 2) * (1 + x**2) * end
        assert 2 * np.trapezoid(density, angle) == pytest.approx(0.95, abs=1e-7), num_values


def test_help_does_not_import_scipy() -> None:
    """Scipy takes a second to import: the command line does so only where a statistic is computed."""
    code = "import sys; import syntaxdiff.eval.cli; print([name for name in sys.modules if name.startswith('scipy.stats')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
