"""HumanEval infilling (Bavarian et al. 2022): the part that is cut out of a HumanEval program is written again."""

from syntaxdiff.eval.problems.names import INFILLING
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.problems.row_format import RowFormat
from syntaxdiff.pipeline.json_records import Row


def infilling_problem(row: Row) -> Problem:
    """Human-eval-infilling: as HumanEval, with the rest of the function after the completion."""
    return Problem(
        task_id=row["task_id"],
        benchmark=INFILLING,
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        solution=row["canonical_solution"],
        prefix=row["prompt"],
        suffix=row["suffix"],
        support=row["prompt"] + row["canonical_solution"] + row["suffix"],
        tests=f"{row['test']}\ncheck({row['entry_point']})\n",
        proxied=(row["entry_point"],),
    )


HUMANEVAL_INFILLING = RowFormat(
    name="HumanEval infilling",
    listed="HumanEval's fields and suffix",
    fields=frozenset(("task_id", "prompt", "suffix", "entry_point", "canonical_solution", "test")),
    parse=infilling_problem,
)
