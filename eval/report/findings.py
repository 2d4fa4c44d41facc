"""What folders hold that a report can show: training runs, benchmarks, reconstructions, checks of syntax. Nothing is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults, Sample
from syntaxdiff.eval.benchmarks.results import RESULTS, SETTINGS, read_results
from syntaxdiff.eval.reconstruction.outcome import RECONSTRUCTION, ReconstructionResults, read_reconstruction
from syntaxdiff.eval.report.training_records import ADVICE, RunInfo, RunSettings, read_info, read_settings
from syntaxdiff.eval.syntax.outcome import RESULT as SYNTAX
from syntaxdiff.eval.syntax.outcome import SyntaxResults, read_syntax
from syntaxdiff.pipeline.errors import SettingsError, SourceError
from syntaxdiff.train.model.export import INFO
from syntaxdiff.train.monitor.metrics import Metrics, read_metrics
from syntaxdiff.train.run_folder import METRICS

BENEATH = "eval"  # in a run's folder, where the benchmarks put results by default


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training run, perhaps one that is still running.

    Attributes:
        settings: as they were asked for; defaults where the folder does not say
        info: what came with the exported model; empty before there is one
    """

    name: str
    folder: Path
    settings: RunSettings
    info: RunInfo
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """An evaluation's results and all of its samples."""

    name: str
    folder: Path
    results: BenchmarkResults
    samples: Sequence[Sample]


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The results of ``reconstruct``."""

    name: str
    folder: Path
    results: ReconstructionResults


@dataclass(frozen=True, kw_only=True)
class SyntaxCheck:
    """The results of ``syntax``."""

    name: str
    folder: Path
    results: SyntaxResults


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was found, each kind in the order of the folders.

    Attributes:
        notes: what was passed over, and why
    """

    trainings: list[Training] = field(default_factory=list)
    benchmarks: list[Benchmark] = field(default_factory=list)
    reconstructions: list[Reconstruction] = field(default_factory=list)
    syntaxes: list[SyntaxCheck] = field(default_factory=list)
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
        settings, info = read_settings(folder / SETTINGS), read_info(folder / INFO)
        metrics = read_metrics(folder / METRICS, advice=ADVICE)
        findings.trainings.append(Training(name=name, folder=folder, settings=settings, info=info, metrics=metrics))
        found = True
    if (folder / RESULTS).is_file():
        results, samples = read_results(folder)
        findings.benchmarks.append(Benchmark(name=name, folder=folder, results=results, samples=samples))
        found = True
    if (folder / RECONSTRUCTION).is_file():
        reconstruction = read_reconstruction(folder / RECONSTRUCTION)
        findings.reconstructions.append(Reconstruction(name=name, folder=folder, results=reconstruction))
        found = True
    if (folder / SYNTAX).is_file():
        findings.syntaxes.append(SyntaxCheck(name=name, folder=folder, results=read_syntax(folder / SYNTAX)))
        found = True
    return found


def _refuse(folder: Path) -> None:
    """Raises the error of a folder that holds nothing to show."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder: name those of training runs or results")
    if (folder / SETTINGS).is_file():
        read_results(folder)  # which says that it was cut off
    files = ", ".join((METRICS, RESULTS, RECONSTRUCTION, SYNTAX))
    raise SourceError(f"{folder} holds none of {files}: name the folder of a training run or of results")


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """The shortest end of each path that no other has."""
    parts = {folder: folder.absolute().parts for folder in folders}
    names = {}
    for folder, own in parts.items():
        count = next((n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts.values()) == 1), len(own))
        names[folder] = "/".join(own[-count:])
    return names
