"""Statistics of evaluations: pass@k, shares and means with intervals of 95 %, and whether two models differ.

Distributions, quantiles and tests are scipy's; its functions are imported where they are called, since ``scipy.stats`` takes a
second to import. What is computed from which data is decided in evaluate.py, compare.py, reconstruct.py and measures.py.

A count with one answer per sample has Wilson's interval. What is counted many times per sample (tokens, spans) is not
independent within it: there, whole samples are resampled (percentile bootstrap of a ratio). A mean over seeds has Student's
interval.

Shapes: S samples, R resamples.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 10_000  # of problems, for one score
RATIO_RESAMPLES = 1000  # of samples, for one of the many ratios of a reconstruction
_RESAMPLES_AT_ONCE = 1000  # 10,000 times a thousand indices are 80 MB


class Interval(NamedTuple):
    """A confidence interval at 95 %."""

    low: float
    high: float


# ---------------------------------------------------------------------------------------------------------------------- scores


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Probability that one of k candidates passes, without bias from n candidates of which c do (Chen et al. 2021, eq. 1).

    It is the hypergeometric probability that k of n candidates, drawn without replacement, hold at least one of the c.

    Raises:
        ValueError: k is not in 1 to n, or c not in 0 to n
    """
    from scipy.stats import hypergeom

    if not 1 <= k <= num_samples or not 0 <= num_passed <= num_samples:
        raise ValueError(f"pass@{k} of {num_passed} passed among {num_samples}")
    return float(hypergeom.sf(0, num_samples, num_passed, k))


@lru_cache(maxsize=4096)
def wilson(passed: int, total: int) -> Interval:
    """Interval of a share, by Wilson's score: also right near 0 and 1, and for few problems. (0, 1) for none."""
    from scipy.stats import binomtest

    if total == 0:
        return Interval(0.0, 1.0)
    found = binomtest(passed, total).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Interval of a mean over problems: percentiles of RESAMPLES means of problems drawn with replacement.

    For scores that are not counts (pass@k), and for differences of two models problem by problem (then it is paired).
    """
    from scipy import stats

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2:  # there is nothing to resample
        return Interval(*[float(data[0]) if len(data) else math.nan] * 2)
    found = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_RESAMPLES_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two models are as good as each other, from the problems that only one of them solves (exact).

    Under that hypothesis each such problem falls to either with probability 1/2; problems that both or neither solve say
    nothing (McNemar 1947, in its exact form the sign test).
    """
    from scipy.stats import binomtest

    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


# ------------------------------------------------------------------------------------------------------- shares over samples


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share or a mean.

    Attributes:
        value: ``total`` / ``of``; None where ``of`` is 0
        low, high: of 95 %; None where there is too little to say
        total: how many of them; of a mean, the sum
        of: out of how many
        samples: how many samples those come from
    """

    value: float | None
    low: float | None
    high: float | None
    total: float
    of: int
    samples: int


def _share(value: float | None, low: float | None, high: float | None, total: float, of: int, samples: int) -> Share:
    return Share(value=value, low=low, high=high, total=total, of=of, samples=samples)


def share_of(count: int, of: int) -> Share:
    """A share of independent samples."""
    if of == 0:
        return _share(None, None, None, count, 0, 0)
    return _share(count / of, *wilson(count, of), count, of, of)


def pooled_share(count_S: Sequence[float] | npt.NDArray[Any], of_S: Sequence[float] | npt.NDArray[Any]) -> Share:
    """A share of what is counted several times per sample.

    Where nothing or everything was counted, resamples cannot differ: the interval is then Wilson's for so many samples.
    """
    share = pooled_mean(count_S, of_S)
    share = replace(share, total=int(share.total))
    if share.of and share.total in (0, share.of):
        low, high = wilson(share.samples if share.total else 0, share.samples)
        return replace(share, low=low, high=high)
    return share


def pooled_mean(sum_S: Sequence[float] | npt.NDArray[Any], of_S: Sequence[float] | npt.NDArray[Any]) -> Share:
    """A mean of what is measured several times per sample.

    scipy's bootstrap would draw again for each of the thousands of ratios in a result; here they share one set of resamples.
    """
    sums, of = np.asarray(sum_S, dtype=np.float64), np.asarray(of_S, dtype=np.float64)
    sums, of = sums[of > 0], of[of > 0]
    if len(of) == 0:
        return _share(None, None, None, 0.0, 0, 0)
    total = float(sums.sum())
    value = total / float(of.sum())
    if len(of) == 1:
        return _share(value, None, None, total, int(of.sum()), 1)
    weight_RS = _resamples(len(of))
    low, high = np.quantile((weight_RS @ sums) / (weight_RS @ of), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return _share(value, min(low, value), max(high, value), total, int(of.sum()), len(of))


@lru_cache(maxsize=64)
def _resamples(num_samples: int) -> npt.NDArray[np.float64]:
    """How often each sample is in each resample, float64 [R, S]; the same numbers in every run."""
    generator = np.random.Generator(np.random.Philox(num_samples))
    counts_RS = generator.multinomial(num_samples, np.full(num_samples, 1 / num_samples), size=RATIO_RESAMPLES)
    return counts_RS.astype(np.float64)


# ------------------------------------------------------------------------------------------------------------ means over seeds


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds; ``low`` and ``high`` are None for one seed."""

    value: float
    low: float | None
    high: float | None
    seeds: int


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """A mean with Student's interval."""
    count = len(values)
    mean = statistics.fmean(values)
    if count < 2:
        return Mean(value=mean, low=None, high=None, seeds=count)
    half = _student_quantile(count - 1) * statistics.stdev(values) / math.sqrt(count)
    return Mean(value=mean, low=mean - half, high=mean + half, seeds=count)


@cache
def _student_quantile(degrees_of_freedom: int) -> float:
    """Two-sided quantile of Student's distribution at 95 %."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom))
