"""The six strategies against their literal definitions, and what must hold of them for any code."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from corruption_data import IDS, Programs, batch_of, copies, corrupted, leetcode, positions, units
from corruption_reference import (
    Applied,
    Draws,
    Sample,
    Span,
    algorithm_1,
    apply,
    cut,
    draws_of,
    families,
    independent,
    marginals,
    matched,
    parents_of,
    random_family,
    random_rows,
    row_of,
)
from hypothesis import example, given
from hypothesis import strategies as st
from parameters import slow_but

from syntaxdiff.pipeline.shard import Region, SampleRow
from syntaxdiff.train.corruption import strategies
from syntaxdiff.train.corruption.config import SPAN_STRATEGIES, STRATEGIES, CorruptionConfig, default_objective
from syntaxdiff.train.corruption.corrupt import Corrupted, corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.strategies import Units, code_of
from syntaxdiff.train.data.batch import collate

RATES = st.sampled_from([0.0, 0.001, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0]) | st.floats(0, 1)
WHOLE = [(strategy, 1.0) for strategy in STRATEGIES]
CASES = WHOLE + [(strategy, 0.4) for strategy in SPAN_STRATEGIES]
CASE_IDS = [f"{strategy}-{share}" for strategy, share in CASES]


@pytest.fixture(scope="module")
def programs(shared_data: Path) -> Programs:
    """Real programs."""
    return leetcode(shared_data)


# -------------------------------------------------------------------------------------- the strategies, given their draws


class Case(NamedTuple):
    """A family, a rate, a budget that may be another than the rate's, and draws, some of which tie."""

    num_code: int
    spans: list[Span]
    rate: float
    budget: int
    longest: int
    granularity: int
    token_coin: list[float]
    span_coin: list[float]
    span_order: list[int]
    fill_order: list[int]

    @property
    def candidates(self) -> dict[int, Span]:
        return {i: (s, e) for i, (s, e) in enumerate(self.spans) if e - s <= self.longest}


def random_case(rng: random.Random, max_code: int) -> Case:
    num_code = rng.randint(0, max_code)
    spans = [] if rng.random() < 0.1 else random_family(rng, num_code)
    rate = rng.choice([0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0, rng.random()])
    largest_key = rng.choice([0, 3, 2**63 - 1])  # all keys equal, many ties, none
    return Case(
        num_code=num_code,
        spans=spans,
        rate=rate,
        budget=rng.choice([math.floor(rate * num_code), rng.randint(0, num_code)]),
        longest=rng.choice([num_code, num_code, rng.randint(0, num_code)]),
        granularity=rng.randint(1, max(1, num_code)),
        token_coin=[rng.random() for _ in range(num_code)],
        span_coin=[rng.random() for _ in spans],
        span_order=[rng.randint(0, largest_key) for _ in spans],
        fill_order=[rng.randint(0, largest_key) for _ in range(num_code)],
    )


def batched(cases: Sequence[Case], extra: int) -> dict[str, Units]:
    """What the span strategies draw for a padded batch, by name; the draws of the padding are the smallest there are."""
    width = max(1, *(case.num_code for case in cases)) + extra
    num_spans = max(1, *(len(case.spans) for case in cases)) + extra

    def padded(values: list[Sequence[float]], count: int, fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[*value, *[fill] * (count - len(value))] for value in values], dtype=dtype)

    def spans_of(values: list[Sequence[float]], fill: float) -> torch.Tensor:
        return padded(values, num_spans, fill, torch.int64)

    rate_B = torch.tensor([case.rate for case in cases], dtype=torch.float64)
    code = code_of(
        spans_of([[s for s, _ in case.spans] for case in cases], width),
        spans_of([[e for _, e in case.spans] for case in cases], width),
        spans_of([parents_of(case.spans) for case in cases], -1),
        torch.tensor([case.num_code for case in cases]),
        width,
        torch.tensor([case.longest for case in cases]),
    )
    draws = strategies.Draws(
        token_coin_BC=padded([case.token_coin for case in cases], width, 0, torch.float64),
        span_coin_BS=padded([case.span_coin for case in cases], num_spans, 0, torch.float64),
        span_order_BS=spans_of([case.span_order for case in cases], 0),
        fill_order_BC=padded([case.fill_order for case in cases], width, 0, torch.int64),
    )
    survival = [[(1 - case.rate) ** (e - s) for s, e in case.spans] for case in cases]
    survival_BS = padded([*survival], num_spans, 1, torch.float64)
    survival_BC = torch.ones(len(cases), width, dtype=torch.float64)  # makes the marginals, which are tested elsewhere
    budget_B = torch.tensor([case.budget for case in cases])
    granularity_B = torch.tensor([case.granularity for case in cases])
    shuffled = strategies.algorithm_1(survival_BS, budget_B, rate_B, code, draws)
    return {
        "ast-span": shuffled,
        "random-matched": strategies.matched(shuffled, code, draws),
        "ast-span-independent": strategies.independent_spans(survival_BS, survival_BC, rate_B, code, draws),
        "ast-cut": strategies.cut(granularity_B, rate_B, code, draws),
    }


def expected(case: Case) -> dict[str, tuple[list[int], list[int]]]:
    """The same, by definition: mask vectors and units."""
    tokens = [int(coin < case.rate) for coin in case.token_coin], list[int]()
    spans = case.candidates
    shuffled = algorithm_1(case.num_code, spans, case.rate, case.budget, case.span_coin, case.span_order, case.fill_order)
    return {
        "ast-span": shuffled if spans else tokens,
        "random-matched": (matched(shuffled[0], case.fill_order), list[int]()) if spans else tokens,
        "ast-span-independent": independent(case.num_code, spans, case.rate, case.span_coin) if spans else tokens,
        "ast-cut": cut(case.num_code, spans, case.rate, case.granularity, case.span_coin, case.token_coin),
    }


def drawn(result: Units, index: int, spans: Sequence[Span]) -> tuple[list[int], list[int]]:
    """Mask vector, padding included, and units of one sample of a batch; units and single tokens must not overlap."""
    m = result.token_BC[index].int()
    chosen: list[int] = result.span_BS[index].nonzero().flatten().tolist()
    for unit in chosen:
        m[slice(*spans[unit])] += 1
    assert m.max() <= 1
    return m.tolist(), chosen


@pytest.mark.parametrize(("size", "num_batches", "max_code"), [(1, 300, 40), (7, 150, 40), (64, 40, 40), (16, 30, 120)])
def test_batched_strategies_equal_the_loops(size: int, num_batches: int, max_code: int) -> None:
    """For equal draws, ties among the orders included, a padded batch gives what the sequential definitions give."""
    rng = random.Random(size)
    for _ in range(num_batches):
        cases = [random_case(rng, max_code) for _ in range(size)]
        results = batched(cases, extra=rng.choice([0, 3]))
        for index, case in enumerate(cases):
            for strategy, (m, chosen) in expected(case).items():
                mask, drawn_units = drawn(results[strategy], index, case.spans)
                assert mask == m + [0] * (len(mask) - len(m)), (strategy, case)
                assert drawn_units == sorted(chosen), (strategy, case)


@given(families(), RATES, st.randoms(use_true_random=False))
def test_batched_strategies_equal_the_loops_for_any_family(
    family: tuple[int, list[Span]], rate: float, rng: random.Random
) -> None:
    """For equal draws the batched strategies equal the sequential definitions, whatever the family."""
    num_code, spans = family
    case = random_case(rng, 0)._replace(
        num_code=num_code,
        spans=spans,
        rate=rate,
        budget=math.floor(rate * num_code),
        longest=rng.choice([num_code, rng.randint(0, num_code)]),
        granularity=rng.randint(1, num_code),
        token_coin=[rng.random() for _ in range(num_code)],
        span_coin=[rng.random() for _ in spans],
        span_order=[rng.randrange(4) for _ in spans],
        fill_order=[rng.randrange(4) for _ in range(num_code)],
    )
    results = batched([case], extra=1)
    for strategy, (m, chosen) in expected(case).items():
        mask, drawn_units = drawn(results[strategy], 0, spans)
        assert (mask, drawn_units) == ([*m, 0], sorted(chosen)), strategy


# --------------------------------------------------------------------------------------- whole samples, draws reproduced


def compare(result: Corrupted, index: int, row: SampleRow, want: Applied, mask_id: int) -> None:
    """A sample of a corrupted batch has the corrupted positions, ids and units that it must have."""
    where = f"{row.sample_id}, sample {index} of its batch"
    assert positions(result, index) == want.positions, where
    assert units(result, index) == want.units, where
    ids = np.array(row.input_ids)
    ids[sorted(want.positions)] = mask_id
    assert (result.input_ids_BL[index, : len(ids)].numpy() == ids).all(), where


@pytest.mark.parametrize(("strategy", "share"), CASES, ids=CASE_IDS)
def test_whole_samples_equal_the_definition(strategy: str, share: float) -> None:
    """From seed, epoch and sample id alone the literal definition tells every corrupted position of made samples."""
    rows = random_rows(48, seed=5)
    config = CorruptionConfig(strategy=strategy, max_span_share=share)
    rng = random.Random(0)
    for epoch, size in enumerate([1, 5, 16, 48]):
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            rates = [rng.choice([0.0, 1.0, rng.random()]) for _ in chunk]
            result = corrupted(batch_of(chunk), config, rates, seed=3, epoch=epoch)
            for index, (row, rate) in enumerate(zip(chunk, rates, strict=True)):
                sample = Sample.of(row)
                want = apply(sample, strategy, rate, draws_of(3, epoch, sample), max_span_share=share)
                compare(result, index, row, want, IDS.mask)


class Drawn(NamedTuple):
    """Real programs that make a batch, and their draws under seed 11 in epoch 2."""

    rows: list[SampleRow]
    samples: list[Sample]
    draws: list[Draws]


@pytest.fixture(scope="module")
def real_batches(programs: Programs) -> list[Drawn]:
    """250 real programs in batches of 25."""
    chunks = [programs.rows[start:600:24] for start in range(10)]
    samples = [[Sample.of(row) for row in rows] for rows in chunks]
    return [Drawn(rows, of, [draws_of(11, 2, sample) for sample in of]) for rows, of in zip(chunks, samples, strict=True)]


@pytest.mark.parametrize(("strategy", "share"), slow_but(WHOLE, CASES), ids=CASE_IDS)
def test_real_programs_equal_the_definition(programs: Programs, real_batches: list[Drawn], strategy: str, share: float) -> None:
    """From seed, epoch and sample id alone the literal definition tells every corrupted position of real programs."""
    config = CorruptionConfig(strategy=strategy, max_span_share=share)
    ids = programs.manifest.token_ids
    num_cases = 0
    for rows, samples, draws in real_batches:
        batch = collate(rows, pad_id=ids.pad, languages=programs.manifest.languages)
        for rate in (0.03, 0.25, 0.6, 0.93):
            planned = plan(batch, config, Noise.fixed(rate, len(batch)), seed=11, epoch=2)
            result = corrupt(batch.tensors, planned, config, ids)
            for index, row in enumerate(rows):
                want = apply(samples[index], strategy, rate, draws[index], max_span_share=share)
                compare(result, index, row, want, ids.mask)
                num_cases += 1
    assert num_cases == 1000


# --------------------------------------------------------------------------------------------------------------- properties


def of_family(family: tuple[int, list[Span]]) -> SampleRow:
    return row_of(*family)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(families(min_code=0).map(of_family), RATES, st.integers(0, 99))
@example(row_of(0, []), 1.0, 0)
@example(row_of(0, []), 0.5, 0)
@example(row_of(9, []), 0.5, 0)
@example(row_of(9, [(2, 5)]), 0.5, 0)
@example(row_of(9, [(0, 9)]), 0.5, 0)
@example(row_of(9, [(0, 9), (0, 4), (4, 9)], prompt=0, reasoning=0, scaffold=0), 0.5, 0)
@example(row_of(1, [(0, 1)]), 1.0, 0)
def test_what_holds_for_any_sample(strategy: str, row: SampleRow, rate: float, seed: int) -> None:
    """The prompt stays, units are whole disjoint spans, Algorithm 1 fills its budget, rates 0 and 1 mean none and all."""
    sample = Sample.of(row)
    result = corrupted(batch_of([row]), CorruptionConfig(strategy=strategy), rate, seed=seed)
    masked, chosen = positions(result), units(result)
    assert masked <= set(sample.corruptible)
    is_masked_BL = torch.tensor([[position in masked for position in range(sample.num_tokens)]])
    clean = torch.from_numpy(row.input_ids.astype(np.int64))[None]
    assert torch.equal(result.input_ids_BL, torch.where(is_masked_BL, IDS.mask, clean))
    covered: list[int] = []
    for unit in chosen:
        covered += sample.code[slice(*sample.spans[unit])]
    assert len(set(covered)) == len(covered)
    assert set(covered) <= masked
    if strategy == "ast-span" and sample.spans:
        assert len(masked & set(sample.code)) >= math.floor(rate * sample.num_code)
    if strategy == "random-matched":
        shaped = positions(corrupted(batch_of([row]), CorruptionConfig(strategy="ast-span"), rate, seed=seed))
        assert len(masked) == len(shaped)
    if strategy not in SPAN_STRATEGIES:
        assert not chosen
    if rate in (0, 1) and strategy != "ast-token":
        under_spans = {sample.code[token] for s, e in sample.spans for token in range(s, e)}
        code = under_spans if strategy == "ast-span-independent" and sample.spans else set(sample.code)
        outside = set(sample.corruptible) - set(sample.code)
        assert masked == (outside | code if rate == 1 else set())


@pytest.mark.parametrize("strategy", slow_but(["ast-span"], STRATEGIES))
@given(st.lists(families(min_code=0), min_size=2, max_size=5), RATES, st.integers(1, 3))
def test_padding_does_not_matter(strategy: str, several: list[tuple[int, list[Span]]], rate: float, wider: int) -> None:
    """A sample is corrupted alike alone, and in a batch that pads its tokens, code, spans and region runs."""
    rows = [row_of(*family, sample_id=f"{i}", reasoning=4 * i, seed=i) for i, family in enumerate(several)]
    config = CorruptionConfig(strategy=strategy)
    together = corrupted(batch_of(rows, pad_to_multiple=32 * wider), config, rate)
    for index, row in enumerate(rows):
        alone = corrupted(batch_of([row]), config, rate)
        for mine, batched_value, fill in zip(alone, together, (IDS.pad, 0, False, 0, False), strict=True):
            width = len(row.span_start) if mine is alone.unit_BS else len(row.input_ids)
            assert torch.equal(mine[0, :width], batched_value[index, :width])
            assert (batched_value[index, width:] == fill).all()


@pytest.mark.parametrize("strategy", SPAN_STRATEGIES)
@given(families(), RATES, st.sampled_from([0.01, 0.2, 0.5, 0.99]), st.integers(0, 99))
def test_long_spans_are_filtered(strategy: str, family: tuple[int, list[Span]], rate: float, share: float, seed: int) -> None:
    """A limit on a span's share of the code acts as if the longer spans were not there."""
    num_code, spans = family
    row = row_of(num_code, spans)
    filtered = corrupted(batch_of([row]), CorruptionConfig(strategy=strategy, max_span_share=share), rate, seed=seed)
    short = {i for i, (s, e) in enumerate(spans) if e - s <= share * num_code}
    assert units(filtered) <= short
    if not short:  # falls back to tokens
        alike = CorruptionConfig(strategy="random", objective=default_objective(strategy))
        tokens = corrupted(batch_of([row]), alike, rate, seed=seed)
        assert positions(filtered) == positions(tokens)
        assert torch.equal(filtered.weight_BL, tokens.weight_BL)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_code_without_spans_is_masked_token_by_token(strategy: str) -> None:
    """Without spans every strategy but ast-token masks what random masks."""
    rows = copies(row_of(30, []), 40)
    result = corrupted(batch_of(rows), CorruptionConfig(strategy=strategy), 0.4)
    tokens = corrupted(batch_of(rows), CorruptionConfig(strategy="random"), 0.4)
    assert torch.equal(result.operator_BL, tokens.operator_BL) == (strategy != "ast-token")


def test_a_sequence_of_code_alone_and_one_without_code() -> None:
    """A sample need have no region but one, whichever it is."""
    code = row_of(20, [(0, 20), (3, 9)], prompt=0, reasoning=0, scaffold=0)
    reasoning = row_of(0, [], prompt=0, reasoning=15, scaffold=0, sample_id="reasoning")
    prompt = row_of(0, [], prompt=15, reasoning=0, scaffold=0, sample_id="prompt")
    for strategy in STRATEGIES:
        result = corrupted(batch_of([code, reasoning, prompt]), CorruptionConfig(strategy=strategy), 0.9)
        assert [bool(positions(result, index)) for index in range(3)] == [True, True, False]


# -------------------------------------------------------------------------------------------------------- marginals, roles


@pytest.mark.parametrize(("strategy", "share"), CASES, ids=CASE_IDS)
def test_weights_are_one_over_the_literal_marginal(strategy: str, share: float) -> None:
    """inverse-rate weighs a corrupted code token by one over its own probability, and any other by one over the rate."""
    for rate in (1e-4, 0.05, 0.3, 0.999, 1.0):
        rows = random_rows(12, seed=8)
        config = CorruptionConfig(strategy=strategy, objective="inverse-rate", max_span_share=share)
        result = corrupted(batch_of(rows), config, rate)
        for index, row in enumerate(rows):
            sample = Sample.of(row)
            want = dict.fromkeys(sample.corruptible, rate)
            want |= dict(zip(sample.code, marginals(sample, strategy, rate, max_span_share=share), strict=True))
            weights = result.weight_BL[index].tolist()
            masked = positions(result, index)
            assert all(weights[p] == pytest.approx(1 / want[p], rel=1e-6) for p in masked)
            assert not any(weights[p] for p in range(len(weights)) if p not in masked)


def test_marginals_of_deeply_nested_long_spans() -> None:
    """The lengths over a token may sum to tens of thousands."""
    spans = [(depth, 3000 - depth) for depth in range(100)]
    sample_row = row_of(3000, spans)
    rate = 3e-5
    result = corrupted(batch_of(copies(sample_row, 8)), CorruptionConfig(strategy="ast-span-independent"), rate)
    total = np.array([sum(e - s for s, e in spans if s <= token < e) for token in range(3000)])
    want = 1 / -np.expm1(total * math.log1p(-rate))
    first = Sample.of(sample_row).code[0]
    weights = result.weight_BL[:, first : first + 3000].numpy()
    assert total.max() > 2**16
    assert (weights > 0).any()
    assert np.allclose(weights, np.where(weights > 0, want, 0), rtol=1e-6)


@pytest.mark.parametrize("ceiling", [1.0, 0.5, 0.1])
def test_roles_are_masked_at_their_rates(ceiling: float) -> None:
    """ast-token masks each role at its rate times the ceiling's share, within five standard deviations."""
    row = row_of(400, random_family(random.Random(1), 400))
    config = CorruptionConfig(strategy="ast-token")
    assert config.role_rates == (0.15, 0.42, 0.58, 0.60)
    result = corrupted(batch_of(copies(row, 400)), config, 0.5, ceiling=ceiling)
    is_code = torch.tensor([region == Region.CODE for region in Sample.of(row).regions])
    masked_BC = result.operator_BL[:, is_code] != 0
    for role, full in enumerate(config.role_rates):
        of_role = masked_BC[:, row.role == role]
        rate, count = full * ceiling, of_role.numel()
        assert abs(of_role.sum().item() - rate * count) < 5 * math.sqrt(count * rate * (1 - rate))


def test_ast_token_ignores_the_rate_in_code() -> None:
    """The rate does not enter ast-token's masks of code; reasoning follows it."""
    rows = random_rows(20, seed=2)
    low, high = (corrupted(batch_of(rows), CorruptionConfig(strategy="ast-token"), rate) for rate in (0.0, 1.0))
    for index, row in enumerate(rows):
        sample = Sample.of(row)
        code, rest = set(sample.code), set(sample.corruptible) - set(sample.code)
        assert positions(low, index) & code == positions(high, index) & code
        assert positions(low, index) & rest == set()
        assert positions(high, index) & rest == rest
