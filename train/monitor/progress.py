"""What a person sees of a run: a bar, lines of JSON, DeepSpeed's monitors, denoised programs, and a picture of the curves."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.jsonlines import decode, read_lines
from syntaxdiff.pipeline.progress_bar import ProgressBar
from syntaxdiff.pipeline.shard import storage_errors, write_text, written_whole
from syntaxdiff.train.monitor.metrics import (
    GRID,
    GridRecord,
    Losses,
    Metrics,
    MetricsRecord,
    PreviewRecord,
    StepRecord,
    StepValues,
    ValidationRecord,
    line_of,
    read_metrics,
)
from syntaxdiff.train.monitor.previews import Preview
from syntaxdiff.train.monitor.validation import Validation
from syntaxdiff.train.run_folder import METRICS, PICTURE, SAMPLES

ADVICE = "remove the file, the run does not need it"


class Flops(NamedTuple):
    """Floating-point operations: of a token, forward and backward; and per second of all GPUs of the run at their peak."""

    per_token: float
    peak: float


class Progress:
    """The record of a run; silent on all ranks but the first.

    Args:
        out: where the record is kept
        monitor: DeepSpeed's, to which scalars go too; None on other ranks
        log_every: steps between lines where there is no terminal for a bar; 0 for none
        flops: for the utilisation of GPUs; None on a CPU and on GPUs that are not known
    """

    def __init__(
        self,
        out: Path,
        monitor: Any,
        *,
        first: int,
        total: int,
        is_first: bool,
        log_every: int = 0,
        flops: Flops | None,
    ) -> None:
        self._out = out
        self._monitor = monitor
        self._is_first = is_first
        self._flops = flops
        self._began = self._since = time.perf_counter()  # the former: when the first step was done
        self._first, self._total, self._log_every = first, total, log_every
        self._bar = ProgressBar()
        self._warned: set[str] = set()
        if is_first:
            self._truncate(first)
            self._bar.show(first, total, "training", unit="steps")

    def _truncate(self, step: int) -> None:
        """Drops the lines of steps that a resumed run takes again."""
        path = self._out / METRICS
        if not path.exists():
            return
        kept = []
        lines = list(read_lines(path, advice=ADVICE))
        for number, line in enumerate(lines, 1):
            record = decode(line)
            if isinstance(record, RowError) or not {"step", "kind"} <= record.keys():
                if number < len(lines):  # the last line of a run that was killed is half a line
                    self.say(f"{path}: line {number} is damaged and is dropped")
                continue
            if record["step"] <= step and record["kind"] != GRID:  # the end of the run, which comes again
                kept.append(line.decode("utf-8") + "\n")
        write_text(path, "".join(kept))

    def step(self, step: int, values: StepValues, tokens: int, peak_memory_bytes: int) -> None:
        """Records an optimizer step.

        Args:
            tokens: of the whole global batch
        """
        if not self._is_first:
            return
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        if step == self._first + 1:
            self._began = now
        rate = tokens / seconds
        record = StepRecord(
            step=step,
            **vars(values),
            tokens_per_second=rate,
            peak_memory_bytes=peak_memory_bytes,
            model_flops_utilisation=rate * self._flops.per_token / self._flops.peak if self._flops else None,
        )
        summary = (
            f"loss {_shown(values.loss, '.3f')}, {_shown(values.nats, '.2f')} nats, mask {_shown(values.mask_rate, '.2f')}, "
            f"lr {_shown(values.learning_rate, '.1e')}, {rate:,.0f} tok/s"
        )
        if record.model_flops_utilisation is not None:
            summary += f", MFU {record.model_flops_utilisation:.0%}"
        summary += f", {peak_memory_bytes / 2**30:.1f} GiB"
        self._bar.show(step, self._total, "training", unit="steps", note=summary)
        is_due = self._log_every and (step % self._log_every == 0 or step in (self._first + 1, self._total))
        if not self._bar.is_drawn and is_due:
            taken = step - self._first - 1  # the first step warms up, and says nothing of the others
            left = (now - self._began) / taken * (self._total - step) if taken else None
            self.say(
                f"step {step:,} of {self._total:,}: {summary}"
                + (f", {tqdm.format_interval(left)} left" if left is not None else "")
            )
        self._write(record)
        self._send(step, {**vars(values), "tokens_per_second": rate})

    def validation(self, step: int, validations: list[Validation], unigram: float | None) -> None:
        """Records and prints a validation."""
        if not self._is_first:
            return
        for validation in validations:
            self._write(record_of(step, validation))
            self._send(step, {f"validation/{validation.strategy}": validation.loss})
        for validation in validations:
            if validation.warning and validation.strategy not in self._warned:  # masks are fixed: it holds for all validations
                self._warned.add(validation.strategy)
                self.say(validation.warning)
        losses = ", ".join(f"{validation.strategy} {_shown(validation.loss, '.4f')}" for validation in validations)
        self.say(
            f"step {step}: validation loss {losses} nats per token"
            + (f" (unigram {unigram:.4f})" if unigram is not None else "")
        )
        self._since = time.perf_counter()  # the next step's speed is its own

    def grid(self, step: int, losses: Mapping[str, Losses]) -> None:
        """Records the losses at the end, by strategy and mask rate."""
        if self._is_first:
            self._write(GridRecord(step=step, losses=losses))

    def preview(self, step: int, preview: Preview) -> None:
        """Shows a restored and a written program, and keeps them."""
        if not self._is_first:
            return
        with storage_errors(self._out / SAMPLES), (self._out / SAMPLES).open("a", encoding="utf-8") as file:
            file.write(f"--- step {step}\n{preview}\n")
        self._write(PreviewRecord(step=step, num_masked=preview.num_masked, num_right=preview.num_right))
        self.say(f"step {step}: {preview}")
        self._since = time.perf_counter()

    def say(self, text: str) -> None:
        """Prints next to the bar, or into a log, at once."""
        if self._is_first:
            tqdm.write(text)
            sys.stdout.flush()

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def _write(self, record: MetricsRecord) -> None:
        with storage_errors(self._out / METRICS), (self._out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line_of(record)) + "\n")

    def _send(self, step: int, values: Losses) -> None:
        if self._monitor is not None and self._monitor.enabled:
            known = {name: value for name, value in values.items() if value is not None}
            self._monitor.write_events([(f"train/{name}", value, step) for name, value in known.items()])


def _shown(value: float | None, spec: str) -> str:
    """A number, or that there is none."""
    return "unknown" if value is None else format(value, spec)


def record_of(step: int, validation: Validation) -> ValidationRecord:
    """A validation as a record of the run."""
    values = asdict(validation)
    by_rate = {str(rate): nats for rate, nats in validation.by_rate.items()}
    return ValidationRecord(step=step, **values | {"by_rate": by_rate})


def draw_curves(out: Path, unigram: float | None) -> None:
    """Draws training and validation losses, mask rate and learning rate over the steps."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    metrics = read_metrics(out / METRICS, advice=ADVICE) if (out / METRICS).exists() else Metrics()
    steps, validations = metrics.steps, metrics.validations
    figure, (losses, rates) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    losses.plot([r.step for r in steps], [r.nats for r in steps], lw=0.7, alpha=0.5, label="training, per masked token")
    for strategy in dict.fromkeys(r.strategy for r in validations):
        found = [r for r in validations if r.strategy == strategy]
        losses.plot([r.step for r in found], [r.loss for r in found], marker="o", ms=3, label=f"validation, {strategy}")
    if unigram is not None:
        losses.axhline(unigram, color="grey", ls=":", label="unigram")
    losses.set(xlabel="step", ylabel="nats per token", ylim=(0, None), title="loss")
    losses.legend()
    rates.plot([r.step for r in steps], [r.mask_rate for r in steps], lw=0.7, label="realised mask rate")
    rates.set(xlabel="step", ylim=(0, 1), title="mask rate and learning rate")
    other = rates.twinx()
    other.plot([r.step for r in steps], [r.learning_rate for r in steps], color="C1", label="learning rate")
    rates.legend(loc="upper left")
    other.legend(loc="upper right")
    with written_whole(out / PICTURE) as path:
        figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)
