"""Shares and means over samples, each with an interval of 95 %.

What is counted once a sample has Wilson's interval. What is counted many times a sample (tokens, spans) is not independent
within it: there, whole samples are drawn again (percentile bootstrap of a ratio). Scores of solved problems are in scores.py.

Shapes: S samples, R resamples.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.eval.scores import wilson

RESAMPLES = 1000


class Share(NamedTuple):
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


def share_of(count: int, of: int) -> Share:
    """A share of independent samples."""
    if of == 0:
        return Share(None, None, None, count, 0, 0)
    return Share(count / of, *wilson(count, of), count, of, of)


def pooled_share(count_S: Sequence[float] | npt.NDArray[Any], of_S: Sequence[float] | npt.NDArray[Any]) -> Share:
    """A share of what is counted several times a sample.

    Where nothing or everything was counted, resamples cannot differ: the interval is then Wilson's for so many samples.
    """
    share = pooled_mean(count_S, of_S)
    share = share._replace(total=int(share.total))
    if share.of and share.total in (0, share.of):
        low, high = wilson(share.samples if share.total else 0, share.samples)
        return share._replace(low=low, high=high)
    return share


def pooled_mean(sum_S: Sequence[float] | npt.NDArray[Any], of_S: Sequence[float] | npt.NDArray[Any]) -> Share:
    """A mean of what is measured several times a sample."""
    sums, of = np.asarray(sum_S, dtype=np.float64), np.asarray(of_S, dtype=np.float64)
    sums, of = sums[of > 0], of[of > 0]
    if len(of) == 0:
        return Share(None, None, None, 0.0, 0, 0)
    total = float(sums.sum())
    value = total / float(of.sum())
    if len(of) == 1:
        return Share(value, None, None, total, int(of.sum()), 1)
    weight_RS = _resamples(len(of))
    low, high = np.percentile((weight_RS @ sums) / (weight_RS @ of), (2.5, 97.5)).tolist()
    return Share(value, min(low, value), max(high, value), total, int(of.sum()), len(of))


@lru_cache(maxsize=64)
def _resamples(num_samples: int) -> npt.NDArray[np.float64]:
    """How often each sample is in each resample, float64 [R, S]; the same numbers in every run."""
    generator = np.random.Generator(np.random.Philox(num_samples))
    return generator.multinomial(num_samples, np.full(num_samples, 1 / num_samples), size=RESAMPLES).astype(np.float64)
