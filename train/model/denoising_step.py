"""One denoising step: which masked positions of a block are filled, and with what.

The step is a pure function of a block's ids, the model's logits and random numbers; sampling, confidence and schedule are parts
that can be exchanged. Evaluation builds generation from it (caches, batches, prompts); the trainer shows programs with
``denoise``.

Sources: low-confidence remasking, equal shares a step, Gumbel noise: LLaDA (Nie et al. 2025). Margin and entropy: Dream (Ye et
al. 2025). Threshold and factor: Fast-dLLM (Wu et al. 2025).

Shapes: B canvases, N positions of a block, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from syntaxdiff.train.model.denoising_config import StepRule


class Uniforms(NamedTuple):
    """Random numbers of a step, float64 in [0, 1); None where the rule asks for none."""

    token_BNV: Tensor | None = None  # at a temperature above 0
    order_BN: Tensor | None = None  # for the confidence `random`


class Step(NamedTuple):
    """What a step did."""

    ids_BN: Tensor
    is_committed_BN: Tensor  # bool
    confidence_BN: Tensor  # of every position, as the schedule saw it; -inf where nothing was masked


def denoise_step(
    ids_BN: Tensor, logits_BNV: Tensor, rule: StepRule, quota_B: Tensor | None = None, uniforms: Uniforms | None = None
) -> Step:
    """Fills the most confident of the masked positions.

    Args:
        ids_BN: int64; positions that are not masks stay as they are (negative ids stand for no position)
        logits_BNV: of those positions
        quota_B: int64, positions to fill under the schedule ``fixed``
        uniforms: random numbers, where the rule needs them

    Returns:
        a Step; in every canvas with a mask at least one position is filled. Of equally confident positions the first goes
        first.
    """
    uniforms = uniforms or Uniforms()
    is_masked_BN = ids_BN == rule.mask_id
    logits_BNV = logits_BNV.to(torch.promote_types(logits_BNV.dtype, torch.float32), copy=True)
    logits_BNV[..., list(rule.never)] = -torch.inf
    token_BN = sampled(logits_BNV, rule.temperature, uniforms.token_BNV)
    confidence_BN = confidence_of(logits_BNV, token_BN, rule.confidence, uniforms.order_BN)
    if rule.lower_end:
        is_end_BN = torch.isin(token_BN, torch.tensor(rule.end_ids, device=token_BN.device))
        confidence_BN = torch.where(is_end_BN, confidence_BN - 2, confidence_BN)  # below every other, which lie in [0, 1]
    confidence_BN = confidence_BN.masked_fill(~is_masked_BN, -torch.inf)
    is_committed_BN = chosen(confidence_BN, is_masked_BN, rule, quota_B)
    return Step(torch.where(is_committed_BN, token_BN, ids_BN), is_committed_BN, confidence_BN)


def sampled(logits_BNV: Tensor, temperature: float, uniform_BNV: Tensor | None) -> Tensor:
    """The most probable token of each position, after Gumbel noise at a temperature above 0.

    LLaDA takes the largest exp(logit) / (-log u)^temperature; this is its logarithm, which does not overflow, in float64 too.
    """
    if temperature == 0:
        return logits_BNV.argmax(dim=-1)
    assert uniform_BNV is not None
    return (logits_BNV.double() - temperature * torch.log(-torch.log(uniform_BNV))).argmax(dim=-1)


def confidence_of(logits_BNV: Tensor, token_BN: Tensor, measure: str, uniform_BN: Tensor | None) -> Tensor:
    """Confidence of each position, in [0, 1].

    ``low-confidence``: probability of the token; ``margin``: the largest probability less the second; ``entropy``: 1 less the
    entropy over its maximum log V; ``random``: the uniform numbers. Probabilities are those without noise.
    """
    if measure == "random":
        assert uniform_BN is not None
        return uniform_BN
    probability_BNV = logits_BNV.softmax(dim=-1)
    if measure == "low-confidence":
        return probability_BNV.gather(-1, token_BN[..., None])[..., 0]
    if measure == "margin":
        first, second = probability_BNV.topk(2, dim=-1).values.unbind(-1)
        return first - second
    assert measure == "entropy"
    nats_BN: Tensor = torch.special.entr(probability_BNV).sum(dim=-1)
    return 1 - nats_BN / math.log(probability_BNV.shape[-1])


def chosen(confidence_BN: Tensor, is_masked_BN: Tensor, rule: StepRule, quota_B: Tensor | None) -> Tensor:
    """Which positions are filled, bool [B, N]; never more than are masked, and at least one where any is.

    ``fixed``: the ``quota_B`` most confident; ``threshold``: all of at least the threshold; ``factor``: the n most confident
    for the largest n with (n + 1)(1 - c_n) < factor, c_n being the n-th largest confidence.
    """
    sorted_BN, order_BN = confidence_BN.sort(dim=-1, descending=True, stable=True)
    if rule.schedule == "fixed":
        assert quota_B is not None
        count_B = quota_B
    elif rule.schedule == "threshold":
        count_B = (confidence_BN >= rule.threshold).sum(dim=-1)
    else:
        assert rule.schedule == "factor"
        after_N = torch.arange(2, confidence_BN.shape[-1] + 2, device=confidence_BN.device)  # n + 1
        # The left side grows with n, so what holds for n holds for all before it.
        count_B = (after_N * (1 - sorted_BN) < rule.factor).sum(dim=-1)
    rank_BN = order_BN.argsort(dim=-1)
    return is_masked_BN & (rank_BN < count_B.clamp(min=1)[:, None])


def transfer_counts(num_masked: int, num_steps: int) -> list[int]:
    """Positions to fill in each step: equal shares, the first steps one more, steps without any left out (LLaDA)."""
    share, rest = divmod(num_masked, num_steps)
    return [share + (step < rest) for step in range(num_steps) if share or step < rest]


def denoise(
    logits_of: Callable[[Tensor], Tensor], prompt_ids: list[int], *, num_tokens: int, num_steps: int, block: int, mask_id: int
) -> list[int]:
    """Greedy generation of a canvas behind one prompt, by low-confidence remasking with fixed steps.

    Args:
        logits_of: ids [1, L] to logits [1, L, V]
        prompt_ids: never changed
        num_tokens: canvas length
        num_steps: denoising steps over the whole canvas, at least one per block
        block: canvas positions that are filled before the next block begins

    Returns:
        the canvas; it holds no mask
    """
    rule = StepRule(mask_id=mask_id, never=(mask_id,))
    canvas = torch.tensor([prompt_ids + [mask_id] * num_tokens])
    end = canvas.shape[1]
    steps_per_block = max(1, num_steps // -(-num_tokens // block)) if num_tokens else 0
    for first in range(len(prompt_ids), end, block):
        last = min(first + block, end)
        for count in transfer_counts(last - first, steps_per_block):
            logits = logits_of(canvas)[:, first:last].cpu()
            canvas[:, first:last] = denoise_step(canvas[:, first:last], logits, rule, torch.tensor([count])).ids_BN
    result: list[int] = canvas[0, len(prompt_ids) :].tolist()
    return result
