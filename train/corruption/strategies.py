"""Which code tokens are corrupted: the six strategies, batched, on the device, without a loop over spans.

Each strategy yields *units*: whole subtrees that do not overlap, and single tokens outside of them; and for each code token
the probability of being among them, which the loss weights by. What happens to a unit is in operators.py, the token-wise
corruption of reasoning and scaffold in corrupt.py. docs/corruption.md has the rules, their marginals and the proofs.

Shapes: B batch, C code tokens, S candidate spans. Positions count from the first code token. A span holds [start, end).
"""

from typing import NamedTuple

import torch
from torch import Tensor

_LAST = torch.iinfo(torch.int64).max


class Code(NamedTuple):
    """The code regions of a batch, and the families of spans over them."""

    start_BS: Tensor
    end_BS: Tensor
    length_BS: Tensor  # 0 where padded
    parent_BS: Tensor
    is_candidate_BS: Tensor  # bool: no padding, and not too long
    has_candidate_B: Tensor  # bool
    is_code_BC: Tensor  # bool
    latest_BC: Tensor  # index of the last span that starts at or before a token, -1 where none does


class Units(NamedTuple):
    """What a strategy drew."""

    span_BS: Tensor  # bool: subtrees, of which no two overlap
    token_BC: Tensor  # bool: single tokens outside of them
    marginal_BC: Tensor  # float64: probability of a token to be in one or the other, over all draws


class Draws(NamedTuple):
    """The random numbers that strategies share; a strategy reads those of its rule."""

    token_coin_BC: Tensor  # float64 in [0, 1)
    span_coin_BS: Tensor  # float64 in [0, 1)
    span_order_BS: Tensor  # int64: earlier is smaller
    fill_order_BC: Tensor  # int64: earlier is smaller


def code_of(start_BS: Tensor, end_BS: Tensor, parent_BS: Tensor, num_code_B: Tensor, width: int, longest_B: Tensor) -> Code:
    """What the strategies read of a batch's spans.

    Args:
        start_BS, end_BS, parent_BS: of batch.SampleTensors
        num_code_B: code tokens of each sample
        width: C
        longest_B: most tokens of a candidate
    """
    position_C = torch.arange(width, device=start_BS.device)
    length_BS = end_BS - start_BS
    is_candidate_BS = (length_BS > 0) & (length_BS <= longest_B[:, None])
    return Code(
        start_BS=start_BS,
        end_BS=end_BS,
        length_BS=length_BS,
        parent_BS=parent_BS,
        is_candidate_BS=is_candidate_BS,
        has_candidate_B=is_candidate_BS.any(dim=1),
        is_code_BC=position_C < num_code_B[:, None],
        latest_BC=count_up_to(start_BS, width) - 1,
    )


def token_units(rate_BC: Tensor, code: Code, draws: Draws) -> Units:
    """`random` and `ast-token`: each token with its own probability (paper, baselines 2 and 3)."""
    return Units(
        span_BS=torch.zeros_like(code.is_candidate_BS),
        token_BC=code.is_code_BC & (draws.token_coin_BC < rate_BC),
        marginal_BC=rate_BC,
    )


def algorithm_1(survival_BS: Tensor, budget_B: Tensor, rate_B: Tensor, code: Code, draws: Draws) -> Units:
    """`ast-span`: the paper's Algorithm 1, for the same draws equal to the sequential loop bit for bit.

    In the order of the shuffle, a span that survives its coin is masked unless one of its tokens is; the loop stops once more
    than the budget is masked; random free tokens fill up to the budget.

    Here without a loop: in a nested family, the spans that the loop masks if it is never stopped are the outermost among
    those that come first in their own subtree (docs/corruption.md, "Algorithm 1 in closed form"). The loop's stop then keeps
    those whose predecessors hold at most the budget together.

    Args:
        survival_BS: float64 (1 - rate)^length, the chance that the coin strikes a span out
        budget_B: int64 N, at most the number of code tokens
        rate_B: float64; for samples without candidates, which fall back to token-wise masking (paper, "Instantiation"), and
            as the marginal, which has no closed form here
    """
    num_spans = code.start_BS.shape[1]
    order_BS = torch.argsort(draws.span_order_BS, dim=1, stable=True)
    index_S = torch.arange(num_spans, device=order_BS.device)
    rank_BS = torch.empty_like(order_BS).scatter_(1, order_BS, index_S.expand_as(order_BS))
    survives_BS = code.is_candidate_BS & (draws.span_coin_BS >= survival_BS)

    past_BS = torch.searchsorted(code.start_BS, code.end_BS)  # pre-order: a subtree is an interval of indices
    earliest_BS = _interval_min(torch.where(survives_BS, rank_BS, num_spans), past_BS)
    is_first_BS = survives_BS & (earliest_BS == rank_BS)
    accepted_BS = outermost(is_first_BS, code)

    length_by_rank_BS = torch.where(accepted_BS, code.length_BS, 0).gather(1, order_BS)
    held_before_BS = length_by_rank_BS.cumsum(dim=1) - length_by_rank_BS
    span_BS = accepted_BS & (held_before_BS <= budget_B[:, None]).gather(1, rank_BS)

    needed_B = budget_B - torch.where(span_BS, code.length_BS, 0).sum(dim=1)
    is_free_BC = code.is_code_BC & ~covered(span_BS, code)
    filled_BC = _some_of(is_free_BC, needed_B, draws)
    return _or_tokens(Units(span_BS, filled_BC, rate_B[:, None].expand(is_free_BC.shape)), rate_B, code, draws)


def matched(units: Units, code: Code, draws: Draws) -> Units:
    """`random-matched`: as many code tokens as Algorithm 1 masks for the same draws, drawn without regard to syntax.

    The control for the shape of what is masked: equal in how much, sample by sample. The marginal is Algorithm 1's, so that
    every objective weighs both alike.

    Args:
        units: of ``algorithm_1``
    """
    num_masked_B = (covered(units.span_BS, code) | units.token_BC).sum(dim=1)
    some_BC = _some_of(code.is_code_BC, num_masked_B, draws)
    return Units(
        span_BS=torch.zeros_like(units.span_BS),
        token_BC=torch.where(code.has_candidate_B[:, None], some_BC, units.token_BC),
        marginal_BC=units.marginal_BC,
    )


def independent_spans(survival_BS: Tensor, survival_BC: Tensor, rate_B: Tensor, code: Code, draws: Draws) -> Units:
    """`ast-span-independent`: every span by itself, overlaps allowed (paper, "Instantiation").

    The units are the outermost of the drawn spans, which hold the same tokens as all of them.

    Args:
        survival_BS: float64 (1 - rate)^length
        survival_BC: float64 (1 - rate)^(sum of the lengths of the candidates over a token)
        rate_B: float64, for samples without candidates
    """
    drawn_BS = code.is_candidate_BS & (draws.span_coin_BS >= survival_BS)
    units = Units(outermost(drawn_BS, code), torch.zeros_like(code.is_code_BC), 1 - survival_BC)
    return _or_tokens(units, rate_B, code, draws)


def cut(granularity_B: Tensor, rate_B: Tensor, code: Code, draws: Draws) -> Units:
    """`ast-cut`: the code cut into blocks of at most a granularity, each masked with the mask rate.

    A block is a span no longer than the granularity whose parent is longer; every other token is a block of its own. Lengths
    do not shrink from a span to its parent, so each token lies in exactly one block, and its marginal is the mask rate.

    Args:
        granularity_B: int64 tokens, drawn independently of all coins
        rate_B: float64
    """
    parent_length_BS = code.length_BS.gather(1, code.parent_BS.clamp(min=0))
    is_within_BS = (code.length_BS <= granularity_B[:, None]) & code.is_candidate_BS
    is_outermost_BS = (code.parent_BS < 0) | (parent_length_BS > granularity_B[:, None])
    block_BS = is_within_BS & (is_outermost_BS | ~code.is_candidate_BS.gather(1, code.parent_BS.clamp(min=0)))
    in_block_BC = covered(block_BS, code)
    return Units(
        span_BS=block_BS & (draws.span_coin_BS < rate_B[:, None]),
        token_BC=code.is_code_BC & ~in_block_BC & (draws.token_coin_BC < rate_B[:, None]),
        marginal_BC=rate_B[:, None].expand(in_block_BC.shape),
    )


def outermost(chosen_BS: Tensor, code: Code) -> Tensor:
    """Those of the chosen spans that no other chosen one holds, bool [B, S]."""
    furthest_BS = torch.where(chosen_BS, code.end_BS, 0).cummax(dim=1).values
    # In pre-order, what starts before a span and ends after its start holds it.
    before_BS = torch.nn.functional.pad(furthest_BS[:, :-1], (1, 0))
    return chosen_BS & (before_BS <= code.start_BS)


def covered(chosen_BS: Tensor, code: Code) -> Tensor:
    """Whether a chosen span holds a token, bool [B, C]."""
    position_C = torch.arange(code.is_code_BC.shape[1], device=chosen_BS.device)
    furthest_BS = torch.where(chosen_BS, code.end_BS, 0).cummax(dim=1).values
    return (furthest_BS.gather(1, code.latest_BC.clamp(min=0)) > position_C) & (code.latest_BC >= 0)


def owner(unit_BS: Tensor, code: Code) -> Tensor:
    """Index of the unit that holds a token, -1 where none does, int64 [B, C]. Units do not overlap."""
    latest_BS = torch.where(unit_BS, torch.arange(unit_BS.shape[1], device=unit_BS.device), -1).cummax(dim=1).values
    owner_BC = latest_BS.gather(1, code.latest_BC.clamp(min=0))
    return torch.where(covered(unit_BS, code), owner_BC, -1)


def stabbing_sum(value_BS: Tensor, code: Code) -> Tensor:
    """Sum of the values of all spans that hold a token, int64 [B, C]."""
    width = code.is_code_BC.shape[1]
    changes = value_BS.new_zeros(value_BS.shape[0], width + 1)
    changes = changes.scatter_add(1, code.start_BS, value_BS).scatter_add(1, code.end_BS, -value_BS)
    return changes.cumsum(dim=1)[:, :width]


def count_up_to(border_BN: Tensor, width: int) -> Tensor:
    """How many borders lie at or before each of ``width`` positions, int64. Borders lie in [0, width]."""
    counts = border_BN.new_zeros(border_BN.shape[0], width + 1)
    return counts.scatter_add(1, border_BN, torch.ones_like(border_BN)).cumsum(dim=1)[:, :width]


def _some_of(is_free_BC: Tensor, count_B: Tensor, draws: Draws) -> Tensor:
    """So many of the free tokens, the first ones of the fill order, bool [B, C]."""
    fill_BC = torch.argsort(torch.where(is_free_BC, draws.fill_order_BC, _LAST), dim=1, stable=True)
    is_needed_BC = torch.arange(fill_BC.shape[1], device=fill_BC.device) < count_B[:, None]
    return torch.zeros_like(is_free_BC).scatter_(1, fill_BC, is_needed_BC)


def _or_tokens(units: Units, rate_B: Tensor, code: Code, draws: Draws) -> Units:
    """The units, or token-wise masking for samples without a candidate."""
    has_BX = code.has_candidate_B[:, None]
    tokens = token_units(rate_B[:, None].expand(code.is_code_BC.shape), code, draws)
    return Units(
        span_BS=units.span_BS & has_BX,
        token_BC=torch.where(has_BX, units.token_BC, tokens.token_BC),
        marginal_BC=torch.where(has_BX, units.marginal_BC, tokens.marginal_BC),
    )


def _interval_min(value_BS: Tensor, past_BS: Tensor) -> Tensor:
    """Minimum of the values at [i, past_i) for each index i, by a table of minima over 2^k neighbours."""
    num_spans = value_BS.shape[1]
    index_S = torch.arange(num_spans, device=value_BS.device)
    levels = [value_BS]
    while 2 ** len(levels) <= num_spans:
        half = 2 ** (len(levels) - 1)
        last = levels[-1]
        levels.append(torch.cat([torch.minimum(last[:, :-half], last[:, half:]), last[:, -half:]], dim=1))
    widths = torch.bitwise_left_shift(torch.ones_like(index_S[: len(levels)]), torch.arange(len(levels), device=index_S.device))
    # A padded span is an empty interval; it reads its own value, and nothing of it is used.
    level_BS = torch.bucketize((past_BS - index_S).clamp(min=1), widths, right=True) - 1
    table = torch.cat(levels, dim=1)  # value at (level, i) lies in column level x S + i
    left_BS = table.gather(1, level_BS * num_spans + index_S)
    right_BS = table.gather(1, level_BS * num_spans + (past_BS - widths[level_BS]).clamp(min=0))
    return torch.minimum(left_BS, right_BS)
