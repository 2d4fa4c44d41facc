"""Noise levels, mask rates and the curriculum."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.corruption.config import CURRICULA, MIN_RATE, Curriculum
from syntaxdiff.train.corruption.noise import Noise, noise_levels

GOLDEN = (math.sqrt(5) - 1) / 2


@given(st.integers(0, 2**40), st.integers(0, 99), st.integers(0, 99), st.integers(1, 700))
def test_consecutive_levels_are_stratified(first: int, seed: int, epoch: int, count: int) -> None:
    """Gaps among n consecutive levels have at most three lengths, golden powers, from .447/n to 1.8945/n."""
    levels = np.sort(noise_levels(seed, epoch, range(first, first + count)))
    assert levels[0] >= 0
    assert levels[-1] < 1
    gaps = np.diff(levels, append=levels[0] + 1)
    exponents = np.log(gaps) / math.log(GOLDEN)
    powers = np.round(exponents)
    assert np.abs(gaps - GOLDEN**powers).max() < 1e-12
    assert len(set(powers)) <= 3
    # Three-distance theorem for the golden ratio: 1/√5 and 1 + 2/√5 are the limits of n times a gap, over all n.
    assert 0.447 < gaps.min() * count <= gaps.max() * count < 1.8945


def test_levels_are_the_fraction_of_golden_multiples() -> None:
    """Level k is the first one moved by k golden ratios, also for k so large that float64 would have lost the fraction."""
    (start,) = noise_levels(3, 1, [0])
    for k in (1, 2, 1000):
        assert noise_levels(3, 1, [k])[0] == pytest.approx((start + k * GOLDEN) % 1, abs=1e-12)
    far = 2**60
    near, moved = noise_levels(3, 1, [far, far + 1])
    assert (moved - near) % 1 == pytest.approx(GOLDEN, abs=1e-12)


def test_levels_do_not_depend_on_how_ordinals_are_cut() -> None:
    """An ordinal's level is its own, whatever is asked for beside it; seed and epoch move all levels."""
    whole = noise_levels(1, 2, range(100)).tolist()
    assert [level for start in range(0, 100, 7) for level in noise_levels(1, 2, range(start, min(100, start + 7)))] == whole
    assert noise_levels(1, 2, [50, 3]).tolist() == [whole[50], whole[3]]
    assert whole[0] not in noise_levels(1, 3, range(100))
    assert whole[0] not in noise_levels(2, 2, range(100))


@pytest.mark.parametrize("full", [1.0, 0.8])
def test_curricula_move_between_their_ends(full: float) -> None:
    """Low noise first rises from low to full by half a cosine, high noise first is its mirror, constant stays at full."""
    rising, falling, constant = (Curriculum(kind=kind, low=0.2, full=full) for kind in CURRICULA)
    progress = np.linspace(0, 1, 201)
    up = [rising.ceiling(p) for p in progress]
    assert [up[0], up[-1]] == pytest.approx([0.2, full])
    assert up[100] == pytest.approx((0.2 + full) / 2)
    assert up[50] == pytest.approx(0.2 + (full - 0.2) * (1 - math.sqrt(0.5)) / 2)
    assert (np.diff(up) > 0).all()
    assert [falling.ceiling(p) for p in progress] == pytest.approx(up[::-1])
    assert {constant.ceiling(p) for p in progress} == {full}


@pytest.mark.parametrize("kind", CURRICULA)
@given(progress=st.floats(allow_nan=False), low=st.floats(0.01, 1), share=st.floats(0, 1))
def test_ceilings_stay_within_their_ends(kind: str, progress: float, low: float, share: float) -> None:
    """No progress, also before the run and after it, gives a ceiling outside of low and full."""
    full = min(1.0, low + (1 - low) * share)
    ceiling = Curriculum(kind=kind, low=low, full=full).ceiling(progress)
    assert low * (1 - 1e-12) <= ceiling <= full * (1 + 1e-12)
    assert Curriculum(kind=kind, low=low, full=full).ceiling(progress) <= 1


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_rates_are_scaled_by_the_ceiling(progress: float) -> None:
    """A level t has the rate MIN_RATE + (ceiling - MIN_RATE) t; ast-token is told the ceiling's share of the full one."""
    curriculum = Curriculum(low=0.3, full=0.9)
    ceiling = curriculum.ceiling(progress)
    noise = Noise.at(np.array([0.0, 0.25, 1.0]), curriculum, progress)
    assert MIN_RATE == 0.001
    assert noise.rate_B.tolist() == pytest.approx([0.001, 0.001 + (ceiling - 0.001) / 4, ceiling])
    assert noise.ceiling == pytest.approx(ceiling / 0.9)
    assert noise.rate_B.dtype == np.float64


def test_a_fixed_rate_stands_under_the_full_ceiling() -> None:
    """One rate for all samples, and the table of ast-token unscaled."""
    noise = Noise.fixed(0.3, 4)
    assert noise.rate_B.tolist() == [0.3] * 4
    assert noise.ceiling == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "linear"},
        {"low": 0.0},
        {"low": 0.001},
        {"low": -0.1},
        {"low": math.nan},
        {"full": math.nan},
        {"full": 1.01},
        {"low": 0.9, "full": 0.5},
    ],
)
def test_impossible_curricula_are_refused(settings: dict[str, object]) -> None:
    """An unknown curriculum and ceilings out of order are the user's mistake."""
    with pytest.raises(SettingsError, match="curriculum"):
        Curriculum(**settings)  # type: ignore[arg-type]
