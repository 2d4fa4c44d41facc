"""Whole runs of the trainer, as processes: the launcher, ranks, resuming, signals, and what a user can get wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import programs, write_jsonl
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from syntaxdiff.pipeline.build import build
from syntaxdiff.pipeline.config import BuildConfig

ROOT = Path(__file__).resolve().parents[1]
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
QUIET = ("--sample-every", "0", "--validate-every", "4", "--validation-samples", "6", "--patience", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs, and a model of a few thousand weights to start from."""
    root = tmp_path_factory.mktemp("train")
    source = write_jsonl(root / "rows.jsonl", programs(60))
    build(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=6, workers=1))
    return root


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
        port = 20_000 + os.getpid() % 20_000
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


def run(folder: Path, out: Path, *options: str | Path, ranks: int = 1, ds: Path | None = None, expect: int = 0) -> str:
    """Runs to the end and returns what was printed."""
    process = start(folder, out, *options, ranks=ranks, ds=ds)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, output
    return output


def steps(out: Path) -> list[dict[str, Any]]:
    """The records of the optimizer steps, without what depends on the machine."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = ("tokens_per_second", "peak_memory_bytes")
    return [{k: v for k, v in r.items() if k not in clock} for r in records if r["kind"] == "step"]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """An uninterrupted run of eight steps."""
    out = folder / "whole"
    run(folder, out, "--max-steps", "8", *QUIET)
    return out


def test_a_run_leaves_a_model_that_transformers_loads(folder: Path, whole: Path) -> None:
    """config, weights, tokenizer, provenance, metrics and picture are there; plain transformers loads it, both ways."""
    names = {path.name for path in whole.iterdir()}
    assert {"config.json", "model.safetensors", "syntaxdiff.json", "tokenizer.json", "metrics.jsonl", "curves.png"} <= names
    told = json.loads((whole / "syntaxdiff.json").read_text())
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    assert told["data_fingerprint"] == manifest["fingerprint"]
    assert told["token_ids"]["mask"] == manifest["token_ids"]["mask"]
    assert told["settings"]["strategy"] == "ast-span"
    loader: Any = AutoModelForCausalLM
    model = loader.from_pretrained(whole).eval()
    tokenizer: Any = AutoTokenizer
    assert len(tokenizer.from_pretrained(whole)) <= model.config.vocab_size
    ids = torch.arange(5, 15)[None]
    changed = ids.clone()
    changed[0, -1] = 30
    with torch.no_grad():
        assert not torch.equal(model(ids).logits[0, 0], model(changed).logits[0, 0])
    assert model.config.is_causal is False


def test_the_loss_falls(whole: Path) -> None:
    """Eight steps bring the cross entropy down."""
    nats = [record["nats"] for record in steps(whole)]
    assert len(nats) == 8
    assert nats[-1] < nats[0] - 0.3


def test_two_ranks_give_the_losses_of_one(folder: Path, whole: Path) -> None:
    """The same global batch on two ranks, through the launcher, gives the same losses to rounding."""
    out = folder / "ranks"
    config = write_json(folder / "half.json", gradient_accumulation_steps=1)
    run(folder, out, "--max-steps", "8", *QUIET, ranks=2, ds=config)
    for one, two in zip(steps(whole), steps(out), strict=True):
        assert two["nats"] == pytest.approx(one["nats"], rel=1e-4)
        assert two["mask_rate"] == one["mask_rate"]


def test_a_resumed_run_is_the_run(folder: Path, whole: Path) -> None:
    """Killed with SIGKILL after a checkpoint and started again, the losses and the weights are those of the whole run."""
    out = folder / "killed"
    process = start(folder, out, "--max-steps", "8", "--save-every", "2", *QUIET)
    deadline = time.monotonic() + 200
    while not list((out / "checkpoints").glob("step-*/run.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "config.json").exists()
    told = run(folder, out, "--max-steps", "8", "--save-every", "2", *QUIET)
    assert "going on from step-" in told
    assert steps(out) == steps(whole)
    assert same(weights(out), weights(whole))


def test_sigterm_saves_and_the_next_start_says_so(folder: Path, whole: Path) -> None:
    """A signal ends the run after its step with a checkpoint and a marker; the next start goes on to the same end."""
    out = folder / "preempted"
    options = ("--max-steps", "8", "--save-every", "0", *QUIET)
    process = start(folder, out, *options)
    deadline = time.monotonic() + 200
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=100)
    assert process.returncode == 0, told
    if not (out / "PREEMPTED").exists():
        pytest.skip("the run was over before the signal reached it")
    assert "stopped by a signal" in told
    told = run(folder, out, *options)
    assert "where stopped by a signal" in told
    assert not (out / "PREEMPTED").exists()
    assert steps(out) == steps(whole)
    assert same(weights(out), weights(whole))


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the shards with a fault."""

    def make(fault: str) -> Path:
        shutil.copytree(folder / "data", tmp_path / "data")
        if fault == "manifest":
            (tmp_path / "data" / "manifest.json").unlink()
        else:
            (shard,) = (tmp_path / "data" / "train").glob("*.parquet")
            shard.write_bytes(shard.read_bytes()[:-100])
        return tmp_path

    return make


@pytest.mark.parametrize("fault", ["manifest", "shard"])
def test_bad_shards_are_one_line(broken: Callable[[str], Path], fault: str) -> None:
    """No manifest, or a truncated shard: exit code 2 and one line that says what to do."""
    root = broken(fault)
    told = run(root, root / "out", "--max-steps", "2", expect=2)
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "syntaxdiff-prep build" in line or "build the shards again" in line
    assert not (root / "out" / "config.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strategy", "ast-spam"], "invalid choice"),
        (["--max-length", "50"], "more than --max-length 50"),
        (["--model", "/nowhere"], "no such folder"),
        (["--accumulation", "7"], "--accumulation 7 contradicts gradient_accumulation_steps 2"),
        (["--max-steps", "0"], "--max-steps 0 must be at least 1"),
        (["--resume", "step-000009"], "--resume step-000009"),
    ],
)
def test_bad_options_are_one_line(folder: Path, tmp_path: Path, options: list[str], words: str) -> None:
    """What a user can get wrong is said in one line, with exit code 2."""
    told = run(folder, tmp_path / "out", *options, *QUIET, expect=2)
    lines = [line for line in told.splitlines() if "error: " in line]
    assert len(lines) == 1, told
    assert words in lines[0]


def test_another_run_s_checkpoint_is_refused(folder: Path, whole: Path) -> None:
    """A checkpoint made with other settings is not gone on with."""
    told = run(folder, whole, "--max-steps", "8", "--strategy", "random", *QUIET, expect=2)
    assert "--strategy ast-span, not random" in told
    assert (whole / "config.json").exists()
