"""A benchmark from problems to scores: ``evaluate`` reads as the run does.

What can be refused is refused first. Then: problems, prompts, model, references, answers, the best of each problem's
candidates, programs, verdicts, scores: each is a module of its own. Progress is on the disk (results.py).
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults
from syntaxdiff.eval.benchmarks.results import ResultsFolder, refuse_other_results
from syntaxdiff.eval.benchmarks.solver import ModelAnswers, References
from syntaxdiff.eval.benchmarks.stored_settings import EvaluationSettings, ProblemSettings
from syntaxdiff.eval.benchmarks.summary import summarize
from syntaxdiff.eval.inference.checkpoint import Unloaded, open_source
from syntaxdiff.eval.inference.effect import REFERENCE, refuse_without_effect
from syntaxdiff.eval.outputs import check_folder
from syntaxdiff.eval.problems.names import DEFAULT_EXERCISE_SPLIT, DEFAULT_MBPP_SPLIT, EXERCISES, INFILLING
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.reader import read_problems
from syntaxdiff.eval.progress import OnProgress, Progress
from syntaxdiff.eval.prompting.presets import check_preset
from syntaxdiff.eval.prompting.prompts import digest_of_problems
from syntaxdiff.eval.sandbox.limits import Limits
from syntaxdiff.eval.sandbox.sandbox import Golden, Sandbox, golden
from syntaxdiff.eval.sandbox.verdict import Job, Verdict
from syntaxdiff.pipeline.errors import SettingsError, SourceError


def humaneval(config: EvaluationConfig, out: Path, **options: Any) -> BenchmarkResults:
    """Evaluates on HumanEval, or on HumanEval+ where ``config.problems`` is its file. As ``evaluate``."""
    return evaluate("humaneval", None, config, out, **options)


def mbpp(config: EvaluationConfig, out: Path, *, split: str = DEFAULT_MBPP_SPLIT, **options: Any) -> BenchmarkResults:
    """Evaluates on a split of MBPP. As ``evaluate``."""
    return evaluate("mbpp", split, config, out, **options)


def infilling(config: EvaluationConfig, out: Path, **options: Any) -> BenchmarkResults:
    """Evaluates on HumanEval's infilling problems, in ``config.problems``. As ``evaluate``."""
    return evaluate("humaneval-infilling", None, config, out, **options)


def exercises(config: EvaluationConfig, out: Path, *, split: str = DEFAULT_EXERCISE_SPLIT, **options: Any) -> BenchmarkResults:
    """Evaluates on a split of the exercises. As ``evaluate``."""
    return evaluate(EXERCISES, split, config, out, **options)


def evaluate(
    benchmark: str,
    split: str | None,
    config: EvaluationConfig,
    out: Path,
    *,
    workers: int = 1,
    unsafe: bool = False,
    restart: bool = False,
    given: Collection[str] = (),
    on_progress: OnProgress = lambda progress: None,
) -> BenchmarkResults:
    """Evaluates a checkpoint on a benchmark; returns the results, which ``results.json`` holds too.

    Args:
        benchmark, split: of problems.read_problems
        out: folder of settings, samples and results; an interrupted run is resumed there
        workers: programs that run at a time
        unsafe: run programs also where they cannot be isolated
        restart: start from scratch, whatever ``out`` holds
        given: options that a person gave, as parameters of the command: those that can have no effect are refused

    Raises:
        SettingsError: settings contradict each other, the checkpoint, or those that ``out`` was begun with
        SourceError: the problems cannot be had
        StorageError: the disk refused; what was finished is kept
    """
    started = time.monotonic()
    checkpoint = _check(benchmark, config, out, workers, given)
    available = read_problems(benchmark, split=split, file=config.problems)
    problems = available[: config.limit]
    solver: References | ModelAnswers = (
        References(problems) if checkpoint is None else ModelAnswers(benchmark, split, problems, config, checkpoint)
    )
    asked = ProblemSettings(
        benchmark=problems[0].benchmark,
        split=split,
        limit=config.limit,
        problems_sha256=digest_of_problems(problems),
    )
    refuse_other_results(out, EvaluationSettings.of(asked, solver.settings), restart=restart)
    with Sandbox(workers=workers, unsafe=unsafe) as sandbox:
        solver.load()
        settings = EvaluationSettings.of(asked, solver.settings)
        folder = ResultsFolder(out, settings, num_samples=config.candidates, restart=restart)
        references = _run_references(problems, sandbox, on_progress)
        for progress in solver.generate_into(folder):
            on_progress(progress)
        _run_programs(folder, problems, references, sandbox, on_progress)
        results = summarize(
            folder.samples,
            problems,
            references,
            checkpoint=solver.name,
            settings=settings,
            machine=solver.machine or folder.earlier_machine,
            is_complete=len(problems) == len(available),
            isolation=sandbox.isolation,
            seconds=time.monotonic() - started,
        )
    folder.write_results(results)
    return results


def _check(benchmark: str, config: EvaluationConfig, out: Path, workers: int, given: Collection[str]) -> Unloaded | None:
    """All that can be refused before problems are fetched and weights are loaded; the checkpoint, None for references."""
    is_infilling = benchmark == INFILLING
    if is_infilling and config.candidates > 1:
        raise SettingsError("--candidates is for whole answers: a hole is filled once")
    if workers < 1:
        raise SettingsError(f"--workers {workers}: a whole number from 1")
    check_preset(config.preset, benchmark)
    check_folder(out)
    if config.problems is not None and not config.problems.is_file():
        raise SourceError(f"{config.problems} cannot be read: name a file with the problems of a benchmark")
    if config.ckpt is None:
        refuse_without_effect(given, REFERENCE)
        return None
    checkpoint = open_source(config)
    if is_infilling:
        checkpoint.check_infilling()
    refuse_without_effect(given, checkpoint.kind, temperature=config.generation.temperature, is_infilling=is_infilling)
    return checkpoint


def _run_references(problems: Sequence[Problem], sandbox: Sandbox, on_progress: OnProgress) -> Golden:
    """The references' verdicts, in parts so that progress shows."""
    limits: dict[str, Limits] = {}
    verdicts: dict[str, Verdict] = {}
    for start in range(0, len(problems), 16):
        on_progress(Progress("running references", start, len(problems)))
        part = golden(problems[start : start + 16], sandbox)
        limits |= part.limits
        verdicts |= part.verdicts
    on_progress(Progress("running references", len(problems), len(problems)))
    return Golden(limits=limits, verdicts=verdicts)


def _run_programs(
    folder: ResultsFolder, problems: Sequence[Problem], references: Golden, sandbox: Sandbox, on_progress: OnProgress
) -> None:
    """Gives each sample its verdict; equal programs run once. Verdicts that are there when it is stopped are kept."""
    by_id = {problem.task_id: problem for problem in problems}
    left = [sample for sample in folder.samples if sample.status is None]
    jobs = {
        (sample.task_id, sample.program): Job(sample.program, by_id[sample.task_id], references.limits[sample.task_id])
        for sample in left
    }
    verdicts = {}
    num_passed = 0
    on_progress(Progress("running programs", 0, len(jobs)))
    try:
        for key, verdict in zip(jobs, sandbox.check_all(jobs.values()), strict=True):
            verdicts[key] = verdict
            num_passed += verdict.has_passed
            on_progress(Progress("running programs", len(verdicts), len(jobs), f"{num_passed} passed"))
    finally:
        judged = []
        for sample in folder.samples:
            if found := verdicts.get((sample.task_id, sample.program)):
                seconds = round(found.cpu_seconds, 3)
                sample = replace(sample, status=found.status.value, detail=found.detail, cpu_seconds=seconds)
            judged.append(sample)
        order = {task_id: place for place, task_id in enumerate(by_id)}
        folder.replace(sorted(judged, key=lambda sample: (order[sample.task_id], sample.sample)))
