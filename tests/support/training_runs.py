"""Whole training runs as processes: starting them, waiting for them, reading what they leave."""

import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from folders import programs, write_jsonl
from safetensors.torch import load_file

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "train" / "run.py"
SMALL_JSON: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 2,
    "gradient_accumulation_steps": 2,
    "gradient_clipping": 1.0,
    "zero_optimization": {"stage": 3},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "torch_adam": True}},
    "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": "auto", "warmup_num_steps": "auto"}},
    "steps_per_print": 1_000_000_000,
}
_PORTS = itertools.count(40 * os.getpid())  # of the launcher; the port of a run that was killed may stay taken for a while
QUIET = ("--sample-every", "0", "--validate-every", "4", "--validation-samples", "6", "--patience", "0")


def make_shards(root: Path) -> None:
    """Shards of short programs in ``root/data``."""
    source = write_jsonl(root / "rows.jsonl", programs(60))
    build_shards(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=6, workers=1))


def write_json(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**SMALL_JSON, **changes}))
    return path


def start(folder: Path, out: Path, *options: str | Path, ranks: int = 1, ds: Path | None = None) -> "subprocess.Popen[str]":
    """Starts a run, with the launcher where there are several ranks, as a session of its own."""
    config = ds or write_json(folder / f"ds-{ranks}.json")
    arguments = [str(RUN), "--ds-config", str(config), "--data", str(folder / "data"), "--out", str(out), *map(str, options)]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    scripts = Path(sysconfig.get_path("scripts"))
    if ranks == 1:
        command = [sys.executable, *arguments]
    else:
        port = 20_000 + next(_PORTS) % 12_000
        command = [str(scripts / "deepspeed"), "--num_gpus", str(ranks), "--master_port", str(port), *arguments]
        environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
        cwd=folder,
    )


def wait_for(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
    """Waits until a run has got somewhere; fails where it ends before."""
    deadline = time.monotonic() + 200
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL for a run and everything that it started, the launcher and the ranks, which lead sessions of their own.

    All are stopped first, so that none starts another, or learns of another's end, in between.
    """
    doomed: set[int] = set()
    more = {process.pid}
    while more:
        for pid in more:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        doomed |= more
        more = {child for child, parent in _parents().items() if parent in doomed} - doomed
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def _parents() -> dict[int, int]:
    """Every process of the machine, and the one that started it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    return parents


def run(folder: Path, out: Path, *options: str | Path, ranks: int = 1, ds: Path | None = None, expect: int = 0) -> str:
    """Runs to the end and returns what was printed."""
    process = start(folder, out, *options, ranks=ranks, ds=ds)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, output
    return output


def run_forked(*options: str | Path, log: Path, file_size_limit: int = -1) -> tuple[int, str]:
    """Runs ``train/run.py`` on one rank, forked from a process that has imported everything: exit code, and what it printed.

    It saves the seconds that the imports take, of which a command that is refused consists.

    Args:
        options: of the command
        log: receives what it prints
        file_size_limit: bytes that any file it writes may have; writing more fails as on a full disk. -1: no limit
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["syntaxdiff.train.trainer"])
    process = context.Process(target=_main, args=([str(RUN), *map(str, options)], log, file_size_limit))
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None
    return process.exitcode, log.read_text()


def _main(arguments: list[str], log: Path, file_size_limit: int) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, resource.RLIM_INFINITY))
    sys.argv = arguments
    os.environ["DS_ACCELERATOR"] = "cpu"
    from syntaxdiff.train.run import main

    sys.exit(main())


def steps(out: Path) -> list[dict[str, Any]]:
    """The records of the optimizer steps, without what depends on the machine."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = ("tokens_per_second", "peak_memory_bytes")
    return [{k: v for k, v in r.items() if k not in clock} for r in records if r["kind"] == "step"]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
