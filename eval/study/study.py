"""The paper's comparison as one command: ``study``, from top to bottom.

Shards are built, one start is trained (or imported), each arm is trained from it with each seed, all models are measured alike,
and the results are one page, one JSON file and the tables of docs/study.md. Every part is a command that a person could type;
``--plan`` lists them (estimate.py). Finished parts are skipped, so an interrupted study resumes.

What is compared is declared (declaration.py, studies.toml); processes are jobs.py's, measures measures.py's.
"""

import platform
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from syntaxdiff.eval.benchmarks.results import RESULTS
from syntaxdiff.eval.outputs import check_folder
from syntaxdiff.eval.reconstruction.outcome import LOSSES, RECONSTRUCTION
from syntaxdiff.eval.report.training_records import ADVICE, read_info
from syntaxdiff.eval.study.declaration import START, Study
from syntaxdiff.eval.study.jobs import Job, OnJobs, Runner
from syntaxdiff.eval.study.measures import RunMeasures, measured_runs, summarized
from syntaxdiff.eval.study.outcome import StudyData, StudyMachine, StudyResults, SweepOutcome, Trained
from syntaxdiff.eval.study.page import write_study_page
from syntaxdiff.eval.study.sources import usable_sources
from syntaxdiff.eval.study.tables import markdown
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import json_text, to_json
from syntaxdiff.pipeline.shard import MANIFEST, read_manifest, storage_errors, write_text
from syntaxdiff.train.model.export import INFO
from syntaxdiff.train.monitor.metrics import read_metrics
from syntaxdiff.train.run_folder import METRICS

RESULT, TABLES, PAGE, COST, DECLARED = "study.json", "tables.md", "report.html", "cost.json", "declared.json"
LOSS_OBJECTIVE = "inverse-rate"  # of `loss`, whatever its default is: one figure for all arms, the one that docs/study.md shows
# For a step and a checkpoint: of a model on one device, and of 8 billion weights, 14 bytes each, on several.
SAVING_SECONDS, SAVING_SECONDS_OF_SEVERAL = 100.0, 900.0


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a study keeps what."""

    out: Path

    @property
    def sources(self) -> Path:
        """Rows that were put under prep's names."""
        return self.out / "sources"

    @property
    def data(self) -> Path:
        """Shards."""
        return self.out / "data"

    @property
    def weights(self) -> Path:
        """Imported weights."""
        return self.out / "weights"

    @property
    def start(self) -> Path:
        """What all arms start from."""
        return self.out / "start"

    @property
    def deepspeed(self) -> Path:
        """The JSON of every training run."""
        return self.out / "deepspeed.json"

    def sweep(self, rate: float) -> Path:
        """A trial of a learning rate."""
        return self.out / "sweep" / f"{rate:g}"

    def run(self, arm: str, seed: int) -> Path:
        """A trained arm; START is one for all seeds."""
        return self.start if arm == START else self.out / "runs" / f"{arm}-{seed}"


def study(
    declared: Study,
    out: Path,
    *,
    minutes: float | None = None,
    jobs: int | None = None,
    on_jobs: OnJobs = lambda done, total, running: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> StudyResults | None:
    """Runs or resumes a study; writes ``study.json``, ``tables.md``, ``report.html`` and ``cost.json``.

    Args:
        minutes: stop after so many, keeping all that is finished and the checkpoints of what is not
        jobs: processes at a time, instead of the declared number; figures do not depend on it
        on_note: called with each remark for the user

    Returns:
        the results, which ``study.json`` holds too; None where the time was over before

    Raises:
        SettingsError: ``out`` holds another study, or a source or GPU is not there
        JobFailedError: a command failed
        StorageError: the disk refused
    """
    check_folder(out)
    folders = Folders(out=out)
    runner = Runner(
        folder=out / "jobs",
        root=out,
        slots=1 if declared.hardware.gpus > 1 else jobs or declared.jobs,
        environment=_environment(declared),
        grace_seconds=SAVING_SECONDS_OF_SEVERAL if declared.hardware.gpus > 1 else SAVING_SECONDS,
        deadline=None if minutes is None else time.monotonic() + 60 * minutes,
        on_jobs=on_jobs,
    )
    _check_gpus(declared)
    with runner.locked():
        sources = usable_sources(declared, folders.sources, on_note)
        _prepare(declared, sources, folders)
        return _run(declared, folders, runner, sources, on_note)


def _run(
    declared: Study, folders: Folders, runner: Runner, sources: Sequence[str], on_note: Callable[[str], None]
) -> StudyResults | None:
    """All commands of a study, and what came out; None where the time was over before."""
    out = folders.out
    rate = None
    if declared.sweep is not None:
        if not runner.run(preparation(declared, folders, sources)):
            return None
        rate = swept_rate(declared, folders)
        rates = declared.sweep.learning_rates
        edge = ", at an end of what was tried: another may be better" if rate in (min(rates), max(rates)) else ""
        on_note(f"learning rate {rate:g}, of the least loss of {declared.sweep.arm} under uniform masks{edge}")
    planned = [*preparation(declared, folders, sources), *comparison(declared, folders, rate)]
    if not runner.run(planned):
        return None
    runs = measured_runs(declared, folders.run, corrupted_tokens)
    results = _results(declared, folders, runs, rate)
    write_text(out / RESULT, json_text(results))
    write_text(out / TABLES, markdown(results))
    write_study_page(results, folders.data, out / PAGE)
    seconds = {job.name: runner.seconds(job) for job in planned}
    cost = {"seconds": seconds, "hours_of_a_process": round(sum(filter(None, seconds.values())) / 3600, 3)}
    write_text(out / COST, json_text(cost))
    return results


def _check_gpus(declared: Study) -> None:
    available = torch.cuda.device_count()
    if declared.hardware.gpus > available:
        raise SettingsError(
            f"study {declared.name} is made for {declared.hardware.gpus} GPUs and {available} are here: "
            "take a smaller one, or look at it with --plan"
        )


def _environment(declared: Study) -> dict[str, str]:
    """Of every command: as many threads as declared, and no GPU where the study is one of CPUs."""
    threads = {"OMP_NUM_THREADS": str(declared.threads), "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    return threads | ({} if declared.hardware.gpus else {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"})


def _prepare(declared: Study, sources: Sequence[str], folders: Folders) -> None:
    """The folder, with what it is the study of. Raises SettingsError where it is that of another."""
    with storage_errors(folders.out):
        folders.out.mkdir(parents=True, exist_ok=True)
    text = json_text({**to_json(declared), "sources": [Path(source).name for source in sources]})
    path = folders.out / DECLARED
    if path.exists() and path.read_text("utf-8") != text:
        raise SettingsError(f"{path} declares another study, or other sources are here now: give another --out, or remove it")
    write_text(path, text)
    write_text(folders.deepspeed, json_text(declared.deepspeed))


# ----------------------------------------------------------------------------------------------------------------- commands


def preparation(declared: Study, folders: Folders, sources: Sequence[str]) -> list[Job]:
    """Weights, shards, the start, and the trials of learning rates."""
    jobs = []
    weights = declared.start.weights
    tokenizer: dict[str, object] = {}
    model: dict[str, object] = {}
    if weights is not None:
        made = folders.weights / "config.json"
        command = _python("syntaxdiff.train.imports.gguf", weights, out=folders.weights)
        jobs.append(Job(name="weights", command=command, makes=made, is_whole=True))
        tokenizer, model = {"tokenizer": folders.weights}, {"model": folders.weights}
    needs = ("weights",) if weights is not None else ()
    built: dict[str, object] = {"src": list(sources), "out": folders.data, **declared.data.options, **tokenizer}
    command = _python("syntaxdiff.pipeline.cli", "build", **built)
    jobs.append(Job(name="data", command=command, makes=folders.data / MANIFEST, needs=needs))
    jobs.append(_training(declared, folders, "start", folders.start, {**declared.start.options, **model}, ("data", *needs)))
    if declared.sweep is not None:
        for rate in declared.sweep.learning_rates:
            tried = declared.train.options | declared.arms[declared.sweep.arm].options | declared.sweep.options
            options: dict[str, object] = {**tried, "learning-rate": rate, "init-from": folders.start}
            jobs.append(_training(declared, folders, f"sweep/{rate:g}", folders.sweep(rate), options, ("start",)))
    return jobs


def comparison(declared: Study, folders: Folders, rate: float | None) -> list[Job]:
    """Every arm with every seed, and what is measured of it. Seed by seed, so that what is there first is a comparison."""
    jobs = []
    for seed in declared.seeds:
        for name, arm in declared.arms.items():
            folder = folders.run(name, seed)
            if name != START:
                swept: dict[str, object] = {} if rate is None else {"learning-rate": rate}
                options: dict[str, object] = {
                    **declared.train.options,
                    **swept,
                    **arm.options,
                    "seed": seed,
                    "init-from": folders.start,
                }
                jobs.append(_training(declared, folders, f"train/{folder.name}", folder, options, ("start",)))
            elif seed != declared.seeds[0]:
                continue
            jobs += _evaluations(declared, folders, folder, seed, "start" if name == START else f"train/{folder.name}")
    return jobs


def _training(
    declared: Study, folders: Folders, name: str, out: Path, options: Mapping[str, object], needs: Sequence[str]
) -> Job:
    arguments = _options({"ds-config": folders.deepspeed, "data": folders.data, "out": out, **options})
    module = "syntaxdiff.train.run"
    if declared.hardware.gpus > 1:
        scripts = Path(sysconfig.get_path("scripts"))
        launcher = (str(scripts / "deepspeed"), "--num_gpus", str(declared.hardware.gpus), "--module", module)
        command, ends_by = (*launcher, *arguments), signal.SIGUSR1  # SIGTERM has the launcher kill its ranks after 30 s
    else:  # the launcher would start this very process, after importing everything twice
        command, ends_by = (sys.executable, "-m", module, *arguments), signal.SIGTERM
    return Job(
        name=name,
        command=command,
        ends_by=ends_by,
        makes=out / INFO,
        needs=tuple(needs),
        afterwards=lambda: shutil.rmtree(out / "checkpoints", ignore_errors=True),  # the exported model is enough
    )


def _evaluations(declared: Study, folders: Folders, run: Path, seed: int, need: str) -> list[Job]:
    """The measures of one model, as commands."""
    asked = declared.evaluate
    kept = folders.out / "shapes"
    with_data = {"ckpt": run, "data": folders.data}
    jobs: list[tuple[str, Mapping[str, object], str]] = [
        ("loss", {**with_data, "objective": LOSS_OBJECTIVE, **asked.loss}, LOSSES),
        ("reconstruct", {**with_data, "shapes": kept, **asked.reconstruct}, RECONSTRUCTION),
    ]
    if asked.benchmark_seeds is None or seed in asked.benchmark_seeds:
        for benchmark, options in (("humaneval", asked.humaneval), ("mbpp", asked.mbpp)):
            if options is not None:
                jobs.append((benchmark, {"ckpt": run, "workers": 1, **options}, RESULTS))
    return [
        Job(
            name=f"{command}/{run.name}",
            command=_python("syntaxdiff.eval.cli", command, **options, out=run / "eval" / command),
            makes=run / "eval" / command / made,
            needs=(need,),
        )
        for command, options, made in jobs
    ]


def _python(module: str, *arguments: str, **options: object) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments, *_options(options))


def _options(options: Mapping[str, object]) -> tuple[str, ...]:
    """Options as a command line has them: lists repeated, True as the bare flag."""
    arguments: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):  # False is the default of every flag
            arguments += (flag,) if value else ()
            continue
        for item in value if isinstance(value, (list, tuple)) else (value,):
            arguments += (flag, f"{item:g}" if isinstance(item, float) else str(item))
    return tuple(arguments)


# ---------------------------------------------------------------------------------------------------------------- the outcome


def swept_rate(declared: Study, folders: Folders) -> float:
    """The largest learning rate whose trial ended within the tolerance of the least loss under uniform masks."""
    assert declared.sweep is not None
    losses = {rate: swept_loss(folders.sweep(rate)) for rate in declared.sweep.learning_rates}
    return max(rate for rate, nats in losses.items() if nats <= min(losses.values()) + declared.sweep.tolerance)


def swept_loss(folder: Path) -> float:
    """The last validation loss of a training run under uniform masks."""
    losses = [
        record.loss for record in read_metrics(folder / METRICS, advice=ADVICE).validations if record.strategy == "random"
    ]
    assert losses[-1] is not None  # a study has validation samples
    return losses[-1]


def corrupted_tokens(folder: Path) -> Trained:
    """Tokens that a run corrupted, and their share of those that it could have."""
    steps = read_metrics(folder / METRICS, advice=ADVICE).steps
    corrupted = sum(step.corrupted_tokens for step in steps)
    corruptible = sum(step.corrupted_tokens / step.mask_rate for step in steps if step.mask_rate)
    rate = corrupted / corruptible if corruptible else 0.0
    return Trained(corrupted_tokens=corrupted, mask_rate=rate, steps=len(steps))


def _results(declared: Study, folders: Folders, runs: Sequence[RunMeasures], rate: float | None) -> StudyResults:
    manifest = read_manifest(folders.data)
    sweep = None
    if declared.sweep is not None:
        sweep = SweepOutcome(
            arm=declared.sweep.arm,
            loss={f"{tried:g}": swept_loss(folders.sweep(tried)) for tried in declared.sweep.learning_rates},
            chosen=rate,
        )
    summary = summarized(declared, runs)
    return StudyResults(
        declared=declared,
        machine=_machine(declared),
        data=StudyData(
            fingerprint=manifest.fingerprint,
            samples={split: manifest.num_samples(split) for split in manifest.splits},
            rejected=dict(manifest.rejected),
            unigram_nats=read_info(folders.start / INFO).unigram_nats,
        ),
        sweep=sweep,
        arms=summary.arms,
        counts=summary.counts,
        warnings=summary.warnings,
    )


def _machine(declared: Study) -> StudyMachine:
    return StudyMachine(
        processor=_processor(),
        threads=declared.threads,
        gpu=torch.cuda.get_device_name() if declared.hardware.gpus else None,
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
