"""What a program may use, and what became of it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.pipeline.errors import SettingsError


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
class Limits:
    """What a program may use.

    Attributes:
        cpu_seconds: of all its threads, in whole seconds; the verdict ``timeout`` is by these
        wall_seconds: for program and tests together; for those that wait and don't compute
        memory_bytes: of address space, beyond what the bare interpreter has
        output_bytes: that it may print
        threads: beyond the first, where they can be bounded; else none
    """

    cpu_seconds: int = 10
    wall_seconds: float = 70.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 20
    open_files: int = 64
    threads: int = 32

    def __post_init__(self) -> None:
        if any(value <= 0 for value in asdict(self).values()):
            raise SettingsError("limits must be greater than 0")


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
