"""Evaluations side by side: the counts that the test of significance is made of, and what a person is shown."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluations import config, judged, row, write_problems
from pages import Page
from rich.console import Console
from tiny_checkpoint import export_tiny

from syntaxdiff.eval.benchmarks.compare import compare
from syntaxdiff.eval.benchmarks.evaluate import humaneval
from syntaxdiff.eval.benchmarks.results import read_results
from syntaxdiff.eval.benchmarks.score import warnings_of
from syntaxdiff.eval.benchmarks.scoreboard import print_comparison, print_results
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.report.report import write_report
from syntaxdiff.pipeline.errors import SettingsError, SourceError

WRONG = "def add(x):\n    return 'wrong answer'  # \x1b[31m\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two evaluations of HumanEval/54, 55, 74 and 75: the first fails 54, the second 55 and 74."""
    root = tmp_path_factory.mktemp("compare")
    problems = write_problems(root)
    judged(problems, root / "first" / "humaneval", {"HumanEval/54": WRONG})
    judged(problems, root / "second" / "humaneval", {"HumanEval/55": WRONG, "HumanEval/74": WRONG})
    return root / "first" / "humaneval", root / "second" / "humaneval"


def printed(folders: tuple[Path, ...], show: int = 5, width: int = 160) -> str:
    text = io.StringIO()
    print_comparison(compare(folders), Console(file=text, width=width), show=show)
    return text.getvalue()


def test_counts_and_difference(folders: tuple[Path, Path]) -> None:
    """Both, one and neither add up to the problems; difference and p-value follow from them."""
    comparison = compare(folders)
    (pair,) = comparison.pairs
    assert (pair.both, pair.only_first, pair.only_other, pair.neither) == (1, 2, 1, 0)
    assert pair.difference == -0.25
    assert pair.p_value == 1.0
    assert pair.interval is not None
    assert pair.interval.low < -0.25 < pair.interval.high
    assert comparison.differing == ("HumanEval/54", "HumanEval/55", "HumanEval/74")
    assert comparison.studied == ("HumanEval/54", "HumanEval/74")
    assert [evaluation.name for evaluation in comparison.evaluations] == ["first", "second"]
    assert json.loads(json.dumps(comparison.to_json()))["pairs"][0]["only_first"] == 2


def test_the_other_order_turns_the_signs(folders: tuple[Path, Path]) -> None:
    """The difference is the other minus the first."""
    there, back = compare(folders).pairs[0], compare(folders[::-1]).pairs[0]
    assert back.difference == -there.difference
    assert (back.only_first, back.only_other) == (there.only_other, there.only_first)


def test_an_evaluation_equals_itself(folders: tuple[Path, Path]) -> None:
    """No difference, no problem on which they differ, and no interval: resampling equal problems would say 0 to 0."""
    comparison = compare((folders[0], folders[0]))
    assert comparison.pairs[0].difference == 0
    assert comparison.pairs[0].interval is None
    assert comparison.differing == ()


def test_programs_are_shown_side_by_side(folders: tuple[Path, Path]) -> None:
    """Both programs of each differing problem are printed, those of the paper's study first, and no control character."""
    text = printed(folders)
    assert [text.index(f"HumanEval/{number}") for number in (54, 74, 55)] == sorted(
        text.index(f"HumanEval/{number}") for number in (54, 74, 55)
    )
    assert text.count("the paper's study") == 2
    assert text.count("'wrong answer'") == 3
    assert "return x + 54" in text
    assert "\x1b" not in text
    assert "wrong" in text
    few = printed(folders, show=0, width=70)
    assert "They differ on 1 more: HumanEval/55" in few
    assert "HumanEval/54" in few


def test_evaluations_of_fewer_problems_are_compared_on_those(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """What only one of them has is left out, and that is said."""
    problems = write_problems(tmp_path, (54, 55, 74))
    humaneval(config(problems, limit=2), tmp_path / "few")
    comparison = compare((folders[0], tmp_path / "few"))
    assert comparison.task_ids == ("HumanEval/54", "HumanEval/55")
    assert "has 4 problems, 2 of them in all" in comparison.notes[0]


def test_other_settings_are_noted(tmp_path: Path) -> None:
    """Where prompt, way of generating or precision differ, a note says in what; where all are equal there is none."""
    problems, ckpt = write_problems(tmp_path, (54, 55)), str(export_tiny(tmp_path / "tiny"))
    plain = GenerationConfig(gen_length=8)
    ways: dict[str, dict[str, Any]] = {
        "a": {},
        "same": {},
        "fast": {"generation": replace(plain, schedule="threshold", cache="dual")},
        "other": {"preset": "completion", "dtype": "float64"},
    }
    for name, changes in ways.items():
        humaneval(config(problems, **{"ckpt": ckpt, "generation": plain, **changes}), tmp_path / name)
    assert compare((tmp_path / "a", tmp_path / "same")).notes == ()
    assert compare((tmp_path / "a", tmp_path / "fast", tmp_path / "other")).notes == (
        "fast has another way of generating than a: schedule threshold, not fixed; cache dual, not none",
        "other has another prompt than a: preset completion, not chat-code",
        "other has another precision than a: float64, not float32",
    )
    text = io.StringIO()
    print_results(read_results(tmp_path / "fast")[0], Console(file=text, width=160))
    assert "at most 8 tokens in blocks of 32, all above confidence 0.9, low-confidence, dual cache" in text.getvalue()


def test_what_cannot_be_compared(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """One folder, a folder without results, another benchmark, and no problem in common: each is one line."""
    with pytest.raises(SettingsError, match="two or more"):
        compare(folders[:1])
    with pytest.raises(SourceError, match=r"holds no results.json: give the --out folder"):
        compare((folders[0], tmp_path))
    humaneval(config(write_problems(tmp_path, (1,))), tmp_path / "other")
    with pytest.raises(SettingsError, match="no problem in common"):
        compare((folders[0], tmp_path / "other"))
    path = tmp_path / "other" / "results.json"
    path.write_text(path.read_text().replace('"benchmark": "humaneval"', '"benchmark": "mbpp"'))
    with pytest.raises(SettingsError, match="of benchmark humaneval"):
        compare((folders[0], tmp_path / "other"))


def test_the_table_of_one_evaluation(folders: tuple[Path, Path]) -> None:
    """Score with count, number and interval, verdicts, and what kept programs from the host."""
    text = io.StringIO()
    print_results(read_results(folders[0])[0], Console(file=text, width=100))
    assert "75.0%  3/4  [30.1%, 95.4%]" in text.getvalue()
    assert "3 passed, 1 wrong" in text.getvalue()
    assert "isolation" in text.getvalue()


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of four problems, of which the second one's reference fails."""
    root = tmp_path_factory.mktemp("partial")
    rows = [row(54), row(55) | {"canonical_solution": "    return x\n"}, row(74), row(75)]
    (root / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    humaneval(config(root / "problems.jsonl", limit=2), root / "out")
    return root / "out"


def warned(folder: Path) -> list[str]:
    """The warnings of a score, of which there are some."""
    warnings = warnings_of(read_results(folder)[0])
    assert len(warnings) == 2
    return warnings


def test_warnings_stand_with_the_score_wherever_it_is_shown(partial: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Table, comparison as text and as JSON, and both places of the page have count, interval and every warning."""
    results, _ = read_results(partial)
    scores = io.StringIO()
    print_results(results, Console(file=scores, width=200))
    compared = printed((folders[0], partial), show=0, width=250)
    as_json = json.loads(json.dumps(compare((folders[0], partial)).to_json()))
    assert list(as_json["warnings"].values()) == [[], warned(partial)]
    write_report([partial], tmp_path / "page.html")
    overview, chapter = Page((tmp_path / "page.html").read_text("utf-8")).text.split("Verdicts")[0].split("without failing")
    assert warnings_of(results)[0] == "The first 2 problems only: not a score of the benchmark."
    for text in (scores.getvalue(), compared, overview):
        assert re.search(r"50\.0%\s+1/2\s+\[9\.5%,\s90\.5%\]", text)
    for text in (scores.getvalue(), compared, overview, chapter):
        for warning in warned(partial):
            assert warning in text


def test_a_limit_that_leaves_nothing_out_is_no_warning(tmp_path: Path) -> None:
    """All problems are a score of the benchmark, however they were asked for."""
    problems = write_problems(tmp_path)
    assert humaneval(config(problems, limit=9), tmp_path / "all").is_complete
    assert not humaneval(config(problems, limit=3), tmp_path / "some").is_complete


def test_programs_that_were_not_isolated_are_a_warning(partial: Path) -> None:
    """What was not held from the host stands with the score, as do prompts without room."""
    results, _ = read_results(partial)
    isolation = replace(results.isolation, guarantees=results.isolation.guarantees | {"network": False})
    warnings = warnings_of(replace(results, isolation=isolation, extraction={"too-long": 3}))
    assert any("not isolated" in warning and "network" in warning for warning in warnings)
    assert any(warning.startswith("3 prompts left no room") for warning in warnings)
