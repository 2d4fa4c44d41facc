"""A problem that is solved by writing a program, with the tests that decide: what all benchmarks share.

How a row of a benchmark's file becomes a problem is in the module of that benchmark; reading files is in reader.py, running
tests in the sandbox. docs/execution.md says where this follows the benchmarks' own harnesses and where it does not.
"""

from dataclasses import dataclass, field
from typing import Any

from syntaxdiff.eval.problems.header import put_before


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem. A program that solves it is ``prefix`` + what a model writes + ``suffix``, or whole if it is given whole.

    Attributes:
        prompt: what a model is shown
        entry_point: the function that is asked for
        solution: the reference's own part of the program
        support: trusted source that the tests stand on: what the reference imports, the helpers that the prompt defines
        tests: source; uses the names in ``proxied``, which are the program's
        inputs: instead of tests, arguments call by call: the program must answer as the reference does
        tolerance: of answers that are numbers, absolute; 0 for the default
        groups: what scores are broken down by: ``{"depth": ("3",)}``
    """

    task_id: str
    benchmark: str
    prompt: str
    entry_point: str
    solution: str
    prefix: str = ""
    suffix: str = ""
    support: str = ""
    tests: str = ""
    proxied: tuple[str, ...] = ()
    inputs: list[Any] | None = None
    tolerance: float = 0.0
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def program(self, completion: str) -> str:
        """The program that a completion of the prompt makes. One that is whole may begin with ``from __future__`` imports."""
        if self.suffix:
            return self.prefix + completion + self.suffix
        return put_before(self.prefix, completion, first_is_open=True)

    @property
    def reference(self) -> str:
        """The benchmark's own program."""
        return self.program(self.solution)
