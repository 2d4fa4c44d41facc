"""Training runs as processes: the command as a user types it, stopped or let run to its end, and what it leaves."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file
from step_variants import DEEPSPEED_JSON
from train_step import built_shards

from syntaxdiff.pipeline.json_records import Row
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.train.engine.checkpoints import PREEMPTED

RUN = Path(__file__).resolve().parents[1] / "train" / "run.py"
CLOCK = ("tokens_per_second", "model_flops_utilisation", "peak_memory_bytes")  # what a record says of the machine
VALIDATION_SIZE = 8
LONGEST_SECONDS = 480  # of a run; what hangs must not take a machine that is lent for ten minutes
QUIET = ("--sample-every", "0", "--validate-every", "0", "--patience", "0", "--save-every", "0")


class RunError(Exception):
    """A training run did not end as it should; the first line of the message says how, the rest is what it printed last."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is trained: most tokens and number of samples, samples of a micro-batch, micro-batches of a step, steps."""

    length: int
    samples: int
    micro_batch: int
    accumulation: int
    steps: int


SCALES = {
    "cpu": Scale(length=512, samples=200, micro_batch=2, accumulation=2, steps=2),
    "cuda": Scale(length=2048, samples=400, micro_batch=4, accumulation=4, steps=8),
}


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Training runs in a folder of their own, on shards that they share.

    Attributes:
        folder: holds shards, runs, and what they printed
        device: cpu or cuda
        deadline: of ``time.monotonic()``; a run that is not over by then is ended, and failed
    """

    folder: Path
    device: str
    deadline: float

    @property
    def scale(self) -> Scale:
        """How much is trained on this device."""
        return SCALES[self.device]

    def shards(self) -> Path:
        """Shards of the standard library, built when first asked for."""
        path = self.folder / "shards"
        if not (path / "manifest.json").exists():
            built_shards(path, self.scale.length, self.scale.samples, validation_size=VALIDATION_SIZE)
        return path

    def deepspeed_json(self) -> Path:
        """The repository's JSON with the batch of this device."""
        path = self.folder / "deepspeed.json"
        ours = {
            "train_micro_batch_size_per_gpu": self.scale.micro_batch,
            "gradient_accumulation_steps": self.scale.accumulation,
        }
        path.write_text(json.dumps(json.loads(DEEPSPEED_JSON.read_text(encoding="utf-8")) | ours), encoding="utf-8")
        return path

    def start(self, name: str, preset: str, steps: int) -> "subprocess.Popen[bytes]":
        """Starts a run into ``folder/name``, or the run that is to go on there, by DeepSpeed's launcher."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = dict(os.environ)
        launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--master_port", str(port)]
        if self.device == "cpu":
            environment |= {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
        if environment.get("CUDA_VISIBLE_DEVICES"):  # the launcher ignores it where it is told a number of GPUs
            environment["CUDA_VISIBLE_DEVICES"] = environment["CUDA_VISIBLE_DEVICES"].split(",")[0]
        else:
            launcher += ["--num_gpus", "1"]
        command = [*launcher, str(RUN), "--ds-config", str(self.deepspeed_json()), "--data", str(self.shards())]
        command += ["--out", str(self.folder / name), "--model", preset, "--max-steps", str(steps), *QUIET]
        with self._log(name).open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=self.folder, start_new_session=True
            )

    def finish(self, name: str, process: "subprocess.Popen[bytes]") -> Path:
        """Waits for the end of a run; the folder it wrote.

        Raises:
            RunError: it failed, or the time is up
        """
        self._wait(name, process, lambda: process.poll() is not None)
        if process.returncode:
            raise RunError(f"{self._last_words(name)}\n{self._printed(name)}")
        return self.folder / name

    def whole(self, name: str, preset: str, steps: int) -> Path:
        """A run from start to end; the folder it wrote.

        Raises:
            RunError: it failed, or the time is up
        """
        return self.finish(name, self.start(name, preset, steps))

    def stopped(self, name: str, preset: str, steps: int, after: int) -> int:
        """A run that SIGTERM stops once so many of its steps are done; how many were when it ended.

        Raises:
            RunError: it failed, was over before the signal came, or the time is up
        """
        out, process = self.folder / name, self.start(name, preset, steps)
        self._wait(name, process, lambda: process.poll() is not None or len(step_records(out)) >= after)
        for member in family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "--local_rank=0" in member.cmdline():  # the trainer; the launcher would end it at once
                    member.send_signal(signal.SIGTERM)
        self.finish(name, process)
        if not (out / PREEMPTED).exists():
            raise RunError("the run was over before the signal reached it")
        return len(step_records(out))

    def _wait(self, name: str, process: "subprocess.Popen[bytes]", happened: Callable[[], bool]) -> None:
        """Waits until a run has got somewhere; where that is given up, the run ends."""
        latest = min(self.deadline, time.monotonic() + LONGEST_SECONDS)
        try:
            while not happened():
                if time.monotonic() > latest:
                    raise RunError(f"the run was not over in {LONGEST_SECONDS} s, or --minutes\n{self._printed(name)}")
                time.sleep(0.005)
        except BaseException:
            for member in [*family(process), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait()
            raise

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _printed(self, name: str) -> str:
        return self._log(name).read_text(encoding="utf-8", errors="replace")[-4000:]

    def _last_words(self, name: str) -> str:
        """The line that says what went wrong: the last that names an error, else the last."""
        lines = [line.strip() for line in self._printed(name).splitlines() if line.strip()] or ["it printed nothing"]
        named = [line for line in lines if line.startswith("error:") or "Error" in line.split(":")[0]]
        return (named or lines)[-1]


def family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """What a process has started, and what that has."""
    try:
        children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def records(out: Path) -> list[Row]:
    """What a run has noted so far. A line that is just being written has no end yet."""
    path = out / "metrics.jsonl"
    rows = read_json_lines(path, what="a record", advice="run again", is_growing=True) if path.exists() else []
    return [row for _, row in rows]


def step_records(out: Path) -> list[Row]:
    """What a run has noted of its steps so far."""
    return [record for record in records(out) if record["kind"] == "step"]


def exported(out: Path) -> dict[str, torch.Tensor]:
    """The tensors of the model that a run left."""
    return {name: tensor for path in sorted(out.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def difference(out: Path, other_out: Path) -> str | None:
    """What differs between the numbers of two runs, None where they are equal in every bit. The clock's do not count."""
    ours, theirs = (
        [{key: value for key, value in record.items() if key not in CLOCK} for record in records(folder)]
        for folder in (out, other_out)
    )
    for first, second in zip(ours, theirs, strict=False):
        for key in first.keys() | second.keys():
            if first.get(key) != second.get(key):
                return f"{key} of step {first['step']}: {first.get(key)} and {second.get(key)}"
    if len(ours) != len(theirs):
        return f"the number of records: {len(ours)} and {len(theirs)}"
    weights, other_weights = exported(out), exported(other_out)
    if not weights or weights.keys() != other_weights.keys():
        return "the names of the weights"
    apart = [name for name, tensor in weights.items() if not torch.equal(tensor, other_weights[name])]
    return f"{len(apart)} of {len(weights)} weights, {apart[0]} the first" if apart else None
