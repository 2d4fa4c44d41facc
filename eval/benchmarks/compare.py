"""Two or more evaluations side by side: how far they differ, whether by more than chance, and on which problems.

The first is the one that the others are compared with. How it looks is in scoreboard.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from syntaxdiff.eval.benchmarks.effect import effective_settings, generation_text
from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults, Sample, Score
from syntaxdiff.eval.benchmarks.results import read_results
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.benchmarks.stored_settings import PromptIdentity
from syntaxdiff.eval.stats import Interval, bootstrap, mcnemar
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import to_json

STUDIED = ("HumanEval/54", "HumanEval/74", "HumanEval/133")  # the paper's qualitative study
NOTED = {
    "prompt": "prompt",
    "samples": "number of candidates per problem",
    "generation": "way of generating",
    "dtype": "precision",
    "hole_tokens": "size of holes",
}
ABSENT = {"samples": 1}  # of references
FOLLOWS = {  # settings that only matter, or only not, because of another one
    "num_steps": "schedule",
    "threshold": "schedule",
    "factor": "schedule",
    "cache_refresh": "cache",
    "language": "syntax_repair",
    "seed": "temperature",
}


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One evaluation: its name in the comparison, its scores, its chosen answers, its candidates' pass rates."""

    name: str
    results: BenchmarkResults
    answers: dict[str, Sample]
    pass_rate: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The first evaluation and another, on the problems that both have.

    Attributes:
        difference: of pass@1, the other minus the first
        interval: of the difference, by paired bootstrap; None where all problems differ equally: resampling says nothing then
        p_value: McNemar's, exact
        candidates: the same difference over all candidates, with its interval, where both have several
    """

    other: str
    both: int
    only_first: int
    only_other: int
    neither: int
    difference: float
    interval: Interval | None
    p_value: float
    candidates: tuple[float, Interval | None] | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Evaluations on the same problems.

    Attributes:
        task_ids: problems that all have, in the first one's order
        differing: those of them that some solve and some don't
        studied: those of them that the paper shows
        notes: caveats about the differences
    """

    evaluations: tuple[Evaluated, ...]
    pairs: tuple[Pair, ...]
    task_ids: tuple[str, ...]
    differing: tuple[str, ...]
    studied: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings that each score has, with the evaluation's name."""
        return tuple(
            f"{evaluation.name}: {warning}" for evaluation in self.evaluations for warning in warnings_of(evaluation.results)
        )

    def to_json(self) -> object:
        """The comparison as ``compare --json`` prints it, plain values."""
        return to_json(
            ComparisonReport(
                evaluations={evaluation.name: evaluation.results.pass_at_1 for evaluation in self.evaluations},
                warnings={evaluation.name: warnings_of(evaluation.results) for evaluation in self.evaluations},
                num_problems=len(self.task_ids),
                pairs=self.pairs,
                differing={
                    task_id: {evaluation.name: evaluation.answers[task_id].status for evaluation in self.evaluations}
                    for task_id in self.differing
                },
                notes=self.notes,
            )
        )


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """A comparison without its programs: scores and warnings by evaluation, pairs, and statuses by problem and evaluation."""

    evaluations: dict[str, Score]
    warnings: dict[str, list[str]]
    num_problems: int
    pairs: tuple[Pair, ...]
    differing: dict[str, dict[str, str | None]]
    notes: tuple[str, ...]


def compare(folders: Sequence[Path], names: Sequence[str] | None = None) -> Comparison:
    """Compares evaluations by their folders.

    Args:
        names: of the evaluations; None: the parts of their folders that differ

    Raises:
        SettingsError: there are fewer than two, they are of different benchmarks, or have no problem in common
        SourceError: a folder holds no finished evaluation
    """
    if len(folders) < 2:
        raise SettingsError("name two or more folders of results")
    evaluations = tuple(_read(folder, name) for folder, name in zip(folders, names or _names(folders), strict=True))
    first, *others = evaluations
    for other in others:
        for key in ("benchmark", "split"):
            own, others_own = getattr(first.results, key), getattr(other.results, key)
            if own != others_own:
                raise SettingsError(
                    f"{first.name} is of {key} {own}, {other.name} of {others_own}: "
                    "only results of the same problems can be compared"
                )
    task_ids = tuple(task_id for task_id in first.answers if all(task_id in other.answers for other in others))
    if not task_ids:
        raise SettingsError(f"{', '.join(evaluation.name for evaluation in evaluations)} have no problem in common")
    return Comparison(
        evaluations=evaluations,
        pairs=tuple(
            _pair(first, other, [task_id for task_id in first.answers if task_id in other.answers]) for other in others
        ),
        task_ids=task_ids,
        differing=tuple(
            task_id for task_id in task_ids if len({evaluation.answers[task_id].has_passed for evaluation in evaluations}) > 1
        ),
        studied=tuple(task_id for task_id in STUDIED if task_id in task_ids),
        notes=tuple(_notes(evaluations, len(task_ids))),
    )


def _read(folder: Path, name: str) -> Evaluated:
    results, samples = read_results(folder)
    rates: dict[str, list[bool]] = {}
    for sample in samples:
        rates.setdefault(sample.task_id, []).append(sample.has_passed)
    return Evaluated(
        name=name,
        results=results,
        answers={sample.task_id: sample for sample in samples if sample.is_chosen},
        pass_rate={task_id: sum(passed) / len(passed) for task_id, passed in rates.items()},
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The parts of folders that differ: `a` and `b` of `a/eval/mbpp` and `b/eval/mbpp`. Equal folders keep their paths."""
    parts = [list(folder.absolute().parts) for folder in folders]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({path[end] for path in parts}) == 1:
            for path in parts:
                del path[end]
    names = ["/".join(path) for path in parts]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _pair(first: Evaluated, other: Evaluated, task_ids: Sequence[str]) -> Pair:
    outcomes = [(first.answers[task_id].has_passed, other.answers[task_id].has_passed) for task_id in task_ids]
    differences = [float(b) - float(a) for a, b in outcomes]
    candidates = None
    if min(first.results.num_candidates, other.results.num_candidates) > 1:
        rates = [other.pass_rate[task_id] - first.pass_rate[task_id] for task_id in task_ids]
        candidates = (sum(rates) / len(rates), _interval(rates))
    only_first, only_other = outcomes.count((True, False)), outcomes.count((False, True))
    return Pair(
        other=other.name,
        both=outcomes.count((True, True)),
        only_first=only_first,
        only_other=only_other,
        neither=outcomes.count((False, False)),
        difference=sum(differences) / len(differences),
        interval=_interval(differences),
        p_value=mcnemar(only_first, only_other),
        candidates=candidates,
    )


def _interval(differences: Sequence[float]) -> Interval | None:
    return bootstrap(differences) if len({*differences}) > 1 else None


def _notes(evaluations: Sequence[Evaluated], num_common: int) -> list[str]:
    first, *others = evaluations
    notes = []
    for evaluation in evaluations:
        if len(evaluation.answers) > num_common:
            notes.append(f"{evaluation.name} has {len(evaluation.answers)} problems, {num_common} of them in all")
    before = effective_settings(first.results.settings)
    for other in others:
        now = effective_settings(other.results.settings)
        for key, what in NOTED.items():
            old, new = (_or_default(getattr(settings, key), key) for settings in (before, now))
            if old == new:
                continue
            if key == "generation" and before.checkpoint.kind != now.checkpoint.kind:
                difference = f"{generation_text(now) or 'none'}; not {generation_text(before) or 'none'}"
            else:
                difference = _difference(old, new)
            notes.append(f"{other.name} has another {what} than {first.name}: {difference}")
    return notes


def _or_default(value: object, key: str) -> object:
    return ABSENT.get(key) if value is None else value


def _difference(old: object, new: object) -> str:
    """What differs between two settings, in a few words."""
    if not (is_dataclass(old) and is_dataclass(new)):
        return f"{_named(new)}, not {_named(old)}"
    names = [field.name for field in fields(old) if getattr(old, field.name) != getattr(new, field.name)]
    shown = [name for name in names if name not in ("text", "sha256") and FOLLOWS.get(name) not in names]
    words = [f"{name} {_named(getattr(new, name))}, not {_named(getattr(old, name))}" for name in shown]
    return "; ".join(words) or "its text"


def _named(value: object) -> str:
    if isinstance(value, PromptIdentity):
        return value.preset
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
