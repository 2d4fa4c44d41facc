"""Settings of generation in results: what had an effect stands there, the rest is null, refused or named; old results too."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from evaluations import samples_of, write_problems
from parameters import slow
from tiny_checkpoint import export_tiny, network, tokenizer

from syntaxdiff.eval.benchmarks.compare import compare
from syntaxdiff.eval.benchmarks.effect import effective_settings, generation_text
from syntaxdiff.eval.benchmarks.stored_settings import CheckpointIdentity, EvaluationSettings
from syntaxdiff.eval.cli import main
from syntaxdiff.eval.inference.effect import REFERENCE, GenerationSettings, effective
from syntaxdiff.pipeline.json_records import to_json

# What the first version kept for any model: every field as it was asked for.
OLD: dict[str, Any] = {
    "gen_length": 64,
    "block_length": 32,
    "num_steps": None,
    "schedule": "threshold",
    "threshold": 0.9,
    "factor": 1.0,
    "confidence": "low-confidence",
    "cache": "dual",
    "cache_refresh": None,
    "temperature": 0.0,
    "guidance": 0.0,
    "forbid_eos": False,
    "lower_eos": False,
    "early_stop": True,
    "syntax_repair": 0,
    "language": "python",
    "seed": 0,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A diffusion model, a causal model, and problems."""
    root = tmp_path_factory.mktemp("effect")
    causal = root / "causal"
    network().float().save_pretrained(causal)
    tokenizer().save_pretrained(causal)
    return {"diffusion": export_tiny(root / "tiny"), "causal": causal, "problems": write_problems(root)}


def run(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def evaluated(folders: dict[str, Path], model: str, out: Path, *options: str | float) -> dict[str, Any]:
    """The results of a run on all problems, answers of 8 tokens; what was printed under ``printed``."""
    common = ("--ckpt", folders[model], "--problems", folders["problems"], "--gen-length", 8, "--workers", 1, "--out", out)
    result = run("humaneval", *common, *options)
    assert result.exit_code == 0, result.output
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results | {"printed": " ".join(result.stdout.split()), "notes": result.stderr}


def settings_of(kind: str, benchmark: str = "humaneval", **changes: Any) -> EvaluationSettings:
    """Settings as the first version kept them; none of generation for references."""
    generation = None if kind == REFERENCE else GenerationSettings(**OLD | changes)
    return EvaluationSettings(
        benchmark=benchmark,
        split=None,
        limit=None,
        problems_sha256="0" * 64,
        checkpoint=CheckpointIdentity(kind=kind),
        generation=generation,
        hole_tokens=REFERENCE,
    )


@pytest.mark.parametrize(
    ("settings", "expected", "foreign"),
    [
        (settings_of("autoregressive"), "from left to right, at most 64 tokens", "block confidence cache seed guidance step"),
        (settings_of("autoregressive", temperature=0.5, seed=7), "temperature 0.5, seed 7", "probable block"),
        (settings_of("diffusion"), "blocks of 32, all above confidence 0.9, low-confidence, dual cache", "seed language step"),
        (settings_of("diffusion", schedule="fixed", cache="none", cache_refresh=4), "one token a step", "above again dual"),
        (settings_of("diffusion", schedule="fixed", num_steps=9), "9 steps", "above"),
        (settings_of("diffusion", schedule="factor", factor=1.5), "by factor 1.5", "above"),
        (settings_of("diffusion", cache_refresh=4), "dual cache computed again every 4 steps", ""),
        (settings_of("diffusion", confidence="random", schedule="fixed", seed=3), "seed 3", ""),
        (settings_of("diffusion", syntax_repair=2, language="cpp"), "syntax repair 2, language cpp", ""),
        (settings_of("diffusion", early_stop=False), "no early stop", ""),
        (settings_of("diffusion", "humaneval-infilling", early_stop=False), "holes of the reference's length", "at most stop"),
        (settings_of(REFERENCE), "", ""),
    ],
)
def test_the_description_names_what_had_an_effect(settings: EvaluationSettings, expected: str, foreign: str) -> None:
    """Of settings that all stand in a result of the first version, only those that had an effect are reported."""
    text = generation_text(settings)
    assert expected in text
    assert [word for word in foreign.split() if word in text] == []
    assert generation_text(effective_settings(settings)) == text  # as this version keeps them


def test_settings_keep_their_names() -> None:
    """A setting without effect is None, none is left out, and doing it twice changes nothing."""
    for kind in ("diffusion", "autoregressive"):
        once = effective(GenerationSettings(**OLD), kind)
        assert to_json(once).keys() == OLD.keys()
        assert effective(once, kind) == once


def test_results_of_a_causal_model_report_what_was_done(folders: dict[str, Path], tmp_path: Path) -> None:
    """Table, results.json, and the machine's batch, which is not larger than the number of prompts."""
    results = evaluated(folders, "causal", tmp_path)
    generation = results["settings"]["generation"]
    assert {name for name, value in generation.items() if value is not None} == {"gen_length", "temperature", "forbid_eos"}
    assert "generated by from left to right, at most 8 tokens, the most probable token each prompt" in results["printed"]
    assert results["machine"]["batch_size"] <= 4


def test_the_machine_is_the_one_that_wrote(folders: dict[str, Path], tmp_path: Path) -> None:
    """A run that finds all answers written keeps the machine of the run that wrote them."""
    evaluated(folders, "causal", tmp_path, "--batch-size", 3)
    again = evaluated(folders, "causal", tmp_path, "--batch-size", 2)
    assert again["machine"]["batch_size"] == 3


@pytest.mark.parametrize("model", [slow("causal"), "diffusion"])
def test_results_of_the_first_version_go_on_and_compare(model: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """Its folder, which kept all settings as asked for, is taken up, rewritten, and differs from a new one in nothing."""
    evaluated(folders, model, tmp_path / "new")
    evaluated(folders, model, tmp_path / "old")
    for name in ("settings.json", "results.json"):
        path = tmp_path / "old" / name
        stored = json.loads(path.read_text())
        settings = stored if name == "settings.json" else stored["settings"]
        settings["generation"] = OLD | {"gen_length": 8}
        path.write_text(json.dumps(stored))
    assert compare([tmp_path / "new", tmp_path / "old"]).notes == ()
    lines = (tmp_path / "old" / "samples.jsonl").read_bytes().split(b"\n")
    (tmp_path / "old" / "samples.jsonl").write_bytes(b"\n".join(lines[:2]) + b"\n")
    evaluated(folders, model, tmp_path / "old")
    assert len(samples_of(tmp_path / "old")) == 4
    settings = [json.loads((tmp_path / name / "settings.json").read_text()) for name in ("old", "new")]
    assert settings[0] == settings[1]
    refused = run(
        *("humaneval", "--ckpt", folders[model], "--problems", folders["problems"], "--gen-length", 9),
        *("--out", tmp_path / "old"),
    )
    assert "generation gen_length 8, not 9" in refused.stderr


def test_a_comparison_of_kinds_describes_both(folders: dict[str, Path], tmp_path: Path) -> None:
    """Not one setting after the other that the one kind does not have."""
    for model in ("causal", "diffusion"):
        evaluated(folders, model, tmp_path / model)
    (note,) = compare([tmp_path / "causal", tmp_path / "diffusion"]).notes
    assert "at most 8 tokens in blocks of 32" in note
    assert "not from left to right" in note


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--block-length", 16), "--block-length has"),
        (("--plain",), "--plain has"),
        (("--schedule", "fixed"), "--schedule has"),
        (("--num-steps", 4), "--num-steps has"),
        (("--threshold", 0.9), "--threshold has"),  # although that is the default
        (("--factor", 2), "--factor has"),
        (("--confidence", "margin"), "--confidence has"),
        (("--cache", "none", "--cache-refresh", 2), "--cache, --cache-refresh have"),
        (("--guidance", 1), "--guidance has"),
        (("--no-early-stop",), "--no-early-stop has"),
        (("--lower-eos",), "--lower-eos has"),
        (("--syntax-repair", 1, "--language", "python"), "--syntax-repair, --language have"),
        (("--likelihood-samples", 4), "--likelihood-samples has"),
        (("--temperature", 0.5, "--batch-size", 2), "--batch-size has"),
    ],
)
def test_a_causal_model_refuses_what_it_cannot_heed(
    options: tuple[str | float, ...], named: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """An option that a person gave and that has no effect is an error that names it, before anything runs."""
    common = ("--ckpt", folders["causal"], "--problems", folders["problems"])
    for command in (("humaneval", *common), ("generate", "Sum a list.", "--ckpt", folders["causal"])):
        if "--likelihood-samples" in options and command[0] == "generate":
            continue
        out = ("--out", tmp_path / "out") if command[0] == "humaneval" else ()
        result = run(*command, *options, *out)
        assert result.exit_code == 2
        assert f"left to right: {named} no effect" in result.stderr
    assert not (tmp_path / "out").exists()


def test_references_and_holes_refuse_what_they_cannot_heed(folders: dict[str, Path], tmp_path: Path) -> None:
    """Options of models with --reference, and those of whole answers for holes."""
    for options in (("--gen-length", 9), ("--preset", "chat"), ("--dtype", "float32"), ("--seed", 1), ("--plain",)):
        result = run("humaneval", "--reference", "--problems", folders["problems"], *options, "--out", tmp_path / "out")
        assert f"{options[0]} has no effect" in result.stderr
    (tmp_path / "program.py").write_text("x = <FILL>\n")
    for options in (("--gen-length", 9), ("--no-early-stop",)):
        result = run("infill", tmp_path / "program.py", "--ckpt", folders["diffusion"], *options)
        assert f"{options[0]} has no effect" in result.stderr
    result = run("syntax", "--programs", folders["problems"], "--field", "prompt", "--gen-length", 4)
    assert "--gen-length would have no effect" in result.stderr


def test_what_other_settings_leave_without_effect_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    """A seed at temperature 0, a threshold of fixed steps: the run goes on and says so, and its settings have null there."""
    results = evaluated(folders, "diffusion", tmp_path, "--seed", 4, "--schedule", "fixed", "--threshold", 0.5)
    assert results["settings"]["generation"]["seed"] is None
    assert results["settings"]["generation"]["threshold"] is None
    for name in ("seed", "threshold"):
        assert f"note: --{name} has no effect with the other settings" in results["notes"]
