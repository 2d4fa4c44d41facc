"""Training runs in a report: settings, losses, rates. What was masked and how a model writes is in replay.py."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from syntaxdiff.eval.report.charts import Point, Series, line_chart
from syntaxdiff.eval.report.findings import Training
from syntaxdiff.eval.report.markup import DIGEST_CHARACTERS, Content, Fact, Html, chapter, charts, element, facts_table, joined


def training_chapter(trainings: Sequence[Training]) -> Html:
    """Settings, losses and rates of training runs."""
    losses: list[Series] = []
    validations: list[Series] = []
    rates: list[Series] = []
    grid: list[Series] = []
    others: dict[str, list[Series]] = {"learning_rate": [], "tokens_per_second": []}
    for number, run in enumerate(trainings):
        before = f"{run.name}, " if len(trainings) > 1 else ""
        losses.append(_curve(run.steps, "nats", f"{before}training", number, is_faint=True))
        measured = list(dict.fromkeys((record["strategy"], _objective(record)) for record in run.validations))
        for strategy, objective in measured:
            records = [one for one in run.validations if (one["strategy"], _objective(one)) == (strategy, objective)]
            name = f"{before}validation {strategy} ({objective})"
            validations.append(_curve(records, "loss", name, len(trainings) + len(validations)))
        if (unigram := _unigram(run)) is not None:
            ends = [record["step"] for record in (run.steps[:1] + run.steps[-1:])]
            line = [Point(step, unigram) for step in ends]
            losses.append(Series(name=f"{before}unigram", points=line, colour=number, is_dashed=True))
        for strategy, at_rates in (run.info.get("validation_grid") or {}).items():
            points = [Point(float(rate), loss) for rate, loss in at_rates.items()]
            objective = run.info.get("validation_objectives", {}).get(strategy, "inverse-rate")
            grid.append(Series(name=f"{before}{strategy} ({objective})", points=points, colour=len(trainings) + len(grid)))
        rates.append(_curve(run.steps, "mask_rate", run.name, number))
        for key, series in others.items():
            series.append(_curve(run.steps, key, run.name, number))
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


def _objective(record: dict[str, Any]) -> str:
    """Whose weights a validation's loss has; records from before there was a choice do not say it."""
    return str(record.get("objective", "inverse-rate"))


def _curve(records: Sequence[dict[str, Any]], key: str, name: str, colour: int, *, is_faint: bool = False) -> Series:
    points = [Point(record["step"], record[key]) for record in records if record[key] is not None]
    return Series(name=name, points=points, colour=colour, is_faint=is_faint)


def _setting(*names: str) -> Callable[[Training], Content]:
    """Settings as they were asked for; None where the run chose itself."""

    def told(run: Training) -> Content:
        values = [run.settings.get(name) for name in names]
        return ", ".join(str(value) for value in values if value is not None) or None

    return told


def _steps(run: Training) -> Content:
    if not run.steps:
        return "none yet"
    total = (run.info.get("deepspeed") or {}).get("scheduler", {}).get("params", {}).get("total_num_steps")
    done = run.steps[-1]["step"]
    return f"{done:,} of {total:,}" if isinstance(total, int) and total != done else f"{done:,}"


def _validation_loss(run: Training) -> Content:
    loss = run.info.get("validation_loss")
    if loss is None:
        return None
    own = run.settings.get("best_by", "strategy") == "strategy"
    return f"{loss:.4f} at step {run.info.get('step')}, {run.settings.get('strategy') if own else 'random'} masks"


def _unigram(run: Training) -> float | None:
    """None before the run has ended, and where there were no validation samples to measure it on."""
    nats: float | None = run.info.get("unigram_nats")
    return nats


def _masks(run: Training) -> Content:
    shares = [
        f"{name} {run.settings[name]:g}" for name in ("drop", "shuffle", "relabel", "placeholder") if run.settings.get(name)
    ]
    return ", ".join(filter(None, (run.settings.get("strategy"), *shares))) or None


def _learning_rate(run: Training) -> Content:
    return f"{max(record['learning_rate'] for record in run.steps):.3g} at most" if run.steps else None


def _speed(run: Training) -> Content:
    return f"{median(record['tokens_per_second'] for record in run.steps):,.0f} tokens/s" if run.steps else None


def _memory(run: Training) -> Content:
    peaks = [record["peak_memory_bytes"] for record in run.steps if "peak_memory_bytes" in record]
    return f"{max(peaks) / 2**30:.1f} GiB" if peaks else None


def _data(run: Training) -> Content:
    fingerprint = str(run.info.get("data_fingerprint", ""))[:DIGEST_CHARACTERS]
    return joined(
        (run.settings.get("data"), " " if fingerprint else None, element("code", fingerprint) if fingerprint else None)
    )


TRAINING_FACTS: tuple[Fact, ...] = (
    ("steps", _steps),
    ("validation loss", _validation_loss),
    ("unigram", lambda run: None if (nats := _unigram(run)) is None else f"{nats:.4f}"),
    ("masks", _masks),
    ("objective", _setting("objective")),
    ("curriculum", _setting("curriculum")),
    ("model", lambda run: run.info.get("start") or run.settings.get("model")),
    ("learning rate", _learning_rate),
    ("samples a step", lambda run: (run.info.get("deepspeed") or {}).get("train_batch_size")),
    ("epochs", _setting("epochs")),
    ("seed", _setting("seed")),
    ("speed, median", _speed),
    ("memory, peak", _memory),
    ("data", _data),
    (
        "revision",
        lambda run: (
            element("code", str(run.info["git_revision"])[:DIGEST_CHARACTERS]) if run.info.get("git_revision") else None
        ),
    ),
)
