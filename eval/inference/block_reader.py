"""The forward passes of one block of a batch of canvases: which positions are computed, and the logits of the masks.

Canvases of a batch are aligned at the left and padded at the end; attention leaves padding out, and positions count from each
canvas's own start. What is done with the logits is in sampler.py.

Shapes: B canvases, L positions, W positions that a forward pass computes, M masks of a block, V vocabulary, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from syntaxdiff.eval.inference.cache import KeyValues
from syntaxdiff.eval.inference.canvas import NO_POSITION, Block, Canvas
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.train.model.denoiser import Denoiser, Inputs


class _Window(NamedTuple):
    """Positions that a forward pass computes; guidance reads every canvas twice, the second time with the given ids masked.

    Shorter windows are padded with a position after the end of the longest canvas, which nothing attends to.

    Attributes:
        first_B1: of each canvas, on the CPU
        position_BW: on the CPU
        read_BW: the same where the model is, twice with guidance
        kept: the same as the cache takes them
    """

    first_B1: Tensor
    position_BW: Tensor
    read_BW: Tensor
    kept: Tensor | slice | None


class BlockReader:
    """Reads one block of a batch of canvases, step after step.

    Attributes:
        rows: canvases, by index, whose block still holds masks
    """

    def __init__(
        self, denoiser: Denoiser, config: GenerationConfig, mask_id: int, canvases: list[Canvas], blocks: list[Block]
    ) -> None:
        self.rows = list(range(len(canvases)))
        self._denoiser = denoiser
        self._cache_name, self._guidance, self._mask_id = config.cache, config.guidance, mask_id
        self._canvases, self._blocks = canvases, blocks
        self._device = next(denoiser.parameters()).device
        self._cache = KeyValues() if config.cache != "none" else None
        self._bounds = [self._window_of(canvas, block) for canvas, block in zip(canvases, blocks, strict=True)]
        lengths = [len(canvas.ids) for canvas in canvases]
        self._is_padded = len(set(lengths)) > 1 or len({last - first for first, last in self._bounds}) > 1
        self._width = max(lengths) + self._is_padded
        self._lay_out()

    def _window_of(self, canvas: Canvas, block: Block) -> tuple[int, int]:
        """Positions that are computed where the cache spares the others."""
        first = max(0, block.start - self._denoiser.shift)  # with shift, a token is predicted one position before it
        return {"none": (0, len(canvas.ids)), "prefix": (first, len(canvas.ids)), "dual": (first, block.end)}[self._cache_name]

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

    def _twice(self, tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor]) if self._guidance else tensor

    def drop_finished(self) -> None:
        """Keeps only the canvases whose block still holds masks."""
        left = [place for place, row in enumerate(self.rows) if len(self._masked(row))]
        if len(left) == len(self.rows):
            return
        if self._cache is not None:
            both = left + [place + len(self.rows) for place in left] if self._guidance else left
            self._cache.keep_rows(torch.tensor(both, dtype=torch.int64, device=self._device))
        self.rows = [self.rows[place] for place in left]
        self._lay_out()

    def _masked(self, row: int) -> Tensor:
        """Canvas positions of the masks of a block."""
        block = self._blocks[row]
        is_masked = self._canvases[row].ids[block.start : block.end] == self._mask_id
        return block.start + is_masked.nonzero().flatten()

    def read(self, *, is_whole: bool) -> tuple[Tensor, Tensor]:
        """Canvas positions [B, M] of the masks of the blocks, on the CPU, and logits [B, M, V] there.

        Blocks with fewer masks than others are padded with NO_POSITION.

        Args:
            is_whole: compute every position of the canvases, not only the window
        """
        window = self._whole if is_whole else self._part
        canvases = [self._canvases[row] for row in self.rows]
        place_BM = pad_sequence([self._masked(row) for row in self.rows], batch_first=True, padding_value=NO_POSITION)
        slot_BM = self._twice((place_BM - window.first_B1).clamp(min=0)).to(self._device)
        if self._cache is not None:
            self._cache.select(window.kept)
        hidden_BWD = self._denoiser.hidden(
            Inputs(
                self._ids(canvases, window).to(self._device),
                attention_mask=self._attention_mask,
                position_BL=window.read_BW,
                rate_BL=self._rates(canvases),
                cache=self._cache,
            )
        )
        hidden_BMD = hidden_BWD.gather(1, slot_BM[..., None].expand(-1, -1, hidden_BWD.shape[-1]))
        logits_BMV = self._denoiser.network.lm_head(hidden_BMD)
        if self._guidance:  # LLaDA's appendix on guidance: away from what the prompt does not explain
            given, free = logits_BMV.to(torch.promote_types(logits_BMV.dtype, torch.float32)).chunk(2)
            logits_BMV = free + (self._guidance + 1) * (given - free)
        return place_BM, logits_BMV

    def _ids(self, canvases: list[Canvas], window: _Window) -> Tensor:
        """Ids of a window; with guidance, then the same with all given ids masked."""
        ids_BL = torch.zeros((len(canvases), self._width), dtype=torch.int64)
        for row, canvas in enumerate(canvases):
            ids_BL[row, : len(canvas.ids)] = canvas.ids
        ids_BW = ids_BL.gather(1, window.position_BW)
        if not self._guidance:
            return ids_BW
        is_open_BL = torch.zeros(ids_BL.shape, dtype=torch.bool)
        for row, canvas in enumerate(canvases):
            is_open_BL[row, : len(canvas.ids)] = canvas.is_open
        return torch.cat([ids_BW, ids_BW.where(is_open_BL.gather(1, window.position_BW), self._mask_id)])

    def _rates(self, canvases: list[Canvas]) -> Tensor | None:
        """Mask rates [B, 1] of the canvases, where the model takes them."""
        if self._denoiser.timestep is None:
            return None
        rate_B1 = torch.tensor([[canvas.mask_rate(self._mask_id)] for canvas in canvases])
        return self._twice(rate_B1).to(self._device)
