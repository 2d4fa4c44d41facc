"""Whole runs of the trainer, as processes: the launcher, ranks, resuming, signals, and what a user can get wrong."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import QUIET, kill, make_shards, run, run_forked, same, start, steps, wait_for, weights, write_json
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs."""
    root = tmp_path_factory.mktemp("train")
    make_shards(root)
    return root


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
    info = json.loads((whole / "syntaxdiff.json").read_text())
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    assert info["data_fingerprint"] == manifest["fingerprint"]
    assert info["token_ids"]["mask"] == manifest["token_ids"]["mask"]
    assert info["settings"]["strategy"] == "ast-span"
    assert info["settings"]["objective"] == "region-share"
    assert info["validation_objectives"] == {"ast-span": "region-share", "random": "inverse-rate"}
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    losses = {
        record["step"]: record["loss"]
        for record in records
        if record["kind"] == "validation" and record["strategy"] == "random"
    }
    assert info["validation_loss"] == min(losses.values()) == losses[info["step"]]
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


@pytest.mark.slow
def test_a_run_without_validation_says_so(folder: Path) -> None:
    """It ends, its files hold no number that is none, and what it prints names what was not measured."""
    out = folder / "unmeasured"
    output = run(folder, out, "--max-steps", "1", "--sample-every", "0", "--validation-samples", "0")
    assert "validation loss not measured" in output
    assert "nan" not in output

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    info = json.loads((out / "syntaxdiff.json").read_text(), parse_constant=refused)
    assert info["validation_loss"] is None
    assert info["unigram_nats"] is None


@pytest.mark.slow
def test_two_ranks_give_the_losses_of_one(folder: Path, whole: Path) -> None:
    """The same global batch on two ranks, through the launcher, gives the same losses to rounding."""
    out = folder / "ranks"
    config = write_json(folder / "half.json", gradient_accumulation_steps=1)
    run(folder, out, "--max-steps", "8", *QUIET, ranks=2, ds=config)
    for first, second in zip(steps(whole), steps(out), strict=True):
        assert second["nats"] == pytest.approx(first["nats"], rel=1e-4)
        assert second["mask_rate"] == first["mask_rate"]


@pytest.mark.slow
def test_a_resumed_run_is_the_run(folder: Path, whole: Path) -> None:
    """Killed with SIGKILL after a checkpoint and started again, the losses and the weights are those of the whole run."""
    out = folder / "killed"
    process = start(folder, out, "--max-steps", "8", "--save-every", "2", *QUIET)
    wait_for(process, lambda: bool(list((out / "checkpoints").glob("step-*/run.json"))))
    kill(process)
    assert not (out / "config.json").exists()
    output = run(folder, out, "--max-steps", "8", "--save-every", "2", *QUIET)
    assert "resuming from step-" in output
    assert steps(out) == steps(whole)
    assert same(weights(out), weights(whole))


@pytest.mark.slow
def test_a_run_from_before_keeps_its_weights(folder: Path, tmp_path: Path) -> None:
    """A checkpoint that knows no weights of the validation resumes, without options, as inverse rates by its own strategy."""
    length = ("--max-steps", "4", "--save-every", "2", *QUIET, "--validate-every", "2")
    as_before = ("--objective", "inverse-rate", "--validation-objective", "inverse-rate", "--best-by", "strategy")
    run(folder, tmp_path / "whole", *length, *as_before)
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "step-000002", tmp_path / "old" / "checkpoints" / "step-000002")
    path = tmp_path / "old" / "checkpoints" / "step-000002" / "run.json"
    state = json.loads(path.read_text())
    del state["settings"]["validation_objective"], state["settings"]["best_by"]
    path.write_text(json.dumps(state))
    output = run(folder, tmp_path / "old", *length)
    kept = "--objective inverse-rate, --validation-objective inverse-rate, --best-by strategy"
    assert f"the run keeps what it began with: {kept}" in output
    assert steps(tmp_path / "old") == steps(tmp_path / "whole")[2:]
    assert same(weights(tmp_path / "old"), weights(tmp_path / "whole"))
    first, other = (json.loads((tmp_path / out / "syntaxdiff.json").read_text()) for out in ("old", "whole"))
    for name in ("validation_loss", "step", "validation_objectives"):
        assert first[name] == other[name]
    assert set(first["validation_objectives"].values()) == {"inverse-rate"}


@pytest.mark.slow
@pytest.mark.parametrize("lora", [(), ("--lora-rank", "2")], ids=["whole", "lora"])
def test_a_run_goes_on_with_another_number_of_ranks(folder: Path, tmp_path: Path, lora: tuple[str, ...]) -> None:
    """Stopped on two ranks and resumed on one with the same global batch, a run ends as one rank's does, to rounding."""
    half = write_json(folder / "half.json", gradient_accumulation_steps=1)
    length = ("--max-steps", "6", *QUIET, *lora)
    run(folder, tmp_path / "one", *length)
    process = start(folder, tmp_path / "both", *length, "--save-every", "3", ranks=2, ds=half)
    wait_for(process, lambda: (tmp_path / "both" / "checkpoints" / "step-000003" / "run.json").exists())
    kill(process)
    shutil.rmtree(tmp_path / "both" / "checkpoints" / "step-000004", ignore_errors=True)
    output = run(folder, tmp_path / "both", *length, "--save-every", "3")
    assert "the checkpoint is of 2 ranks and this run has 1" in output
    for first, both in zip(steps(tmp_path / "one"), steps(tmp_path / "both"), strict=True):
        assert both["nats"] == pytest.approx(first["nats"], rel=1e-4)
    for name, weight in weights(tmp_path / "one").items():
        assert torch.allclose(weights(tmp_path / "both")[name], weight, atol=2e-4), name


@pytest.mark.slow
def test_sigterm_saves_and_the_next_start_says_so(folder: Path, whole: Path) -> None:
    """A signal ends the run after its step with a checkpoint and a marker; the next start goes on to the same end."""
    out = folder / "preempted"
    options = ("--max-steps", "8", "--save-every", "0", *QUIET)
    process = start(folder, out, *options)
    wait_for(process, (out / "metrics.jsonl").exists)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    if not (out / "PREEMPTED").exists():
        pytest.skip("the run was over before the signal reached it")
    assert "stopped by a signal" in output
    output = run(folder, out, *options)
    assert "where a signal stopped it" in output
    assert not (out / "PREEMPTED").exists()
    assert steps(out) == steps(whole)
    assert same(weights(out), weights(whole))


def refused(folder: Path, out: Path, *options: str, ds: Path | None = None) -> str:
    """What a command that must end with exit code 2 prints."""
    config = ds or write_json(folder / "ds-1.json")
    files = ("--ds-config", config, "--data", folder / "data", "--out", out)
    code, output = run_forked(*files, *options, log=folder / "refused.log")
    assert code == 2, output
    return output


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
    output = refused(root, root / "out", "--max-steps", "2")
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "syntaxdiff-prep build" in line or "build the shards again" in line
    assert not (root / "out" / "config.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strategy", "ast-spam"], "invalid choice"),
        (["--max-length", "50"], "more than --max-length 50"),
        (["--model", "/nowhere"], "no such folder"),
        (["--accumulation", "7"], "--accumulation 7 contradicts gradient_accumulation_steps 2"),
        (["--max-steps", "0"], "--max-steps 0: a whole number from 1"),
        (["--resume", "step-000009"], "--resume step-000009"),
    ],
)
def test_bad_options_are_one_line(folder: Path, tmp_path: Path, options: list[str], words: str) -> None:
    """What a user can get wrong is said in one line, with exit code 2."""
    output = refused(folder, tmp_path / "out", *options, *QUIET)
    lines = [line for line in output.splitlines() if "error: " in line]
    assert len(lines) == 1, output
    assert words in lines[0]


def test_another_run_s_checkpoint_is_refused(folder: Path, whole: Path) -> None:
    """A checkpoint made with other settings, or another JSON, is not gone on with, and what the run wrote stays as it was."""
    before = (whole / "settings.json").read_bytes(), (whole / "deepspeed.json").read_bytes()
    output = refused(folder, whole, "--max-steps", "8", "--strategy", "random", *QUIET)
    assert "--strategy ast-span, not random" in output
    other = write_json(folder / "clipped.json", gradient_clipping=0.5)
    output = refused(folder, whole, "--max-steps", "8", *QUIET, ds=other)
    assert "gradient_clipping 1.0 in the DeepSpeed JSON, not 0.5" in output
    assert before == ((whole / "settings.json").read_bytes(), (whole / "deepspeed.json").read_bytes())
    assert (whole / "config.json").exists()
