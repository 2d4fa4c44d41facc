"""Canvases, and their blocks: sequences of ids in which masks stand where something is to be written.

How masks are filled is in sampler.py.

Shapes: L positions.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from syntaxdiff.train.model.denoising_step import transfer_counts

NO_POSITION = -1


class Commit(NamedTuple):
    """What one step wrote: positions in the canvas, and ids. Mask ids: what syntax repair masked again."""

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
        num_forward: forward passes that read this canvas; guidance reads it twice per step
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
        """Share of masks among the positions from the first that may be written to: after a prompt, those of the answer."""
        return int((self.ids == mask_id).sum()) / (len(self.ids) - self.start)

    def cut(self, end: int) -> None:
        """Removes everything from a position on."""
        self.ids, self.is_open, self.confidence = self.ids[:end], self.is_open[:end], self.confidence[:end]

    def write(self, positions: Tensor, ids: Tensor) -> None:
        """Sets ids and notes it in the trace."""
        assert self.is_open[positions].all()
        self.ids[positions] = ids
        self.trace.append(Commit(positions.tolist(), ids.tolist()))


OnStep: TypeAlias = Callable[[Sequence[Canvas]], None]
"""Is shown the canvases of a batch after each step that wrote to them."""


def new_canvas(ids: Sequence[int], mask_id: int, *, seed: int, key: str, device: torch.device) -> Canvas:
    """A canvas of ids and masks, with a stream of random numbers that depends only on seed and key."""
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
        num_steps: of the schedule `fixed`, over all blocks; None: one per mask
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
        later_blocks = len(masks) - number - 1
        steps = max(1, min(steps_left * count // masks_left, steps_left - later_blocks))
        blocks.append(Block(start, end, transfer_counts(count, steps)))
        steps_left -= steps
        masks_left -= count
    return blocks
