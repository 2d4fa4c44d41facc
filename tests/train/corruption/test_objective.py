"""What the loss scores, and with which weight, against the formulas of the objectives."""

import math
import random

import numpy as np
import pytest
import torch
from corruption_data import batch_of, copies, corrupted, positions, units
from corruption_reference import (
    Applied,
    Sample,
    Span,
    draws_of,
    families,
    marginals,
    random_family,
    random_rows,
    revealed,
    row_of,
)
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.shard import Region, SampleRow
from syntaxdiff.train.corruption.config import OBJECTIVES, SPAN_STRATEGIES, STRATEGIES, CorruptionConfig, default_objective
from syntaxdiff.train.corruption.corrupt import Corrupted, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.objective import NUM_STEPS, scored, step_of, uses_steps

REVEALING = ("reveal", "reveal-all")
RATES = st.sampled_from([0.0, 0.001, 0.05, 0.5, 1.0]) | st.floats(0.001, 1)


def formula(
    objective: str,
    corrupted_L: list[bool],
    corruptible_L: list[bool],
    code_L: list[bool],
    back_L: list[bool],
    p_L: list[float],
    t: float,
) -> list[float | None]:
    """Weights of one sample, None where a position is not scored."""
    weights: list[float | None] = []
    num_corrupted_code = sum(alone and other for alone, other in zip(corrupted_L, code_L, strict=True))
    columns = zip(corrupted_L, corruptible_L, code_L, back_L, p_L, strict=True)
    for is_corrupted, is_corruptible, is_code, is_back, p in columns:
        if objective == "inverse-rate":
            weights.append(1 / p if is_corrupted else None)
        elif objective == "region-share":
            if not is_corrupted:
                weights.append(None)
            else:
                weights.append(sum(code_L) / num_corrupted_code if is_code else 1 / p)
        elif objective == "masked-mean":
            weights.append(sum(corruptible_L) / sum(corrupted_L) if is_corrupted else None)
        elif objective == "paper":
            weights.append(1.0 if is_corrupted else None)
        elif objective == "reveal":
            weights.append(t / p if is_back else None)
        else:
            assert objective == "reveal-all"
            is_visible = not is_corrupted or is_back
            weights.append(1.0 if is_corruptible and is_visible else None)
    return weights


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(st.integers(1, 4), st.integers(1, 30), st.randoms(use_true_random=False))
def test_weights_are_the_formula(objective: str, batch: int, length: int, rng: random.Random) -> None:
    """Scored positions and weights are those of the objective's formula, and the weight is 0 where nothing is scored."""
    density = [rng.choice([0, 0.5, 1]) for _ in range(batch)]
    corruptible = [[rng.random() < 0.8 for _ in range(length)] for _ in range(batch)]
    is_code = [[may and rng.random() < 0.6 for may in row] for row in corruptible]
    is_corrupted = [[may and rng.random() < density[b] for may in row] for b, row in enumerate(corruptible)]
    back = [[was and rng.random() < 0.4 for was in row] for row in is_corrupted]
    p = [[rng.uniform(0.001, 1) if was else rng.choice([0.0, 0.5]) for was in row] for row in is_corrupted]
    steps = [float(rng.randint(1, NUM_STEPS)) for _ in range(batch)]
    result = scored(
        objective,
        is_corrupted_BL=torch.tensor(is_corrupted),
        is_corruptible_BL=torch.tensor(corruptible),
        is_code_BL=torch.tensor(is_code),
        is_revealed_BL=torch.tensor(back) if objective in REVEALING else None,
        marginal_BL=torch.tensor(p, dtype=torch.float64),
        step_B=torch.tensor(steps, dtype=torch.float64),
    )
    assert result.weight_BL.dtype == torch.float32
    for b in range(batch):
        want = formula(objective, is_corrupted[b], corruptible[b], is_code[b], back[b], p[b], steps[b])
        assert result.is_scored_BL[b].tolist() == [weight is not None for weight in want]
        assert result.weight_BL[b].tolist() == [float(np.float32(weight or 0)) for weight in want]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_corrupted_samples_are_weighed_by_the_formula(strategy: str, objective: str) -> None:
    """The strategy's own marginals, the reveal's own draws and the step's rate reach the formula, for whole samples."""
    rows = random_rows(24, seed=4)
    rng = random.Random(6)
    rates = [rng.choice([0.0, 0.0031, rng.random(), 1.0]) for _ in rows]
    result = corrupted(batch_of(rows), CorruptionConfig(strategy=strategy, objective=objective), rates, seed=1, epoch=9)
    for index, (row, asked) in enumerate(zip(rows, rates, strict=True)):
        sample = Sample.of(row)
        step = min(t for t in range(1, NUM_STEPS + 1) if t / NUM_STEPS >= asked)
        rate = step / NUM_STEPS if objective in REVEALING else asked
        draws = draws_of(1, 9, sample)
        masked = positions(result, index)
        back = revealed(sample, _applied(result, index), step, draws)
        p = dict.fromkeys(sample.corruptible, rate)
        p |= dict(zip(sample.code, marginals(sample, strategy, rate), strict=True))
        everywhere = range(sample.num_tokens)
        want = formula(
            objective,
            [position in masked for position in everywhere],
            [region != Region.PROMPT for region in sample.regions],
            [region == Region.CODE for region in sample.regions],
            [position in back for position in everywhere],
            [p.get(position, 0.0) for position in everywhere],
            step,
        )
        num_tokens = sample.num_tokens
        assert result.is_scored_BL[index, :num_tokens].tolist() == [weight is not None for weight in want]
        assert result.weight_BL[index, :num_tokens].tolist() == pytest.approx([weight or 0 for weight in want], rel=1e-6)
        assert not result.is_scored_BL[index, num_tokens:].any()
        assert not result.weight_BL[index, num_tokens:].any()


def _applied(result: Corrupted, index: int) -> Applied:
    return Applied(positions(result, index), units(result, index))


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name not in REVEALING])
def test_nothing_masked_weighs_nothing(objective: str) -> None:
    """A sample of which nothing is corrupted has no scored position, weight 0, and no infinity or NaN anywhere."""
    rows = [row_of(9, [(0, 9)]), row_of(0, [], prompt=5, reasoning=0, scaffold=0, sample_id="prompt alone")]
    for strategy in ("random", "ast-span", "ast-span-independent", "ast-cut"):
        result = corrupted(batch_of(rows), CorruptionConfig(strategy=strategy, objective=objective), 0.0)
        assert not result.is_scored_BL.any()
        assert torch.equal(result.weight_BL, torch.zeros_like(result.weight_BL))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weights_are_finite(strategy: str, objective: str) -> None:
    """No rate, the smallest positive numbers included, gives a weight that is no number or not finite."""
    rates = [0.0, 5e-324, 1e-300, 1e-30, 1e-9, 0.001, 0.5, 1 - 2**-53, 1.0]
    rows = copies(row_of(60, random_family(random.Random(3), 60)), len(rates))
    result = corrupted(batch_of(rows), CorruptionConfig(strategy=strategy, objective=objective), rates)
    assert torch.isfinite(result.weight_BL).all()
    assert (result.weight_BL >= 0).all()
    assert torch.equal(result.weight_BL > 0, result.is_scored_BL)


def test_lengths_over_a_token_may_sum_to_more_than_24_bits() -> None:
    """The marginal under 250 spans of nearly 70,000 tokens each is (1 - rate)^S for the whole of S."""
    row, rate = row_of(70_000, []), 1e-6
    depth = np.arange(250)
    row = row._replace(
        span_start=(12 + depth).astype(np.int32),
        span_end=(12 + 70_000 - depth).astype(np.int32),
        span_parent=(depth - 1).astype(np.int32),
        span_kind=np.zeros(250, dtype=np.uint16),
        span_arity=np.zeros(250, dtype=np.uint8),
    )
    result = corrupted(batch_of([row]), CorruptionConfig(strategy="ast-span-independent"), rate)
    total = int((70_000 - 2 * depth).sum())
    assert total > 2**24
    assert result.weight_BL[0, 35_000].item() == pytest.approx(1 / -math.expm1(total * math.log1p(-rate)), rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(families(), RATES, st.integers(0, 99))
def test_region_shares_sum_to_the_code(strategy: str, family: tuple[int, list[Span]], rate: float, seed: int) -> None:
    """By region-share the code's weights sum to its tokens wherever one is corrupted, whatever is masked elsewhere: 1/rate."""
    row = row_of(*family, reasoning=30)
    config = CorruptionConfig(strategy=strategy, objective="region-share")
    result = corrupted(batch_of([row]), config, rate, seed=seed)
    sample = Sample.of(row)
    masked, code = positions(result), set(sample.code)
    weights = result.weight_BL[0].double()
    total = float(weights[sample.code].sum())
    assert total == pytest.approx(len(code) if masked & code else 0, rel=1e-5)
    assert len({float(weights[position]) for position in masked & code}) <= 1
    assert all(float(weights[position]) == pytest.approx(1 / rate, rel=1e-6) for position in masked - code)


@pytest.mark.parametrize("strategy", ["ast-span", "random-matched"])
def test_the_default_where_marginals_are_unknown_is_the_region_share(strategy: str) -> None:
    """With and without candidates, Algorithm 1 and its control weigh by region shares unless told otherwise."""
    rows = random_rows(16, seed=3)
    default, named = (
        corrupted(batch_of(rows), CorruptionConfig(strategy=strategy, objective=objective), 0.05)
        for objective in ("", "region-share")
    )
    assert torch.equal(default.weight_BL, named.weight_BL)
    assert CorruptionConfig(strategy=strategy).objective == "region-share"


def test_the_default_where_marginals_are_known_is_the_inverse_rate() -> None:
    """Every other strategy weighs by one over its marginal."""
    others = [strategy for strategy in STRATEGIES if strategy not in ("ast-span", "random-matched")]
    assert {default_objective(strategy) for strategy in others} == {"inverse-rate"}
    assert {CorruptionConfig(strategy=strategy).objective for strategy in others} == {"inverse-rate"}


# -------------------------------------------------------------------------------------------------------------- expectation


def mean_weight(row: SampleRow, config: CorruptionConfig, rate: float, num_batches: int) -> tuple[float, float]:
    """Mean over many draws of the summed weights per corruptible token, and its standard error."""
    batch = batch_of(copies(row, 500))
    shares = []
    for epoch in range(num_batches):
        result = corrupted(batch, config, rate, seed=77, epoch=epoch)
        shares.append(result.weight_BL.double().sum(dim=1).numpy() / batch.num_corruptible_B)
    all_shares = np.concatenate(shares)
    return float(all_shares.mean()), float(all_shares.std() / math.sqrt(len(all_shares)))


UNBIASED = [
    ("random", "inverse-rate", 0.1),
    ("random", "inverse-rate", 0.6),
    ("ast-cut", "inverse-rate", 0.1),
    ("ast-cut", "inverse-rate", 0.6),
    ("ast-token", "inverse-rate", 0.3),
    ("random", "region-share", 0.2),
    ("random", "region-share", 0.6),
    ("ast-cut", "region-share", 0.6),
    ("ast-span", "region-share", 0.1),
    ("ast-span", "region-share", 0.6),
    ("random-matched", "region-share", 0.1),
    ("random", "reveal", 0.1),
    ("random", "reveal", 0.6),
    ("ast-cut", "reveal", 0.1),
    ("ast-cut", "reveal", 0.6),
    ("ast-token", "reveal", 0.3),
]


@pytest.mark.parametrize(("strategy", "objective", "rate"), UNBIASED)
def test_weights_sum_to_the_corruptible_tokens_in_expectation(strategy: str, objective: str, rate: float) -> None:
    """Where marginals are known, or something of every code is masked, the mean weight of a corruptible token is 1."""
    row = row_of(50, random_family(random.Random(5), 50), reasoning=20)
    mean, error = mean_weight(row, CorruptionConfig(strategy=strategy, objective=objective), rate, 24)
    assert error < 0.15
    assert abs(mean - 1) < 5 * error


def test_weights_of_independent_spans_sum_to_what_spans_hold() -> None:
    """Under the independent rule the mean weight is 1 a token that a span holds, and 0 a code token that none does."""
    row = row_of(40, [(3, 30), (4, 9), (12, 15)], prompt=3, reasoning=0, scaffold=0)
    config = CorruptionConfig(strategy="ast-span-independent")
    mean, error = mean_weight(row, config, 0.02, 24)
    assert error < 0.05
    assert abs(mean - 27 / 40) < 5 * error


# -------------------------------------------------------------------------------------------------------------------- reveal


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_revealed_units_are_corrupted_and_whole(strategy: str) -> None:
    """Only corrupted positions are revealed, and all tokens of a subtree come back together or not at all."""
    row = row_of(60, [(0, 60), *[(start, start + 5) for start in range(0, 60, 5)]])
    first = Sample.of(row).code[0]
    config = CorruptionConfig(strategy=strategy, objective="reveal", max_span_share=0.5)
    result = corrupted(batch_of(copies(row, 400)), config, 0.004)
    assert not (result.is_scored_BL & (result.operator_BL == 0)).any()
    for index in range(400):
        for unit in units(result, index):
            start, end = (int(column[unit]) for column in (row.span_start, row.span_end))
            assert first <= start < end
            back = result.is_scored_BL[index, start:end]
            assert back.all() or not back.any()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("step", [1, 2, 20])
def test_units_come_back_with_probability_one_over_t(strategy: str, step: int) -> None:
    """At step t a corrupted subtree, and a corrupted token, is revealed with probability 1/t."""
    row = row_of(200, [(start, start + 5) for start in range(0, 150, 5)], reasoning=100)
    config = CorruptionConfig(strategy=strategy, objective="reveal", role_rates=(0.1, 0.1, 0.1, 0.1))
    result = corrupted(batch_of(copies(row, 800)), config, step / NUM_STEPS, seed=step)
    in_unit = torch.zeros_like(result.is_scored_BL)
    tries = back = 0
    for unit in range(result.unit_BS.shape[1]):
        start, end = int(row.span_start[unit]), int(row.span_end[unit])
        is_drawn = result.unit_BS[:, unit]
        in_unit[:, start:end] |= is_drawn[:, None]
        tries += int(is_drawn.sum())
        back += int((is_drawn & result.is_scored_BL[:, start]).sum())
    single = (result.operator_BL != 0) & ~in_unit
    for count, came in ((tries, back), (int(single.sum()), int((single & result.is_scored_BL).sum()))):
        assert count > 15 or (count == 0 and strategy not in SPAN_STRATEGIES)
        assert abs(came - count / step) <= 5 * math.sqrt(count / step * (1 - 1 / step))


def test_reveal_all_scores_what_is_visible() -> None:
    """The literal reading of eq. 3 scores all corruptible positions but the masked ones that stay masked, at weight 1."""
    rows = random_rows(30, seed=12)
    for strategy in STRATEGIES:
        alone, every = (
            corrupted(batch_of(rows), CorruptionConfig(strategy=strategy, objective=objective), 0.004)
            for objective in REVEALING
        )
        assert torch.equal(alone.operator_BL, every.operator_BL)
        for index, row in enumerate(rows):
            hidden = positions(alone, index) - set(alone.is_scored_BL[index].nonzero().flatten().tolist())
            want = set(Sample.of(row).corruptible) - hidden
            assert set(every.is_scored_BL[index].nonzero().flatten().tolist()) == want
            assert set(every.weight_BL[index].nonzero().flatten().tolist()) == want
        assert every.weight_BL.max() == 1


# --------------------------------------------------------------------------------------------------------------------- steps


def test_a_step_stands_for_its_own_rate() -> None:
    """The rate t/T has the step t, for all T of them."""
    steps = np.arange(1, NUM_STEPS + 1)
    assert (step_of(steps / NUM_STEPS) == steps).all()


@given(st.floats(0, 1))
def test_steps_round_up(rate: float) -> None:
    """A rate's step is the smallest in 1 to T whose rate is not below it."""
    (step,) = step_of(np.array([rate]))
    assert 1 <= step <= NUM_STEPS
    assert step / NUM_STEPS >= rate
    assert step == 1 or (step - 1) / NUM_STEPS < rate


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_reveal_objectives_corrupt_at_the_rate_of_the_step(objective: str) -> None:
    """What corrupts at a rate between two steps is the upper one's rate, for the reveal objectives alone."""
    row = row_of(50, [(0, 50), (1, 20)])
    planned = plan(batch_of([row]), CorruptionConfig(objective=objective), Noise.fixed(0.53951, 1), seed=0, epoch=0)
    assert uses_steps(objective) == (objective in REVEALING)
    assert planned.rate_B.tolist() == [0.54 if objective in REVEALING else 0.53951]
    assert planned.budget_B.tolist() == [27 if objective in REVEALING else 26]
