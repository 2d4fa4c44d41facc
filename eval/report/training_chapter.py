"""Training runs in a report: settings, losses, rates. What was masked and how a model writes is in replay.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from syntaxdiff.eval.report.charts import Chart, Point, Series, line_chart
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.train.monitor.metrics import StepRecord, ValidationRecord


@dataclass(frozen=True, kw_only=True)
class TrainingChapter:
    """Settings, losses and rates of training runs."""

    template: ClassVar[str] = "training.html"
    runs: Sequence[Training]
    charts: Sequence[Chart | None]


def training_chapter(trainings: Sequence[Training]) -> TrainingChapter:
    """The chapter of some training runs."""
    losses: list[Series] = []
    validations: list[Series] = []
    grid: list[Series] = []
    for number, run in enumerate(trainings):
        prefix = f"{run.name}, " if len(trainings) > 1 else ""
        losses.append(_curve(run.metrics.steps, "nats", f"{prefix}training", number, is_faint=True))
        validated = run.metrics.validations
        for strategy, objective in dict.fromkeys((record.strategy, record.objective) for record in validated):
            records = [record for record in validated if (record.strategy, record.objective) == (strategy, objective)]
            name = f"{prefix}validation {strategy} ({objective})"
            validations.append(_curve(records, "loss", name, len(trainings) + len(validations)))
        if (unigram := run.info.unigram_nats) is not None:
            ends = [record.step for record in (*run.metrics.steps[:1], *run.metrics.steps[-1:])]
            line = [Point(step, unigram) for step in ends]
            losses.append(Series(name=f"{prefix}unigram", points=line, colour=number, is_dashed=True))
        for strategy, at_rates in (run.info.validation_grid or {}).items():
            points = [Point(float(rate), loss) for rate, loss in at_rates.items() if loss is not None]
            objective = run.info.validation_objectives.get(strategy, "inverse-rate")
            grid.append(Series(name=f"{prefix}{strategy} ({objective})", points=points, colour=len(trainings) + len(grid)))
    mask_rates, learning_rates, speeds = (
        [_curve(run.metrics.steps, field, run.name, number) for number, run in enumerate(trainings)]
        for field in ("mask_rate", "learning_rate", "tokens_per_second")
    )
    return TrainingChapter(
        runs=trainings,
        charts=(
            line_chart("Loss, nats per masked token", [*losses, *validations], x_label="step"),
            line_chart("Validation loss by mask rate, at the end", grid, x_label="mask rate"),
            line_chart("Realised mask rate", mask_rates, x_label="step", y_range=(0, 1), percent=True),
            line_chart("Learning rate", learning_rates, x_label="step"),
            line_chart("Tokens per second", speeds, x_label="step"),
        ),
    )


def _curve(
    records: Sequence[StepRecord | ValidationRecord], field: str, name: str, colour: int, *, is_faint: bool = False
) -> Series:
    values = ((record.step, getattr(record, field)) for record in records)
    points = [Point(step, value) for step, value in values if value is not None]
    return Series(name=name, points=points, colour=colour, is_faint=is_faint)
