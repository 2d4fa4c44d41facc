"""Causal models, as autoregressive baselines: transformers' own generation from left to right, with Answers as results.

Greedy answers are generated in batches, padded on the left; sampled ones one at a time, so that each has its own random
numbers. Prompts and scores are not known here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from transformers import GenerationConfig as _HubConfig

from syntaxdiff.eval.inference.abilities import CAUSAL, Abilities
from syntaxdiff.eval.inference.answer import Answer, answer_end
from syntaxdiff.eval.inference.batch_size import batches, largest_batch, sequence_bytes
from syntaxdiff.eval.inference.canvas import Commit, OnStep, stream_seed
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.description import Description
from syntaxdiff.eval.inference.likelihood import check_num_samples, exact_log_likelihood
from syntaxdiff.pipeline.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class CausalModel(Description):
    """A model that generates from left to right: a LanguageModel, whose methods are documented there.

    Attributes:
        model: a causal model of transformers, on its device, in evaluation mode
    """

    model: Any
    abilities: Abilities = CAUSAL

    @property
    def device(self) -> torch.device:
        """See LanguageModel."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def network_config(self) -> Any:
        """See Description."""
        return self.model.config

    @property
    def start_id(self) -> int:
        """The token before a text without a prompt: the start token, or the one that separates texts."""
        return self.token_ids.eos if self.token_ids.bos is None else self.token_ids.bos

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """See LanguageModel. A trace has one token per step; there are no denoising steps to show."""
        if on_step is not None:
            raise SettingsError(f"{self.name} writes from left to right: there are no denoising steps to show")
        self.check_sequences([[*prompt, *[0] * config.gen_length] for prompt in prompts])
        keys = keys if keys is not None else [str(index) for index in range(len(prompts))]
        assert len(keys) == len(prompts)
        return self._answers(prompts, config, keys, with_trace)

    def infill(
        self,
        canvases: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
    ) -> NoReturn:
        """Raises SettingsError: a causal model cannot fill masks."""
        self._refuse_infilling()

    def sampler(self, config: GenerationConfig) -> NoReturn:
        """Raises SettingsError: a causal model cannot fill masks."""
        self._refuse_infilling()

    def log_likelihood(
        self,
        prompt: Sequence[int],
        answers: Sequence[Sequence[int]],
        *,
        num_samples: int = 128,
        seed: int = 0,
        batch_size: int = 16,
    ) -> list[float]:
        """See LanguageModel. It is exact; the samples have no effect."""
        check_num_samples(num_samples)
        self.check_sequences([[*prompt, *answer] for answer in answers])
        given = list(prompt) or [self.start_id]
        return [exact_log_likelihood(self.model, given, answer) for answer in answers]

    def batch_size(self, longest: int, config: GenerationConfig) -> int:
        """See LanguageModel. Sampled answers are generated one at a time."""
        if config.temperature > 0:
            return 1
        return config.batch_size or largest_batch(self.model, longest, 1)

    def sequence_bytes(self, length: int, num_scored: int) -> int:
        """See LanguageModel."""
        return sequence_bytes(self.model, length, num_scored)

    def _refuse_infilling(self) -> NoReturn:
        raise SettingsError(f"{self.name} {self.abilities.infilling_refusal}")

    def _answers(
        self, prompts: Sequence[Sequence[int]], config: GenerationConfig, keys: Sequence[str], with_trace: bool
    ) -> Iterator[tuple[int, Answer]]:
        size = self.batch_size(max(map(len, prompts), default=0) + config.gen_length, config)
        for batch in batches(prompts, size):
            given = [list(prompts[index]) or [self.start_id] for index in batch]
            generated = self._continue(given, config, seed=stream_seed(config.seed, keys[batch[0]]))
            for index, prompt, ids in zip(batch, given, generated, strict=True):
                yield index, self._answer(prompt, ids, len(prompts[index]), with_trace)

    def _answer(self, prompt: list[int], generated: list[int], start: int, with_trace: bool) -> Answer:
        """Generated ids up to the end; the trace counts positions from ``start``."""
        end = answer_end(generated, 0, self.end_ids)
        token_ids = generated[: end + 1]
        text = self.text_between([*prompt, *token_ids], len(prompt), len(prompt) + end)
        trace = [Commit([start + place], [token]) for place, token in enumerate(token_ids)] if with_trace else None
        return Answer(token_ids, text, num_forward=len(token_ids), num_generated=len(token_ids), trace=trace)

    def _continue(self, prompts: list[list[int]], config: GenerationConfig, seed: int) -> list[list[int]]:
        """Generated ids after each prompt; padding may follow an end."""
        longest = max(map(len, prompts))
        pad_id = self.token_ids.pad
        ids_BL = torch.tensor([[pad_id] * (longest - len(prompt)) + prompt for prompt in prompts], device=self.device)
        length_B1 = torch.tensor([[len(prompt)] for prompt in prompts], device=self.device)
        is_real_BL = torch.arange(longest, device=self.device) >= longest - length_B1
        ends = sorted(self.end_ids)
        sampling: dict[str, Any] = {"do_sample": config.temperature > 0}
        if config.temperature > 0:
            sampling |= {"temperature": config.temperature, "top_k": 0, "top_p": 1.0}
        make: Any = _HubConfig  # its constructor is not typed
        options = make(
            max_new_tokens=config.gen_length,
            eos_token_id=None if config.forbid_eos else ends,
            suppress_tokens=ends if config.forbid_eos else None,
            pad_token_id=pad_id,
            **sampling,
        )
        is_cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if is_cuda else []):
            torch.manual_seed(seed)
            generated_BL = self.model.generate(ids_BL, attention_mask=is_real_BL.long(), generation_config=options)
        result: list[list[int]] = generated_BL[:, longest:].tolist()
        return result
