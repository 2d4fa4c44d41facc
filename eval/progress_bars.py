"""Bars on standard error for evaluations and studies."""

from collections.abc import Sequence

from syntaxdiff.eval.progress import Progress
from syntaxdiff.pipeline.progress_bar import ProgressBar


class ProgressBars(ProgressBar):
    """A bar on standard error for each stage of an evaluation, with the time left."""

    def __enter__(self) -> "ProgressBars":
        return self

    def update(self, progress: Progress) -> None:
        """Shows how far a stage is; what an earlier run did does not count into the rate."""
        self.show(progress.done, progress.total, progress.stage, note=progress.note)


class JobsBar(ProgressBar):
    """A bar on standard error for a study: how many of its commands are done, and which run."""

    def __enter__(self) -> "JobsBar":
        return self

    def update(self, done: int, total: int, running: Sequence[str]) -> None:
        """Shows how far it is; what an earlier call did does not count into the time left."""
        self.show(done, total, "study", unit="commands", note=", ".join(running))
