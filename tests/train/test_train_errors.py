"""What a user can get wrong in a training run, beyond options: one line that says so, exit code 2, earlier work untouched."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import digests
from training_runs import QUIET, make_shards, run_forked, same, steps, weights, write_json
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, Qwen2Config

from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.train.engine.checkpoints import Checkpoints
from syntaxdiff.train.engine.lock import locked
from syntaxdiff.train.engine.resumption import choose


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs in ``data``, a fitting JSON in ``ds.json``, and in ``out`` a finished run of two steps."""
    folder = tmp_path_factory.mktemp("errors")
    make_shards(folder)
    write_json(folder / "ds.json")
    code, output = run_forked(*command(folder, folder / "out"), "--save-every", "1", log=folder / "first.log")
    assert code == 0, output
    return folder


def command(root: Path, out: Path, ds: Path | None = None) -> list[str]:
    files = ["--ds-config", str(ds or root / "ds.json"), "--data", str(root / "data"), "--out", str(out)]
    return [*files, "--max-steps", "2", *QUIET]


def refused(arguments: list[str], folder: Path, log: Path) -> str:
    """The one line of a command that is refused; nothing in the folder changes."""
    before = digests(folder)
    code, output = run_forked(*arguments, log=log)
    assert code == 2, output
    assert digests(folder) == before
    return the_error(output)


def the_error(output: str) -> str:
    """The one line about an error; nothing else looks like one."""
    (line,) = [line for line in output.splitlines() if "error" in line.lower()]
    assert line.startswith("error: ")
    assert "Traceback" not in output
    return line


@pytest.fixture
def earlier(root: Path, tmp_path: Path) -> Path:
    """The folder of the finished run, without its checkpoints, so that nothing is compared with them."""
    shutil.copytree(root / "out", tmp_path / "out", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "out"


def save_model(folder: Path, vocabulary: int, positions: int = 4096) -> Path:
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=positions,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def other_vocabulary(root: Path, folder: Path) -> list[str]:
    """A model of a tokenizer that is not the shards'."""
    return ["--model", str(save_model(folder / "model", 100))]


def too_few_positions(root: Path, folder: Path) -> list[str]:
    """A model that knows fewer positions than asked for."""
    return ["--model", str(save_model(folder / "model", vocabulary_of(root), positions=64)), "--max-length", "65"]


def damaged_weights(root: Path, folder: Path) -> list[str]:
    """A file of weights that lost its end."""
    weights = save_model(folder / "model", vocabulary_of(root)) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return ["--model", str(weights.parent)]


def no_weights(root: Path, folder: Path) -> list[str]:
    """An exported model whose weights are gone."""
    shutil.copytree(root / "out", folder / "model", ignore=shutil.ignore_patterns("checkpoints", "*.safetensors"))
    return ["--init-from", str(folder / "model")]


def no_model(root: Path, folder: Path) -> list[str]:
    """A folder that holds no model at all."""
    (folder / "model").mkdir()
    return ["--init-from", str(folder / "model")]


def other_family(root: Path, folder: Path) -> list[str]:
    """A model that is not built like Llama; its weights need not be read."""
    GPT2Config(n_embd=64, n_layer=2, n_head=4).save_pretrained(folder / "model")
    return ["--init-from", str(folder / "model")]


def no_place_in_llada(root: Path, folder: Path) -> list[str]:
    """A model with tensors that the layout of the export has no name for."""
    Qwen2Config(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4).save_pretrained(
        folder / "model"
    )
    return ["--model", str(folder / "model"), "--export-layout", "llada"]


def unknown_name(root: Path, folder: Path) -> list[str]:
    """A file of options with a name that is none."""
    (folder / "run.yaml").write_text("stratgy: random\n")
    return ["--config", str(folder / "run.yaml")]


def wrong_type(root: Path, folder: Path) -> list[str]:
    """A file of options with a word where a number must stand."""
    (folder / "run.toml").write_text('seed = "seven"\n')
    return ["--config", str(folder / "run.toml")]


def vocabulary_of(root: Path) -> int:
    return int(read_manifest(root / "data").tokenizer.vocab_size)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (other_vocabulary, ["knows 100", "build the shards with --tokenizer"]),
        (too_few_positions, ["--max-length 65", "64 positions"]),
        (damaged_weights, ["model.safetensors is damaged"]),
        (no_weights, ["holds no *.safetensors files"]),
        (no_model, ["--init-from", "holds no config.json"]),
        (other_family, ["--init-from", "gpt2 is not built like Llama"]),
        (no_place_in_llada, ["--export-layout llada", "qwen2", "q_proj.bias", "--export-layout llama"]),
        (unknown_name, ["run.yaml", "'stratgy'", "is not an option"]),
        (wrong_type, ["run.toml", "seed must be int, not 'seven'"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_files_are_one_line(
    root: Path, earlier: Path, tmp_path: Path, fault: Callable[[Path, Path], list[str]], words: list[str]
) -> None:
    """Models and files of options that cannot be used are named, with what to do."""
    options = fault(root, tmp_path)
    line = refused([*command(root, earlier), *options], earlier, tmp_path / "log")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["ds.json is not JSON"]),
        ("[1, 2]", ["must hold a JSON object"]),
        ('{"gradient_acumulation_steps": 2}', ["'gradient_acumulation_steps'", "did you mean 'gradient_accumulation_steps'"]),
        ('{"gradient_accumulation_steps": 100}', ["51 train samples and a step takes 100", "lower the batch"]),
        ('{"gradient_accumulation_steps": 2, "train_batch_size": 3}', ["train_batch_size 3", "leave train_batch_size out"]),
        ('{"optimizer": {"type": "AdamV"}}', ["AdamV"]),
        (None, ["ds.json cannot be read: No such file"]),
    ],
)
def test_a_bad_json_is_one_line(root: Path, earlier: Path, tmp_path: Path, text: str | None, words: list[str]) -> None:
    """A DeepSpeed JSON that is none, or says what cannot be, is named with its fault."""
    path = tmp_path / "ds.json"
    if text is not None:
        path.write_text(text)
    line = refused(command(root, earlier, path), earlier, tmp_path / "log")
    for word in words:
        assert word in line


def damage(checkpoint: Path, fault: str) -> None:
    """Harms a checkpoint as disks, full quotas and people do."""
    (states,) = checkpoint.glob("*optim_states.pt")
    if fault == "cut record":
        (checkpoint / "run.json").write_text((checkpoint / "run.json").read_text()[:-50])
    elif fault == "other record":
        (checkpoint / "run.json").write_text(json.dumps({"step": 2}))
    elif fault == "no record":
        (checkpoint / "run.json").unlink()
    elif fault == "cut state":
        states.write_bytes(states.read_bytes()[:-1000])
    elif fault == "lost state":
        states.unlink()
    elif fault == "empty state":
        states.write_bytes(b"")
    else:
        content = bytearray(states.read_bytes())
        content[len(content) // 2] ^= 255
        states.write_bytes(content)


FAULTS = ("cut record", "other record", "no record", "cut state", "lost state", "empty state", "one byte")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_damage_is_found(root: Path, tmp_path: Path, fault: str) -> None:
    """Whichever rank reads the file: a checkpoint with it is not taken, and the one before it is."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    checkpoints = Checkpoints(out)
    assert [checkpoints.fault(step) for step in checkpoints.steps()] == [None, None]
    damage(out / "checkpoints" / "step-000002", fault)
    shares = [checkpoints.fault(2, rank, 3) for rank in range(3)]
    assert any(shares)
    assert checkpoints.fault(2) in shares
    found = choose(checkpoints, "auto", checkpoints.fault)
    assert found.state is not None
    assert (found.state.step, list(found.damaged), found.abandoned) == (1, [2], [])


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_taken(root: Path, tmp_path: Path) -> None:
    """The run resumes from the newest that is whole, ends with the same weights, and keeps the damaged one out of the way."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    damage(out / "checkpoints" / "step-000002", "cut state")
    code, output = run_forked(*command(root, out), log=tmp_path / "log")
    assert code == 0, output
    assert "checkpoint step-000002 cannot be used: " in output
    assert "resuming from step-000001" in output
    assert (out / "checkpoints" / "set-aside-1" / "step-000002").is_dir()
    assert same(weights(out), weights(root / "out"))
    assert Checkpoints(out).steps() == [1, 2]


def test_a_damaged_checkpoint_that_was_asked_for_is_one_line(root: Path, tmp_path: Path) -> None:
    """No other one is taken in its place unasked; and where none is whole, the error says so."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    damage(out / "checkpoints" / "step-000002", "one byte")
    line = refused([*command(root, out), "--resume", "step-000002"], out, tmp_path / "log")
    assert str(out / "checkpoints" / "step-000002") in line
    assert "--resume auto" in line
    damage(out / "checkpoints" / "step-000001", "cut record")
    line = refused(command(root, out), out, tmp_path / "log")
    assert "no checkpoint" in line
    assert "is whole" in line


def test_fewer_steps_than_taken_is_one_line(root: Path, tmp_path: Path) -> None:
    """A length below the step that the checkpoint reached is refused, with the checkpoints that there are."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    line = refused([*command(root, out), "--max-steps", "1"], out, tmp_path / "log")
    assert "--max-steps 1 is less than the 2 steps" in line
    assert "step-000001" in line


@pytest.mark.slow
def test_another_branch_sets_the_abandoned_one_aside(root: Path, tmp_path: Path) -> None:
    """From an earlier checkpoint with another length: later ones and the record move away, and `auto` stays on the branch."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    options = ["--max-steps", "3", "--save-every", "2"]
    code, output = run_forked(*command(root, out), *options, "--resume", "step-000001", log=tmp_path / "log")
    assert code == 0, output
    aside = out / "checkpoints" / "set-aside-1"
    assert f"leaves step-000002 behind: moved to {aside}" in output
    assert {path.name for path in aside.iterdir()} == {"step-000002", "metrics.jsonl"}
    assert (aside / "metrics.jsonl").read_bytes() == (root / "out" / "metrics.jsonl").read_bytes()
    assert [record["step"] for record in steps(out)] == [1, 2, 3]
    (out / "config.json").unlink()
    shutil.rmtree(out / "checkpoints" / "step-000003")
    code, output = run_forked(*command(root, out), *options, log=tmp_path / "log")
    assert code == 0, output
    assert "resuming from step-000002" in output
    assert [record["step"] for record in steps(out)] == [1, 2, 3]


@pytest.mark.slow
def test_another_length_has_its_own_rates(root: Path, tmp_path: Path) -> None:
    """A finished run that is given more steps takes them at the rates of the longer schedule, not at its old last one."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    code, output = run_forked(*command(root, out), "--max-steps", "6", log=tmp_path / "log")
    assert code == 0, output
    code, output = run_forked(*command(root, tmp_path / "whole"), "--max-steps", "6", log=tmp_path / "log")
    assert code == 0, output
    rates = [[record["learning_rate"] for record in steps(folder)][2:] for folder in (out, tmp_path / "whole")]
    assert rates[0] == rates[1]
    assert min(rates[0][:-1]) > 0


def test_a_folder_is_held_by_one_training(root: Path, tmp_path: Path) -> None:
    """While a training holds the folder another is refused with where the first one runs, and changes nothing."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    with locked(out):
        line = refused(command(root, out), out, tmp_path / "log")
    assert f"another training writes to {out} (process {os.getpid()} on " in line


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run(root: Path, tmp_path: Path) -> None:
    """The error names the step, samples and the last checkpoint, which is whole: the same command goes on from it."""
    config = write_json(tmp_path / "ds.json", gradient_clipping=0.0)
    arguments = command(root, tmp_path / "out", config)
    arguments += ["--max-steps", "9", "--save-every", "1", "--learning-rate", "1e10"]
    code, output = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2, output
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    *_, last = sorted(path.name for path in (tmp_path / "out" / "checkpoints").glob("step-*"))
    assert f"loss or gradient is not finite at step {int(last.removeprefix('step-')) + 1}; samples of rank 0: row-" in line
    assert f"last checkpoint: {last}" in line
    assert not (tmp_path / "out" / "config.json").exists()
    before = digests(tmp_path / "out" / "checkpoints" / last)
    code, again = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2
    assert f"resuming from {last}" in again
    assert line in again.splitlines()
    assert digests(tmp_path / "out" / "checkpoints" / last) == before


@pytest.mark.slow
def test_a_gradient_that_is_no_number_stops_the_run(root: Path, tmp_path: Path) -> None:
    """A finite loss whose gradient is not: DeepSpeed leaves out each such step, and the run would end as if it had trained."""
    arguments = [*command(root, tmp_path / "out"), "--max-steps", "9", "--learning-rate", "1e30"]
    code, output = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2, output
    assert "not finite" in the_error(output)
    assert not (tmp_path / "out" / "config.json").exists()
