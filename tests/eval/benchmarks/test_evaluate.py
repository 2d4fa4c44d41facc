"""An evaluation from problems to scores: what counts, what is stored, and that a run that was cut off goes on."""

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluations import NUMBERS, config, judged, row, samples_of, write_problems
from tiny_checkpoint import export_tiny

from syntaxdiff.eval.benchmarks.evaluate import humaneval, infilling, mbpp
from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults, Machine, Sample, Score
from syntaxdiff.eval.benchmarks.results import read_results
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.sampler import Sampler
from syntaxdiff.eval.inference.steps import PLAIN, SPECIAL
from syntaxdiff.eval.progress import Progress
from syntaxdiff.eval.prompting.extraction import RULES
from syntaxdiff.eval.prompting.presets import PRESETS
from syntaxdiff.eval.stats import wilson
from syntaxdiff.pipeline.errors import SettingsError, SourceError, StorageError
from syntaxdiff.pipeline.json_records import to_json

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(export_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_problems(tmp_path_factory.mktemp("problems"))


@pytest.fixture(scope="module")
def uninterrupted(ckpt: str, problems: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkResults, Path]:
    """Two candidates a problem, from start to end."""
    out = tmp_path_factory.mktemp("uninterrupted")
    return humaneval(sampling(ckpt, problems), out), out


def sampling(ckpt: str, problems: Path) -> Any:
    return config(
        problems, ckpt=ckpt, candidates=2, likelihood_samples=2, generation=GenerationConfig(gen_length=8, temperature=1.0)
    )


def stop_at(stage: str, done: int) -> Callable[[Progress], None]:
    """Ctrl-C when a stage is so far."""

    def on_progress(progress: Progress) -> None:
        if (progress.stage, progress.done) == (stage, done):
            raise KeyboardInterrupt

    return on_progress


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def test_references_pass(problems: Path, tmp_path: Path) -> None:
    """The benchmark's own solutions pass all of it, and results and samples say so."""
    results = humaneval(config(problems), tmp_path)
    assert results.pass_at_1.value == 1.0
    assert results.verdicts == {"passed": len(NUMBERS)}
    assert read_results(tmp_path)[0] == results
    assert [sample["program"] for sample in samples_of(tmp_path)] == [
        row(number)["prompt"] + row(number)["canonical_solution"] for number in NUMBERS
    ]


def test_verdicts_become_scores(problems: Path, tmp_path: Path) -> None:
    """A right, a wrong, a broken and an empty program: one of four passes, two of four compile and parse."""
    answers = {
        "HumanEval/55": "def add(x):\n    return x\n",
        "HumanEval/74": "def add(x:\n",
        "HumanEval/75": "",
    }
    results = judged(problems, tmp_path, answers)
    assert results.pass_at_1 == Score(value=0.25, count=1, total=4, interval=wilson(1, 4), method="wilson")
    assert results.verdicts == {"error": 1, "passed": 1, "syntax-error": 1, "wrong": 1}
    assert results.compiles.count == 2
    assert [sample["status"] for sample in samples_of(tmp_path)] == ["passed", "wrong", "syntax-error", "error"]


def test_a_reference_that_fails_is_listed_and_counted(tmp_path: Path) -> None:
    """Such a problem stays in the denominator, is named with its reason, and a second score leaves it out."""
    broken = row(55) | {"canonical_solution": "    return x\n"}
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(row(54)) + "\n" + json.dumps(broken))
    results = humaneval(config(path), tmp_path / "out")
    assert results.pass_at_1.value == 0.5
    assert list(results.reference_failures) == ["HumanEval/55"]
    assert results.reference_failures["HumanEval/55"].status == "wrong"
    without = Score(value=1.0, count=1, total=1, interval=wilson(1, 1), method="wilson")
    assert results.pass_at_1_without_reference_failures == without


def test_the_most_probable_candidate_is_the_answer(uninterrupted: tuple[BenchmarkResults, Path]) -> None:
    """Of each problem's candidates the one with the highest log-likelihood a token is chosen, and no other."""
    results, out = uninterrupted
    rows = samples_of(out)
    assert [(row["task_id"], row["sample"]) for row in rows] == [(f"HumanEval/{n}", k) for n in NUMBERS for k in (0, 1)]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first["is_chosen"] == (first["log_likelihood"] >= second["log_likelihood"]) != second["is_chosen"]
    assert any(first["answer"] != second["answer"] for first, second in zip(rows[::2], rows[1::2], strict=True))
    assert results.num_candidates == 2
    assert results.pass_at_k is not None
    assert list(results.pass_at_k) == ["1", "2"]
    assert results.generation is not None
    assert results.generation.tokens == sum(row["num_tokens"] for row in rows) <= 8 * len(rows)


@pytest.mark.parametrize(("stage", "done"), [("generating", 3), ("running programs", 2)])
def test_a_run_that_was_cut_off_goes_on(
    stage: str, done: int, uninterrupted: tuple[BenchmarkResults, Path], ckpt: str, problems: Path, tmp_path: Path
) -> None:
    """Stopped anywhere, with a torn last line besides, it keeps what is finished, writes the rest, and ends with the same."""
    with pytest.raises(KeyboardInterrupt):
        humaneval(sampling(ckpt, problems), tmp_path, on_progress=stop_at(stage, done))
    kept = samples_of(tmp_path)
    assert len(kept) == (2 if stage == "generating" else 8)
    assert sum(sample["status"] is not None for sample in kept) == (0 if stage == "generating" else 2)
    assert not (tmp_path / "results.json").exists()
    with pytest.raises(SourceError, match="cut off: run it again"):
        read_results(tmp_path)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"task_id": "HumanEval/7')
    begun: dict[str, int] = {}
    results = humaneval(sampling(ckpt, problems), tmp_path, on_progress=lambda p: begun.setdefault(p.stage, p.done) and None)
    assert begun["generating"] == len(kept)
    assert timeless(samples_of(tmp_path)) == timeless(samples_of(uninterrupted[1]))
    assert results.pass_at_k == uninterrupted[0].pass_at_k
    assert results.verdicts == uninterrupted[0].verdicts


def test_what_is_interrupted_within_a_batch_keeps_the_batches_before(
    ckpt: str, problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the model computes loses the batch at hand and no other; resumed, the samples are those of a whole run."""
    batched = config(problems, ckpt=ckpt, generation=GenerationConfig(gen_length=8, batch_size=2))
    humaneval(batched, tmp_path / "whole")
    batches: list[int] = []
    fill = Sampler.fill

    def interrupted(self: Sampler, canvases: Any, **options: Any) -> None:
        batches.append(len(canvases))
        if len(batches) == 2:
            raise KeyboardInterrupt
        fill(self, canvases, **options)

    monkeypatch.setattr(Sampler, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        humaneval(batched, tmp_path / "cut")
    monkeypatch.undo()
    assert batches == [2, 2]
    assert len(samples_of(tmp_path / "cut")) == 2
    humaneval(batched, tmp_path / "cut")
    assert timeless(samples_of(tmp_path / "cut")) == timeless(samples_of(tmp_path / "whole"))


def test_a_problem_that_lacks_a_candidate_is_written_again(ckpt: str, problems: Path, tmp_path: Path) -> None:
    """A cut between the lines of one problem leaves none of them."""
    with pytest.raises(KeyboardInterrupt):
        humaneval(sampling(ckpt, problems), tmp_path, on_progress=stop_at("running programs", 0))
    lines = (tmp_path / "samples.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "samples.jsonl").write_text("".join(lines[:3]))
    begun: dict[str, int] = {}
    humaneval(sampling(ckpt, problems), tmp_path, on_progress=lambda p: begun.setdefault(p.stage, p.done) and None)
    assert begun["generating"] == 2
    assert len(samples_of(tmp_path)) == 8


def test_other_settings_are_refused_by_name(ckpt: str, problems: Path, tmp_path: Path) -> None:
    """A folder that was begun otherwise is left as it is, and the message names what differs; --restart begins from scratch."""
    out = tmp_path / "out"
    humaneval(config(problems), out)
    before = samples_of(out)
    other = write_problems(tmp_path, (1, 2))
    for changed, name in (
        (config(problems, limit=2), "limit null, not 2"),
        (config(other), "problems_sha256"),
        (config(problems, ckpt=ckpt), 'checkpoint kind "reference", not "diffusion"'),
    ):
        with pytest.raises(SettingsError, match=f"was begun with {name}.*--restart"):
            humaneval(changed, out)
    assert samples_of(out) == before
    assert humaneval(config(problems, limit=2), out, restart=True).num_problems == 2
    (out / "settings.json").unlink()
    with pytest.raises(SettingsError, match="samples of something else"):
        humaneval(config(problems, limit=2), out)


def test_a_damaged_sample_is_no_crash(problems: Path, tmp_path: Path) -> None:
    """A line that is not a sample is named with its number."""
    humaneval(config(problems), tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_text(path.read_text() + "[1]\n")
    with pytest.raises(SourceError, match="line 5, is not a sample"):
        humaneval(config(problems), tmp_path)


def test_a_place_that_cannot_be_written_is_one_line(problems: Path, tmp_path: Path) -> None:
    """Where the folder should be is a file: the disk's refusal, in the family of errors."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        humaneval(config(problems), tmp_path / "file" / "out")


def test_prompts_without_room_are_counted_as_failed(ckpt: str, tmp_path: Path) -> None:
    """A problem that leaves no room for its answer is in the score, and named; if all are so, nothing is scored."""
    long = row(55) | {"prompt": 'def add(x):\n    """' + "Add fifty-five. " * 60 + '"""\n'}
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(row(54)) + "\n" + json.dumps(long) + "\n")
    results = humaneval(config(path, ckpt=ckpt), tmp_path / "out")
    assert results.extraction == {"continued": 1, "too-long": 1}
    assert results.pass_at_1.total == 2
    path.write_text(json.dumps(long) + "\n")
    with pytest.raises(SettingsError, match=r"no prompt leaves .* room"):
        humaneval(config(path, ckpt=ckpt), tmp_path / "other")


def test_infilling_keeps_what_stands_around_the_hole(ckpt: str, tmp_path: Path) -> None:
    """The program is prefix, what was written, suffix; the hole has the reference's tokens, or as many as asked for."""
    parts = {"prompt": "def add(x):\n", "canonical_solution": "    y = x + 3\n", "suffix": "    return y\n"}
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(row(3) | parts) + "\n")
    for hole_tokens in (None, 5):
        out = tmp_path / str(hole_tokens)
        results = infilling(config(path, ckpt=ckpt, hole_tokens=hole_tokens, trace=True), out)
        (sample,) = samples_of(out)
        offsets = sorted(cell[0] for step in sample["trace"] for cell in step)
        assert offsets == list(range(sample["num_tokens"]))
        assert sample["program"] == parts["prompt"] + sample["answer"] + parts["suffix"]
        assert results.generation is not None
        assert results.generation.tokens == sample["num_tokens"] == (hole_tokens or sample["num_tokens"])
        assert results.extraction == {"filled": 1}
    with pytest.raises(SettingsError, match="a hole is filled once"):
        infilling(replace(sampling(ckpt, path), problems=path), tmp_path / "samples")


def test_a_trace_writes_the_answer(ckpt: str, problems: Path, tmp_path: Path) -> None:
    """With ``trace`` each candidate keeps what every step wrote, whose texts in their places are the answer; else none does."""
    traced = replace(sampling(ckpt, problems), trace=True)
    humaneval(traced, tmp_path / "traced")
    results, samples = read_results(tmp_path / "traced")
    model = load_checkpoint(ckpt)
    for sample in samples:
        assert sample.trace is not None
        cells = {cell.offset: cell for step in sample.trace for cell in step}
        assert sorted(cells) == list(range(8))
        whole = [cells[place] for place in range(sample.num_tokens)]
        if whole[-1].kind == SPECIAL:
            whole.pop()  # the answer's end
        # By ids, since a character that is spelled by two tokens is in the text of neither.
        assert model.text_between([cell.token_id for cell in whole], 0, len(whole)) == sample.answer
        assert all(cell.text for cell in whole if cell.kind == PLAIN)
        assert len(sample.trace) == sample.num_forward
    untraced = humaneval(sampling(ckpt, problems), tmp_path / "untraced")
    assert results.settings == untraced.settings
    without = [sample | {"trace": None} for sample in timeless(samples_of(tmp_path / "traced"))]
    assert without == timeless(samples_of(tmp_path / "untraced"))
    with pytest.raises(SettingsError, match="leave --trace out"):
        config(problems, trace=True)


def test_results_name_what_wrote_them(ckpt: str, problems: Path, tmp_path: Path) -> None:
    """Device, precision, threads and batch size are in the results but are not settings; references have none."""
    generation = GenerationConfig(gen_length=8, batch_size=3)
    results = humaneval(config(problems, ckpt=ckpt, generation=generation, device="cpu"), tmp_path / "a")
    threads = torch.get_num_threads()
    assert results.machine == Machine(device="cpu", dtype="float32", threads=threads, batch_size=3)
    assert "batch_size" not in to_json(results.settings.generation)
    assert humaneval(config(problems), tmp_path / "b").machine is None


def test_a_model_of_programs_alone_is_shown_programs(problems: Path, tmp_path: Path) -> None:
    """What the export says of its training data decides the prompt, and both stand in the settings."""
    folder = export_tiny(tmp_path)
    info = json.loads((folder / "syntaxdiff.json").read_text())
    (folder / "syntaxdiff.json").write_text(json.dumps(info | {"programs_alone": 1.0}))
    settings = humaneval(config(problems, ckpt=str(folder), limit=1), tmp_path / "results").settings
    assert settings.prompt is not None
    assert settings.prompt.preset == "program"
    assert settings.checkpoint.programs_alone == 1.0


def test_mbpp_runs_from_its_own_file(shared_data: Path, ckpt: str, tmp_path: Path) -> None:
    """The first problems of the sanitized test split, with real tests, to the end."""
    path = shared_data / "problems" / "sanitized-mbpp.json"
    results = mbpp(config(path, ckpt=ckpt, limit=2), tmp_path)
    assert (results.benchmark, results.split, results.num_problems) == ("mbpp", "sanitized-test", 2)
    assert not results.is_complete
    assert [sample["task_id"] for sample in samples_of(tmp_path)] == ["MBPP/11", "MBPP/12"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ckpt": "x", "reference": True}, "--ckpt, or --reference"),
        ({"reference": False}, "--ckpt, or --reference"),
        ({"candidates": 2}, "leave --candidates out"),
        ({"ckpt": "x", "candidates": 2}, "raise --temperature"),
        ({"limit": 0}, "--limit 0"),
        ({"preset": "nothing"}, "choose from auto"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    """They are refused before anything is read."""
    with pytest.raises(SettingsError, match=re.escape(message)):
        config(Path("nowhere"), **changes)


def test_the_document_explains_every_key(uninterrupted: tuple[BenchmarkResults, Path]) -> None:
    """Each key of results.json and samples.jsonl, each preset and each rule stands in docs/evaluation.md."""
    named = set(re.findall(r"`([\w-]+)`", DOCUMENT.read_text("utf-8")))
    results = to_json(uninterrupted[0])
    keys = {
        *results,
        *results["generation"],
        *results["machine"],
        *results["pass_at_1"],
        *results["settings"],
        *results["isolation"],
    }
    keys |= {field.name for field in fields(Sample)} | {*PRESETS} | {*RULES}
    assert keys <= named, keys - named
