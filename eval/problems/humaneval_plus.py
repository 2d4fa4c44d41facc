"""HumanEval+ (Liu et al. 2023): HumanEval with many more inputs, on which a program must agree with the reference."""

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat
from syntaxdiff.pipeline.json_records import Row


def humaneval_plus_problem(row: Row) -> Problem:
    """EvalPlus compares with the reference's answers, on the inputs of HumanEval and its own (evalplus_comparison.py)."""
    return Problem(
        task_id=row["task_id"],
        benchmark="humaneval-plus",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        support=row["prompt"] + row["canonical_solution"],
        inputs=row["base_input"] + row["plus_input"],
        tolerance=float(row["atol"]),
    )


HUMANEVAL_PLUS = RowFormat(
    name="HumanEval+",
    listed="HumanEval's fields, base_input, plus_input, atol",
    fields=frozenset(("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol", "test")),
    parse=humaneval_plus_problem,
)
