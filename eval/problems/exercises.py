"""The exercises (``pipeline/exercises``): a statement, a function ``solve`` to write, and calls whose results decide."""

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.pipeline.exercises.held_out import SETS, Call, HeldOut, read_sets

ENTRY_POINT = "solve"


def exercise_problems(split: str) -> list[Problem]:
    """The problems of a split of EXERCISE_SPLITS: both test sets of a level (``level1``), or one (``level1-deeper``)."""
    level, _, name = split.partition("-")
    return [
        exercise_problem(exercise)
        for exercise in read_sets()
        if f"level{exercise.level}" == level and exercise.name in ((name,) if name else SETS)
    ]


def exercise_problem(exercise: HeldOut) -> Problem:
    """The statement is the whole prompt, as in the rows of ``--src exercises``: the model has learned what to call it."""
    tests = "\n".join(_assertion(call) for call in exercise.calls)
    return Problem(
        task_id=exercise.task_id,
        benchmark="exercises",
        prompt=exercise.statement,
        entry_point=ENTRY_POINT,
        solution=exercise.program,
        tests=f"def check(candidate):\n{tests}\ncheck({ENTRY_POINT})\n",
        proxied=(ENTRY_POINT,),
        groups={
            "set": (exercise.name,),
            "depth": (str(exercise.depth),),
            "piece": tuple(exercise.composition.split()),
        },
    )


def _assertion(call: Call) -> str:
    if not call.raises:
        return f"    assert candidate(*{call.arguments}) == {call.result}"
    kind = call.result.partition("(")[0]
    return (
        f"    try:\n        candidate(*{call.arguments})\n    except {kind} as error:\n"
        f"        assert repr(error) == {call.result!r}\n    else:\n        raise AssertionError('no {kind}')"
    )
