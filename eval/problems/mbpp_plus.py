"""MBPP+ (Liu et al. 2023): problems of MBPP with many more inputs, on which a program must agree with the reference."""

from syntaxdiff.eval.problems.mbpp_plus_inputs import restore_inputs
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat
from syntaxdiff.pipeline.json_records import Row


def mbpp_plus_problem(row: Row) -> Problem:
    """As HumanEval+ (humaneval_plus.py); in some inputs JSON stands for tuples, sets and complex numbers."""
    number = int(row["task_id"].split("/")[1])
    inputs = restore_inputs(number, row["base_input"]) + restore_inputs(number, row["plus_input"])
    return Problem(
        task_id=row["task_id"],
        benchmark="mbpp-plus",
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        support=row["canonical_solution"],
        inputs=inputs,
        tolerance=float(row["atol"]),
    )


MBPP_PLUS = RowFormat(
    name="MBPP+",
    listed="task_id, prompt, entry_point, canonical_solution, base_input, plus_input, atol, assertion",
    fields=frozenset(
        ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol", "assertion")
    ),
    parse=mbpp_plus_problem,
)
