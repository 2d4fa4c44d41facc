"""Measures of a study: means and differences over seeds, what the tables say of them, and the page."""

import dataclasses
import math
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Page
from training_runs import make_shards

from syntaxdiff.eval.reconstruction.outcome import (
    LossResults,
    MeasuredCheckpoint,
    MeasuredData,
    ReconstructedSamples,
    ReconstructionResults,
    ReconstructionSettings,
    StrategyLoss,
    TrainingShapes,
)
from syntaxdiff.eval.stats import Mean, mean_over_seeds
from syntaxdiff.eval.study.declaration import START, Study, read_studies
from syntaxdiff.eval.study.measures import RunMeasures, is_better, is_certain, measured_runs, runs_of, summarized
from syntaxdiff.eval.study.outcome import StudyData, StudyMachine, StudyResults, SweepOutcome, Trained, read_study
from syntaxdiff.eval.study.page import write_study_page
from syntaxdiff.eval.study.tables import (
    BETTER,
    OPEN,
    UNTOLD,
    WORSE,
    claims_table,
    difference_text,
    losses_table,
    markdown,
    tables,
    verdict,
)
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.json_records import json_text, to_json

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=20)
RESTORED = ("token_accuracy", "exact_spans", "equal_trees", "parses", "unseen/token_accuracy", "unseen/spans")


def made_up(declared: Study, effect: dict[str, float], noise: float) -> list[RunMeasures]:
    """Made-up models: a seed moves all arms alike, an arm's effect adds to that, and noise of its own."""
    rng = random.Random(0)
    seeds = {seed: rng.gauss(0, 1) for seed in declared.seeds}
    runs = []
    for arm in declared.arms:
        for seed in declared.seeds:

            def value(middle: float, scale: float, arm: str = arm, seed: int = seed) -> float:
                own = 0.0 if arm == START else effect.get(arm, 0.0) + seeds[seed] + rng.gauss(0, noise)
                return middle + scale * own

            measures = {"loss/random": value(4, -1), "loss/random/code": value(5, -1), "humaneval/parses": value(0.5, 0.05)}
            counts = {"humaneval/parses": 40}
            if arm != START:
                measures["loss/own"] = value(5, -1)
            for masks in ("random", "ast-span"):
                for rate in ("0.3", "0.6"):
                    where = f"reconstruct/{masks}/{rate}"
                    measures |= {f"{where}/{name}": value(0.4, 0.05) for name in RESTORED}
                    measures[f"{where}/seen/token_accuracy"] = value(0.4, 0.05)
                    measures[f"{where}/kind/call/token_accuracy"] = value(0.4, 0.05)
                    counts[f"{where}/kind/call/exact_spans"] = 321
            trained = Trained(steps=10, corrupted_tokens=1000, mask_rate=0.5)
            runs.append(RunMeasures(arm=arm, seed=seed, trained=trained, measures=measures, counts=counts))
    return runs


def results_of(size: str, effect: dict[str, float], noise: float) -> StudyResults:
    """A study's results of made-up models."""
    declared = read_studies()[size]
    summary = summarized(declared, made_up(declared, effect, noise))
    return StudyResults(
        declared=declared,
        machine=StudyMachine(processor="a processor", threads=1, gpu=None, python="3", torch="2"),
        data=StudyData(fingerprint="f" * 64, samples={"train": 100, "validation": 10}, rejected={}, unigram_nats=6.5),
        sweep=SweepOutcome(arm="random", loss={"0.001": 4.0, "0.0003": 4.1}, chosen=0.001),
        arms=summary.arms,
        counts=summary.counts,
        warnings=summary.warnings,
    )


def width_of(mean: Mean) -> float:
    """How wide an interval is."""
    assert mean.low is not None
    assert mean.high is not None
    return mean.high - mean.low


@settings(deadline=None)  # the first example imports scipy.stats
@given(VALUES, st.floats(-10, 10), st.floats(0.1, 10))
def test_intervals_follow_shift_and_scale(values: list[float], shift: float, scale: float) -> None:
    """Moving and stretching the values moves and stretches mean and interval; the mean lies in the middle."""
    mean, other = mean_over_seeds(values), mean_over_seeds([scale * value + shift for value in values])
    assert mean.low is not None
    assert mean.high is not None
    for mine, theirs in ((mean.value, other.value), (mean.low, other.low), (mean.high, other.high)):
        assert theirs is not None
        assert scale * mine + shift == pytest.approx(theirs, abs=1e-6)
    assert mean.value == pytest.approx((mean.low + mean.high) / 2, abs=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_an_interval_of_95_percent_holds_the_truth_as_often(count: int) -> None:
    """Of normal values' intervals, 95 % hold the true mean, within four standard errors."""
    rng, tries = random.Random(count), 4000
    held = 0
    for _ in range(tries):
        mean = mean_over_seeds([rng.gauss(3, 2) for _ in range(count)])
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 3 <= mean.high
    assert abs(held / tries - 0.95) < 4 * math.sqrt(0.95 * 0.05 / tries)


def test_one_seed_has_no_interval() -> None:
    """With one seed there is a value and nothing is said of its interval or of a difference's certainty."""
    assert mean_over_seeds([0.25]) == Mean(value=0.25, low=None, high=None, seeds=1)
    assert is_certain(mean_over_seeds([0.25])) is None
    assert verdict("loss/random", mean_over_seeds([0.25])) == UNTOLD


def test_equal_differences_say_nothing() -> None:
    """One program more with each of three seeds has an interval of no width, and is not called certain."""
    equal = mean_over_seeds([0.025] * 3)
    assert verdict("humaneval/parses", equal) == OPEN


def test_differences_are_paired_by_seed() -> None:
    """What a seed does to all arms alike drops out of a difference: its interval is that of the arms' own noise."""
    results = results_of("cpu", {"ast-span-curriculum": 2.0}, noise=0.01)
    method = results.method
    spread = statistics.stdev(run.measures["loss/random"] for run in method.runs)
    difference = method.differences["random"]["loss/random"]
    assert difference.value == pytest.approx(-2.0, abs=0.1)
    assert width_of(difference) < spread / 2
    assert width_of(method.means["loss/random"]) > spread


def test_means_can_be_computed_again(tmp_path: Path) -> None:
    """Means and differences follow from the models' figures in study.json."""
    path = tmp_path / "study.json"
    path.write_text(json_text(results_of("cpu", {"ast-cut": 1.0}, noise=0.3)))
    results = read_study(path)
    assert json_text(results) == path.read_text()
    again = summarized(results.declared, runs_of(results))
    assert again.arms == results.arms
    assert again.counts == results.counts


def test_the_start_is_one_model() -> None:
    """The start is shown once, without interval; differences from it have the seeds of the arm."""
    results = results_of("cpu", {}, noise=0.1)
    assert len(results.arms[START].runs) == 1
    assert results.arms[START].means["loss/random"].low is None
    assert results.arms["random"].differences[START]["loss/random"].seeds == 3


@pytest.mark.parametrize(("effect", "word"), [(2.0, BETTER), (-2.0, WORSE)])
def test_claims_say_which_way(effect: float, word: str) -> None:
    """A loss that falls and a share that rises are better, and the other way round worse; the start's row has no words."""
    results = results_of("cpu", {"ast-span-curriculum": effect}, noise=0.02)
    rows = claims_table(results).rows
    assert len(rows) == 10
    for row in rows:
        assert all(cell.startswith(f"{word}: ") for cell in row[3:])
    assert claims_table(results_of("cpu", {}, noise=2.0)).rows[0][3].startswith(f"{OPEN}: ")
    assert claims_table(results_of("smoke", {}, noise=2.0)).rows[0][3].startswith(f"{UNTOLD}: ")


@pytest.mark.parametrize(
    ("name", "lower"),
    [("loss/random", True), ("reconstruct/random/0.3/cross_entropy", True), ("humaneval/parses", False), ("loss/own", True)],
)
def test_what_is_better(name: str, lower: bool) -> None:
    """Losses are better when they fall, shares when they rise."""
    assert is_better(name, -1.0) == lower
    assert is_better(name, 1.0) != lower


def test_tables_show_every_arm() -> None:
    """Each table of arms has a row an arm, each table is as wide as its head, and Markdown has them all."""
    results = results_of("cpu", {"ast-cut": 1.0}, noise=0.1)
    made = tables(results)
    for table in made:
        if table.head[0] == "arm":
            assert [row[0] for row in table.rows] == list(results.arms)
    text = markdown(results)
    for table in made:
        assert all(len(row) == len(table.head) for row in table.rows)
        assert f"**{table.title}**" in text
    assert len(made) == 3 + 4 + 1 + 1
    from_first = results.arms[START].differences["random-curriculum"]["loss/random"]
    assert losses_table(results).rows[0][3:] == ("", difference_text("loss/random", from_first))


def test_warnings_of_scores_stand_in_tables_and_page(tmp_path: Path) -> None:
    """A study of the first problems says so with each figure of theirs, also one of an earlier version without warnings."""
    make_shards(tmp_path)
    results = results_of("cpu", {}, noise=0.1)
    options = results.declared.evaluate.humaneval
    assert options is not None
    assert options["limit"] == 40
    warning = "The first 40 problems only: not a score of the benchmark."
    assert f"HumanEval: {warning}" in claims_table(results).remark
    assert any("(40 programs per model)" in row[1] for row in claims_table(results).rows)
    assert any(warning in table.remark for table in tables(results) if table.title == "Programs written for humaneval")
    write_study_page(results, tmp_path / "data", tmp_path / "report.html")
    assert Page((tmp_path / "report.html").read_text("utf-8")).text.count(f"HumanEval: {warning}") >= 3
    failing = dataclasses.replace(results, warnings={"humaneval": ["The reference fails here."]})
    assert "HumanEval: The reference fails here." in claims_table(failing).remark
    assert summarized(failing.declared, runs_of(failing)).warnings == failing.warnings
    unlimited = {name: value for name, value in options.items() if name != "limit"}
    evaluate = dataclasses.replace(results.declared.evaluate, humaneval=unlimited)
    whole = dataclasses.replace(results, declared=dataclasses.replace(results.declared, evaluate=evaluate))
    assert "HumanEval:" not in claims_table(whole).remark


def test_a_start_that_was_not_validated_has_no_unigram_entropy(tmp_path: Path) -> None:
    """Tables and page leave out what the start's run did not measure."""
    make_shards(tmp_path)
    results = results_of("cpu", {}, noise=0.1)
    assert "unigram entropy" in losses_table(results).remark
    results = dataclasses.replace(results, data=dataclasses.replace(results.data, unigram_nats=None))
    assert losses_table(results).remark.startswith("Losses under different masks")
    write_study_page(results, tmp_path / "data", tmp_path / "report.html")
    assert "unigram" not in Page((tmp_path / "report.html").read_text("utf-8")).text


def test_differences_of_shares_are_in_points() -> None:
    """A share's difference is shown in percentage points, a loss's in nats, both with a sign."""
    difference = Mean(value=0.021, low=-0.0004, high=0.05, seeds=3)
    assert difference_text("humaneval/parses", difference) == "+2.1 [-0.0, +5.0]"
    assert difference_text("loss/random", difference) == "+0.021 [-0.000, +0.050]"
    assert difference_text("loss/random", None) == ""


def test_the_page_answers_first(tmp_path: Path) -> None:
    """The page holds together, asks before it answers, names each arm, and shows what the strategies mask."""
    make_shards(tmp_path)
    results = results_of("cpu", {"ast-span-curriculum": 2.0}, noise=0.1)
    write_study_page(results, tmp_path / "data", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    places = [page.text.index(part) for part in ("does masking by syntax help?", "Answer", "What the arms mask", "Figures")]
    assert places == sorted(places)
    for arm in results.arms:
        assert arm in page.text
    assert sum(name == "svg" for name, _ in page.found) == 2 + 2 * 3 + 1
    assert ("b", {"class": "good"}) in page.found


def test_losses_of_different_weights_are_not_compared(tmp_path: Path) -> None:
    """Two arms whose losses under the same masks have different weights are refused, with both files named; else they count."""
    smoke = read_studies()["smoke"]
    arms = {name: smoke.arms[name] for name in (START, "random")}
    declared = dataclasses.replace(smoke, arms=arms, method="random", references=(START,), seeds=(1,))

    checkpoint, data = MeasuredCheckpoint(name="a", weights_sha256="0"), MeasuredData(fingerprint="f", split="validation")
    asked = ReconstructionSettings(
        num_samples=1,
        split="validation",
        num_steps=1,
        code_only=False,
        max_span_share=1.0,
        shape_nodes=(4, 12),
        seed=0,
        batch_size=1,
    )
    restored = ReconstructionResults(
        version=1,
        checkpoint=checkpoint,
        data=data,
        settings=asked,
        num_samples=1,
        num_too_long=0,
        shapes=TrainingShapes(min_nodes=4, max_nodes=12, training_samples=1, training_shapes=1),
        per_sample=ReconstructedSamples(sample_id=("a",), has_unseen_shape=(False,)),
        cells=(),
    )

    def write(arm: str, nats: float, objective: str | None = None) -> None:
        folder = tmp_path / arm / "eval"
        for name in ("loss", "reconstruct"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "reconstruct" / "reconstruction.json").write_text(json_text(restored))
        measured = StrategyLoss(loss=nats, by_rate={}, by_region={"code": None}, objective=objective or "inverse-rate")
        losses = LossResults(
            version=2, checkpoint=checkpoint, data=data, num_samples=1, num_too_long=0, strategies={"ast-span": measured}
        )
        plain = to_json(losses)
        if objective is None:  # as it was written before objectives were named
            del plain["strategies"]["ast-span"]["objective"]
            plain["version"] = 1
        (folder / "loss" / "loss.json").write_text(json_text(plain))

    def measured() -> list[float]:
        trained = Trained(corrupted_tokens=1, mask_rate=0.5, steps=1)
        runs = measured_runs(declared, lambda arm, _: tmp_path / arm, lambda _: trained)
        return [run.measures["loss/ast-span"] for run in runs]

    write(START, 5.0)
    write("random", 4.0, objective="region-share")
    with pytest.raises(SettingsError, match=r"random/.*by region-share and .*start/.*by inverse-rate"):
        measured()
    write("random", 4.0, objective="inverse-rate")
    assert measured() == [5.0, 4.0]
