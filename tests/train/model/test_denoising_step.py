"""One denoising step, held to literal rules; every property here is about tensors, no model is needed."""

import math
from typing import Any

import pytest
import torch
from generation_reference import confidences, how_many, literal_generate, literal_model, num_transfer_tokens, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import diffusion, token_ids
from torch import Tensor

from syntaxdiff.train.model.denoiser import Inputs
from syntaxdiff.train.model.denoising_config import CONFIDENCES, SCHEDULES, StepRule
from syntaxdiff.train.model.denoising_step import Uniforms, denoise, denoise_step, sampled, transfer_counts

MASK, SIZE = 3, 12
seeds = st.integers(0, 2**32 - 1)


def rule(**changes: Any) -> StepRule:
    values: dict[str, Any] = {"mask_id": MASK, "never": (MASK,), **changes}
    return StepRule(**values)


def draw(seed: int, canvases: int, positions: int, sharpness: float = 2.0) -> tuple[Tensor, Tensor, Uniforms]:
    """Ids of which about a half are masks (one a canvas at least), logits, and random numbers."""
    generator = torch.Generator().manual_seed(seed)
    ids_BN = torch.randint(SIZE, (canvases, positions), generator=generator)
    ids_BN = ids_BN.masked_fill(torch.rand(ids_BN.shape, generator=generator) < 0.4, MASK)
    ids_BN[:, int(torch.randint(positions, (), generator=generator))] = MASK
    logits_BNV = sharpness * torch.randn((canvases, positions, SIZE), generator=generator, dtype=torch.float64)
    uniforms = Uniforms(
        torch.rand(logits_BNV.shape, generator=generator, dtype=torch.float64),
        torch.rand(ids_BN.shape, generator=generator, dtype=torch.float64),
    )
    return ids_BN, logits_BNV, uniforms


rules = st.builds(
    rule,
    confidence=st.sampled_from(CONFIDENCES),
    schedule=st.sampled_from(SCHEDULES),
    threshold=st.sampled_from([0.05, 0.3, 0.9, 1.0]),
    factor=st.sampled_from([0.2, 1.0, 2.5, 6.0]),
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    lower_end=st.booleans(),
    end_ids=st.just((0, 1)),
    never=st.sampled_from([(MASK,), (MASK, 0, 7)]),
)


@settings(deadline=None, max_examples=300)
@given(seed=seeds, canvases=st.integers(1, 4), positions=st.integers(1, 9), rule=rules, quota=st.integers(0, 12))
def test_a_step_is_the_literal_one(seed: int, canvases: int, positions: int, rule: StepRule, quota: int) -> None:
    """Tokens, their order and their number are those of the papers' rules, canvas by canvas."""
    ids_BN, logits_BNV, uniforms = draw(seed, canvases, positions)
    done = denoise_step(ids_BN, logits_BNV, rule, torch.full((canvases,), quota), uniforms)
    assert uniforms.token_BNV is not None
    assert uniforms.order_BN is not None
    for row in range(canvases):
        logits = logits_BNV[row].tolist()
        for value in logits:
            for never in rule.never:
                value[never] = -math.inf
        noise = uniforms.token_BNV[row].tolist()
        scores = [
            [math.exp(a) / (-math.log(u)) ** rule.temperature for a, u in zip(*pair, strict=True)]
            for pair in zip(logits, noise, strict=True)
        ]
        tokens = [value.index(max(value)) for value in scores]
        sure = confidences(logits, tokens, rule.confidence, uniforms.order_BN[row].tolist())
        if rule.lower_end:
            sure = [value - 2 if token in rule.end_ids else value for value, token in zip(sure, tokens, strict=True)]
        masked = [place for place in range(positions) if ids_BN[row, place] == MASK]
        count = how_many(
            [sure[place] for place in masked],
            rule.schedule,
            quota=max(1, quota),
            threshold=rule.threshold,
            factor=rule.factor,
        )
        chosen = sorted(masked, key=lambda place: -sure[place])[:count]
        expected = [tokens[place] if place in chosen else int(ids_BN[row, place]) for place in range(positions)]
        assert done.ids_BN[row].tolist() == expected
        assert done.is_committed_BN[row].nonzero().flatten().tolist() == sorted(chosen)
        assert torch.isfinite(done.confidence_BN[row]).nonzero().flatten().tolist() == masked


@settings(deadline=None, max_examples=100)
@given(seed=seeds, rule=rules, quota=st.integers(0, 12), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_step_writes_what_it_may(seed: int, rule: StepRule, quota: int, dtype: torch.dtype) -> None:
    """In low precision too: at least one mask less, none of the ids that are never written, and nothing else changed."""
    ids_BN, logits_BNV, uniforms = draw(seed, 3, 8)
    before = logits_BNV.to(dtype)
    done = denoise_step(ids_BN, before, rule, torch.full((3,), quota), uniforms)
    assert torch.equal(before, logits_BNV.to(dtype))
    written = done.is_committed_BN
    assert written.any(dim=1).all()
    assert (ids_BN[written] == MASK).all()
    assert torch.equal(done.ids_BN[~written], ids_BN[~written])
    assert not torch.isin(done.ids_BN[written], torch.tensor(rule.never)).any()


def test_nothing_masked_nothing_done() -> None:
    """A canvas without a mask, and positions that are none, stay as they are."""
    ids_BN = torch.tensor([[1, 2, -1], [MASK, 2, 1]])
    for schedule in SCHEDULES:
        done = denoise_step(ids_BN, torch.randn(2, 3, SIZE), rule(schedule=schedule), torch.tensor([2, 2]))
        assert done.is_committed_BN.tolist() == [[False] * 3, [True, False, False]]
        assert done.ids_BN[0].tolist() == [1, 2, -1]


def test_of_equal_confidences_the_first_goes_first() -> None:
    """Equal logits: positions from left to right, and the smallest id."""
    ids_BN = torch.full((1, 6), MASK)
    done = denoise_step(ids_BN, torch.zeros(1, 6, SIZE), rule(), torch.tensor([4]))
    assert done.ids_BN.tolist() == [[0, 0, 0, 0, MASK, MASK]]


def logits_of(probabilities: list[float]) -> Tensor:
    """Logits [1, N, V] that give token 5 these probabilities, and the rest to token 6."""
    logits_BNV = torch.full((1, len(probabilities), SIZE), -torch.inf, dtype=torch.float64)
    for place, probability in enumerate(probabilities):
        logits_BNV[0, place, 5], logits_BNV[0, place, 6] = math.log(probability), math.log(1 - probability)
    return logits_BNV


@pytest.mark.parametrize(
    ("factor", "confidence", "count"),
    [
        (1.0, [0.9, 0.9, 0.9, 0.6], 3),  # 2(.1), 3(.1), 4(.1) < 1, 5(.4) = 2
        (1.0, [0.51, 0.51, 0.51], 1),  # 2(.49) = .98, 3(.49) = 1.47
        (2.1, [0.9, 0.6, 0.55], 3),  # 4(.45) = 1.8
        (1.5, [0.9, 0.6, 0.55], 2),  # 4(.45): the last is not accepted for being the last
        (0.1, [0.9, 0.8], 1),  # none holds: one all the same
    ],
)
def test_the_factor_rule(factor: float, confidence: list[float], count: int) -> None:
    """The largest n with (n + 1)(1 - c_n) < f, and one where there is none."""
    ids_BN = torch.full((1, len(confidence)), MASK)
    done = denoise_step(ids_BN, logits_of(confidence), rule(schedule="factor", factor=factor))
    assert int(done.is_committed_BN.sum()) == count


def test_an_end_that_is_lowered_can_be_written() -> None:
    """The end token stays the choice of its position, which is filled last; forbidden, another takes its place."""
    logits_BNV = logits_of([0.6, 0.7, 0.8])
    logits_BNV[0, 1, 5], logits_BNV[0, 1, 0] = -torch.inf, 9.0
    ids_BN = torch.full((1, 3), MASK)
    lowered = rule(lower_end=True, end_ids=(0, 1))
    written = []
    for _ in range(3):
        ids_BN = denoise_step(ids_BN, logits_BNV, lowered, torch.tensor([1])).ids_BN
        written.append(ids_BN[0].tolist())
    assert written == [[MASK, MASK, 5], [5, MASK, 5], [5, 0, 5]]
    forbidden = denoise_step(torch.full((1, 3), MASK), logits_BNV, rule(never=(MASK, 0, 1)), torch.tensor([3]))
    assert forbidden.ids_BN[0].tolist() == [5, 6, 5]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_noise_samples_the_tempered_distribution(temperature: float) -> None:
    """Tokens come up as softmax(logits / temperature) says, within four standard deviations."""
    generator = torch.Generator().manual_seed(1)
    logits = 1.5 * torch.randn(SIZE, generator=generator, dtype=torch.float64)
    count = 40_000
    uniform = torch.rand((1, count, SIZE), generator=generator, dtype=torch.float64)
    tokens = sampled(logits.expand(1, count, SIZE), temperature, uniform)
    expected = softmax((logits / temperature).tolist())
    for token, probability in enumerate(expected):
        deviation = math.sqrt(count * probability * (1 - probability))
        assert abs(int((tokens == token).sum()) - count * probability) < 4 * deviation + 1


def test_large_logits_do_not_overflow() -> None:
    """exp(logit) of LLaDA's formula would be infinite here; the order of the logits still decides."""
    logits = torch.tensor([[[1000.0, 1010.0, 900.0]]])
    assert sampled(logits, 1.0, torch.full((1, 1, 3), 0.5, dtype=torch.float64)).item() == 1


@given(num_masked=st.integers(1, 200), num_steps=st.integers(1, 300))
def test_transfer_counts_are_lladas(num_masked: int, num_steps: int) -> None:
    """LLaDA's shares without the empty ones: they add up, and no step is idle."""
    counts = transfer_counts(num_masked, num_steps)
    assert counts == [value for value in num_transfer_tokens(num_masked, num_steps) if value]
    assert sum(counts) == num_masked
    assert len(counts) == min(num_masked, num_steps)


@pytest.mark.parametrize(("block", "num_steps"), [(16, 4), (8, 16), (4, 8), (16, 16)])
def test_what_the_trainer_shows_is_lladas_generation(block: int, num_steps: int) -> None:
    """The trainer's entry point gives the tokens of the literal rule on the literal model."""
    checkpoint = diffusion()
    prompt = [7, 9, 30, 12]

    def read(ids: Tensor) -> Tensor:
        result: Tensor = checkpoint.model(Inputs(ids))
        return result

    mask_id = token_ids().mask
    canvas = denoise(read, prompt, num_tokens=16, num_steps=num_steps, block=block, mask_id=mask_id)
    expected, _ = literal_generate(
        literal_model(checkpoint.model.network), prompt, gen_length=16, block_length=block, num_steps=num_steps,
        mask_id=mask_id, never=[mask_id],
    )  # fmt: skip
    assert canvas == expected


@settings(deadline=None, max_examples=60)
@given(num_tokens=st.integers(0, 12), num_steps=st.integers(1, 20), block=st.integers(1, 15), prompt=st.integers(0, 3))
def test_the_trainers_canvas_holds_no_mask(num_tokens: int, num_steps: int, block: int, prompt: int) -> None:
    """Whatever lengths and steps, also where they do not divide."""
    generator = torch.Generator().manual_seed(num_tokens)

    def read(ids: Tensor) -> Tensor:
        return torch.randn((*ids.shape, SIZE), generator=generator)

    canvas = denoise(read, [1] * prompt, num_tokens=num_tokens, num_steps=num_steps, block=block, mask_id=MASK)
    assert len(canvas) == num_tokens
    assert MASK not in canvas
