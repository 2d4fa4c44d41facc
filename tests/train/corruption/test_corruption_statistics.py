"""Frequencies over many draws: every token's own masking rate, and the random numbers beneath.

Counts are held to the Chernoff bound: of n draws with probability p, a share q at least as far out has probability at most
exp(-n KL(q, p)). It holds for any n and p, so that tokens masked nearly always are tested as strictly as others.
"""

import math
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from corruption_data import IDS, Programs, copies, corrupted, leetcode
from corruption_reference import Sample, draw_bits, marginals, mix, random_family, row_of, stream_key, unit
from folders import any_kinds

from syntaxdiff.pipeline.shard import Region, SampleRow
from syntaxdiff.train import randomness
from syntaxdiff.train.corruption.config import CorruptionConfig
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.randomness import Stream, draw, order_key, stream_keys, uniform, unit_of

RATES = (0.05, 0.3, 0.7)
ERROR = 1e-3  # chance that a right strategy fails a test, were the seed drawn anew
COPIES = 500


@pytest.fixture(scope="module")
def programs(shared_data: Path) -> Programs:
    """Real programs."""
    return leetcode(shared_data)


def frequencies(row: SampleRow, config: CorruptionConfig, rate: float, num_draws: int) -> npt.NDArray[np.float64]:
    """Share of the draws in which each position is corrupted, over new sample ids and epochs."""
    batch = collate(copies(row, COPIES), pad_id=IDS.pad, languages=any_kinds(row.language))
    counts = torch.zeros(len(row.input_ids), dtype=torch.int64)
    for epoch in range(num_draws // COPIES):
        counts += (corrupted(batch, config, rate, seed=2026, epoch=epoch).operator_BL != 0).sum(dim=0)
    shares: npt.NDArray[np.float64] = counts.numpy() / num_draws
    return shares


def surprise(share: float, p: float, num_draws: int) -> float:
    """Minus the logarithm of the Chernoff bound on a share of the draws as far from p, infinite where it cannot be."""

    def term(a: float, b: float) -> float:
        return 0.0 if a == 0 else math.inf if b <= 0 else a * math.log(a / b)

    return num_draws * (term(share, p) + term(1 - share, 1 - p))


def unlikely(
    row: SampleRow, config: CorruptionConfig, rate: float, expected: dict[int, float], num_draws: int, num_tests: int
) -> list[tuple[int, float, float]]:
    """Positions whose frequency is no chance under the expected probability, at one in 1/ERROR for all tests together."""
    shares = frequencies(row, config, rate, num_draws)
    limit = math.log(2 * num_tests / ERROR)
    return [(i, float(shares[i]), p) for i, p in expected.items() if surprise(float(shares[i]), p, num_draws) > limit]


def expected_of(row: SampleRow, strategy: str, rate: float) -> dict[int, float]:
    """Probability of every position to be corrupted, by definition."""
    sample = Sample.of(row)
    p = {i: 0.0 if region == Region.PROMPT else rate for i, region in enumerate(sample.regions)}
    return p | dict(zip(sample.code, marginals(sample, strategy, rate), strict=True))


def without_reasoning(row: SampleRow) -> SampleRow:
    """A sample's code alone, so that more draws fit into the time."""
    code = Sample.of(row).code
    return row._replace(
        input_ids=row.input_ids[code],
        region_label=row.region_label[row.region_label == Region.CODE],
        region_end=np.array([len(code)], dtype=np.int32),
        span_start=row.span_start - code[0],
        span_end=row.span_end - code[0],
        length=len(code),
    )


def check_programs(rows: list[SampleRow], strategy: str, num_draws: int) -> None:
    """Every token of some programs has the frequency that its marginal says."""
    num_tests = len(RATES) * sum(len(row.input_ids) for row in rows)
    config = CorruptionConfig(strategy=strategy)
    for rate in RATES:
        for row in rows:
            assert not unlikely(row, config, rate, expected_of(row, strategy, rate), num_draws, num_tests), row.sample_id


@pytest.mark.parametrize("strategy", ["random", "ast-cut", pytest.param("ast-span-independent", marks=pytest.mark.slow)])
def test_every_token_has_its_marginal(strategy: str) -> None:
    """Each token of made samples, in any region, is corrupted as often as its marginal says."""
    rng = random.Random(4)
    rows = [row_of(size, random_family(rng, size), sample_id=f"{size}", prompt=1, reasoning=3) for size in (1, 7, 40)]
    check_programs([*rows, row_of(20, [(4, 12), (5, 8)], sample_id="sparse")], strategy, 3_000)


@pytest.mark.parametrize("strategy", ["random", "ast-cut", "ast-span-independent"])
def test_every_token_of_real_programs_has_its_marginal(programs: Programs, strategy: str) -> None:
    """Each code token of a real program is corrupted as often as its marginal says."""
    check_programs([without_reasoning(programs.rows[7])], strategy, 5_000)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "ast-cut", "ast-span-independent"])
def test_every_token_of_many_real_programs_has_its_marginal(programs: Programs, strategy: str) -> None:
    """Each code token of several real programs is corrupted as often as its marginal says, over 20,000 draws."""
    rows = sorted(programs.rows, key=lambda row: len(row.role))[:: len(programs.rows) // 6]
    check_programs([without_reasoning(row) for row in rows], strategy, 20_000)


def test_the_check_of_marginals_can_fail() -> None:
    """Algorithm 1 does not mask each token at the rate, and a rate a fifth off is found: the bound has power."""
    row = row_of(40, random_family(random.Random(4), 40))
    num_tests = len(RATES) * len(row.input_ids)
    at_rate = expected_of(row, "random", 0.3)
    assert unlikely(row, CorruptionConfig(strategy="ast-span"), 0.3, at_rate, 4_000, num_tests)
    assert unlikely(row, CorruptionConfig(strategy="random"), 0.36, at_rate, 4_000, num_tests)
    assert not unlikely(row, CorruptionConfig(strategy="random"), 0.3, at_rate, 4_000, num_tests)


def test_granularity_is_log_uniform() -> None:
    """The share of samples with a granularity of at most g is log(g + 1) / log L, for every g below L."""
    num_code, count = 300, 20_000
    keys = stream_keys(5, 0, [str(i) for i in range(count)])[:, Stream.GRANULARITY]
    drawn = np.array([math.floor(num_code ** unit_of(int(key))) for key in keys])
    for granularity in (1, 2, 5, 20, 100, 250):
        share = float((drawn <= granularity).mean())
        assert surprise(share, math.log(granularity + 1) / math.log(num_code), count) < math.log(12 / ERROR)


# -------------------------------------------------------------------------------------------------------------- randomness


def test_splitmix64_known_vector() -> None:
    """From the state 1234567 splitmix64 gives its published outputs, in Python's integers and in int64 tensors."""
    want = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [draw_bits(1234567, index) for index in range(3)] == want
    (bits_BN,) = draw(torch.full((1, len(Stream)), 1234567), [(Stream.TOKEN_COIN, 3)])
    assert [value % 2**64 for value in bits_BN[0].tolist()] == want


def test_draws_equal_the_literal_ones() -> None:
    """Keys, bits, uniform numbers and orders equal those made from Python's integers."""
    ids = ["a", "", "é/☃", "x" * 500]
    keys = stream_keys(2**40, 3, ids)
    wanted = [(stream, 20) for stream in Stream]
    for sample_id, key_K, *bits in zip(ids, keys, *draw(torch.from_numpy(keys), wanted), strict=True):
        for stream, bits_N in zip(Stream, bits, strict=True):
            key = stream_key(2**40, 3, sample_id, stream)
            literal = [draw_bits(key, index) for index in range(20)]
            assert int(key_K[stream]) % 2**64 == key
            assert unit_of(int(key_K[stream])) == unit(key)
            assert [value % 2**64 for value in bits_N.tolist()] == literal
            assert uniform(bits_N).tolist() == [unit(value) for value in literal]
            assert order_key(bits_N).tolist() == [value >> 1 for value in literal]


def test_the_mixer_equals_the_literal_one() -> None:
    """``mix`` equals the finaliser in Python's integers, at the ends of int64 too."""
    rng = random.Random(0)
    values = [0, 1, -1, 2**63 - 1, -(2**63), *(rng.randrange(-(2**63), 2**63) for _ in range(5000))]
    mixed = randomness.mix(torch.tensor(values)).tolist()
    assert [value % 2**64 for value in mixed] == [mix(value % 2**64) for value in values]


def bits_of(num_samples: int, num_draws: int, *, seed: int = 0) -> npt.NDArray[np.uint64]:
    """Bits [samples, streams, draws]."""
    keys = torch.from_numpy(stream_keys(seed, 0, [f"sample-{i}" for i in range(num_samples)]))
    streams = draw(keys, [(stream, num_draws) for stream in Stream])
    return np.stack([bits.numpy() for bits in streams], axis=1).view(np.uint64)


def chi_square(values: npt.NDArray[np.int64], num_bins: int) -> float:
    """Standard deviations by which Pearson's statistic is off its mean."""
    counts = np.bincount(values, minlength=num_bins)
    expected = len(values) / num_bins
    return float((((counts - expected) ** 2 / expected).sum() - (num_bins - 1)) / math.sqrt(2 * (num_bins - 1)))


@pytest.mark.parametrize(("num_samples", "num_draws"), [(20, 2_000), (20_000, 1), (400, 100)])
def test_bits_are_uniform(num_samples: int, num_draws: int) -> None:
    """Every byte of the 64 bits is uniform, along a stream, over samples, and in between; every stream's upper byte too."""
    bits = bits_of(num_samples, num_draws)
    for shift in range(0, 64, 8):
        assert abs(chi_square(((bits.ravel() >> np.uint64(shift)) & np.uint64(255)).astype(np.int64), 256)) < 5
    for stream in Stream:
        assert abs(chi_square((bits[:, stream].ravel() >> np.uint64(56)).astype(np.int64), 256)) < 5


def test_streams_are_uncorrelated() -> None:
    """Streams, neighbouring indices, neighbouring samples, epochs and seeds do not correlate, within 5/√n."""
    bits = bits_of(200, 150)
    numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5

    def correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
        return float((a * b).mean() * 12 * math.sqrt(a.size))

    by_stream = numbers.transpose(1, 0, 2).reshape(len(Stream), -1)
    between = by_stream @ by_stream.T * 12 / math.sqrt(by_stream.shape[1])
    assert np.abs(between[~np.eye(len(Stream), dtype=bool)]).max() < 5
    assert abs(correlation(numbers[:, :, 1:], numbers[:, :, :-1])) < 5
    assert abs(correlation(numbers[1:], numbers[:-1])) < 5
    for keys in (
        stream_keys(0, 1, [f"sample-{i}" for i in range(200)]),
        stream_keys(1, 0, [f"sample-{i}" for i in range(200)]),
    ):
        other = np.stack([uniform(b).numpy() for b in draw(torch.from_numpy(keys), [(s, 150) for s in Stream])], axis=1) - 0.5
        assert abs(correlation(numbers, other)) < 5


def test_no_two_keys_are_equal() -> None:
    """Seeds, epochs, sample ids and streams have keys of their own; ids that run into the numbers beside them too."""
    ids = [*map(str, range(100)), "0\x001", "1\x000"]
    keys = [stream_keys(seed, epoch, ids) for seed in (0, 1, 10, -1) for epoch in (0, 1, 10, 11)]
    everything = np.concatenate(keys).ravel()
    assert len(np.unique(everything)) == everything.size
