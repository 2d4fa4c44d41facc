"""What a user can get wrong in a training run, beyond options: one line that says so, exit code 2, earlier work untouched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import digests
from training_runs import QUIET, build_shards, run_forked, write_json
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, Qwen2Config

from syntaxdiff.pipeline.shard import read_manifest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of short programs in ``data``, a fitting JSON in ``ds.json``, and in ``out`` a finished run of two steps."""
    folder = tmp_path_factory.mktemp("errors")
    build_shards(folder)
    write_json(folder / "ds.json")
    code, told = run_forked(*command(folder, folder / "out"), "--save-every", "1", log=folder / "first.log")
    assert code == 0, told
    return folder


def command(root: Path, out: Path, ds: Path | None = None) -> list[str]:
    files = ["--ds-config", str(ds or root / "ds.json"), "--data", str(root / "data"), "--out", str(out)]
    return [*files, "--max-steps", "2", *QUIET]


def refused(arguments: list[str], folder: Path, log: Path) -> str:
    """The one line of a command that is refused; nothing in the folder changes."""
    before = digests(folder)
    code, told = run_forked(*arguments, log=log)
    assert code == 2, told
    assert digests(folder) == before
    return the_error(told)


def the_error(told: str) -> str:
    """The one line about an error; nothing else looks like one."""
    (line,) = [line for line in told.splitlines() if "error" in line.lower()]
    assert line.startswith("error: ")
    assert "Traceback" not in told
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
    return int(read_manifest(root / "data").tokenizer["vocab_size"])


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
        (unknown_name, ["run.yaml", "'stratgy'", "no option"]),
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
        ("{", ["ds.json is no JSON"]),
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


@pytest.mark.parametrize(("fault", "resume"), [("cut", "auto"), ("other", "step-000002"), ("state", "auto")])
def test_a_damaged_checkpoint_is_one_line(root: Path, tmp_path: Path, fault: str, resume: str) -> None:
    """A checkpoint of which a file is damaged is named, with the way round it; no other is taken in its place unasked."""
    out = shutil.copytree(root / "out", tmp_path / "out")
    checkpoint = out / "checkpoints" / "step-000002"
    if fault == "state":
        (file,) = checkpoint.glob("*optim_states.pt")
        file.write_bytes(file.read_bytes()[:-1000])
    elif fault == "cut":
        (checkpoint / "run.json").write_text((checkpoint / "run.json").read_text()[:-50])
    else:
        (checkpoint / "run.json").write_text(json.dumps({"step": 2}))
    line = refused([*command(root, out), "--resume", resume], out, tmp_path / "log")
    assert str(checkpoint) in line
    assert "to go on from the one before" in line
    shutil.rmtree(checkpoint)  # as the line says
    code, told = run_forked(*command(root, out), log=tmp_path / "log")
    assert code == 0, told
    assert "going on from step-000001" in told


def test_a_loss_that_is_no_number_stops_the_run(root: Path, tmp_path: Path) -> None:
    """The error names the step, samples and the last checkpoint, which is whole: the same command goes on from it."""
    config = write_json(tmp_path / "ds.json", gradient_clipping=0.0)
    arguments = command(root, tmp_path / "out", config)
    arguments += ["--max-steps", "9", "--save-every", "1", "--learning-rate", "1e10"]
    code, told = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2, told
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    *_, last = sorted(path.name for path in (tmp_path / "out" / "checkpoints").glob("step-*"))
    assert f"loss or gradient is not finite at step {int(last.removeprefix('step-')) + 1}; samples of rank 0: row-" in line
    assert f"last checkpoint: {last}" in line
    assert not (tmp_path / "out" / "config.json").exists()
    before = digests(tmp_path / "out" / "checkpoints" / last)
    code, again = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2
    assert f"going on from {last}" in again
    assert line in again.splitlines()
    assert digests(tmp_path / "out" / "checkpoints" / last) == before


def test_a_gradient_that_is_no_number_stops_the_run(root: Path, tmp_path: Path) -> None:
    """A finite loss whose gradient is not: DeepSpeed leaves out each such step, and the run would end as if it had trained."""
    arguments = [*command(root, tmp_path / "out"), "--max-steps", "9", "--learning-rate", "1e30"]
    code, told = run_forked(*arguments, log=tmp_path / "log")
    assert code == 2, told
    assert "not finite" in the_error(told)
    assert not (tmp_path / "out" / "config.json").exists()
