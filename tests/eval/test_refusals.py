"""What can be refused cheaply is refused before anything slow begins: weights, the sandbox, references, downloads, training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from evaluations import row, write_problems
from tiny_checkpoint import export_tiny, network, tokenizer

from syntaxdiff.eval.benchmarks import evaluate as benchmark
from syntaxdiff.eval.cli import main
from syntaxdiff.eval.inference.checkpoint import Unloaded
from syntaxdiff.eval.study import study


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A diffusion model, a causal model, problems of three kinds, files and folders that do not fit."""
    root = tmp_path_factory.mktemp("refusals")
    network().float().save_pretrained(root / "causal")
    tokenizer().save_pretrained(root / "causal")
    (root / "file").write_text("no folder")
    (root / "bare").mkdir()
    no_weights = export_tiny(root / "no-weights")
    (no_weights / "model.safetensors").unlink()
    infilling = row(3) | {"prompt": "def add(x):\n", "canonical_solution": "    y = x\n", "suffix": "    return y\n"}
    (root / "infilling.jsonl").write_text(json.dumps(infilling) + "\n")
    long = row(4) | {"prompt": 'def add(x):\n    """' + "Add. " * 300 + '"""\n'}
    (root / "long.jsonl").write_text(json.dumps(long) + "\n")
    (root / "training").mkdir()
    (root / "training" / "settings.json").write_text('{"strategy": "random"}')
    (root / "prompts.txt").write_text("Sum a list.\n")
    (root / "program.py").write_text("x = <FILL>\n")
    (root / "whole.py").write_text("x = 1\n")
    return {
        "tiny": export_tiny(root / "tiny"),
        "problems": write_problems(root),
        "no_weights": no_weights,
        "root": root,
        **{path.name.partition(".")[0]: path for path in root.iterdir() if path.name not in ("tiny", "problems.jsonl")},
    }


@pytest.fixture
def nothing_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes long says that it was reached."""

    def reached(what: str) -> Callable[..., Any]:
        def fail(*_: Any, **__: Any) -> None:
            raise AssertionError(f"{what} was reached")

        return fail

    monkeypatch.setattr(Unloaded, "load", reached("loading weights"))
    monkeypatch.setattr(benchmark, "Sandbox", reached("the sandbox"))
    monkeypatch.setattr(benchmark, "_run_references", reached("running references"))
    monkeypatch.setattr("syntaxdiff.eval.problems.reader.rows_on_the_hub", reached("a download"))
    monkeypatch.setattr(study, "usable_sources", reached("a study's work"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        # the benchmarks: each that shares the code, and each kind of mistake
        ("humaneval --ckpt {root}/absent --problems {problems}", "--ckpt {root}/absent: no such folder"),
        ("mbpp --ckpt {root}/absent", "--ckpt {root}/absent: no such folder"),
        ("infilling --ckpt {root}/absent --problems {infilling}", "--ckpt {root}/absent: no such folder"),
        ("humaneval --ckpt {bare} --problems {problems}", "holds no config.json"),
        ("humaneval --ckpt {no_weights} --problems {problems}", "holds no *.safetensors"),
        ("humaneval --ckpt {tiny} --kind autoregressive --problems {problems}", "cannot generate from left to right"),
        ("humaneval --ckpt {causal} --kind autoregressive --mask-token x --problems {problems}", "leave --mask-token"),
        ("humaneval --ckpt {tiny} --device cuda:x --problems {problems}", "--device cuda:x"),
        ("humaneval --ckpt {tiny} --problems {problems} --out {file}", "cannot be written"),
        ("humaneval --ckpt {tiny} --problems {problems} --out {file}/below/it", "cannot be written"),
        ("humaneval --ckpt {tiny} --problems {problems} --out /proc/evaluation", "cannot be written"),
        ("humaneval --ckpt {tiny} --problems {problems} --gen-length 8 --out {training}", "was begun with"),
        ("humaneval --ckpt {tiny} --problems {problems} --gen-length 8 --out {training} --restart", "of a training run"),
        ("humaneval --reference --problems {problems} --out {file}", "cannot be written"),
        ("humaneval --ckpt {tiny} --problems {root}/absent.jsonl", "absent.jsonl cannot be read"),
        ("mbpp --ckpt {tiny} --problems {root}/absent.jsonl", "absent.jsonl cannot be read"),
        ("humaneval --ckpt {tiny} --problems {infilling}", "is of another benchmark"),
        ("humaneval --ckpt {tiny} --problems {problems} --workers 0", "--workers 0"),
        ("humaneval --ckpt {tiny} --problems {problems} --limit 0", "--limit 0"),
        ("humaneval --ckpt {tiny} --problems {problems} --preset mbpp-tests", "which these problems lack"),
        ("humaneval --ckpt {tiny} --problems {problems} --gen-length 600", "no prompt leaves"),
        ("humaneval --ckpt {tiny} --problems {long}", "no prompt leaves"),
        ("infilling --ckpt {tiny} --problems {infilling} --preset chat", "infilling takes"),
        ("infilling --ckpt {causal} --problems {infilling}", "cannot fill gaps"),
        ("infilling --ckpt {tiny}", "name it with --problems"),
        # writing programs
        ("generate x --ckpt {root}/absent", "no such folder"),
        ("generate x --ckpt {tiny} --preset wrong", "--preset wrong: choose from"),
        ("generate x --ckpt {tiny} --preset mbpp-tests", "which these problems lack"),
        ("generate x --ckpt {tiny} --gen-length 600", "lower --gen-length"),
        ("generate x --ckpt {tiny} --out {bare}", "is a folder"),
        ("generate x --ckpt {tiny} --out {root}/nowhere/programs.jsonl", "programs.jsonl cannot be written"),
        ("generate --ckpt {tiny} --prompts {root}/absent", "cannot be read"),
        ("infill {program} --ckpt {root}/absent", "no such folder"),
        ("infill {program} --ckpt {causal}", "cannot fill gaps"),
        ("infill {whole} --ckpt {tiny}", "has no hole"),
        ("infill {program} --ckpt {tiny} --hole-tokens 600", "reads 512"),
        ("infill {program} --ckpt {tiny} --preset chat", "--preset chat: choose from auto, program, completion"),
        ("infill {program} --ckpt {tiny} --out {bare}", "is a folder"),
        ("syntax --ckpt {tiny} --prompts {prompts} --preset wrong", "--preset wrong"),
        ("syntax --ckpt {tiny} --prompts {prompts} --out {bare}", "is a folder"),
        ("syntax --ckpt {tiny} --prompts {prompts} --gen-length 600", "lower --gen-length"),
        ("syntax --programs {problems} --field wrong --out {bare}", "is a folder"),
        # what needs shards
        ("reconstruct --ckpt {tiny} --data {bare}", "manifest.json"),
        ("reconstruct --ckpt {tiny} --data {bare} --out {file}", "cannot be written"),
        ("reconstruct --ckpt {tiny} --data {bare} --shapes {file}", "cannot be written"),
        ("reconstruct --ckpt {root}/absent --data {tiny}/../data", "manifest.json"),
        ("loss --ckpt {tiny} --data {bare}", "manifest.json"),
        ("loss --ckpt {tiny} --data {bare} --out {file}", "cannot be written"),
        ("masks {bare} --html {bare}", "--html {bare} is a folder"),
        ("masks {bare} --svg {root}/nowhere/x.svg", "nowhere/x.svg cannot be written"),
        # what reads results
        ("report {training} --html {bare}", "--html {bare} is a folder"),
        ("report {training} --device wrong", "--device wrong"),
        ("compare {bare} {training} --show -1", "--show -1"),
        ("study smoke --minutes 0", "--minutes 0"),
        ("study smoke --out {file}", "cannot be written"),
    ],
)
@pytest.mark.usefixtures("nothing_slow")
def test_it_is_refused_before_anything_slow(command: str, message: str, places: dict[str, Path]) -> None:
    """One line that names the mistake and exit code 2; no folder is left behind."""
    before = sorted(places["root"].rglob("*"))
    result = CliRunner().invoke(main, command.format(**places).split())
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message.format(**places) in result.stderr
    assert sorted(places["root"].rglob("*")) == before


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ('humaneval = { preset = "wrong" }', "wrong"),
        ("humaneval = { gen-lenght = 64 }", "gen-lenght"),
        ("mbpp = { num-steps = 4, schedule = 'threshold' }", "--num-steps is for"),
        ("reconstruct = { mask-rate = [1.5] }", "--mask-rate 1.5"),
        ("loss = { samples = 0 }", "--samples 0"),
    ],
)
@pytest.mark.usefixtures("nothing_slow")
def test_a_study_checks_its_evaluations_before_it_trains(evaluation: str, message: str, tmp_path: Path) -> None:
    """What an evaluation would refuse after hours of training is refused at the start."""
    from syntaxdiff.eval.study.declaration import STUDIES

    name = evaluation.partition(" ")[0]
    section, found = "", False
    lines = []
    for line in STUDIES.read_text("utf-8").split("\n"):
        section = line if line.startswith("[") else section
        is_it = section == "[smoke.evaluate]" and line.partition(" ")[0] == name
        found |= is_it
        lines.append(evaluation if is_it else line)
        if line == "[smoke.evaluate]" and name == "mbpp":
            lines.append(evaluation)
            found = True
    assert found
    (tmp_path / "studies.toml").write_text("\n".join(lines))
    command = f"study smoke --file {tmp_path / 'studies.toml'} --out {tmp_path / 'out'}"
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 2, (result.output, result.exception)
    assert message in result.stderr


@pytest.mark.usefixtures("nothing_slow")
def test_other_settings_are_noticed_before_the_weights_are_loaded(places: dict[str, Path], tmp_path: Path) -> None:
    """A folder of another evaluation is refused by the first setting that differs."""
    settings = {"benchmark": "humaneval", "split": None, "limit": 3, "problems_sha256": "", "checkpoint": {"kind": "diffusion"}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = f"humaneval --ckpt {places['tiny']} --problems {places['problems']} --gen-length 8 --out {tmp_path}"
    result = CliRunner().invoke(main, command.split())
    assert "was begun with limit 3, not null" in result.stderr
