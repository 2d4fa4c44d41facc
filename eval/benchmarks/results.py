"""The folder of one evaluation: its settings, every sample, and the scores, such that a run that was cut off goes on.

    settings.json   what decides the samples; another run with other settings is refused
    samples.jsonl   one line a candidate, appended problem by problem while a model writes; verdicts are added at the end
    results.json    the scores, written last

What the keys mean is in docs/evaluation.md.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from syntaxdiff.eval.inference.effect import effective_settings
from syntaxdiff.eval.inference.steps import Cell
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.pipeline.shard import storage_errors, write_text

LATE = ("dtype",)  # a setting that is known when the weights are there
SETTINGS, SAMPLES, RESULTS = "settings.json", "samples.jsonl", "results.json"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One candidate for one problem: a line of ``samples.jsonl``.

    Attributes:
        sample: its number among the problem's candidates, from 0
        prompt: as the model saw it
        answer: what it wrote
        program: the whole program in it
        extraction: the rule that found it, of extraction.RULES
        num_tokens, num_forward, seconds: of generation; seconds are a batch's, counted once
        log_likelihood: nats a token, where candidates were compared
        is_chosen: whether it is the answer that pass@1 counts
        repair: what syntax repair did
        parses: whether tree-sitter finds no error in the program
        trace: what each step wrote, cells as of steps.Cell; None where it was not asked for
        status, detail, cpu_seconds: of the verdict, None before the program has run
    """

    task_id: str
    sample: int
    prompt: str
    answer: str
    program: str
    extraction: str
    num_tokens: int
    num_forward: int
    seconds: float
    log_likelihood: float | None
    is_chosen: bool
    repair: dict[str, Any] | None
    parses: bool
    trace: list[list[Cell]] | None = None
    status: str | None = None
    detail: str = ""
    cpu_seconds: float = 0.0

    @property
    def has_passed(self) -> bool:
        """Whether all tests passed."""
        return self.status == "passed"


class ResultsFolder:
    """Reads and writes one folder.

    Attributes:
        samples: of finished problems, in the order of the file
    """

    def __init__(self, folder: Path, settings: dict[str, Any], *, num_samples: int, restart: bool = False) -> None:
        """Opens a folder to begin or to go on.

        Args:
            settings: that decide the samples, as plain values
            num_samples: candidates of a problem: one that has fewer is not finished
            restart: begin anew, whatever the folder holds

        Raises:
            SettingsError: the folder was begun with other settings
            SourceError: its files are no such folder's
            StorageError: the disk refused
        """
        self.folder = folder
        settings = json.loads(json.dumps(settings))  # tuples as lists, as they are read
        self.samples: list[Sample] = []
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if restart:
                refuse_other_results(folder, settings, restart=True)
                for name in (RESULTS, SAMPLES, SETTINGS):
                    (folder / name).unlink(missing_ok=True)
        is_begun = (folder / SETTINGS).exists()
        refuse_other_results(folder, settings)
        if is_begun:
            self.samples = _finished(_read_samples(folder / SAMPLES), num_samples)
            self._rewrite()  # without what a cut left at the end
        write_text(folder / SETTINGS, _to_json(settings))  # as this version tells them

    @property
    def earlier_machine(self) -> dict[str, Any] | None:
        """What wrote the answers that are there, as far as results of an earlier run say so."""
        if not (self.folder / RESULTS).is_file():
            return None
        machine: dict[str, Any] | None = _read_json(self.folder / RESULTS).get("machine")
        return machine

    @property
    def finished(self) -> set[str]:
        """Problems whose candidates are all written."""
        return {sample.task_id for sample in self.samples}

    def append(self, samples: Sequence[Sample]) -> None:
        """Adds the candidates of one problem, on the disk when this returns. Raises StorageError where that refuses."""
        path = self.folder / SAMPLES
        with storage_errors(path), path.open("ab") as file:
            file.write(_to_lines(samples))
            file.flush()
            os.fsync(file.fileno())
        self.samples += samples

    def replace(self, samples: Iterable[Sample]) -> None:
        """Puts samples in the place of all that are there."""
        self.samples = list(samples)
        self._rewrite()

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes the scores."""
        write_text(self.folder / RESULTS, _to_json(results))

    def _rewrite(self) -> None:
        write_text(self.folder / SAMPLES, _to_lines(self.samples).decode())


def read_results(folder: Path) -> tuple[dict[str, Any], list[Sample]]:
    """Scores and samples of a finished evaluation.

    Raises:
        SourceError: the folder holds none, or is damaged
    """
    if not (folder / RESULTS).is_file():
        begun = (folder / SETTINGS).is_file()
        hint = "the evaluation was cut off: run it again, it goes on" if begun else "give the --out folder of an evaluation"
        raise SourceError(f"{folder} holds no {RESULTS}: {hint}")
    return _read_json(folder / RESULTS), _read_samples(folder / SAMPLES)


def refuse_other_results(folder: Path, settings: dict[str, Any], *, restart: bool = False) -> None:
    """Refuses a folder that was begun with other settings.

    Args:
        settings: some or all of those that decide the samples; what an earlier version kept of settings without effect is
            passed over
        restart: what an evaluation left there may go, whatever its settings

    Raises:
        SettingsError: the first that differs, or that the folder holds samples of something else
        SourceError: its settings cannot be read
    """
    if not (folder / SETTINGS).exists():
        if (folder / SAMPLES).exists() and not restart:
            raise SettingsError(f"{folder} holds samples of something else: give another --out, or --restart to replace them")
        return
    if restart:
        with contextlib.suppress(SourceError):  # damaged: that is what --restart is for
            if "benchmark" not in _read_json(folder / SETTINGS):
                raise SettingsError(f"{folder} holds the {SETTINGS} of a training run: give another --out")
        return
    before = effective_settings(_read_json(folder / SETTINGS))
    now: dict[str, Any] = json.loads(json.dumps(settings))
    for name in dict.fromkeys((*before, *now)):
        if name in LATE and name not in now:
            continue
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            key = next(key for key in (*old, *new) if old.get(key) != new.get(key))
            name, old, new = f"{name} {key}", old.get(key), new.get(key)
        raise SettingsError(
            f"{folder} was begun with {name} {_shortened(old)}, not {_shortened(new)}: "
            "give another --out, or --restart to begin anew"
        )


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _finished(samples: Sequence[Sample], num_samples: int) -> list[Sample]:
    """The samples of problems that have all of theirs."""
    numbers: dict[str, set[int]] = {}
    for sample in samples:
        numbers.setdefault(sample.task_id, set()).add(sample.sample)
    return [sample for sample in samples if len(numbers[sample.task_id]) == num_samples]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read ({error}): run the evaluation again with --restart") from error
    return told


def _read_samples(path: Path) -> list[Sample]:
    """The samples of a file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    rows = read_json_lines(path, what="a sample", advice="run again with --restart", is_growing=True)
    known = {field.name for field in fields(Sample)}
    samples = []
    for place, row in rows:
        try:
            told = {name: value for name, value in row.items() if name in known}
            if told.get("trace") is not None:
                told["trace"] = [[Cell(*cell) for cell in step] for step in told["trace"]]
            samples.append(Sample(**told))
        except (ValueError, TypeError, AttributeError) as error:
            raise SourceError(f"{path}, {place}, is not a sample ({error}): run again with --restart") from error
    return samples


def _to_lines(samples: Iterable[Sample]) -> bytes:
    """One line a sample, in ASCII: a model may write half a surrogate pair."""
    return "".join(json.dumps(asdict(sample)) + "\n" for sample in samples).encode("ascii")


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
