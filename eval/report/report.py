"""Everything that some folders hold about models, as one HTML file that needs nothing beside itself.

Read ``write_report`` first. What folders hold is read in findings.py; each kind has a chapter in a module of its own. The page
is static but for what its script adds: the filter of problems and the slider of replays.
"""

from collections.abc import Sequence
from pathlib import Path

from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.inference.checkpoint import check_device
from syntaxdiff.eval.outputs import check_file
from syntaxdiff.eval.report.benchmark_chapter import benchmark_chapter
from syntaxdiff.eval.report.findings import Benchmark, Findings, Training, read_findings
from syntaxdiff.eval.report.markup import Content, Html, chapter, element, joined, share_content, table
from syntaxdiff.eval.report.reconstruction_chapter import reconstruction_chapter, syntax_chapter
from syntaxdiff.eval.report.replay import Shards, mask_panels, replay_panels, shards_of
from syntaxdiff.eval.report.training_chapter import training_chapter
from syntaxdiff.pipeline.errors import SettingsError, SyntaxdiffError
from syntaxdiff.pipeline.shard import write_text

TEMPLATE = Path(__file__).with_name("report.html")
PLACE = "<!-- chapters -->"  # in the template


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
    chapters = []
    if findings.trainings:
        chapters.append(training_chapter(findings.trainings))
        shown = _samples_of(findings.trainings, replays, device, notes)
        chapters += [chapter("Validation samples", *shown)] if shown else []
    elif replays:
        notes.append("no folder is of a training run: there is no model to replay")
    chapters += [benchmark_chapter(group) for group in _by_benchmark(findings.benchmarks)]
    if findings.reconstructions:
        chapters.append(reconstruction_chapter(findings.reconstructions))
    if findings.syntaxes:
        chapters.append(syntax_chapter(findings.syntaxes))
    before, after = TEMPLATE.read_text("utf-8").split(PLACE)
    write_text(html, "".join((before, _overview(findings, notes), *chapters, after)))
    return notes


def _samples_of(runs: Sequence[Training], replays: int, device: str, notes: list[str]) -> list[Html]:
    """Masks once a data set and replays of each run, as far as shards and models are there; why not goes to the notes."""
    trained_on: dict[str, tuple[Shards, list[Training]]] = {}
    shown = []
    for run in runs:
        try:
            shards = shards_of(run)
            trained_on.setdefault(shards.manifest.fingerprint, (shards, []))[1].append(run)
        except SyntaxdiffError as error:
            notes.append(f"no masks{' and no replay' if replays else ''} of {run.name}: {error}")
    for shards, group in trained_on.values():
        shown.append(mask_panels(shards, group))
        for run in group if replays else ():
            try:
                shown.append(replay_panels(run, shards, replays, device))
            except SyntaxdiffError as error:
                notes.append(f"no replay of {run.name}: {error}")
    return shown


def _by_benchmark(benchmarks: Sequence[Benchmark]) -> list[list[Benchmark]]:
    groups: dict[tuple[str, str | None], list[Benchmark]] = {}
    for benchmark in benchmarks:
        groups.setdefault((benchmark.results.benchmark, benchmark.results.split), []).append(benchmark)
    return list(groups.values())


def _small_warnings(warnings: Sequence[str]) -> list[Html]:
    return [element("div", warning, class_="warning") for warning in warnings]


def _overview(findings: Findings, notes: Sequence[str]) -> Html:
    """What each folder is, and its most important figure with the warnings that its chapter has."""
    rows: list[tuple[Content, ...]] = []
    for run in findings.trainings:
        loss = run.info.validation_loss
        steps = run.metrics.steps[-1].step if run.metrics.steps else 0
        rows.append((run.name, "training run", f"{steps:,} steps", "" if loss is None else f"validation loss {loss:.4f}"))
    for benchmark in findings.benchmarks:
        results, score = benchmark.results, benchmark.results.pass_at_1
        rows.append(
            (
                benchmark.name,
                results.title,
                f"{results.num_problems} problems",
                joined(("pass@1 ", share_content(score), *_small_warnings(warnings_of(results))))
                if share_content(score)
                else "",
            )
        )
    for restored in findings.reconstructions:
        size, cells = f"{restored.results.num_samples} samples", len(restored.results.cells)
        rows.append((restored.name, "reconstruction", size, f"{cells} strategies and rates"))
    for checked in findings.syntaxes:
        parses = share_content(checked.results.parses)
        figure = joined(("parse ", parses)) if parses else ""
        rows.append((checked.name, "syntax", f"{checked.results.num_programs} programs", figure))
    return joined(
        (table(("folder", "what", "size", "result"), rows), *(element("p", note, class_="warning") for note in notes))
    )
