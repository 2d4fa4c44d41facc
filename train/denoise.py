"""Denoising generation: masks behind a prompt are filled block by block, the most confident positions first.

The trainer shows programs with it; evaluation generates with it. LLaDA's low-confidence remasking (Nie et al. 2025) with fixed
steps: each step commits an equal share of a block's positions.

Shapes: B batch, L tokens, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def denoise(
    logits_of: Callable[[Tensor], Tensor], prompt_ids: list[int], *, num_tokens: int, num_steps: int, block: int, mask_id: int
) -> list[int]:
    """Greedy generation of a canvas behind one prompt.

    Args:
        logits_of: ids [1, L] to logits [1, L, V]
        prompt_ids: never changed
        num_tokens: canvas length
        num_steps: denoising steps over the whole canvas, at least one a block
        block: canvas positions that are filled before the next block begins

    Returns:
        the canvas; it holds no mask
    """
    canvas = torch.tensor([prompt_ids + [mask_id] * num_tokens])
    start = len(prompt_ids)
    num_blocks = -(-num_tokens // block)
    per_block = max(1, num_steps // num_blocks)
    for first in range(start, start + num_tokens, block):
        last = min(first + block, start + num_tokens)
        for step in range(per_block):
            is_masked = canvas[0, first:last] == mask_id
            logits = logits_of(canvas)[0, first:last].float().cpu()
            logits[:, mask_id] = -torch.inf
            confidence, best = logits.softmax(dim=-1).max(dim=-1)
            confidence = torch.where(is_masked, confidence, -torch.inf)
            count = -(-int(is_masked.sum()) // (per_block - step))  # what is left, spread over the steps that are left
            chosen = confidence.topk(count).indices
            canvas[0, first + chosen] = best[chosen]
    result: list[int] = canvas[0, start:].tolist()
    return result
