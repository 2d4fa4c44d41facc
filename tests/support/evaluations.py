"""Small evaluations for the tests: problems of our own in HumanEval's format, and results with programs of our choice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.benchmarks.evaluate import humaneval
from syntaxdiff.eval.benchmarks.outcome import BenchmarkResults
from syntaxdiff.eval.inference.config import GenerationConfig

NUMBERS = (54, 55, 74, 75)


def write_problems(folder: Path, numbers: tuple[int, ...] = NUMBERS) -> Path:
    """Problems in a file: each asks for a number to be added."""
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in numbers))
    return path


def row(number: int) -> dict[str, str]:
    """One problem as HumanEval stores it."""
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": f'def add(x):\n    """Add {number}."""\n',
        "entry_point": "add",
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}\n",
    }


def config(problems: Path | None, **changes: Any) -> EvaluationConfig:
    """Answers of eight tokens, of a checkpoint that the test names, or the references."""
    values = {"problems": problems, "generation": GenerationConfig(gen_length=8), "reference": "ckpt" not in changes}
    return EvaluationConfig(**{**values, **changes})


def samples_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder's samples."""
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def judged(problems: Path, out: Path, answers: Mapping[str, str]) -> BenchmarkResults:
    """An evaluation whose programs are the references, but for those that are given; run and scored by the real code."""
    humaneval(config(problems), out)
    rows = samples_of(out)
    for sample in rows:
        program = answers.get(sample["task_id"], sample["program"])
        sample |= {"program": program, "status": None, "detail": ""}
    (out / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in rows))
    return humaneval(config(problems), out)
