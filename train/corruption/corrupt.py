"""The corruption of a batch: what the model sees, what the loss scores, and how much.

Read ``corrupt`` first: regions, draws, strategy, operators, objective. What the host must decide, in float64 and before the
tensors exist, is in ``plan``: keys, rates, budgets, granularities, and the powers of 1 - rate that coins are compared with.
``corrupt`` itself runs on the device, without a loop over spans and without asking the device anything.

A sample's corruption is a function of (seed, epoch, sample id, rate, ceiling): equal on CPU and GPU, for any number of ranks
and any grouping into batches. Sections 5 and 6 of the design; docs/corruption.md.

Shapes: B batch, L tokens, C code tokens, S candidate spans, K streams, D digits, R roles.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import Region, TokenIds
from syntaxdiff.train.corruption.config import (
    SHUFFLED_STRATEGIES,
    SPAN_STRATEGIES,
    CorruptionConfig,
    OperatorShares,
)
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.objective import NUM_STEPS, scored, step_of, uses_steps
from syntaxdiff.train.corruption.operators import (
    LeafTables,
    Leaves,
    Operated,
    Operator,
    OperatorDraws,
    SpanLabels,
    leaves_of,
    mask_units,
    operate,
)
from syntaxdiff.train.corruption.strategies import (
    Code,
    Draws,
    Units,
    algorithm_1,
    code_of,
    count_up_to,
    cut,
    independent_spans,
    matched,
    owner,
    stabbing_sum,
    token_units,
)
from syntaxdiff.train.data.batch import Batch, SampleTensors, copied
from syntaxdiff.train.randomness import Stream, draw, order_key, stream_keys, uniform, unit_of

_DIGITS, _RADIX = 4, 256  # exponents below 2^32: the lengths over a token sum to at most tokens^2 / 2


class Plan(NamedTuple):
    """What the host decided for a batch, as tensors on the batch's device."""

    keys_BK: Tensor  # int64
    rate_B: Tensor  # float64
    budget_B: Tensor  # int64, code tokens of Algorithm 1
    granularity_B: Tensor  # int64, of ast-cut
    longest_B: Tensor  # int64, most tokens of a candidate
    survival_BDX: Tensor  # float64: (1 - rate)^(x 256^d), the powers by digit
    role_rate_BR: Tensor  # float64
    step_B: Tensor  # float64, of the reveal objectives

    def to(self, device: torch.device | str) -> "Plan":
        """The plan on a device; the host does not wait for the copies to a GPU."""
        return Plan(*(copied(tensor, device) for tensor in self))


class Corrupted(NamedTuple):
    """A corrupted batch. Everything lies on the batch's device."""

    input_ids_BL: Tensor  # int64, what the model sees
    operator_BL: Tensor  # uint8, operators.Operator: what happened to a position; 0 where nothing did
    is_scored_BL: Tensor  # bool, the positions in the loss
    weight_BL: Tensor  # float32, 0 where not scored
    unit_BS: Tensor  # bool, the subtrees that were drawn


def plan(batch: Batch, config: CorruptionConfig, noise: Noise, *, seed: int, epoch: int | Sequence[int]) -> Plan:
    """What the host decides for a batch, on the CPU.

    Args:
        batch: on any device; only what the host knows of it is read
        noise: rate of each sample, and ceiling
        seed, epoch: with a sample's id they fix its draws; one epoch for all, or each sample's own

    Raises:
        SettingsError: a rate outside [0, 1]; the message names the sample
    """
    rate_B = np.asarray(noise.rate_B, dtype=np.float64)
    if rate_B.shape != (len(batch),):
        raise SettingsError(f"{len(batch)} samples and {rate_B.size} mask rates")
    for sample_id, rate in zip(batch.sample_ids, rate_B.tolist(), strict=True):
        if not 0 <= rate <= 1:
            raise SettingsError(f"sample {sample_id}: the mask rate {rate} is not in [0, 1]")
    if not 0 <= noise.ceiling <= 1:
        raise SettingsError(f"the ceiling {noise.ceiling} is not in [0, 1]")
    step_B = step_of(rate_B)
    if uses_steps(config.objective):
        rate_B = step_B / NUM_STEPS
    keys_BK = stream_keys(seed, epoch, batch.sample_ids)
    role_rate_R = np.array(config.role_rates) * noise.ceiling
    values = (
        keys_BK,
        rate_B,
        np.floor(rate_B * batch.num_code_B).astype(np.int64),
        _granularities(keys_BK[:, Stream.GRANULARITY], batch.num_code_B),
        np.floor(config.max_span_share * batch.num_code_B).astype(np.int64),
        _powers(1 - rate_B),
        np.tile(role_rate_R, (len(batch), 1)),
        step_B.astype(np.float64),
    )
    return Plan(*map(torch.from_numpy, values))


def _granularities(keys_B: npt.NDArray[np.int64], num_code_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Log-uniform on [1, code tokens], as the integer that lengths are compared with."""
    pairs = zip(keys_B.tolist(), num_code_B.tolist(), strict=True)
    return np.array([math.floor(math.exp(unit_of(key) * math.log(max(1, count)))) for key, count in pairs], dtype=np.int64)


def _powers(base_B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """base^(x 256^d) for x below 256 and d below 4, float64 [B, D, X], only by multiplications: `pow` differs by machine."""
    powers = np.ones((len(base_B), _DIGITS, _RADIX))
    step_B = base_B
    for digit in range(_DIGITS):
        filled = 1
        while filled < _RADIX:
            powers[:, digit, filled : 2 * filled] = powers[:, digit, :filled] * step_B[:, None]
            step_B = step_B * step_B
            filled *= 2
    return powers


def _power(exponent_BN: Tensor, powers_BDX: Tensor) -> Tensor:
    """The power of each exponent, float64 [B, N]."""
    result = powers_BDX[:, 0].gather(1, exponent_BN & (_RADIX - 1))
    for digit in range(1, _DIGITS):
        result = result * powers_BDX[:, digit].gather(1, exponent_BN >> 8 * digit & (_RADIX - 1))
    return result


def corrupt(
    samples: SampleTensors, plan: Plan, config: CorruptionConfig, ids: TokenIds, tables: LeafTables | None = None
) -> Corrupted:
    """Corrupts a batch on its device; no Python loop over spans or tokens, no synchronisation with the host.

    Reasoning and scaffold are corrupted token by token, the code by the strategy, the prompt never.

    Args:
        samples: the batch
        plan: of the same batch, on the same device
        config: strategy, objective, operators
        ids: mask and pad are read
        tables: what leaves can become, on the same device (leaves.leaf_tables); relabel and placeholder need them

    Raises:
        SettingsError: relabel or placeholder without tables
    """
    if tables is None and (config.operators.relabel or config.operators.placeholder):
        raise SettingsError("relabel and placeholder need the tables of what leaves can become: leaves.leaf_tables")
    batch_size, num_tokens = samples.input_ids_BL.shape
    width, num_spans = samples.role_BC.shape[1], samples.span_start_BS.shape[1]
    position_L = torch.arange(num_tokens, device=samples.input_ids_BL.device)
    region_BL = _regions(samples)
    is_code_BL = region_BL == Region.CODE.value
    in_code_BL = (position_L - samples.code_start_B[:, None]).clamp(0, width - 1)
    in_sequence_BC = (samples.code_start_B[:, None] + position_L[:width]).clamp(max=num_tokens - 1)
    rate_BL = plan.rate_B[:, None].expand(batch_size, num_tokens)

    token_coin_BL, draws = _draws(config.strategy, plan, in_sequence_BC, num_tokens, num_spans)
    code = code_of(
        samples.span_start_BS, samples.span_end_BS, samples.span_parent_BS, samples.num_code_B, width, plan.longest_B
    )
    units = _units(config.strategy, samples, plan, code, draws)
    code_ids_BC = samples.input_ids_BL.gather(1, in_sequence_BC)
    if config.operators.are_used:
        leaves = leaves_of(code_ids_BC, samples.leaf_kind_BC, samples.language_B, tables)
        operated = _operated(samples, leaves, units, code, plan, config.operators, ids)
    else:
        operated = mask_units(units, code_ids_BC, ids.mask, code)

    is_token_wise_BL = (region_BL == Region.REASONING.value) | (region_BL == Region.SCAFFOLD.value)
    token_operator_BL = (is_token_wise_BL & (token_coin_BL < rate_BL)).to(torch.uint8) * Operator.MASK.value
    operator_BL = torch.where(is_code_BL, operated.operator_BC.gather(1, in_code_BL), token_operator_BL)
    masked_BL = torch.where(operator_BL == Operator.MASK.value, ids.mask, samples.input_ids_BL)
    input_ids_BL = torch.where(is_code_BL, operated.ids_BC.gather(1, in_code_BL), masked_BL)
    is_corrupted_BL = operator_BL != Operator.NONE.value
    revealed_BL = None
    if uses_steps(config.objective):
        revealed_BL = is_corrupted_BL & _reveal(units, code, plan, is_code_BL, in_code_BL)
    loss = scored(
        config.objective,
        is_corrupted_BL=is_corrupted_BL,
        is_corruptible_BL=is_token_wise_BL | is_code_BL,
        is_code_BL=is_code_BL,
        is_revealed_BL=revealed_BL,
        marginal_BL=torch.where(is_code_BL, units.marginal_BC.gather(1, in_code_BL), rate_BL),
        step_B=plan.step_B,
    )
    return Corrupted(input_ids_BL, operator_BL, loss.is_scored_BL, loss.weight_BL, units.span_BS)


def _draws(strategy: str, plan: Plan, in_sequence_BC: Tensor, num_tokens: int, num_spans: int) -> tuple[Tensor, Draws]:
    """Coins of all tokens, [B, L], and what the strategy draws. Each stream has a key of its own: the others need no draw."""
    num_coins = num_spans if strategy in (*SPAN_STRATEGIES, *SHUFFLED_STRATEGIES) else 0
    num_orders = (num_spans, in_sequence_BC.shape[1]) if strategy in SHUFFLED_STRATEGIES else (0, 0)
    streams = (Stream.TOKEN_COIN, Stream.SPAN_COIN, Stream.SPAN_ORDER, Stream.FILL_ORDER)
    token, span, order, fill = draw(plan.keys_BK, list(zip(streams, (num_tokens, num_coins, *num_orders), strict=True)))
    token_coin_BL = uniform(token)
    return token_coin_BL, Draws(token_coin_BL.gather(1, in_sequence_BC), uniform(span), order_key(order), order_key(fill))


def _regions(samples: SampleTensors) -> Tensor:
    """The region of every token, uint8 [B, L]; PROMPT after a sample's end."""
    run_BL = count_up_to(samples.region_end_BR, samples.input_ids_BL.shape[1])
    return torch.nn.functional.pad(samples.region_label_BR, (0, 1), value=Region.PROMPT.value).gather(1, run_BL)


def _units(strategy: str, samples: SampleTensors, plan: Plan, code: Code, draws: Draws) -> Units:
    """What a strategy draws from the code."""
    rate_BC = plan.rate_B[:, None].expand(code.is_code_BC.shape)
    if strategy == "random":
        return token_units(rate_BC, code, draws)
    if strategy == "ast-token":
        return token_units(plan.role_rate_BR.gather(1, samples.role_BC.long()), code, draws)
    if strategy == "ast-cut":
        return cut(plan.granularity_B, plan.rate_B, code, draws)
    survival_BS = _power(code.length_BS, plan.survival_BDX)
    if strategy in SHUFFLED_STRATEGIES:
        units = algorithm_1(survival_BS, plan.budget_B, plan.rate_B, code, draws)
        return units if strategy == "ast-span" else matched(units, code, draws)
    lengths_BC = stabbing_sum(torch.where(code.is_candidate_BS, code.length_BS, 0), code)
    return independent_spans(survival_BS, _power(lengths_BC, plan.survival_BDX), plan.rate_B, code, draws)


def _operated(
    samples: SampleTensors, leaves: Leaves, units: Units, code: Code, plan: Plan, shares: OperatorShares, ids: TokenIds
) -> Operated:
    """The code of a batch, corrupted by operators."""
    num_spans, width = units.span_BS.shape[1], leaves.ids_BC.shape[1]
    span, leaf, siblings = draw(
        plan.keys_BK, [(Stream.SPAN_OPERATOR, num_spans), (Stream.LEAF_OPERATOR, width), (Stream.SIBLINGS, num_spans)]
    )
    draws = OperatorDraws(uniform(span), uniform(leaf), order_key(siblings), plan.keys_BK[:, Stream.DONOR])
    labels = SpanLabels(samples.span_kind_BS, samples.span_arity_BS)
    return operate(units, leaves, labels, code, draws, shares, ids)


def _reveal(units: Units, code: Code, plan: Plan, is_code_BL: Tensor, in_code_BL: Tensor) -> Tensor:
    """Whether the unit that holds a position comes back at step t - 1, bool [B, L]: with probability 1/t, whole."""
    num_spans, num_tokens = units.span_BS.shape[1], is_code_BL.shape[1]
    span, token = draw(plan.keys_BK, [(Stream.SPAN_REVEAL, num_spans), (Stream.TOKEN_REVEAL, num_tokens)])
    # Each is true with probability 1/t: u t < 1.
    span_BS = uniform(span) * plan.step_B[:, None] < 1
    token_BL = uniform(token) * plan.step_B[:, None] < 1
    owner_BL = owner(units.span_BS, code).gather(1, in_code_BL)
    in_unit_BL = is_code_BL & (owner_BL >= 0)
    return torch.where(in_unit_BL, span_BS.gather(1, owner_BL.clamp(min=0)), token_BL)
