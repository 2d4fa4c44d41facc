"""The causal baseline: transformers' generation with our prompts, ends, seeds and results."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from answers import generate
from tiny_checkpoint import autoregressive, token_ids
from torch import Tensor

from syntaxdiff.eval.inference.causal import CausalModel
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.errors import SettingsError

IDS = token_ids()
PROMPTS: tuple[list[int], ...] = ([7, 9, 30, 12], [40], [101, 102, 103, 104, 105, 106, 107, 108, 109], [])


@torch.no_grad()
def literal_greedy(checkpoint: CausalModel, prompt: list[int], length: int, never: frozenset[int]) -> list[int]:
    """The most probable next token, again and again, up to an end."""
    ids = list(prompt) or [IDS.bos or 0]
    for _ in range(length):
        logits = checkpoint.model(input_ids=torch.tensor([ids])).logits[0, -1]
        logits[list(never)] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] in checkpoint.end_ids:
            break
    return ids[max(len(prompt), 1) :]


@pytest.mark.parametrize("forbid_eos", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_greedy_is_the_most_probable_next_token(forbid_eos: bool, batch_size: int) -> None:
    """Alone or padded in a batch, a causal model's answers are those of the literal loop."""
    for checkpoint in (autoregressive(), dataclasses.replace(autoregressive(), model=liking_ends())):
        never = checkpoint.end_ids if forbid_eos else frozenset[int]()
        options = GenerationConfig(gen_length=12, batch_size=batch_size, forbid_eos=forbid_eos)
        answers = generate(checkpoint, PROMPTS, options, with_trace=True)
        for prompt, answer in zip(PROMPTS, answers, strict=True):
            assert answer.token_ids == literal_greedy(checkpoint, prompt, 12, never)
            assert answer.num_forward == answer.num_generated == len(answer.token_ids)
            assert answer.trace is not None
            assert [commit.positions for commit in answer.trace] == [[len(prompt) + i] for i in range(len(answer.token_ids))]


def liking_ends() -> Any:
    """The causal model with a taste for ends, so that some answers stop early."""
    model = copy.deepcopy(autoregressive().model)
    model.lm_head.register_forward_hook(lambda module, given, result: with_bonus(result))
    return model


def with_bonus(logits: Tensor) -> Tensor:
    logits = logits.clone()
    logits[..., IDS.eos] += 12.0
    return logits


def test_sampling_follows_seed_and_key() -> None:
    """Equal seeds and keys give equal answers; another seed or key gives others; torch's own generator is left alone."""
    state = torch.get_rng_state()

    def answers(seed: int, *keys: str) -> list[list[int]]:
        options = GenerationConfig(gen_length=24, temperature=1.0, seed=seed, batch_size=2)
        return [answer.token_ids for answer in generate(autoregressive(), [PROMPTS[0]] * len(keys), options, keys=keys)]

    first, second = answers(0, "task/0", "task/1")
    assert first != second
    assert answers(0, "task/1", "task/0") == [second, first]
    assert answers(1, "task/0") != [first]
    assert torch.equal(torch.get_rng_state(), state)


def test_answers_are_reported_as_they_come() -> None:
    """Every index once, the longest prompts first; prompts that are too long are refused at the call."""
    stream = list(autoregressive().generate(PROMPTS, GenerationConfig(gen_length=3)))
    assert [index for index, _ in stream] == [2, 0, 1, 3]
    assert [answer for _, answer in sorted(stream)] == generate(autoregressive(), PROMPTS, GenerationConfig(gen_length=3))
    with pytest.raises(SettingsError, match="lower --gen-length"):
        autoregressive().generate([[5] * 510], GenerationConfig(gen_length=3))
