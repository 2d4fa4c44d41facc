"""Denoising models: answers and infilled canvases from a masked-diffusion model, batch by batch.

How masks are filled is in sampler.py, syntax repair in repair.py, likelihoods in likelihood.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from syntaxdiff.eval.inference.abilities import DENOISING, Abilities
from syntaxdiff.eval.inference.answer import Answer, Repair, answer_end
from syntaxdiff.eval.inference.batch_size import batches, largest_batch, sequence_bytes
from syntaxdiff.eval.inference.canvas import Canvas, OnStep, new_canvas
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.description import Description
from syntaxdiff.eval.inference.likelihood import check_num_samples, estimated_log_likelihoods
from syntaxdiff.eval.inference.repair import Repairer
from syntaxdiff.eval.inference.sampler import OutputIds, Sampler
from syntaxdiff.pipeline.tokens.codec import Codec

AnswerOf = Callable[[Canvas, Repair | None, bool], Answer]


@dataclass(frozen=True, kw_only=True)
class DenoisingModel(Description):
    """A model that fills masks: a LanguageModel, whose methods are documented there.

    Attributes:
        model: train's Denoiser, on its device, in evaluation mode
    """

    model: Any
    abilities: Abilities = DENOISING

    @property
    def device(self) -> torch.device:
        """See LanguageModel."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def network_config(self) -> Any:
        """See Description."""
        return self.model.network.config

    @property
    def output_ids(self) -> OutputIds:
        """Never written are the mask, padding that is not an end, and ids outside the tokenizer's vocabulary."""
        ids = self.token_ids
        known = max(self.tokenizer.get_vocab().values()) + 1
        never = {ids.mask, *range(known, self.vocab_size)} | ({ids.pad} - self.end_ids)
        return OutputIds(mask=ids.mask, ends=self.end_ids, never=frozenset(never))

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """See LanguageModel."""
        self.check_prompts(prompts, config)
        canvases = [[*prompt, *[self.token_ids.mask] * config.gen_length] for prompt in prompts]
        sampler = replace(self.sampler(config), on_step=on_step)
        return self._answers(canvases, sampler, self._answer_to_prompt, self.end_ids, keys, with_trace)

    def infill(
        self,
        canvases: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        keys: Sequence[str] | None = None,
        with_trace: bool = False,
    ) -> Iterator[tuple[int, Answer]]:
        """See LanguageModel."""
        self.check_sequences(canvases)
        return self._answers(canvases, self.sampler(config), self._filled_canvas, frozenset(), keys, with_trace)

    def sampler(self, config: GenerationConfig) -> Sampler:
        """See LanguageModel."""
        return Sampler(denoiser=self.model, output_ids=self.output_ids, config=config)

    def log_likelihood(
        self,
        prompt: Sequence[int],
        answers: Sequence[Sequence[int]],
        *,
        num_samples: int = 128,
        seed: int = 0,
        batch_size: int = 16,
    ) -> list[float]:
        """See LanguageModel. In expectation a lower bound, which is lower for longer answers."""
        check_num_samples(num_samples)
        self.check_sequences([[*prompt, *answer] for answer in answers])
        return estimated_log_likelihoods(
            self.model, self.token_ids.mask, prompt, answers, num_samples=num_samples, seed=seed, batch_size=batch_size
        )

    def batch_size(self, longest: int, config: GenerationConfig) -> int:
        """See LanguageModel."""
        if config.batch_size is not None:
            return config.batch_size
        count = largest_batch(self.model.network, longest, config.block_length)
        return max(1, count // 2) if config.guidance else count  # guidance reads every canvas twice

    def sequence_bytes(self, length: int, num_scored: int) -> int:
        """See LanguageModel."""
        return sequence_bytes(self.model.network, length, num_scored)

    def _answers(
        self,
        sequences: Sequence[Sequence[int]],
        sampler: Sampler,
        answer_of: AnswerOf,
        end_ids: frozenset[int],
        keys: Sequence[str] | None,
        with_trace: bool,
    ) -> Iterator[tuple[int, Answer]]:
        """Answers by index, a batch at a time.

        Args:
            end_ids: tokens that end what is generated
        """
        keys = keys if keys is not None else [str(index) for index in range(len(sequences))]
        assert len(keys) == len(sequences)
        config, mask_id = sampler.config, self.token_ids.mask
        repairer = self._repairer(sampler, end_ids) if config.syntax_repair else None
        size = self.batch_size(max(map(len, sequences), default=1), config)
        for batch in batches(sequences, size):
            canvases = [
                new_canvas(sequences[index], mask_id, seed=config.seed, key=keys[index], device=self.device) for index in batch
            ]
            sampler.fill(canvases, stop_ids=end_ids if config.early_stop else frozenset())
            repairs = repairer.repair(canvases, config.syntax_repair) if repairer else [None] * len(batch)
            for index, canvas, repair in zip(batch, canvases, repairs, strict=True):
                yield index, answer_of(canvas, repair, with_trace)

    def _answer_to_prompt(self, canvas: Canvas, repair: Repair | None, with_trace: bool) -> Answer:
        ids: list[int] = canvas.ids.tolist()
        end = answer_end(ids, canvas.start, self.end_ids)
        token_ids = ids[canvas.start : end + 1]
        text = self.text_between(ids, canvas.start, end)
        return Answer(token_ids, text, canvas.num_forward, len(token_ids), canvas.trace if with_trace else None, repair)

    def _filled_canvas(self, canvas: Canvas, repair: Repair | None, with_trace: bool) -> Answer:
        ids: list[int] = canvas.ids.tolist()
        positions = canvas.is_open.nonzero().flatten().tolist()
        text = self.text_between(ids, canvas.start, positions[-1] + 1) if positions else ""
        return Answer(ids, text, canvas.num_forward, len(positions), canvas.trace if with_trace else None, repair)

    def _repairer(self, sampler: Sampler, end_ids: frozenset[int]) -> Repairer:
        return Repairer(
            sampler=sampler,
            codec=Codec(self.folder, "hf"),
            special_ids=frozenset((*self.tokenizer.all_special_ids, self.token_ids.mask, *self.end_ids)),
            end_ids=end_ids,
            header_ids=self.token_ids.assistant_header,
        )
