"""Likelihoods: how probable a model holds answers to be, in nats, to choose the best of several.

For a diffusion model an estimate: the conditional likelihood of LLaDA (Nie et al. 2025, section on evaluation), with a number l
of the answer's L tokens masked, l uniform on 1 to L, and the masked tokens' log-probabilities times L / l. The counts are drawn
systematically, one from each of as many equal parts of [1, L] as there are samples, and answers of one length share counts and
masks, so that their difference has less noise than they have. For a causal model it is exact.

Shapes: S masked versions of an answer, L tokens, N masked tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from syntaxdiff.eval.inference.canvas import stream_seed
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.train.model.denoiser import Denoiser, Inputs


def check_num_samples(num_samples: int) -> None:
    """Raises SettingsError for a likelihood from fewer than one sample."""
    if num_samples < 1:
        raise SettingsError(f"a likelihood from {num_samples} samples: ask for at least one")


@torch.inference_mode()
def estimated_log_likelihoods(
    denoiser: Denoiser,
    mask_id: int,
    prompt: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    num_samples: int,
    seed: int,
    batch_size: int,
) -> list[float]:
    """Estimated log-probability of each answer given a prompt, in nats; 0 for an empty one.

    It is a lower bound in expectation, and lower for longer answers: compare answers of one length, or divide by it.

    Args:
        num_samples: masked versions of each answer
        seed: of counts and masks
        batch_size: masked versions at a time
    """
    masks_SL = {length: draw_masks(length, num_samples, seed) for length in {len(answer) for answer in answers} - {0}}
    return [
        _estimate(denoiser, mask_id, prompt, answer, masks_SL[len(answer)], batch_size) if answer else 0.0 for answer in answers
    ]


@torch.inference_mode()
def exact_log_likelihood(network: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Log-probability of an answer by the product rule, in nats.

    Args:
        network: a causal model of transformers
        prompt: at least one token
    """
    ids_L = torch.tensor([*prompt, *answer], device=network.device)
    logits_LV = network(input_ids=ids_L[None]).logits[0, len(prompt) - 1 : -1]
    logits_LV = logits_LV.to(torch.promote_types(logits_LV.dtype, torch.float32))
    return float(logits_LV.log_softmax(dim=-1).gather(1, ids_L[len(prompt) :, None]).double().sum())


def draw_masks(length: int, num_samples: int, seed: int) -> Tensor:
    """Masks of an answer, bool [S, L], a function of the arguments.

    Version i has a number of masks from the i-th of ``num_samples`` equal parts of [1, L]; which tokens, is drawn evenly. Over
    all versions each number is as likely as any other.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, str(length)))
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    count_S = ((torch.arange(num_samples) + offset) * length / num_samples).floor().long().clamp(max=length - 1) + 1
    rank_SL = torch.rand((num_samples, length), generator=generator, dtype=torch.float64).argsort(dim=1).argsort(dim=1)
    return rank_SL < count_S[:, None]


def _estimate(
    denoiser: Denoiser, mask_id: int, prompt: Sequence[int], answer: Sequence[int], masks_SL: Tensor, batch_size: int
) -> float:
    device = next(denoiser.parameters()).device
    total = 0.0
    ids_L = torch.tensor([*prompt, *answer], device=device)
    clean_L = ids_L[len(prompt) :]
    for is_masked_SL in torch.split(masks_SL.to(device), batch_size):
        seen_SL = ids_L.repeat(len(is_masked_SL), 1)
        seen_SL[:, len(prompt) :][is_masked_SL] = mask_id
        rate_S1 = is_masked_SL.double().mean(dim=1, keepdim=True)
        hidden_SLD = denoiser.hidden(Inputs(seen_SL, rate_BL=rate_S1))[:, len(prompt) :]
        logits_NV = denoiser.network.lm_head(hidden_SLD[is_masked_SL])
        logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
        logits_NV[:, mask_id] = -torch.inf  # no text holds a mask
        target_N = clean_L.expand_as(is_masked_SL)[is_masked_SL]
        nats_N = logits_NV.log_softmax(dim=-1).gather(1, target_N[:, None])[:, 0]
        weight_N = (1 / rate_S1).expand_as(is_masked_SL)[is_masked_SL]
        total += float((nats_N.double() * weight_N).sum())
    return total / len(masks_SL)
