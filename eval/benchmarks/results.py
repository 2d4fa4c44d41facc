"""The folder of one evaluation: its settings, every sample, and the results, such that a run that was cut off can resume.

    settings.json   what decides the samples; another run with other settings is refused
    samples.jsonl   one line per candidate, appended problem by problem while a model writes; verdicts are added at the end
    results.json    the results, written last

Here, and only here, the JSON of a benchmark is made and read; what it holds is settings.py's and outcome.py's.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from syntaxdiff.eval.benchmarks.effect import effective_settings
from syntaxdiff.eval.benchmarks.outcome import FORMAT, BenchmarkResults, Machine, Sample
from syntaxdiff.eval.benchmarks.stored_settings import EvaluationSettings
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.json_records import Json, RecordError, from_json, json_text, read_object, read_record, to_json
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.pipeline.shard import storage_errors, write_text

LATE = ("dtype",)  # a setting that is known when the weights are there
SETTINGS, SAMPLES, RESULTS = "settings.json", "samples.jsonl", "results.json"
_ADVICE = "run the evaluation again with --restart"


class ResultsFolder:
    """Reads and writes one folder.

    Attributes:
        samples: of finished problems, in the order of the file
    """

    def __init__(self, folder: Path, settings: EvaluationSettings, *, num_samples: int, restart: bool = False) -> None:
        """Opens a folder to begin or to resume.

        Args:
            settings: that decide the samples
            num_samples: candidates of a problem: one that has fewer is not finished
            restart: start from scratch, whatever the folder holds

        Raises:
            SettingsError: the folder was begun with other settings
            SourceError: its files are no such folder's
            StorageError: the disk refused
        """
        self.folder = folder
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
        write_text(folder / SETTINGS, json_text(settings))  # in the form of this version

    @property
    def earlier_machine(self) -> Machine | None:
        """What wrote the answers that are there, as far as results of an earlier run say so."""
        path = self.folder / RESULTS
        stored = read_object(path, advice=_ADVICE).get("machine") if path.is_file() else None
        try:
            return None if stored is None else from_json(Machine, stored, where="machine")
        except RecordError as error:
            raise SourceError(f"{path} cannot be read ({error}): {_ADVICE}") from error

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

    def write_results(self, results: BenchmarkResults) -> None:
        """Writes the results."""
        write_text(self.folder / RESULTS, json_text(results))

    def _rewrite(self) -> None:
        write_text(self.folder / SAMPLES, _to_lines(self.samples).decode())


def read_results(folder: Path) -> tuple[BenchmarkResults, list[Sample]]:
    """Results and samples of a finished evaluation.

    Raises:
        SourceError: the folder holds none, is damaged, or was written by a version whose results mean something else
    """
    path = folder / RESULTS
    if not path.is_file():
        is_begun = (folder / SETTINGS).is_file()
        hint = "the evaluation was cut off: run it again to resume" if is_begun else "give the --out folder of an evaluation"
        raise SourceError(f"{folder} holds no {RESULTS}: {hint}")
    return read_scores(path), _read_samples(folder / SAMPLES)


def read_scores(path: Path) -> BenchmarkResults:
    """The results in a file, without samples. Raises SourceError where it is damaged, or its keys mean something else."""
    return read_record(BenchmarkResults, path, version=FORMAT, key="format")


def refuse_other_results(folder: Path, settings: EvaluationSettings, *, restart: bool = False) -> None:
    """Refuses a folder that was begun with other settings.

    Args:
        settings: those that decide the samples, perhaps without LATE ones; what an earlier version kept of settings without
            effect is passed over
        restart: what an evaluation left there may go, whatever its settings

    Raises:
        SettingsError: the first that differs, or that the folder holds samples of something else
        SourceError: its settings cannot be read
    """
    path = folder / SETTINGS
    if not path.exists():
        if (folder / SAMPLES).exists() and not restart:
            raise SettingsError(f"{folder} holds samples of something else: give another --out, or --restart to replace them")
        return
    if restart:
        with contextlib.suppress(SourceError):  # damaged: that is what --restart is for
            if "benchmark" not in read_object(path, advice=_ADVICE):
                raise SettingsError(f"{folder} holds the {SETTINGS} of a training run: give another --out")
        return
    stored, now = read_object(path, advice=_ADVICE), to_json(settings)
    if "benchmark" in stored:
        try:
            before = to_json(effective_settings(from_json(EvaluationSettings, stored)))
        except RecordError as error:
            raise SettingsError(
                f"{path} was written by another version of syntaxdiff ({error}): "
                "give another --out, or --restart to start from scratch"
            ) from error
    else:
        before = stored
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


def _shortened(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _finished(samples: Sequence[Sample], num_samples: int) -> list[Sample]:
    """The samples of problems that have all of theirs."""
    numbers: dict[str, set[int]] = {}
    for sample in samples:
        numbers.setdefault(sample.task_id, set()).add(sample.sample)
    return [sample for sample in samples if len(numbers[sample.task_id]) == num_samples]


def _read_samples(path: Path) -> list[Sample]:
    """The samples of a file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    rows = read_json_lines(path, what="a sample", advice="run again with --restart", is_growing=True)
    samples = []
    for place, row in rows:
        try:
            samples.append(from_json(Sample, row, skips_unknown=True))
        except RecordError as error:
            raise SourceError(f"{path}, {place}, is not a sample ({error}): run again with --restart") from error
    return samples


def _to_lines(samples: Iterable[Sample]) -> bytes:
    """One line per sample, in ASCII: a model may write half a surrogate pair."""
    return "".join(json.dumps(to_json(sample)) + "\n" for sample in samples).encode("ascii")
