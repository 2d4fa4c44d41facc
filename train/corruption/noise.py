"""How much is corrupted: the noise level t of a sample, its mask rate, and the curriculum's ceiling.

Everything here runs on the host, in float64 and integers. The corruption is given the outcome and knows no training step.

Section 5 of the design; the curriculum is the paper's cosine schedule, of which it says both that the rate "decays" and that
low noise comes first. Low noise first is the default here, the reverse an option.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syntaxdiff.train.corruption.config import MIN_RATE, Curriculum
from syntaxdiff.train.randomness import Stream, stream_keys, unit_of

_GOLDEN = 0x9E3779B97F4A7C15  # frac(golden ratio) in units of 2^-64


def noise_levels(seed: int, epoch: int, ordinals: Sequence[int]) -> npt.NDArray[np.float64]:
    """T of samples by their ordinal k in the epoch's global order: frac(u(seed, epoch) + golden ratio x k).

    Any run of consecutive ordinals covers [0, 1) evenly, so the levels of a batch are stratified however batches are cut. In
    64-bit integers, where the fraction is exact; float64 would lose bits as k grows.

    Returns:
        float64 [B] in [0, 1)
    """
    offset = int(stream_keys(seed, epoch, [""])[0, Stream.NOISE])
    return np.array([unit_of(offset + _GOLDEN * k) for k in ordinals], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The mask rate of each sample of a batch, and the ceiling that it was drawn under.

    Attributes:
        rate_B: float64 [B], target share of corrupted tokens
        ceiling: the curriculum's ceiling as a share of its full one: what scales the table of ast-token
    """

    rate_B: npt.NDArray[np.float64]
    ceiling: float = 1.0

    @classmethod
    def at(cls, t_B: npt.NDArray[np.float64], curriculum: Curriculum, progress: float) -> "Noise":
        """Rates of noise levels: MIN_RATE + (ceiling - MIN_RATE) t."""
        ceiling = curriculum.ceiling(progress)
        return cls(rate_B=MIN_RATE + (ceiling - MIN_RATE) * t_B, ceiling=ceiling / curriculum.full)

    @classmethod
    def fixed(cls, rate: float, num_samples: int) -> "Noise":
        """One rate for all samples, under the full ceiling."""
        return cls(rate_B=np.full(num_samples, rate, dtype=np.float64))
