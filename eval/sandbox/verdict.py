"""What became of a program."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.limits import Limits


class Status(StrEnum):
    """What became of a program."""

    PASSED = "passed"
    WRONG = "wrong"  # an assertion of the tests failed
    ERROR = "error"  # an exception
    SYNTAX_ERROR = "syntax-error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    KILLED = "killed"  # by a signal that no limit sent
    OUTPUT_LIMIT = "output-limit"
    FORBIDDEN = "forbidden"  # denied by the isolation
    EARLY_EXIT = "early-exit"
    BROKEN_PROTOCOL = "broken-protocol"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one program.

    Attributes:
        detail: the assertion that failed, the exception, the signal
        cpu_seconds: of the program, its tests' not counted
        tests_cpu_seconds: of the tests, the program's not counted
        peak_bytes: most memory that the program had, with that of the interpreter
    """

    task_id: str
    status: Status
    detail: str
    cpu_seconds: float
    tests_cpu_seconds: float
    wall_seconds: float
    peak_bytes: int

    @property
    def has_passed(self) -> bool:
        """Whether all tests passed."""
        return self.status is Status.PASSED


class Job(NamedTuple):
    """A whole program and the problem that it should solve."""

    program: str
    problem: Problem
    limits: Limits = Limits()
