"""The report: whole and well-formed HTML from any mixture of folders, in which no text of a model is markup."""

import contextlib
import dataclasses
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from answers import generate
from evaluations import config, judged, samples_of, write_problems
from folders import programs, write_jsonl
from pages import Page
from tiny_checkpoint import export_tiny
from transformers import LlamaConfig, LlamaForCausalLM

from syntaxdiff.eval.benchmarks.evaluate import exercises, humaneval
from syntaxdiff.eval.benchmarks.outcome import GenerationCounts, Machine, PassAtK, RepairCounts
from syntaxdiff.eval.inference.canvas import Commit
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.steps import steps_of
from syntaxdiff.eval.pages import environment
from syntaxdiff.eval.reconstruction.config import ReconstructionConfig
from syntaxdiff.eval.reconstruction.reconstruct import reconstruct
from syntaxdiff.eval.report import replay
from syntaxdiff.eval.report.benchmark_chapter import GROUPS_SHOWN, REPLAYED, BenchmarkChapter, benchmark_chapter
from syntaxdiff.eval.report.charts import IntervalChart
from syntaxdiff.eval.report.findings import Training, read_findings
from syntaxdiff.eval.report.replay import REPLAY
from syntaxdiff.eval.report.report import TEMPLATES, write_report
from syntaxdiff.eval.report.training_chapter import TrainingChapter, training_chapter
from syntaxdiff.eval.report.training_records import DeepSpeedInfo, RunInfo, RunSettings
from syntaxdiff.eval.stats import Interval
from syntaxdiff.eval.syntax.check import WrittenProgram, syntax
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError, SourceError, StorageError
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.json_records import json_text
from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.train.model.denoiser import Denoiser
from syntaxdiff.train.model.export import export, network_weights
from syntaxdiff.train.model.export_info import TrainingInfo
from syntaxdiff.train.monitor.metrics import Metrics, StepRecord

HOSTILE = (
    '</script></pre><script>alert("DATA")</script><img src=x onerror=alert(1)> {{ 1 + 1 }} {% raw %} <!-- & &amp; '
    "\x1b[31m \x00 \ud800 é漢🙂\n"
)
WRONG = f"def add(x):\n    return {'</script><b>'!r}  # <!-- \x1b[31m\n"
STEPS = 12


def page_of(folders: list[Path], out: Path, **options: Any) -> Page:
    """The page of some folders, checked for what holds of every page."""
    write_report(folders, out, **options)
    html = out.read_text("utf-8")
    page = Page(html)
    ids = Counter(attributes["id"] for _, attributes in page.found if "id" in attributes)
    assert all(count == 1 for count in ids.values())
    assert not [attributes for _, attributes in page.found if {"src", "href", "onerror", "onclick"} & attributes.keys()]
    assert not re.search(r"@import|url\(|https?://", html)
    assert len(page.scripts) == 1 + len(page.embedded())
    return page


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few programs, four held out, one with hostile text."""
    root = tmp_path_factory.mktemp("report")
    rows = [{**row, "reasoning": row["reasoning"] + "</script>"} for row in programs(14)]
    source = write_jsonl(root / "rows.jsonl", rows)
    build_shards(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=4, workers=1))
    return root / "data"


@pytest.fixture(scope="module")
def run(shards: Path) -> Path:
    """A training run's folder as the trainer leaves it, with random weights."""
    out = shards.parent / "out"
    manifest = read_manifest(shards)
    config = LlamaConfig(
        vocab_size=manifest.tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        pad_token_id=None,
        bos_token_id=manifest.token_ids.bos,
        eos_token_id=manifest.token_ids.eos,
    )
    made: Any = LlamaForCausalLM(config)
    weights = network_weights(Denoiser(made), lambda parameters: contextlib.nullcontext(), keeps=True)
    grid = {"ast-cut": {"0.1": 2.125, "0.9": 4.5}}
    info = TrainingInfo(step=STEPS, validation_loss=3.25, unigram_nats=6.4375, validation_grid=grid, git_revision="abc")
    export(out, weights, config, manifest, shards, info, "llama")
    (out / "settings.json").write_text(json.dumps({"data": str(shards), "strategy": "ast-cut", "seed": 3}))
    records: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        values = {"nats": 8 - step / 4, "mask_rate": step / 20, "learning_rate": 0.001, "tokens_per_second": 1500.0}
        records.append({"kind": "step", "step": step, **values, "peak_memory_bytes": 3 * 2**30})
        if step % 6 == 0:
            records.append({"kind": "validation", "step": step, "strategy": "ast-cut", "loss": 7.125})
    write_jsonl(out / "metrics.jsonl", records)
    return out


@pytest.fixture(scope="module")
def results(shards: Path) -> Path:
    """Two evaluations; the second fails two problems with programs that are markup."""
    root = shards.parent
    problems = write_problems(root)
    judged(problems, root / "good", {})
    judged(problems, root / "bad", {"HumanEval/54": WRONG, "HumanEval/74": HOSTILE})
    path = root / "bad" / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row |= {"prompt": HOSTILE, "answer": HOSTILE, "detail": HOSTILE}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


# --------------------------------------------------------------------------------------------------------------------- report


def test_a_training_run(run: Path, tmp_path: Path) -> None:
    """Settings, losses with the unigram line, rates, and masks of a validation sample by the run's strategy and others."""
    page = page_of([run], tmp_path / "r.html")
    for fact in ("12 steps", "3.2500 at step 12", "6.4375", "ast-cut", "1,500 tokens/s", "3.0 GiB", "unigram"):
        assert fact in page.text
    assert "validation ast-cut (inverse-rate), 6: 7.125" in page.text
    assert "training, 12: 5" in page.text
    assert "ast-cut (inverse-rate), 0.9: 4.5" in page.text
    assert [attributes.get("class") for tag, attributes in page.found if tag == "g"].count("c0 dashed") == 1  # the unigram line
    for strategy in ("random", "ast-span", "ast-cut"):
        assert f"{strategy}, rate 0.7" in page.text
    assert [tag for tag, _ in page.found].count("mark") > 8
    assert page.embedded() == []


def test_a_replay_ends_as_generation_does(run: Path, shards: Path, tmp_path: Path) -> None:
    """The steps, taken one after the other, end with the answer that the model writes; the static page shows the same."""
    page = page_of([run], tmp_path / "r.html", replays=2, device="cpu")
    embedded = page.embedded()
    checkpoint = load_checkpoint(str(run), device="cpu")
    rows = list(replay._rows(replay.Shards(shards, read_manifest(shards))))[:2]
    prompts = [replay._before_code(row) for row in rows]
    assert checkpoint.tokenizer.decode(prompts[0]).endswith("```python\n")
    answers = generate(checkpoint, prompts, REPLAY)
    assert len(embedded) == 2
    special = set(checkpoint.tokenizer.all_special_ids)
    for steps, answer in zip(embedded, answers, strict=True):
        cells = {offset: text for step in steps for offset, text, _ in step}
        ids = answer.token_ids
        decoded = [
            checkpoint.tokenizer.convert_ids_to_tokens(token) if token in special else checkpoint.tokenizer.decode([token])
            for token in ids
        ]
        assert [cells[place] for place in range(len(ids))] == [visible(text) for text in decoded]
        assert "".join(text for _, text in sorted(cells.items())) in page.text
        assert 1 < len(steps) <= (REPLAY.num_steps or 0)
        assert f"{len(steps)} steps" in page.text


def test_a_position_that_was_hidden_again(run: Path) -> None:
    """What syntax repair hides is hidden in the replay too, and the last writing is what stands."""
    checkpoint = load_checkpoint(str(run), device="cpu")
    text, other = checkpoint.tokenizer.encode("ab", add_special_tokens=False)[0], checkpoint.token_ids.eos
    trace = [Commit([5, 6], [text, text]), Commit([6], [checkpoint.token_ids.mask]), Commit([6], [other])]
    steps = steps_of(checkpoint, 5, trace)
    assert [[cell.kind for cell in step] for step in steps] == [[1, 1], [0], [2]]
    template = environment(TEMPLATES).from_string('{% from "denoising.html" import replay %}{{ replay(answer, 6) }}')
    panel = Page(template.render(answer=replay.answer_replay("sample", "prompt", steps)))
    assert panel.embedded()[0][1] == [[1, "", 0]]
    titles = [attributes.get("title") for tag, attributes in panel.found if tag == "span"]
    assert titles == ["step 1", "step 3"]


def test_benchmarks_side_by_side(results: Path, tmp_path: Path) -> None:
    """Scores with counts and intervals, verdicts, the difference, and each problem with all programs, whatever they hold."""
    page = page_of([results / "good", results / "bad"], tmp_path / "r.html")
    assert "100.0% 4/4" in page.text
    assert "50.0% 2/4" in page.text
    assert "-50.0%" in page.text
    assert "1 wrong" in page.text
    assert "1 syntax-error" in page.text
    assert visible(WRONG) in page.text
    assert page.text.count(visible(HOSTILE)) >= 4 * 3  # as prompt, answer and detail of each problem
    problems = [attributes for tag, attributes in page.found if tag == "details" and attributes.get("class") == "problem"]
    assert [attributes["data-choices"] for attributes in problems] == [
        "passed wrong differing",
        "passed",
        "passed syntax-error differing",
        "passed",
    ]
    options = {attributes["value"] for tag, attributes in page.found if tag == "option"}
    assert options == {"", "passed", "wrong", "syntax-error", "differing"}


def facts_on(chapter: TrainingChapter | BenchmarkChapter) -> dict[str, str]:
    """The facts about a single finding, by name, as its chapter's template writes them."""
    template = environment(TEMPLATES).get_template(chapter.template)
    html = template.render(chapter=chapter, generation_text=lambda settings: "blocks", tints=replay.TINTS)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', html)
    return {name: re.sub(r"</?(?:code|b|small)>", "", text) for name, text in rows}


def test_facts_that_only_some_evaluations_have(results: Path) -> None:
    """What an evaluation of references lacks has no row; what another measured is written out."""
    (benchmark,) = read_findings([results / "good"]).benchmarks
    assert facts_on(benchmark_chapter([benchmark])).keys() >= {"pass@1", "parses", "compiles", "checkpoint"}
    assert not facts_on(benchmark_chapter([benchmark])).keys() & {"speed", "machine", "syntax repair", "candidates", "pass@10"}
    identity = dataclasses.replace(benchmark.results.settings.checkpoint, step=7, sha256="ab" * 32)
    counts = GenerationCounts(
        tokens=100, forward_passes=50, seconds=2.0, tokens_per_second=None, forward_passes_per_token=0.5, tokens_per_answer=25.0
    )
    measured = dataclasses.replace(
        benchmark.results,
        num_candidates=3,
        pass_at_k={"10": PassAtK(value=0.5, total=4, interval=Interval(0.25, 0.75), method="bootstrap")},
        settings=dataclasses.replace(benchmark.results.settings, checkpoint=identity),
        generation=counts,
        syntax_repair=RepairCounts(programs=9, with_errors=4, tried=3, helped=2, mended=1),
        machine=Machine(device="cpu", dtype="float32", threads=2, batch_size=8),
    )
    facts = facts_on(benchmark_chapter([dataclasses.replace(benchmark, results=measured)]))
    expected = {
        "pass@10": "50.0% of 4 problems [25.0%,&nbsp;75.0%]",
        "candidates": "3 of each problem",
        "checkpoint": f"{measured.checkpoint} step 7 abababababab",
        "generation": "blocks",
        "speed": "0.0 tokens/s, 0.50 forward passes per token",
        "syntax repair": "4 of 9 programs had errors, tried on 3, helped 2, mended 1",
        "machine": "cpu, float32, 2 threads, 8 at a time",
    }
    assert {name: facts[name] for name in expected} == expected


def test_facts_that_only_some_runs_have(tmp_path: Path) -> None:
    """A run that has begun says little; one with settings, export and metrics has a row for each of them."""
    nothing = Training(name="a", folder=tmp_path, settings=RunSettings(), info=RunInfo(), metrics=Metrics())
    assert facts_on(training_chapter([nothing])) == {"steps": "none yet", "data": "data", "seed": "0"}
    settings = RunSettings(strategy="ast-cut", drop=0.1, relabel=0.25, placeholder=0.0, objective="plain", epochs=3, seed=5)
    deepspeed = DeepSpeedInfo(train_batch_size=16)
    info = RunInfo(step=2, validation_loss=3.25, unigram_nats=6.5, deepspeed=deepspeed, start="llada", total_steps=2000)
    info = dataclasses.replace(info, git_revision="c" * 40)
    first = StepRecord(step=1, nats=1.0, mask_rate=0.5, learning_rate=0.001, tokens_per_second=1000.0, peak_memory_bytes=2**30)
    steps = [dataclasses.replace(first, step=n, learning_rate=n / 1000, tokens_per_second=1000.0 * n) for n in (1, 2, 1002)]
    run = dataclasses.replace(nothing, settings=settings, info=info, metrics=Metrics(steps=steps))
    assert facts_on(training_chapter([run])) == {
        "steps": "1,002 of 2,000",
        "validation loss": "3.2500 at step 2, ast-cut masks",
        "unigram": "6.5000",
        "masks": "ast-cut, drop 0.1, relabel 0.25",
        "objective": "plain",
        "model": "llada",
        "learning rate": "1 at most",
        "samples per step": "16",
        "epochs": "3",
        "seed": "5",
        "speed, median": "2,000 tokens/s",
        "memory, peak": "1.0 GiB",
        "data": "data",
        "revision": "c" * 12,
    }


def test_traced_answers_are_replayed(tmp_path: Path) -> None:
    """The first answers whose steps were kept can be watched, with the results alone: no model, no tokenizer is needed."""
    ckpt, problems = export_tiny(tmp_path / "tiny"), write_problems(tmp_path, tuple(range(REPLAYED + 2)))
    for name, trace in (("traced", True), ("untraced", False)):
        humaneval(config(problems, ckpt=str(ckpt), trace=trace), tmp_path / name)
    shutil.rmtree(ckpt)
    page = page_of([tmp_path / "traced", tmp_path / "untraced"], tmp_path / "r.html")
    rows = samples_of(tmp_path / "traced")[:REPLAYED]
    embedded = page.embedded()
    assert len(embedded) == REPLAYED
    for steps, row in zip(embedded, rows, strict=True):
        assert steps == [[[place, visible(text), kind] for place, _, text, kind in step] for step in row["trace"]]
        assert f"{len(steps)} steps" in page.text
    assert "step by step" not in page_of([tmp_path / "untraced"], tmp_path / "u.html").text


def test_what_compare_notes_is_on_the_page(tmp_path: Path) -> None:
    """Other prompts and settings stand above the difference, that of all candidates below, with the page's own names."""
    problems, ckpt = write_problems(tmp_path, (54, 55)), str(export_tiny(tmp_path / "tiny"))
    sampled = GenerationConfig(gen_length=8, temperature=1.0)
    for name, changes in (("a", {}), ("b", {"preset": "completion"})):
        humaneval(
            config(problems, ckpt=ckpt, candidates=2, likelihood_samples=2, generation=sampled, **changes),
            tmp_path / name / "eval",
        )
    page = page_of([tmp_path / "a" / "eval", tmp_path / "b" / "eval"], tmp_path / "r.html")
    assert "b/eval has another prompt than a/eval: preset completion, not chat-code" in page.text
    assert "all candidates+0.0%none" in page.text.replace("\n", "")


def test_one_benchmark_alone(results: Path, tmp_path: Path) -> None:
    """One evaluation is compared with nothing."""
    page = page_of([results / "bad"], tmp_path / "r.html")
    assert "50.0% 2/4" in page.text
    assert "McNemar" not in page.text


def test_scores_by_group_are_drawn(tmp_path: Path) -> None:
    """By set, depth and piece, each with how many problems it has; of many pieces those with the lowest scores."""
    results = exercises(config(None, limit=24), tmp_path / "a", split="level1")
    groups = results.groups
    assert groups is not None
    charts = {chart.title: chart for chart in benchmark_chapter(read_findings([tmp_path / "a"]).benchmarks).charts if chart}
    assert [title.split(",")[0] for title in charts] == [f"pass@1 by {kind}" for kind in groups]
    depth = charts["pass@1 by depth"]
    assert isinstance(depth, IntervalChart)
    assert list(depth.groups) == [f"{name} ({score.total})" for name, score in groups["depth"].items()]
    assert [point.y for point in depth.series[0].points] == [score.value for score in groups["depth"].values()]
    pieces = next(chart for title, chart in charts.items() if title.startswith("pass@1 by piece"))
    assert isinstance(pieces, IntervalChart)
    assert len(pieces.groups) == min(len(groups["piece"]), GROUPS_SHOWN)
    page = page_of([tmp_path / "a"], tmp_path / "r.html")
    assert "pass@1 by depth" in page.text


def test_reconstruction(run: Path, shards: Path, tmp_path: Path) -> None:
    """Every cell's accuracy stands in the table and in the charts, by rate and by group."""
    checkpoint = load_checkpoint(str(run), device="cpu")
    config = ReconstructionConfig(strategies=("random", "ast-span"), mask_rates=(0.3, 0.6), num_samples=4, num_steps=2)
    result = reconstruct(checkpoint, shards, tmp_path / "rec", config)
    page = page_of([tmp_path / "rec"], tmp_path / "r.html")
    for cell in result.cells:
        share = cell.all.token_accuracy
        assert f"{share.value:.1%} {share.total:,}/{share.of:,}" in page.text
        assert f"{cell.strategy}, {cell.mask_rate:g}: {share.value:.1%}" in page.text
        entropy = cell.all.cross_entropy
        assert f"{entropy.value:.4g} [{entropy.low:.4g}" in page.text
    of = sum(cell.tokens_by_leaf_kind["identifier"].token_accuracy.of for cell in result.cells if cell.mask_rate == 0.6)
    assert f"identifier ({of:,})" in page.text
    assert f"{result.num_samples} of validation" in page.text


def test_syntax_of_programs(tmp_path: Path) -> None:
    """Rates, and kinds of errors."""
    found = [WrittenProgram(code=b"x = 1\n", language="python"), WrittenProgram(code=b"x = (\n", language="python")]
    (tmp_path / "syn").mkdir()
    (tmp_path / "syn" / "syntax.json").write_text(json_text(syntax(found, {"programs": "some"})))
    page = page_of([tmp_path / "syn"], tmp_path / "r.html")
    assert "50.0% 1/2" in page.text
    assert "'(' was never closed" in page.text


def test_any_mixture(run: Path, results: Path, tmp_path: Path) -> None:
    """Folders of several kinds share a page; one named twice, and one beneath another, is there once."""
    beneath = run / "eval" / "humaneval"
    beneath.parent.mkdir()
    try:
        beneath.symlink_to(results / "bad")
        page = page_of([run, results / "good", results / "bad"], tmp_path / "r.html")
        assert page.text.count("50.0% 2/4") == 2  # at the top and in its chapter
        alone = page_of([run], tmp_path / "alone.html")
        assert "50.0% 2/4" in alone.text
    finally:
        beneath.unlink()
        beneath.parent.rmdir()


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """Metrics alone make a report; a last line that is half written is left out, and what is missing is said."""
    run = tmp_path / "run"
    run.mkdir()
    step = {"kind": "step", "step": 1, "nats": 5.5, "mask_rate": 0.5, "learning_rate": 0.1, "tokens_per_second": 10.0}
    (run / "metrics.jsonl").write_text(json.dumps(step) + '\n{"kind": "st')
    (run / "settings.json").write_text(json.dumps({"data": str(tmp_path / "gone"), "strategy": "random"}))
    notes = write_report([run], tmp_path / "r.html", replays=1)
    assert len(notes) == 1
    assert "no masks and no replay of run" in notes[0]
    page = Page((tmp_path / "r.html").read_text())
    assert notes[0] in page.text
    assert "1 steps" in page.text
    (run / "metrics.jsonl").write_text("")
    assert "none yet" in page_of([run], tmp_path / "r.html").text


def test_shards_of_another_run_are_not_shown(run: Path, tmp_path: Path) -> None:
    """Masks and replays are of the data that the run was trained on, or not there."""
    info = json.loads((run / "syntaxdiff.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for name in ("metrics.jsonl", "settings.json"):
        (other / name).write_text((run / name).read_text())
    (other / "syntaxdiff.json").write_text(json.dumps({**info, "data_fingerprint": "0" * 64}))
    (note,) = write_report([other], tmp_path / "r.html")
    assert "other shards" in note


def test_no_model_to_replay(results: Path, tmp_path: Path) -> None:
    """Replays without a training run are not left out in silence."""
    (note,) = write_report([results / "bad"], tmp_path / "r.html", replays=1)
    assert "no model to replay" in note


def test_bad_input_is_one_line_and_leaves_the_old_page(run: Path, results: Path, tmp_path: Path) -> None:
    """Each error says what is wrong and what to do, and what was there before stays."""
    html = tmp_path / "r.html"
    html.write_text("before")
    (tmp_path / "empty").mkdir()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "settings.json").write_text("{}")
    old = tmp_path / "old"
    old.mkdir()
    (old / "reconstruction.json").write_text('{"version": 0}')
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "results.json").write_text("{")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "metrics.jsonl").write_text('{"kind": "step", "step": 1, "nats": "x"}\n')
    for folders, error, text in (
        ([], SettingsError, "name one or more"),
        ([tmp_path / "empty"], SourceError, "holds none of metrics.jsonl, results.json, reconstruction.json, syntax.json"),
        ([run, tmp_path / "empty"], SourceError, "holds none of"),
        ([tmp_path / "nowhere"], SourceError, "is not a folder"),
        ([cut], SourceError, "cut off: run it again"),
        ([old], SourceError, "version 0, this syntaxdiff reads 1"),
        ([torn], SourceError, "cannot be read"),
        ([bad], SourceError, "line 1, is not a record"),
    ):
        with pytest.raises(error, match=text) as caught:
            write_report(folders, html)
        assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="--replay -1"):
        write_report([run], html, replays=-1)
    with pytest.raises(StorageError, match="cannot be written"):
        write_report([results / "bad"], tmp_path / "nowhere" / "r.html")
    assert html.read_text() == "before"
    assert not list(tmp_path.glob(".r.html*"))


def test_an_unfinished_evaluation_beneath_a_run_is_said(run: Path, tmp_path: Path) -> None:
    """It is no error of the folder that was named."""
    folder = run / "eval" / "begun"
    folder.mkdir(parents=True)
    try:
        (folder / "settings.json").write_text("{}")
        notes = write_report([run], tmp_path / "r.html")
    finally:
        (folder / "settings.json").unlink()
        folder.rmdir()
        folder.parent.rmdir()
    assert len(notes) == 1
    assert "was cut off" in notes[0]


def test_a_replay_needs_room(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model too short for prompt and answer has no replay, and that is said."""
    monkeypatch.setattr(replay, "REPLAY", GenerationConfig(gen_length=2000))
    (note,) = write_report([run], tmp_path / "r.html", replays=1, device="cpu")
    assert "room for 2000 tokens" in note
