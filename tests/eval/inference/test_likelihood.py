"""Likelihoods: exact for a causal model, unbiased for a diffusion model, with common masks for answers of one length."""

import math
from collections import Counter

import pytest
import torch
from generation_reference import literal_log_likelihood, literal_model
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import autoregressive, diffusion, token_ids

from syntaxdiff.eval.inference.likelihood import draw_masks
from syntaxdiff.pipeline.errors import SettingsError

PROMPT = [7, 9, 30]


@given(length=st.integers(1, 40), num_samples=st.integers(1, 60), seed=st.integers(0, 1000))
def test_masks_are_systematic(length: int, num_samples: int, seed: int) -> None:
    """Numbers of masks: one from each part of [1, L], so that each number comes up its share of times, or one more or less."""
    counts = draw_masks(length, num_samples, seed).sum(dim=1).tolist()
    assert counts == sorted(counts)
    assert 1 <= min(counts) <= max(counts) <= length
    share = num_samples / length
    assert all(abs(Counter(counts)[count] - share) < 2 for count in range(1, length + 1))
    assert torch.equal(draw_masks(length, num_samples, seed), draw_masks(length, num_samples, seed))


def test_every_position_is_masked_equally_often() -> None:
    """Over many versions, each position is masked (L + 1) / 2L of the time, within four standard deviations."""
    share = draw_masks(9, 20_000, 0).double().mean(dim=0)
    assert (share - 5 / 9).abs().max() < 4 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_estimate_is_unbiased(length: int) -> None:
    """With many samples it comes to LLaDA's likelihood, summed over all masks on the literal model."""
    checkpoint, answer = diffusion(seed=2), [50, 60, 70][:length]
    exact = literal_log_likelihood(literal_model(checkpoint.model.network), PROMPT, answer, token_ids().mask)
    blocks = [checkpoint.log_likelihood(PROMPT, [answer], num_samples=12 * length, seed=seed)[0] for seed in range(60)]
    mean = sum(blocks) / len(blocks)
    error = math.sqrt(sum((block - mean) ** 2 for block in blocks) / (len(blocks) - 1) / len(blocks))
    assert abs(mean - exact) < 4 * error + 1e-5
    if length == 1:
        assert blocks[0] == pytest.approx(exact, abs=1e-5)


def test_each_answer_is_scored_by_itself() -> None:
    """Neither the other answers nor the batch size change an estimate; seeds do, a little."""
    checkpoint, answers = diffusion(), [[50, 60, 70, 80], [51, 61, 71, 81], [50], []]
    together = checkpoint.log_likelihood(PROMPT, answers, num_samples=24)
    assert together[3] == 0.0
    for answer, likelihood in zip(answers, together, strict=True):
        assert checkpoint.log_likelihood(PROMPT, [answer], num_samples=24, batch_size=5)[0] == pytest.approx(
            likelihood, abs=1e-9
        )
    assert checkpoint.log_likelihood(PROMPT, answers, num_samples=24, seed=1)[0] != together[0]


def test_common_masks_make_differences_steadier() -> None:
    """The difference of two like answers varies less over seeds with common masks than with masks of their own."""
    checkpoint, answer, other = diffusion(seed=1), [50, 60, 70, 80, 90, 100], [50, 60, 70, 80, 90, 101]
    scores = [checkpoint.log_likelihood(PROMPT, [answer, other], num_samples=4, seed=seed) for seed in range(250)]
    common = torch.tensor([a - b for a, b in scores], dtype=torch.float64)
    apart = torch.tensor([a[0] - b[1] for a, b in zip(scores, scores[1:] + scores[:1], strict=True)], dtype=torch.float64)
    assert common.var() < 0.9 * apart.var()


@pytest.mark.parametrize("prompt", [PROMPT, []])
def test_a_causal_model_is_scored_exactly(prompt: list[int]) -> None:
    """The product of next-token probabilities, one at a time; without a prompt the start token stands before."""
    checkpoint, answer = autoregressive(), [50, 60, 70]
    expected, ids = 0.0, prompt or [token_ids().bos or 0]
    for token in answer:
        logits = checkpoint.model(input_ids=torch.tensor([ids])).logits[0, -1]
        expected += float(logits.log_softmax(-1)[token])
        ids = [*ids, token]
    assert checkpoint.log_likelihood(prompt, [answer, []]) == [pytest.approx(expected), 0.0]


def test_what_cannot_be_scored_is_refused() -> None:
    """No samples, unknown ids, too many tokens."""
    for arguments, words in (
        ({"answers": [[5]], "num_samples": 0}, "at least one"),
        ({"answers": [[999]]}, "none of tiny's 310"),
        ({"answers": [[5] * 600]}, "reads 512"),
    ):
        with pytest.raises(SettingsError, match=words):
            diffusion().log_likelihood(PROMPT, **arguments)
