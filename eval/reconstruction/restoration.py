"""Masked sequences restored: the masks filled over a fixed number of steps, the most confident first, wherever they are.

No blocks, caches or early ends as in inference's sampler.py: what is measured is how well a model fills masks with text on all
sides. What a step decides is in denoising_step.py of the trainer; what the result is worth is in recovery.py.

Shapes: B sequences, L tokens, N masked positions, V vocabulary, D width.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from syntaxdiff.eval.inference.canvas import NO_POSITION
from syntaxdiff.train.model.denoiser import Denoiser, Inputs, padding_mask
from syntaxdiff.train.model.denoising_config import StepRule
from syntaxdiff.train.model.denoising_step import denoise_step, transfer_counts


class Masked(NamedTuple):
    """A sequence to restore: the clean ids, what the model sees, and how many tokens lie outside of its prompt."""

    clean_ids: npt.NDArray[np.int64]
    seen_ids: npt.NDArray[np.int64]
    num_corruptible: int


class Restored(NamedTuple):
    """What a model made of a masked sequence.

    ``nats``: cross entropy of the clean token at every position in the first step, in which all masks are seen; 0 where
    nothing was masked.
    """

    ids: npt.NDArray[np.int64]
    nats: npt.NDArray[np.float64]


def restore(
    denoiser: Denoiser,
    sequences: Sequence[Masked],
    rule: StepRule,
    *,
    num_steps: int,
    batch_size: int,
    on_done: Callable[[int], None] | None = None,
) -> list[Restored]:
    """Fills the masks of sequences: in each of the steps an equal share, one at least.

    Args:
        denoiser: in evaluation mode; the device of its weights is used
        rule: of one step, with the schedule ``fixed``
        num_steps: denoising steps; a sequence with fewer masks takes fewer
        batch_size: sequences at a time, those of like length together
        on_done: called with the number of sequences that were restored since
    """
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index].clean_ids))
    done: dict[int, Restored] = {}
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        results = _restore_batch(denoiser, [sequences[index] for index in batch], rule, num_steps)
        done.update(zip(batch, results, strict=True))
        if on_done is not None:
            on_done(len(batch))
    return [done[index] for index in range(len(sequences))]


@torch.inference_mode()
def _restore_batch(denoiser: Denoiser, sequences: Sequence[Masked], rule: StepRule, num_steps: int) -> list[Restored]:
    device = next(denoiser.parameters()).device
    ids_BL = _padded([sequence.seen_ids for sequence in sequences], 0).to(device)
    clean_BL = _padded([sequence.clean_ids for sequence in sequences], 0).to(device)
    length_B = torch.tensor([len(sequence.seen_ids) for sequence in sequences], device=device)
    num_corruptible_B1 = torch.tensor([[max(1, sequence.num_corruptible)] for sequence in sequences], device=device)
    attention_mask = padding_mask(length_B, ids_BL.shape[1]) if int(length_B.min()) < ids_BL.shape[1] else None

    places = [np.flatnonzero(sequence.seen_ids == rule.mask_id) for sequence in sequences]
    counts = [transfer_counts(len(place), num_steps) for place in places]
    slot_BN = _padded(places, NO_POSITION).to(device)
    is_real_BN = slot_BN != NO_POSITION
    slot_BN = slot_BN.clamp(min=0)
    block_BN = torch.where(is_real_BN, rule.mask_id, NO_POSITION)
    row_N, column_N = is_real_BN.nonzero(as_tuple=True)
    nats_BN = torch.zeros(slot_BN.shape, dtype=torch.float64)
    for step in range(max(map(len, counts))):
        rate_B1 = (block_BN == rule.mask_id).sum(dim=1, keepdim=True) / num_corruptible_B1
        hidden_BLD = denoiser.hidden(Inputs(ids_BL, attention_mask, rate_BL=rate_B1))
        hidden_BND = hidden_BLD.gather(1, slot_BN[..., None].expand(-1, -1, hidden_BLD.shape[-1]))
        logits_BNV: Tensor = denoiser.network.lm_head(hidden_BND)
        if step == 0:
            logits_BVN = logits_BNV.to(torch.promote_types(logits_BNV.dtype, torch.float32)).transpose(1, 2)
            nats_BN = cross_entropy(logits_BVN, clean_BL.gather(1, slot_BN), reduction="none").double().cpu()
        quota_B = torch.tensor([count[step] if step < len(count) else 0 for count in counts], device=device)
        block_BN = denoise_step(block_BN, logits_BNV, rule, quota_B).ids_BN
        ids_BL[row_N, slot_BN[row_N, column_N]] = block_BN[row_N, column_N]
    assert not (block_BN == rule.mask_id).any()

    results = []
    for row, (sequence, place) in enumerate(zip(sequences, places, strict=True)):
        nats = np.zeros(len(sequence.seen_ids))
        nats[place] = nats_BN[row, : len(place)].numpy()
        results.append(Restored(ids_BL[row, : len(sequence.seen_ids)].cpu().numpy(), nats))
    return results


def _padded(values: Sequence[npt.NDArray[Any]], fill: int) -> Tensor:
    """Rows of different lengths as one int64 tensor, padded to the longest."""
    width = max(map(len, values))
    rows = [np.pad(value.astype(np.int64), (0, width - len(value)), constant_values=fill) for value in values]
    return torch.from_numpy(np.stack(rows))
