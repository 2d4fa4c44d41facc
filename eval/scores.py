"""Scores of programs that passed or did not: pass@k, intervals, and whether two models differ.

Formulas only; what they are computed from is in benchmark.py and compare.py.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
CONFIDENCE = 0.95
_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


class Interval(NamedTuple):
    """A confidence interval at 95 %."""

    low: float
    high: float


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Probability that one of k candidates passes, without bias from n candidates of which c do (Chen et al. 2021, eq. 1).

    Raises:
        ValueError: k is not in 1 to n, or c not in 0 to n
    """
    if not 1 <= k <= num_samples or not 0 <= num_passed <= num_samples:
        raise ValueError(f"pass@{k} of {num_passed} passed among {num_samples}")
    failed = num_samples - num_passed
    if failed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / number for number in range(failed + 1, num_samples + 1))


def wilson(passed: int, total: int) -> Interval:
    """Interval of a share, by Wilson's score: also right near 0 and 1, and for few problems. (0, 1) for none."""
    if total == 0:
        return Interval(0.0, 1.0)
    share = passed / total
    shrunk = 1 + _Z**2 / total
    middle = (share + _Z**2 / (2 * total)) / shrunk
    reach = _Z / shrunk * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    low = 0.0 if passed == 0 else max(0.0, middle - reach)
    return Interval(low, 1.0 if passed == total else min(1.0, middle + reach))


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Interval of a mean over problems: percentiles of RESAMPLES means of problems drawn with replacement.

    For scores that are no counts (pass@k), and for differences of two models problem by problem (then it is paired).
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 0:
        return Interval(math.nan, math.nan)
    means = _resampled_means(data, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two models are as good as each other, from the problems that one alone solves (exact).

    Under that hypothesis each such problem falls to either with probability 1/2; problems that both or neither solve say
    nothing (McNemar 1947, in its exact form the sign test).
    """
    total = only_first + only_second
    tail = sum(math.comb(total, number) for number in range(min(only_first, only_second) + 1))
    return 1.0 if 2 * tail >= 2**total else 2 * tail / 2**total


def _resampled_means(data: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Means of resamples, in parts: 10,000 times a thousand indices at once are 80 MB."""
    parts = []
    for start in range(0, RESAMPLES, 1000):
        index = generator.integers(0, len(data), size=(min(1000, RESAMPLES - start), len(data)))
        parts.append(data[index].mean(axis=1))
    return np.concatenate(parts)
