"""Two or more evaluations side by side: how far they differ, whether by more than chance, and on which problems.

The first is the one that the others are compared with. How it looks is in scoreboard.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from syntaxdiff.eval.benchmarks.results import Sample, read_results
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.inference.effect import effective_settings, told_generation
from syntaxdiff.eval.stats import Interval, bootstrap, mcnemar
from syntaxdiff.pipeline.errors import SettingsError

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


class Evaluated(NamedTuple):
    """One evaluation: the name that tells it from the others, its scores, its chosen answers, its candidates' pass rates."""

    name: str
    results: dict[str, Any]
    answers: dict[str, Sample]
    pass_rate: dict[str, float]


class Pair(NamedTuple):
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
        notes: what a reader must know of the differences
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
        return tuple(f"{one.name}: {warning}" for one in self.evaluations for warning in warnings_of(one.results))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "evaluations": {one.name: one.results["pass_at_1"] for one in self.evaluations},
            "warnings": {one.name: warnings_of(one.results) for one in self.evaluations},
            "num_problems": len(self.task_ids),
            "pairs": [pair._asdict() for pair in self.pairs],
            "differing": {
                task_id: {one.name: one.answers[task_id].status for one in self.evaluations} for task_id in self.differing
            },
            "notes": list(self.notes),
        }


def compare(folders: Sequence[Path], names: Sequence[str] | None = None) -> Comparison:
    """Compares evaluations by their folders.

    Args:
        names: of the evaluations; None: what tells their folders apart

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
            if other.results[key] != first.results[key]:
                raise SettingsError(
                    f"{first.name} is of {key} {first.results[key]}, {other.name} of {other.results[key]}: "
                    "only results of the same problems can be compared"
                )
    task_ids = tuple(task_id for task_id in first.answers if all(task_id in other.answers for other in others))
    if not task_ids:
        raise SettingsError(f"{', '.join(one.name for one in evaluations)} have no problem in common")
    return Comparison(
        evaluations=evaluations,
        pairs=tuple(
            _pair(first, other, [task_id for task_id in first.answers if task_id in other.answers]) for other in others
        ),
        task_ids=task_ids,
        differing=tuple(task_id for task_id in task_ids if len({one.answers[task_id].has_passed for one in evaluations}) > 1),
        studied=tuple(task_id for task_id in STUDIED if task_id in task_ids),
        notes=tuple(_notes(evaluations, len(task_ids))),
    )


def _read(folder: Path, name: str) -> Evaluated:
    results, samples = read_results(folder)
    rates: dict[str, list[bool]] = {}
    for sample in samples:
        rates.setdefault(sample.task_id, []).append(sample.has_passed)
    return Evaluated(
        name,
        results,
        {sample.task_id: sample for sample in samples if sample.is_chosen},
        {task_id: sum(passed) / len(passed) for task_id, passed in rates.items()},
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells folders apart: `a/eval/mbpp` and `b/eval/mbpp` are `a` and `b`. Folders that are one keep their paths."""
    parts = [list(folder.absolute().parts) for folder in folders]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({one[end] for one in parts}) == 1:
            for one in parts:
                del one[end]
    names = ["/".join(one) for one in parts]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _pair(first: Evaluated, other: Evaluated, task_ids: Sequence[str]) -> Pair:
    outcomes = [(first.answers[task_id].has_passed, other.answers[task_id].has_passed) for task_id in task_ids]
    differences = [float(b) - float(a) for a, b in outcomes]
    candidates = None
    if min(first.results["num_candidates"], other.results["num_candidates"]) > 1:
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
    for one in evaluations:
        if len(one.answers) > num_common:
            notes.append(f"{one.name} has {len(one.answers)} problems, {num_common} of them in all")
    for one in others:
        was, now = (effective_settings(evaluation.results["settings"]) for evaluation in (first, one))
        for key, what in NOTED.items():
            old, new = was.get(key, ABSENT.get(key)), now.get(key, ABSENT.get(key))
            if old == new:
                continue
            if key == "generation" and was["checkpoint"]["kind"] != now["checkpoint"]["kind"]:
                told = f"{told_generation(now) or 'none'}; not {told_generation(was) or 'none'}"
            else:
                told = _difference(old, new)
            notes.append(f"{one.name} has another {what} than {first.name}: {told}")
    return notes


def _difference(old: Any, new: Any) -> str:
    """What differs between two settings, in a few words."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{_named(new)}, not {_named(old)}"
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    told = [name for name in names if name not in ("text", "sha256") and FOLLOWS.get(name) not in names]
    words = [f"{name} {_named(new.get(name))}, not {_named(old.get(name))}" for name in told]
    return "; ".join(words) or "its text"


def _named(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
