"""An answer in the terminal while it is denoised: masks, what the last step wrote, and what stands already."""

import time
from collections.abc import Sequence
from functools import cache, partial
from types import TracebackType

import torch
from rich.console import Console
from rich.live import Live
from rich.text import Text

from syntaxdiff.eval.inference.canvas import Canvas
from syntaxdiff.eval.inference.language_model import Described
from syntaxdiff.eval.inference.steps import PLAIN, cell_maker
from syntaxdiff.pipeline.inspection.display import visible

MASK = "\N{MEDIUM SHADE}"
STYLES = {"masked": "bright_black", "written": "black on bright_green", "kept": "", "special": "bright_black"}
FRAME_SECONDS = 0.06  # a step of a small model takes a few milliseconds, too short to be seen
PRINTED_SHARES = (0.75, 0.5, 0.25)  # of masks left, at which the canvas is printed where there is no terminal


class LiveAnswer:
    """Draws the canvas of one answer after each step; where there is no terminal, three times on the way."""

    def __init__(self, model: Described, console: Console) -> None:
        self._model = model
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._before: torch.Tensor | None = None
        self._shares = list(PRINTED_SHARES)
        self._step = 0
        self._cell = cache(partial(cell_maker(model), 0))

    def __enter__(self) -> "LiveAnswer":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, canvases: Sequence[Canvas]) -> None:
        """Draws what is there after a step; a sampler's ``on_step``."""
        (canvas,) = canvases
        self._step += 1
        ids = canvas.ids[canvas.start :].clone()
        masked = ids == self._model.token_ids.mask
        if self._live is not None:
            self._live.update(self.drawn(ids, masked), refresh=True)
            time.sleep(FRAME_SECONDS)
        elif self._shares and masked.float().mean() <= self._shares[0]:
            self._console.print(Text(f"after step {self._step}:", "bold"))
            self._console.print(self.drawn(ids, masked))
            self._shares = [share for share in self._shares if masked.float().mean() > share]
        self._before = ids

    def drawn(self, ids: torch.Tensor, masked: torch.Tensor) -> Text:
        """The answer: masks, tokens written since the step before, and the others."""
        text = Text()
        before = self._before
        for place, (token_id, is_masked) in enumerate(zip(ids.tolist(), masked.tolist(), strict=True)):
            if is_masked:
                text.append(MASK, STYLES["masked"])
                continue
            cell = self._cell(token_id)
            if cell.kind != PLAIN:
                text.append("\N{MIDDLE DOT}", STYLES["special"])
                continue
            is_new = before is None or place >= len(before) or int(before[place]) != token_id
            text.append(visible(cell.text), STYLES["written" if is_new else "kept"])
        return text
