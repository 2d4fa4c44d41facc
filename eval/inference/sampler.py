"""The sampler: fills the masks of canvases block by block from left to right, several canvases at a time.

Each canvas is filled independently of the others. What one step decides is in train's denoising_step.py, the forward passes
are in block_reader.py, canvases and blocks in canvas.py. Prompts and texts are handled elsewhere.

Shapes: B canvases, M masks of a block, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from syntaxdiff.eval.inference.block_reader import BlockReader
from syntaxdiff.eval.inference.canvas import NO_POSITION, Block, Canvas, OnStep, blocks_of
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.denoising_config import StepRule
from syntaxdiff.train.model.denoising_step import Uniforms, denoise_step


class OutputIds(NamedTuple):
    """Token ids by what they mean for what is written.

    Attributes:
        mask: what is filled
        ends: tokens that end an answer
        never: ids that are never written, the mask among them
    """

    mask: int
    ends: frozenset[int]
    never: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Fills masks with a denoiser, as configured."""

    denoiser: Denoiser
    output_ids: OutputIds
    config: GenerationConfig
    on_step: OnStep | None = None

    @cached_property
    def rule(self) -> StepRule:
        """What a step depends on."""
        mask, ends, never = self.output_ids
        config = self.config
        return StepRule(
            mask_id=mask,
            never=tuple(sorted(never | (ends if config.forbid_eos else frozenset()))),
            end_ids=tuple(sorted(ends)),
            lower_end=config.lower_eos,
            confidence=config.confidence,
            schedule=config.schedule,
            threshold=config.threshold,
            factor=config.factor,
            temperature=config.temperature,
        )

    @torch.inference_mode()
    def fill(self, canvases: Sequence[Canvas], *, stop_ids: frozenset[int] = frozenset()) -> None:
        """Fills the masks of canvases, in place.

        Args:
            stop_ids: a canvas is cut after the first finished block that holds one of them
        """
        config = self.config
        plans = [blocks_of(canvas, self.output_ids.mask, config.block_length, config.num_steps) for canvas in canvases]
        is_stopped = [False] * len(canvases)
        for number in range(max(map(len, plans), default=0)):
            rows = [row for row, plan in enumerate(plans) if number < len(plan) and not is_stopped[row]]
            if not rows:
                break
            self._fill_block([canvases[row] for row in rows], [plans[row][number] for row in rows])
            for row in rows:
                block = plans[row][number]
                is_stopped[row] = not stop_ids.isdisjoint(canvases[row].ids[block.start : block.end].tolist())
                if is_stopped[row]:
                    canvases[row].cut(block.end)

    def _fill_block(self, canvases: list[Canvas], blocks: list[Block]) -> None:
        """Fills one block of each canvas. They begin it together; finished canvases wait for the others."""
        reader = BlockReader(self.denoiser, self.config, self.output_ids.mask, canvases, blocks)
        step = 0
        while reader.rows:
            place_BM, logits_BMV = reader.read(is_whole=self._reads_all(step))
            active = [(canvases[row], blocks[row]) for row in reader.rows]
            ids_BM = torch.where(place_BM == NO_POSITION, NO_POSITION, self.output_ids.mask).to(logits_BMV.device)
            quota_B = torch.tensor([block.counts[min(step, len(block.counts) - 1)] for _, block in active])
            uniforms = self._uniforms(active, place_BM, logits_BMV)
            decided = denoise_step(ids_BM, logits_BMV, self.rule, quota_B.to(ids_BM.device), uniforms)
            for (canvas, _), place_M, ids_M, is_committed_M, confidence_M in zip(
                active, place_BM, *(tensor.cpu() for tensor in decided), strict=True
            ):
                written = place_M[is_committed_M]
                canvas.write(written, ids_M[is_committed_M])
                canvas.confidence[written] = confidence_M[is_committed_M].double()
                canvas.num_forward += 2 if self.config.guidance else 1
            step += 1
            reader.drop_finished()
            if self.on_step is not None:
                self.on_step(canvases)

    def _reads_all(self, step: int) -> bool:
        refresh = self.config.cache_refresh
        return self.config.cache == "none" or step == 0 or (refresh is not None and step % refresh == 0)

    def _uniforms(self, active: list[tuple[Canvas, Block]], place_BM: Tensor, logits_BMV: Tensor) -> Uniforms:
        """Random numbers for a step, each canvas's from its own stream: drawn for all of its block, masked or not."""
        wants_tokens, wants_order = self.rule.temperature > 0, self.rule.confidence == "random"
        token_BMV = torch.full_like(logits_BMV, 0.5, dtype=torch.float64) if wants_tokens else None
        order_BM = logits_BMV.new_zeros(place_BM.shape, dtype=torch.float64) if wants_order else None
        for row, (canvas, block) in enumerate(active):
            length = block.end - block.start
            offset_K = place_BM[row][place_BM[row] != NO_POSITION] - block.start
            for wanted, shape in ((token_BMV, (length, logits_BMV.shape[-1])), (order_BM, (length,))):
                if wanted is not None:
                    drawn = torch.rand(shape, generator=canvas.generator, dtype=torch.float64, device=wanted.device)
                    wanted[row, : len(offset_K)] = drawn[offset_K.to(wanted.device)]
        return Uniforms(token_BMV, order_BM)
