"""The autoregressive baseline: transformers' own generation from left to right, with the results of generation.py.

Greedy answers are generated in batches, padded at the left; sampled ones one by one, so that each has random numbers of its
own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig as _HubConfig

from syntaxdiff.eval.inference.canvas import Commit, stream_seed
from syntaxdiff.eval.inference.checkpoint import Checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.generation import Generated, OnDone, batch_size_of, check_sequences, text_between
from syntaxdiff.eval.inference.repair import answer_end


def generate_left_to_right(
    checkpoint: Checkpoint,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    keys: Sequence[str] | None = None,
    with_trace: bool = False,
    on_done: OnDone | None = None,
) -> list[Generated]:
    """Answers to prompts; arguments as of ``generation.generate``.

    Raises:
        SettingsError: a prompt holds unknown ids, or leaves no room for the answer
    """
    check_sequences(checkpoint, [[*prompt, *[0] * config.gen_length] for prompt in prompts])
    keys = keys if keys is not None else [str(index) for index in range(len(prompts))]
    assert len(keys) == len(prompts)
    longest = max(map(len, prompts), default=0) + config.gen_length
    batch_size = batch_size_of(checkpoint, longest, config)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    done: dict[int, Generated] = {}
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        # A model that has no start token begins an empty prompt with the token that separates texts.
        given = [list(prompts[index]) or [_start_id(checkpoint)] for index in batch]
        answers = _continue(checkpoint, given, config, seed=stream_seed(config.seed, keys[batch[0]]))
        for index, prompt, answer in zip(batch, given, answers, strict=True):
            end = answer_end(answer, 0, checkpoint.end_ids)
            token_ids = answer[: end + 1]
            text = text_between(checkpoint, [*prompt, *token_ids], len(prompt), len(prompt) + end)
            start = len(prompts[index])
            trace = [Commit([start + place], [one]) for place, one in enumerate(token_ids)] if with_trace else None
            done[index] = Generated(token_ids, text, len(token_ids), len(token_ids), trace)
            if on_done is not None:
                on_done(index, done[index])
    return [done[index] for index in range(len(prompts))]


def _continue(checkpoint: Checkpoint, prompts: list[list[int]], config: GenerationConfig, seed: int) -> list[list[int]]:
    """What the model writes behind prompts; behind an end there may be padding."""
    longest = max(map(len, prompts))
    pad_id = checkpoint.token_ids.pad
    ids_BL = torch.tensor([[pad_id] * (longest - len(prompt)) + prompt for prompt in prompts], device=checkpoint.device)
    length_B1 = torch.tensor([[len(prompt)] for prompt in prompts], device=checkpoint.device)
    is_real_BL = torch.arange(longest, device=checkpoint.device) >= longest - length_B1
    ends = sorted(checkpoint.end_ids)
    sampling: dict[str, Any] = {"do_sample": config.temperature > 0}
    if config.temperature > 0:
        sampling |= {"temperature": config.temperature, "top_k": 0, "top_p": 1.0}
    made: Any = _HubConfig  # its constructor bears no types
    options = made(
        max_new_tokens=config.gen_length,
        eos_token_id=None if config.forbid_eos else ends,
        suppress_tokens=ends if config.forbid_eos else None,
        pad_token_id=pad_id,
        **sampling,
    )
    is_cuda = checkpoint.device.type == "cuda"
    with torch.random.fork_rng(devices=[checkpoint.device] if is_cuda else []):
        torch.manual_seed(seed)
        written_BL = checkpoint.model.generate(ids_BL, attention_mask=is_real_BL.long(), generation_config=options)
    result: list[list[int]] = written_BL[:, longest:].tolist()
    return result


def _start_id(checkpoint: Checkpoint) -> int:
    ids = checkpoint.token_ids
    return ids.eos if ids.bos is None else ids.bos
