"""What folders hold that a report can show: training runs, benchmarks, reconstructions, checks of syntax. Nothing is drawn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from syntaxdiff.eval.benchmarks.results import RESULTS, SETTINGS, Sample, read_results
from syntaxdiff.eval.benchmarks.summary import FORMAT
from syntaxdiff.eval.reconstruction import reconstruct as reconstruction
from syntaxdiff.eval.syntax import check as syntax
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.train.model.export import INFO

METRICS = "metrics.jsonl"  # of train's progress.py, which draws in the whole trainer
BENEATH = "eval"  # in a run's folder, where the benchmarks put results by default
_STEP_KEYS = ("nats", "mask_rate", "learning_rate", "tokens_per_second")


class Training(NamedTuple):
    """A training run, perhaps one that still goes on.

    Attributes:
        settings: as they were asked for; empty where the folder does not say
        info: what came with the exported model; empty before there is one
        steps, validations: records of metrics.jsonl, in order
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    info: dict[str, Any]
    steps: list[dict[str, Any]]
    validations: list[dict[str, Any]]


class Benchmark(NamedTuple):
    """An evaluation's scores and all of its samples."""

    name: str
    folder: Path
    results: dict[str, Any]
    samples: list[Sample]


class Measured(NamedTuple):
    """The result of ``reconstruct`` or of ``syntax``."""

    name: str
    folder: Path
    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was found, each kind in the order of the folders.

    Attributes:
        notes: what was passed over, and why
    """

    trainings: list[Training] = field(default_factory=list)
    benchmarks: list[Benchmark] = field(default_factory=list)
    reconstructions: list[Measured] = field(default_factory=list)
    syntaxes: list[Measured] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_findings(folders: Sequence[Path]) -> Findings:
    """What lies in folders, and in those beneath ``eval/`` in each.

    Raises:
        SettingsError: no folder is given
        SourceError: a folder holds nothing that a report shows, or something damaged
    """
    if not folders:
        raise SettingsError("name one or more folders of a training run or of results")
    findings = Findings()
    places: dict[Path, Path] = {}  # by where they really are: each once
    for path in (*folders, *(path for folder in folders for path in sorted((folder / BENEATH).glob("*/")))):
        places.setdefault(path.resolve(), path)
    names = _names(list(places.values()))
    for path in places.values():
        if path in folders:
            if not _add(findings, path, names[path]) and not (path / BENEATH).is_dir():
                _refuse(path)
        elif not _add(findings, path, names[path]) and (path / SETTINGS).is_file():
            findings.notes.append(f"{path} is an evaluation that was cut off: run it again to see it here")
    if not (findings.trainings or findings.benchmarks or findings.reconstructions or findings.syntaxes):
        _refuse(folders[0])
    return findings


def _add(findings: Findings, folder: Path, name: str) -> bool:
    """Adds all that one folder holds; returns whether it holds anything."""
    found = False
    if (folder / METRICS).is_file():
        findings.trainings.append(_read_training(folder, name))
        found = True
    if (folder / RESULTS).is_file():
        results, samples = read_results(folder)
        _check(folder / RESULTS, results, "format", FORMAT)
        findings.benchmarks.append(Benchmark(name, folder, results, samples))
        found = True
    for file, version, kept in (
        (reconstruction.RESULT, reconstruction.RESULT_VERSION, findings.reconstructions),
        (syntax.RESULT, syntax.RESULT_VERSION, findings.syntaxes),
    ):
        if (folder / file).is_file():
            result = _read_json(folder / file)
            _check(folder / file, result, "version", version)
            kept.append(Measured(name, folder, result))
            found = True
    return found


def _refuse(folder: Path) -> None:
    """Raises the error of a folder that holds nothing to show."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder: name those of training runs or results")
    if (folder / SETTINGS).is_file():
        read_results(folder)  # which says that it was cut off
    files = ", ".join((METRICS, RESULTS, reconstruction.RESULT, syntax.RESULT))
    raise SourceError(f"{folder} holds none of {files}: name the folder of a training run or of results")


def _check(path: Path, result: dict[str, Any], key: str, version: int) -> None:
    if result.get(key) != version:
        raise SourceError(
            f"{path} has {key} {result.get(key)}, this syntaxdiff reads {version}: "
            "measure again, or show it with the version that wrote it"
        )


def _read_training(folder: Path, name: str) -> Training:
    records = read_metrics(folder / METRICS)
    return Training(
        name=name,
        folder=folder,
        settings=_read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {},
        info=_read_json(folder / INFO) if (folder / INFO).is_file() else {},
        steps=[record for record in records if record["kind"] == "step"],
        validations=[record for record in records if record["kind"] == "validation"],
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run; what was cut off at the end, or is being written just now, is left out."""
    records = []
    for place, record in read_json_lines(path, what="a record of a training run", advice="train again", is_growing=True):
        try:
            keys = {"step": _STEP_KEYS, "validation": ("strategy", "loss")}.get(record["kind"], ())
            values = [record["step"], *(record[key] for key in keys if key != "strategy")]
            # null is what the step or validation could not know, as nothing was scored.
            if not all(value is None or isinstance(value, (int, float)) for value in values):
                raise TypeError("a value is no number")
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{path}, {place}, is not a record of a training run ({error}): train again") from error
        records.append(record)
    return records


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read ({error}): write it again with the command that made it") from error
    if not isinstance(told, dict):
        raise SourceError(f"{path} holds no JSON object: write it again with the command that made it")
    return told


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """The shortest end of each path that no other has."""
    parts = {folder: folder.absolute().parts for folder in folders}
    names = {}
    for folder, own in parts.items():
        count = next((n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts.values()) == 1), len(own))
        names[folder] = "/".join(own[-count:])
    return names
