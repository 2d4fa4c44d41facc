"""Everything that some folders hold about models, as one self-contained HTML file.

Read ``write_report`` first. What folders hold is read in findings.py; each kind has a chapter: a module that makes its data and
names its template. The page is static but for what page.js adds: the filter of problems and the slider of replays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

from syntaxdiff.eval.benchmarks.effect import generation_text
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.inference.checkpoint import check_device
from syntaxdiff.eval.outputs import check_file
from syntaxdiff.eval.pages import environment
from syntaxdiff.eval.report.benchmark_chapter import BenchmarkChapter, benchmark_chapter
from syntaxdiff.eval.report.findings import Benchmark, Training, read_findings
from syntaxdiff.eval.report.reconstruction_chapter import (
    ReconstructionChapter,
    SyntaxChapter,
    reconstruction_chapter,
    syntax_chapter,
)
from syntaxdiff.eval.report.replay import TINTS, MaskedSample, RunReplays, Shards, masked_by, run_replays, shards_of
from syntaxdiff.eval.report.training_chapter import TrainingChapter, training_chapter
from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.shard import write_text

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, kw_only=True)
class SamplesChapter:
    """Validation samples: masks per data set, each followed by what the runs on it write."""

    template: ClassVar[str] = "samples.html"
    data_sets: Sequence[tuple[MaskedSample, Sequence[RunReplays]]]


Chapter: TypeAlias = TrainingChapter | SamplesChapter | BenchmarkChapter | ReconstructionChapter | SyntaxChapter


def write_report(folders: Sequence[Path], html: Path, *, replays: int = 0, device: str = "auto") -> list[str]:
    """Writes a page about training runs, benchmarks, reconstructions and checks of syntax.

    Args:
        folders: of training runs or of results; what lies beneath ``eval/`` in one is shown too
        replays: programs that each training run's model writes for the page, to be watched step by step
        device: where they are written, as of checkpoint.load_checkpoint

    Returns:
        what is not on the page, and why; the page says so too

    Raises:
        SettingsError: no folder is given, or ``replays`` is negative
        SourceError: a folder holds nothing that can be shown, or something damaged
        StorageError: the disk refused
    """
    if replays < 0:
        raise SettingsError(f"--replay {replays}: a whole number from 0")
    check_device(device)
    check_file(html, "--html")
    findings = read_findings(folders)
    notes = list(findings.notes)
    chapters: list[Chapter] = []
    if findings.trainings:
        chapters.append(training_chapter(findings.trainings))
        data_sets = _data_sets(findings.trainings, replays, device, notes)
        chapters += [SamplesChapter(data_sets=data_sets)] if data_sets else []
    elif replays:
        notes.append("none of the folders is of a training run: there is no model to replay")
    chapters += [benchmark_chapter(group) for group in _by_benchmark(findings.benchmarks)]
    if findings.reconstructions:
        chapters.append(reconstruction_chapter(findings.reconstructions))
    if findings.syntaxes:
        chapters.append(syntax_chapter(findings.syntaxes))
    page = environment(TEMPLATES).get_template("report.html")
    functions = {"warnings_of": warnings_of, "generation_text": generation_text}
    write_text(html, page.render(findings=findings, notes=notes, chapters=chapters, tints=TINTS, **functions))
    return notes


def _data_sets(
    runs: Sequence[Training], replays: int, device: str, notes: list[str]
) -> list[tuple[MaskedSample, list[RunReplays]]]:
    """Masks per data set and replays of each run, as far as shards and models are there; why not goes to the notes."""
    trained_on: dict[str, tuple[Shards, list[Training]]] = {}
    for run in runs:
        try:
            shards = shards_of(run)
            trained_on.setdefault(shards.manifest.fingerprint, (shards, []))[1].append(run)
        except SyntaxdiffError as error:
            notes.append(f"no masks{' and no replay' if replays else ''} of {run.name}: {error}")
    shown = []
    for shards, group in trained_on.values():
        masked, replayed = masked_by(group, shards), []
        for run in group if replays else ():
            try:
                replayed.append(run_replays(run, shards, replays, device))
            except SyntaxdiffError as error:
                notes.append(f"no replay of {run.name}: {error}")
        shown.append((masked, replayed))
    return shown


def _by_benchmark(benchmarks: Sequence[Benchmark]) -> list[list[Benchmark]]:
    groups: dict[tuple[str, str | None], list[Benchmark]] = {}
    for benchmark in benchmarks:
        groups.setdefault((benchmark.results.benchmark, benchmark.results.split), []).append(benchmark)
    return list(groups.values())
