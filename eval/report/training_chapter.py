"""Training runs in a report: settings, losses, rates. What was masked and how a model writes is in replay.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from syntaxdiff.eval.report.charts import Chart, Point, Series, line_chart
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.eval.report.table import DIGEST_CHARACTERS, Content, Fact, Phrase, Table, facts_table, with_digest
from syntaxdiff.eval.report.training_records import StepRecord, ValidationRecord


@dataclass(frozen=True, kw_only=True)
class TrainingChapter:
    """Settings, losses and rates of training runs."""

    template: ClassVar[str] = "training.html"
    facts: Table
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
        facts=facts_table(trainings, TRAINING_FACTS),
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


def _setting(*names: str) -> Callable[[Training], Content]:
    """Settings as they were asked for; None where the run chose itself."""

    def text(run: Training) -> Content:
        values = [getattr(run.settings, name) for name in names]
        return ", ".join(str(value) for value in values if value is not None) or None

    return text


def _steps(run: Training) -> Content:
    if not run.metrics.steps:
        return "none yet"
    total = run.info.deepspeed.total_num_steps if run.info.deepspeed else None
    done = run.metrics.steps[-1].step
    return f"{done:,} of {total:,}" if isinstance(total, int) and total != done else f"{done:,}"


def _validation_loss(run: Training) -> Content:
    loss = run.info.validation_loss
    if loss is None:
        return None
    masks = run.settings.strategy if run.settings.best_by == "strategy" else "random"
    return f"{loss:.4f} at step {run.info.step}, {masks} masks"


def _masks(run: Training) -> Content:
    settings = run.settings
    named = {
        "drop": settings.drop,
        "shuffle": settings.shuffle,
        "relabel": settings.relabel,
        "placeholder": settings.placeholder,
    }
    shares = [f"{name} {share:g}" for name, share in named.items() if share]
    return ", ".join(filter(None, (settings.strategy, *shares))) or None


def _learning_rate(run: Training) -> Content:
    rates = [record.learning_rate for record in run.metrics.steps if record.learning_rate is not None]
    return f"{max(rates):.3g} at most" if rates else None


def _speed(run: Training) -> Content:
    rates = [record.tokens_per_second for record in run.metrics.steps if record.tokens_per_second is not None]
    return f"{median(rates):,.0f} tokens/s" if rates else None


def _memory(run: Training) -> Content:
    peaks = [record.peak_memory_bytes for record in run.metrics.steps if record.peak_memory_bytes is not None]
    return f"{max(peaks) / 2**30:.1f} GiB" if peaks else None


def _data(run: Training) -> Content:
    folder, fingerprint = run.settings.data, run.info.data_fingerprint
    named = "" if folder is None else str(folder)
    return with_digest(f"{named} ", fingerprint) if fingerprint else named


def _samples_per_step(run: Training) -> Content:
    size = run.info.deepspeed.train_batch_size if run.info.deepspeed else None
    return None if size is None else str(size)


def _model(run: Training) -> Content:
    model = run.info.start or run.settings.model
    return str(model) if model else None


def _revision(run: Training) -> Content:
    return Phrase(code=run.info.git_revision[:DIGEST_CHARACTERS]) if run.info.git_revision else None


TRAINING_FACTS: tuple[Fact, ...] = (
    ("steps", _steps),
    ("validation loss", _validation_loss),
    ("unigram", lambda run: None if (nats := run.info.unigram_nats) is None else f"{nats:.4f}"),
    ("masks", _masks),
    ("objective", _setting("objective")),
    ("curriculum", _setting("curriculum")),
    ("model", _model),
    ("learning rate", _learning_rate),
    ("samples per step", _samples_per_step),
    ("epochs", _setting("epochs")),
    ("seed", _setting("seed")),
    ("speed, median", _speed),
    ("memory, peak", _memory),
    ("data", _data),
    ("revision", _revision),
)
