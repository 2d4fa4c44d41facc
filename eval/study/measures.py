"""The measures of a study: of each model as names and values, of each arm their means over seeds, with intervals.

A measure is named by its path, such as ``reconstruct/ast-span/0.5/parses``; tables.py shows them. Differences are
taken seed by seed: arms with one seed saw the same samples in the same order. Intervals of 95 % are Student's over seeds: they
say how far another training run moves a figure, not how far other validation samples would. One seed has none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from syntaxdiff.eval.benchmarks.outcome import Score
from syntaxdiff.eval.benchmarks.results import RESULTS, read_scores
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.reconstruction.outcome import LOSSES, RECONSTRUCTION, read_losses, read_reconstruction
from syntaxdiff.eval.stats import Mean, Share, mean_over_seeds
from syntaxdiff.eval.study.declaration import START, Declaration, Study
from syntaxdiff.eval.study.outcome import ArmOutcome, Run, StudyResults, Summary, Trained
from syntaxdiff.pipeline.errors import SettingsError

OF_SAMPLES = ("token_accuracy", "cross_entropy", "exact_spans", "equal_trees", "parses", "compiles")
OF_SPANS = ("exact_spans", "token_accuracy")
LOWER_IS_BETTER = ("loss", "cross_entropy")
BENCHMARKS = ("humaneval", "mbpp")
LEAST_SPANS = 20  # of a kind or depth, in one cell, for its share to be kept

Measures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class RunMeasures:
    """What was measured of one model.

    Attributes:
        counts: how many programs, samples or spans a measure comes from, where it is a share
        warnings: of the scores of its benchmarks, by benchmark (score.py)
    """

    arm: str
    seed: int
    trained: Trained
    measures: Measures
    counts: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)


def measured_runs(
    declared: Study, folder_of: Callable[[str, int], Path], training_of: Callable[[Path], Trained]
) -> list[RunMeasures]:
    """All models of a study that is done; the start counts for every seed, so that differences from it have intervals.

    Raises:
        SettingsError: their losses have different weights
    """
    runs = []
    weights: dict[str, tuple[str, Path]] = {}  # by strategy: its loss's objective, and the first result that has it
    for arm in declared.arms:
        for seed in declared.seeds:
            folder = folder_of(arm, seed)
            _check_weights(folder / "eval" / "loss" / LOSSES, weights)
            measures, counts = measures_of(
                folder / "eval", None if arm == START else str(declared.arms[arm].options["strategy"])
            )
            runs.append(
                RunMeasures(
                    arm=arm,
                    seed=seed,
                    trained=training_of(folder),
                    measures=measures,
                    counts=counts,
                    warnings=_warnings(folder / "eval"),
                )
            )
    return runs


def _check_weights(path: Path, weights: dict[str, tuple[str, Path]]) -> None:
    """Raises SettingsError where a result's losses are weighted otherwise than those seen before."""
    for strategy, objective in read_losses(path).objectives.items():
        known, where = weights.setdefault(strategy, (objective, path))
        if known != objective:
            raise SettingsError(
                f"{path} weighs the loss under {strategy} masks by {objective} and {where} by {known}: such losses cannot be "
                "compared; remove one of the files and run the study again"
            )


def _warnings(folder: Path) -> dict[str, list[str]]:
    paths = {benchmark: folder / benchmark / RESULTS for benchmark in BENCHMARKS}
    return {benchmark: warnings_of(read_scores(path)) for benchmark, path in paths.items() if path.is_file()}


def measures_of(folder: Path, own: str | None) -> tuple[Measures, dict[str, int]]:
    """The measures in a run's ``eval`` folder, and what their shares are of.

    Args:
        own: the strategy of its training: its own loss gets a name of its own
    """
    measures: Measures = {}
    counts: dict[str, int] = {}

    def keep(name: str, share: Share | Score) -> None:
        if share.value is not None:
            measures[name] = share.value
            counts[name] = share.of if isinstance(share, Share) else share.total

    for strategy, measured in read_losses(folder / "loss" / LOSSES).strategies.items():
        if measured.loss is None:  # nothing was scored
            continue
        measures[f"loss/{strategy}"] = measured.loss
        if (nats := measured.by_region["code"]) is not None:
            measures[f"loss/{strategy}/code"] = nats
    if f"loss/{own}" in measures:
        measures["loss/own"] = measures[f"loss/{own}"]
    for cell in read_reconstruction(folder / "reconstruct" / RECONSTRUCTION).cells:
        where = f"reconstruct/{cell.strategy}/{cell.mask_rate:g}"
        for subset, label in ((cell.all, ""), (cell.with_unseen_shape, "/unseen"), (cell.without_unseen_shape, "/seen")):
            for name in OF_SAMPLES:
                keep(f"{where}{label}/{name}", getattr(subset, name))
        for shape, spans in cell.spans_by_shape.items():
            keep(f"{where}/{shape}/spans", spans.exact_spans)
        for groups, label in (
            (cell.spans_by_node_kind, "kind"),
            (cell.spans_by_depth, "depth"),
            (cell.spans_by_length, "length"),
        ):
            for name, spans in groups.items():
                if spans.exact_spans.of >= LEAST_SPANS:
                    for measure in OF_SPANS:
                        keep(f"{where}/{label}/{name}/{measure}", getattr(spans, measure))
    for benchmark in BENCHMARKS:
        if (path := folder / benchmark / RESULTS).is_file():
            scores = read_scores(path)
            for name, score in (("pass_at_1", scores.pass_at_1), ("parses", scores.parses), ("compiles", scores.compiles)):
                keep(f"{benchmark}/{name}", score)
    return measures, counts


def runs_of(results: StudyResults) -> list[RunMeasures]:
    """The models of a study's results, of which ``summarized`` makes its means and differences again."""
    runs = []
    for arm, outcome in results.arms.items():
        by_seed = {run.seed: run for run in outcome.runs}
        for seed in results.declared.seeds:
            run = by_seed.get(seed, outcome.runs[0])  # the start is one model for all seeds
            runs.append(
                RunMeasures(
                    arm=arm,
                    seed=seed,
                    trained=Trained(**{own.name: getattr(run, own.name) for own in fields(Trained)}),
                    measures=run.measures,
                    counts=results.counts,
                    warnings=results.warnings,
                )
            )
    return runs


def summarized(declared: Declaration, runs: Sequence[RunMeasures]) -> Summary:
    """Arms with their runs, means, and differences from the references."""
    by_arm = {arm: sorted((run for run in runs if run.arm == arm), key=lambda run: run.seed) for arm in declared.arms}
    references = dict.fromkeys((*declared.references, START))
    arms = {}
    for arm, own in by_arm.items():
        arms[arm] = ArmOutcome(
            says=declared.arms[arm].says,
            options=declared.arms[arm].options,
            runs=tuple(Run(seed=run.seed, **asdict(run.trained), measures=run.measures) for run in _distinct(arm, own)),
            means={name: mean_over_seeds(values) for name, values in _shared(own)},
            differences={
                reference: {
                    name: mean_over_seeds([a - b for a, b in zip(mine, theirs, strict=True)])
                    for name, (mine, theirs) in _paired(own, by_arm[reference])
                }
                for reference in references
                if reference != arm
            },
        )
    counts: dict[str, int] = {}
    warnings: dict[str, list[str]] = {}
    for run in runs:
        counts |= run.counts
        for benchmark, found in run.warnings.items():
            warnings[benchmark] = list(dict.fromkeys((*warnings.get(benchmark, ()), *found)))
    return Summary(arms=arms, counts=counts, warnings=warnings)


def _distinct(arm: str, runs: Sequence[RunMeasures]) -> Sequence[RunMeasures]:
    """Runs that are different models: the start is one."""
    return runs[:1] if arm == START else runs


def _shared(runs: Sequence[RunMeasures]) -> Iterable[tuple[str, list[float]]]:
    """Measures that a run has, with the values of all runs that have them; of the start, one."""
    distinct = _distinct(runs[0].arm, runs)
    names = dict.fromkeys(name for run in distinct for name in run.measures)
    for name in names:
        yield name, [run.measures[name] for run in distinct if name in run.measures]


def _paired(
    runs: Sequence[RunMeasures], other_runs: Sequence[RunMeasures]
) -> Iterable[tuple[str, tuple[list[float], list[float]]]]:
    """Measures that two arms have for the same seeds."""
    for name in dict.fromkeys(name for run in runs for name in run.measures):
        pairs = [
            (mine.measures[name], theirs.measures[name])
            for mine, theirs in zip(runs, other_runs, strict=True)
            if name in mine.measures and name in theirs.measures
        ]
        if pairs:
            yield name, ([mine for mine, _ in pairs], [theirs for _, theirs in pairs])


def is_better(name: str, difference: float) -> bool:
    """Whether a difference of a measure is for the better."""
    return difference < 0 if any(part in LOWER_IS_BETTER for part in name.split("/")) else difference > 0


def is_certain(difference: Mean) -> bool | None:
    """Whether an interval leaves 0 out; None where there is no interval.

    Equal differences with every seed have an interval of no width, of counts so small that they say nothing.
    """
    if difference.low is None or difference.high is None:
        return None
    return difference.low != difference.high and (difference.low > 0 or difference.high < 0)
