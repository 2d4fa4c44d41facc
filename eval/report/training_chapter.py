"""Training runs in a report: settings, losses, rates. What was masked and how a model writes is in replay.py."""

from collections.abc import Callable, Sequence
from statistics import median

from syntaxdiff.eval.report.charts import Point, Series, line_chart
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.eval.report.markup import DIGEST_CHARACTERS, Content, Fact, Html, chapter, charts, element, facts_table, joined
from syntaxdiff.train.monitor.metrics import StepRecord, ValidationRecord


def training_chapter(trainings: Sequence[Training]) -> Html:
    """Settings, losses and rates of training runs."""
    losses: list[Series] = []
    validations: list[Series] = []
    rates: list[Series] = []
    grid: list[Series] = []
    others: dict[str, list[Series]] = {"learning_rate": [], "tokens_per_second": []}
    for number, run in enumerate(trainings):
        before = f"{run.name}, " if len(trainings) > 1 else ""
        losses.append(_curve(run.metrics.steps, "nats", f"{before}training", number, is_faint=True))
        validated = run.metrics.validations
        for strategy, objective in dict.fromkeys((record.strategy, record.objective) for record in validated):
            records = [record for record in validated if (record.strategy, record.objective) == (strategy, objective)]
            name = f"{before}validation {strategy} ({objective})"
            validations.append(_curve(records, "loss", name, len(trainings) + len(validations)))
        if (unigram := run.info.unigram_nats) is not None:
            ends = [record.step for record in (*run.metrics.steps[:1], *run.metrics.steps[-1:])]
            line = [Point(step, unigram) for step in ends]
            losses.append(Series(name=f"{before}unigram", points=line, colour=number, is_dashed=True))
        for strategy, at_rates in (run.info.validation_grid or {}).items():
            points = [Point(float(rate), loss) for rate, loss in at_rates.items() if loss is not None]
            objective = run.info.validation_objectives.get(strategy, "inverse-rate")
            grid.append(Series(name=f"{before}{strategy} ({objective})", points=points, colour=len(trainings) + len(grid)))
        rates.append(_curve(run.metrics.steps, "mask_rate", run.name, number))
        for key, series in others.items():
            series.append(_curve(run.metrics.steps, key, run.name, number))
    return chapter(
        "Training",
        facts_table(trainings, TRAINING_FACTS),
        charts(
            line_chart("Loss, nats a masked token", [*losses, *validations], x_label="step"),
            line_chart("Validation loss by mask rate, at the end", grid, x_label="mask rate"),
            line_chart("Realised mask rate", rates, x_label="step", y_range=(0, 1), percent=True),
            line_chart("Learning rate", others["learning_rate"], x_label="step"),
            line_chart("Tokens a second", others["tokens_per_second"], x_label="step"),
        ),
        element(
            "p",
            "The training loss is that of the step's own masks, whose rate differs from step to step; the validation loss is "
            "on fixed masks, and its name says which masks and which weights: losses of different weights cannot be compared. "
            "The unigram line is what a model reaches that knows token frequencies "
            "alone. Where a run has more steps than a line has room for, neighbours are averaged.",
            class_="remark",
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
    fingerprint = (run.info.data_fingerprint or "")[:DIGEST_CHARACTERS]
    folder = None if run.settings.data is None else str(run.settings.data)
    return joined((folder, " " if fingerprint else None, element("code", fingerprint) if fingerprint else None))


def _samples_per_step(run: Training) -> Content:
    size = run.info.deepspeed.train_batch_size if run.info.deepspeed else None
    return None if size is None else str(size)


def _model(run: Training) -> Content:
    model = run.info.start or run.settings.model
    return str(model) if model else None


def _revision(run: Training) -> Content:
    return element("code", run.info.git_revision[:DIGEST_CHARACTERS]) if run.info.git_revision else None


TRAINING_FACTS: tuple[Fact, ...] = (
    ("steps", _steps),
    ("validation loss", _validation_loss),
    ("unigram", lambda run: None if (nats := run.info.unigram_nats) is None else f"{nats:.4f}"),
    ("masks", _masks),
    ("objective", _setting("objective")),
    ("curriculum", _setting("curriculum")),
    ("model", _model),
    ("learning rate", _learning_rate),
    ("samples a step", _samples_per_step),
    ("epochs", _setting("epochs")),
    ("seed", _setting("seed")),
    ("speed, median", _speed),
    ("memory, peak", _memory),
    ("data", _data),
    (
        "revision",
        _revision,
    ),
)
