"""Canvases, and filling them: block by block from left to right, several at a time, each as if it were alone.

A canvas is a sequence of ids in which masks stand where something is to be written. Canvases of a batch stand at the left edge,
their ends padded; attention leaves padding out, and positions count from each canvas's own start. What one step decides is in
train's denoise.py, prompts and texts are generation.py's.

Shapes: B canvases, L positions, W positions that a forward computes, M masks of a block, V vocabulary, D width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from syntaxdiff.eval.inference.cache import KeyValues
from syntaxdiff.train.model.denoiser import Denoiser, Inputs
from syntaxdiff.train.model.denoising_step import Uniforms, denoise_step, transfer_counts
from syntaxdiff.train.model.step_rule import StepRule

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
            place_BM, logits_BMV = reader.read(is_whole=self._reads_all(step))
            active = [(canvases[row], blocks[row]) for row in reader.rows]
            ids_BM = torch.where(place_BM == NO_POSITION, NO_POSITION, self.rule.mask_id).to(logits_BMV.device)
            quota_B = torch.tensor([block.counts[min(step, len(block.counts) - 1)] for _, block in active])
            uniforms = self._uniforms(active, place_BM, logits_BMV)
            done = denoise_step(ids_BM, logits_BMV, self.rule, quota_B.to(ids_BM.device), uniforms)
            for (canvas, _), place_M, ids_M, is_committed_M, confidence_M in zip(
                active, place_BM, *(one.cpu() for one in done), strict=True
            ):
                written = place_M[is_committed_M]
                canvas.write(written, ids_M[is_committed_M])
                canvas.confidence[written] = confidence_M[is_committed_M].double()
                canvas.num_forward += 2 if self.guidance else 1
            step += 1
            reader.drop_finished()

    def _reads_all(self, step: int) -> bool:
        return self.cache == "none" or step == 0 or (self.cache_refresh is not None and step % self.cache_refresh == 0)

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


class _Window(NamedTuple):
    """Positions that a forward pass computes; guidance reads every canvas twice, the second time with what was given hidden.

    Windows of unequal length are filled up with one more position behind the longest canvas, which nothing attends to.

    Attributes:
        first_B1: of each canvas, on the CPU
        position_BW: on the CPU
        read_BW: the same where the model is, twice with guidance
        kept: how the cache is told of them
    """

    first_B1: Tensor
    position_BW: Tensor
    read_BW: Tensor
    kept: Tensor | slice | None


class _Reader:
    """The forward passes of one block of a batch of canvases.

    Attributes:
        rows: canvases, by index, whose block still holds masks
    """

    def __init__(self, filler: Filler, canvases: list[Canvas], blocks: list[Block]) -> None:
        self.rows = list(range(len(canvases)))
        self._filler = filler
        self._canvases, self._blocks = canvases, blocks
        self._device = next(filler.denoiser.parameters()).device
        self._cache = KeyValues() if filler.cache != "none" else None
        self._bounds = [self._window_of(canvas, block) for canvas, block in zip(canvases, blocks, strict=True)]
        lengths = [len(canvas.ids) for canvas in canvases]
        self._is_padded = len(set(lengths)) > 1 or len({last - first for first, last in self._bounds}) > 1
        self._width = max(lengths) + self._is_padded
        self._lay_out()

    def _window_of(self, canvas: Canvas, block: Block) -> tuple[int, int]:
        """Positions that are computed where the cache spares the others."""
        first = max(0, block.start - self._filler.denoiser.shift)  # with shift, a token is predicted one position before it
        return {"none": (0, len(canvas.ids)), "prefix": (first, len(canvas.ids)), "dual": (first, block.end)}[
            self._filler.cache
        ]

    def _lay_out(self) -> None:
        """Sets what depends on the canvases at hand and not on what is written in them: windows and attention."""
        if not self.rows:
            return
        bounds = [self._bounds[row] for row in self.rows]
        self._whole = self._window([(0, self._width)] * len(bounds))._replace(kept=None)
        self._part = self._window(bounds) if self._cache is not None else self._whole
        self._attention_mask: Tensor | None = None
        if self._is_padded:
            length_B1 = torch.tensor([[len(self._canvases[row].ids)] for row in self.rows])
            self._attention_mask = self._twice((torch.arange(self._width) < length_B1)[:, None, None, :]).to(self._device)

    def _window(self, bounds: list[tuple[int, int]]) -> _Window:
        first_B1, last_B1 = torch.tensor(bounds)[:, :, None].unbind(dim=1)
        position_BW = first_B1 + torch.arange(max(last - first for first, last in bounds))
        position_BW = position_BW.where(position_BW < last_B1, self._width - 1)
        read_BW = self._twice(position_BW).to(self._device)
        return _Window(first_B1, position_BW, read_BW, slice(*bounds[0]) if len(set(bounds)) == 1 else read_BW)

    def _twice(self, one: Tensor) -> Tensor:
        return torch.cat([one, one]) if self._filler.guidance else one

    def drop_finished(self) -> None:
        """Goes on with the canvases whose block still holds masks."""
        left = [place for place, row in enumerate(self.rows) if len(self._masked(row))]
        if len(left) == len(self.rows):
            return
        if self._cache is not None:
            both = left + [place + len(self.rows) for place in left] if self._filler.guidance else left
            self._cache.keep_rows(torch.tensor(both, dtype=torch.int64, device=self._device))
        self.rows = [self.rows[place] for place in left]
        self._lay_out()

    def _masked(self, row: int) -> Tensor:
        """Canvas positions of the masks of a block."""
        block = self._blocks[row]
        is_masked = self._canvases[row].ids[block.start : block.end] == self._filler.rule.mask_id
        return block.start + is_masked.nonzero().flatten()

    def read(self, *, is_whole: bool) -> tuple[Tensor, Tensor]:
        """Canvas positions [B, M] of the masks of the blocks, on the CPU, and logits [B, M, V] there.

        Blocks with fewer masks than others are filled up with NO_POSITION.

        Args:
            is_whole: compute every position of the canvases, not the window alone
        """
        filler, window = self._filler, self._whole if is_whole else self._part
        canvases = [self._canvases[row] for row in self.rows]
        place_BM = pad_sequence([self._masked(row) for row in self.rows], batch_first=True, padding_value=NO_POSITION)
        slot_BM = self._twice((place_BM - window.first_B1).clamp(min=0)).to(self._device)
        if self._cache is not None:
            self._cache.select(window.kept)
        hidden_BWD = filler.denoiser.hidden(
            Inputs(
                self._ids(canvases, window).to(self._device),
                attention_mask=self._attention_mask,
                position_BL=window.read_BW,
                rate_BL=self._rates(canvases),
                cache=self._cache,
            )
        )
        hidden_BMD = hidden_BWD.gather(1, slot_BM[..., None].expand(-1, -1, hidden_BWD.shape[-1]))
        logits_BMV = filler.denoiser.network.lm_head(hidden_BMD)
        if filler.guidance:  # LLaDA's appendix on guidance: away from what the prompt does not explain
            given, free = logits_BMV.to(torch.promote_types(logits_BMV.dtype, torch.float32)).chunk(2)
            logits_BMV = free + (filler.guidance + 1) * (given - free)
        return place_BM, logits_BMV

    def _ids(self, canvases: list[Canvas], window: _Window) -> Tensor:
        """Ids of a window; with guidance, also as they are with all that was given hidden."""
        ids_BL = torch.zeros((len(canvases), self._width), dtype=torch.int64)
        for row, canvas in enumerate(canvases):
            ids_BL[row, : len(canvas.ids)] = canvas.ids
        ids_BW = ids_BL.gather(1, window.position_BW)
        if not self._filler.guidance:
            return ids_BW
        is_open_BL = torch.zeros(ids_BL.shape, dtype=torch.bool)
        for row, canvas in enumerate(canvases):
            is_open_BL[row, : len(canvas.ids)] = canvas.is_open
        return torch.cat([ids_BW, ids_BW.where(is_open_BL.gather(1, window.position_BW), self._filler.rule.mask_id)])

    def _rates(self, canvases: list[Canvas]) -> Tensor | None:
        """Mask rates [B, 1] of the canvases, where the model is told."""
        if self._filler.denoiser.timestep is None:
            return None
        rate_B1 = torch.tensor([[canvas.mask_rate(self._filler.rule.mask_id)] for canvas in canvases])
        return self._twice(rate_B1).to(self._device)
