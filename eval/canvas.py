"""Canvases, and filling them: block by block from left to right, several at a time, each as if it were alone.

A canvas is a sequence of ids in which masks stand where something is to be written. Canvases of a batch stand at the left edge,
their ends padded; attention leaves padding out, and positions count from each canvas's own start. What one step decides is in
train's denoise.py, prompts and texts are generation.py's.

Shapes: B canvases, L positions, W positions that a forward computes, N positions of a block, V vocabulary, D width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from syntaxdiff.eval.cache import KeyValues
from syntaxdiff.train.denoise import StepRule, Uniforms, denoise_step, transfer_counts
from syntaxdiff.train.model import Denoiser, Inputs

NO_POSITION = -1


class Commit(NamedTuple):
    """What one step wrote: positions in the canvas, and ids. Ids of the mask: what syntax repair hid again."""

    positions: list[int]
    token_ids: list[int]


@dataclass(eq=False)
class Canvas:
    """One sequence being filled.

    Attributes:
        ids: int64 [L], on the CPU
        is_open: bool [L], what may be written to: the positions that were masked at first
        confidence: float64 [L], of each position when it was filled
        generator: the canvas's own random numbers
        num_forward: forward passes that read this canvas; guidance reads it twice a step
        trace: what each step wrote
    """

    ids: Tensor
    is_open: Tensor
    confidence: Tensor
    generator: torch.Generator
    num_forward: int = 0
    trace: list[Commit] = field(default_factory=list)

    @property
    def start(self) -> int:
        """The first position that may be written to; the canvas's length where there is none."""
        return int(self.is_open.int().argmax()) if self.is_open.any() else len(self.ids)

    def mask_rate(self, mask_id: int) -> float:
        """Share of masks among the positions from the first that may be written to: of the answer, behind a prompt."""
        return int((self.ids == mask_id).sum()) / (len(self.ids) - self.start)

    def cut(self, end: int) -> None:
        """Leaves out what lies at or behind a position."""
        self.ids, self.is_open, self.confidence = self.ids[:end], self.is_open[:end], self.confidence[:end]

    def write(self, positions: Tensor, ids: Tensor) -> None:
        """Sets ids and notes it in the trace."""
        assert self.is_open[positions].all()
        self.ids[positions] = ids
        self.trace.append(Commit(positions.tolist(), ids.tolist()))


def new_canvas(ids: Sequence[int], mask_id: int, *, seed: int, key: str, device: torch.device) -> Canvas:
    """A canvas of ids and masks, with a stream of random numbers that depends on seed and key alone."""
    tensor = torch.tensor(ids, dtype=torch.int64)
    generator = torch.Generator(device).manual_seed(stream_seed(seed, key))
    return Canvas(tensor, tensor == mask_id, torch.zeros(len(ids), dtype=torch.float64), generator)


def stream_seed(seed: int, key: str) -> int:
    """Seed of the random numbers that a seed and a key share with no other pair, from 0 to 2^63 - 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()) >> 1


class Block(NamedTuple):
    """Canvas positions [start, end), and how many of them each step of the schedule `fixed` fills."""

    start: int
    end: int
    counts: list[int]


def blocks_of(canvas: Canvas, mask_id: int, block_length: int, num_steps: int | None) -> list[Block]:
    """The blocks that hold masks.

    The steps are shared among them by their number of masks, at least one each (with equal blocks LLaDA's share).

    Args:
        num_steps: of the schedule `fixed`, over all blocks; None: one a mask
    """
    is_masked = canvas.ids == mask_id
    bounds = [
        (start, min(start + block_length, len(canvas.ids))) for start in range(canvas.start, len(canvas.ids), block_length)
    ]
    masks = [(start, end, int(is_masked[start:end].sum())) for start, end in bounds if is_masked[start:end].any()]
    steps_left = masks_left = sum(count for _, _, count in masks)
    if num_steps is not None:
        steps_left = num_steps
    blocks = []
    for number, (start, end, count) in enumerate(masks):
        blocks_behind = len(masks) - number - 1
        steps = max(1, min(steps_left * count // masks_left, steps_left - blocks_behind))
        blocks.append(Block(start, end, transfer_counts(count, steps)))
        steps_left -= steps
        masks_left -= count
    return blocks


@dataclass(frozen=True, kw_only=True)
class Filler:
    """A model, and how it fills canvases.

    Attributes:
        rule: of one step
        block_length: positions
        num_steps: of the schedule `fixed`; None: one a mask
        cache: one of cache.CACHES
        cache_refresh: steps after which the whole canvas is computed anew; None: at the start of a block only
        guidance: strength of classifier-free guidance, 0 for none
    """

    denoiser: Denoiser
    rule: StepRule
    block_length: int
    num_steps: int | None = None
    cache: str = "none"
    cache_refresh: int | None = None
    guidance: float = 0.0

    @torch.inference_mode()
    def fill(self, canvases: Sequence[Canvas], *, stop_ids: frozenset[int] = frozenset()) -> None:
        """Fills the masks of canvases, in place.

        Args:
            stop_ids: a canvas whose finished block holds one of them is cut behind that block
        """
        plans = [blocks_of(canvas, self.rule.mask_id, self.block_length, self.num_steps) for canvas in canvases]
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
        """Fills one block of each canvas. They begin it together, and those that are through wait for the others."""
        reader = _Reader(self, canvases, blocks)
        step = 0
        while reader.rows:
            ids_BN, logits_BNV = reader.read(is_whole=self._reads_all(step))
            active = [(canvases[row], blocks[row]) for row in reader.rows]
            quota_B = torch.tensor([block.counts[min(step, len(block.counts) - 1)] for _, block in active])
            uniforms = self._uniforms([canvas for canvas, _ in active], [block for _, block in active], logits_BNV)
            done = denoise_step(ids_BN, logits_BNV, self.rule, quota_B.to(ids_BN.device), uniforms)
            for (canvas, block), ids, is_committed, confidence in zip(
                active, done.ids_BN.cpu(), done.is_committed_BN.cpu(), done.confidence_BN.double().cpu(), strict=True
            ):
                offsets = is_committed.nonzero().flatten()
                canvas.write(block.start + offsets, ids[offsets])
                canvas.confidence[block.start + offsets] = confidence[offsets]
                canvas.num_forward += 2 if self.guidance else 1
            step += 1
            reader.drop_finished()

    def _reads_all(self, step: int) -> bool:
        return self.cache == "none" or step == 0 or (self.cache_refresh is not None and step % self.cache_refresh == 0)

    def _uniforms(self, canvases: list[Canvas], blocks: list[Block], logits_BNV: Tensor) -> Uniforms:
        """Random numbers for a step, each canvas's from its own stream."""
        num_canvases, width, size = logits_BNV.shape
        wants_tokens, wants_order = self.rule.temperature > 0, self.rule.confidence == "random"
        token_BNV = logits_BNV.new_full((num_canvases, width, size), 0.5, dtype=torch.float64) if wants_tokens else None
        order_BN = logits_BNV.new_zeros((num_canvases, width), dtype=torch.float64) if wants_order else None
        for row, (canvas, block) in enumerate(zip(canvases, blocks, strict=True)):
            length = block.end - block.start
            for wanted, shape in ((token_BNV, (length, size)), (order_BN, (length,))):
                if wanted is not None:
                    wanted[row, :length] = torch.rand(
                        shape, generator=canvas.generator, dtype=torch.float64, device=wanted.device
                    )
        return Uniforms(token_BNV, order_BN)


class _Reader:
    """The forward passes of one block of a batch of canvases.

    Windows of unequal length are filled up with one more position behind the longest canvas, which nothing attends to.

    Attributes:
        rows: canvases, by index, whose block still holds masks
    """

    def __init__(self, filler: Filler, canvases: list[Canvas], blocks: list[Block]) -> None:
        self.rows = list(range(len(canvases)))
        self._filler = filler
        self._canvases, self._blocks = canvases, blocks
        self._device = next(filler.denoiser.parameters()).device
        self._cache = KeyValues() if filler.cache != "none" else None
        self._windows = [self._window(canvas, block) for canvas, block in zip(canvases, blocks, strict=True)]
        lengths = [len(canvas.ids) for canvas in canvases]
        unequal = len(set(lengths)) > 1 or len({last - first for first, last in self._windows}) > 1
        self._is_padded = unequal
        self._width = max(lengths) + unequal

    def _window(self, canvas: Canvas, block: Block) -> tuple[int, int]:
        """Positions that are computed where the cache spares the others."""
        first = max(0, block.start - self._filler.denoiser.shift)  # with shift, a token is predicted one position before it
        return {"none": (0, len(canvas.ids)), "prefix": (first, len(canvas.ids)), "dual": (first, block.end)}[
            self._filler.cache
        ]

    def drop_finished(self) -> None:
        """Goes on with the canvases whose block still holds masks."""
        mask_id = self._filler.rule.mask_id
        left = [
            place
            for place, row in enumerate(self.rows)
            if (self._canvases[row].ids[self._blocks[row].start : self._blocks[row].end] == mask_id).any()
        ]
        if len(left) < len(self.rows) and self._cache is not None:
            both = left + [place + len(self.rows) for place in left] if self._filler.guidance else left
            self._cache.keep_rows(torch.tensor(both, dtype=torch.int64, device=self._device))
        self.rows = [self.rows[place] for place in left]

    def read(self, *, is_whole: bool) -> tuple[Tensor, Tensor]:
        """Ids [B, N] and logits [B, N, V] of the blocks.

        Args:
            is_whole: compute every position of the canvases, not the window alone
        """
        filler, mask_id = self._filler, self._filler.rule.mask_id
        canvases = [self._canvases[row] for row in self.rows]
        blocks = [self._blocks[row] for row in self.rows]
        length_B1 = torch.tensor([[len(canvas.ids)] for canvas in canvases])
        ids_BL = torch.zeros((len(canvases), self._width), dtype=torch.int64)
        is_open_BL = torch.zeros(ids_BL.shape, dtype=torch.bool)
        for row, canvas in enumerate(canvases):
            ids_BL[row, : len(canvas.ids)] = canvas.ids
            is_open_BL[row, : len(canvas.ids)] = canvas.is_open

        windows = [(0, self._width) if is_whole else self._windows[row] for row in self.rows]
        first_B1, last_B1 = torch.tensor(windows)[:, :, None].unbind(dim=1)
        position_BW = first_B1 + torch.arange(max(last - first for first, last in windows))
        position_BW = position_BW.where(position_BW < last_B1, self._width - 1)
        start_B1, end_B1 = torch.tensor([block[:2] for block in blocks])[:, :, None].unbind(dim=1)
        block_BN = start_B1 + torch.arange(max(block.end - block.start for block in blocks))
        is_real_BN = block_BN < end_B1
        block_BN = block_BN.where(is_real_BN, start_B1)
        slot_BN = block_BN - first_B1

        rate_B1 = torch.tensor([[canvas.mask_rate(mask_id)] for canvas in canvases])
        block_ids_BN = ids_BL.gather(1, block_BN).where(is_real_BN, NO_POSITION)
        attention_mask = (torch.arange(self._width) < length_B1)[:, None, None, :] if self._is_padded else None
        if filler.guidance:  # the same canvases with all that was given hidden
            ids_BL = torch.cat([ids_BL, ids_BL.where(is_open_BL, mask_id)])
            position_BW, rate_B1, slot_BN = (torch.cat([one, one]) for one in (position_BW, rate_B1, slot_BN))
            attention_mask = None if attention_mask is None else torch.cat([attention_mask, attention_mask])

        device = self._device
        position_BW, slot_BN = position_BW.to(device), slot_BN.to(device)
        if self._cache is not None:
            self._cache.select(None if is_whole else position_BW)
        hidden_BWD = filler.denoiser.hidden(
            Inputs(
                ids_BL.to(device).gather(1, position_BW),
                attention_mask=None if attention_mask is None else attention_mask.to(device),
                position_BL=position_BW,
                rate_BL=rate_B1.to(device),
                cache=self._cache,
            )
        )
        hidden_BND = hidden_BWD.gather(1, slot_BN[..., None].expand(-1, -1, hidden_BWD.shape[-1]))
        logits_BNV = filler.denoiser.network.lm_head(hidden_BND)
        if filler.guidance:  # LLaDA's appendix on guidance: away from what the prompt does not explain
            given, free = logits_BNV.to(torch.promote_types(logits_BNV.dtype, torch.float32)).chunk(2)
            logits_BNV = free + (filler.guidance + 1) * (given - free)
        return block_ids_BN.to(device), logits_BNV
