"""The bar of a build, on standard error."""

from typing import Any

from tqdm import tqdm

from syntaxdiff.pipeline.assembly.pool import Progress


class ProgressBar:
    """A bar for a build on standard error: rows and tokens a second, rejects, time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._first = (0, 0)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows a state; what an earlier run did does not count into the rates."""
        counts = progress.counts
        if self._bar is None:
            scale = progress.unit == "bytes"
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                unit="B" if scale else f" {progress.unit}",
                unit_scale=scale,
                dynamic_ncols=True,
                mininterval=0.5,
                desc="building",
                disable=None,  # where nobody looks: a log
            )
            self._first = (counts.rows, counts.tokens)
        bar = self._bar
        seconds = bar.format_dict["elapsed"] or 1e-9
        rejects = counts.rejected.total()
        bar.set_postfix_str(
            f"{(counts.rows - self._first[0]) / seconds:,.0f} rows/s, "
            f"{(counts.tokens - self._first[1]) / seconds / 1e6:.2f} Mtok/s, {rejects:,} rejects",
            refresh=False,
        )
        bar.update(progress.done - bar.n)
