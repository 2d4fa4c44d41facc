"""Bars on standard error for what takes long."""

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from syntaxdiff.eval.progress import Progress


class ProgressBars:
    """A bar on standard error for each stage of an evaluation, with the time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows how far a stage is; what an earlier run did does not count into the rate."""
        if progress.stage != self._stage:
            self.__exit__()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                desc=progress.stage,
                dynamic_ncols=True,
                disable=None,  # not in a log
            )
        assert self._bar is not None
        self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(progress.done - self._bar.n)


class JobsBar:
    """A bar on standard error for a study: how many of its commands are done, and which run."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "JobsBar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int, running: Sequence[str]) -> None:
        """Shows how far it is; what an earlier call did does not count into the time left."""
        if self._bar is None or self._bar.total != total:
            self.__exit__()
            self._bar = tqdm(total=total, initial=done, desc="study", unit=" commands", dynamic_ncols=True, disable=None)
        self._bar.set_postfix_str(", ".join(running), refresh=False)
        self._bar.update(done - self._bar.n)
        self._bar.refresh()
