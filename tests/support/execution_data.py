"""Small problems, and verdicts on programs for them."""

from textwrap import dedent

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.limits import Limits
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Verdict


def problem_of(tests: str, reference: str = "def f(*a): pass", support: str = "") -> Problem:
    return Problem(
        task_id="test",
        benchmark="mbpp",
        prompt="",
        entry_point="f",
        solution=reference,
        support=support,
        tests=dedent(tests),
        proxied=("f", "Pair"),
    )


def verdict(sandbox: Sandbox, program: str, tests: str, support: str = "", limits: Limits | None = None) -> Verdict:
    return sandbox.run_tests(dedent(program), problem_of(tests, support=support), limits)
