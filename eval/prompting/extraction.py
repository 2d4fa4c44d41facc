"""The program in an answer.

It is found by rules that see only the answer, never at what passes the tests, and each answer says which rule took it:

``continued``   the prompt had begun the program (or opened its fence), and the answer continues it
``fenced``      a fenced block after the last ``</think>``: the last that defines the entry point, else the last
``body``        no definition of the entry point but indented lines: they continue the prompt's function
``unfenced``    no fence: the longest run of whole lines that Python parses, from the first line that looks like code
``none``        no code, or a ``<think>`` that was never closed

What the prompt has before its function goes after a whole answer's own docstring and ``from __future__`` imports (header.py).
docs/evaluation.md says why.
"""

import ast
import re
import textwrap
import warnings
from typing import NamedTuple

from syntaxdiff.eval.problems.header import put_before
from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.prompting.prompts import DONE, Prompt
from syntaxdiff.pipeline.rows.response import fenced_blocks
from syntaxdiff.pipeline.syntax.languages import language_of_fence

# Where a function that is continued outside of a fence ends: the stop sequences of Chen et al. 2021, section 3.2.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_FENCE_LINE = re.compile(r"^[ \t]{0,3}(```|~~~)", re.MULTILINE)
_FENCE_RUN = re.compile(r"`{3,}|~{3,}")
_THINK_OPEN = re.compile(r"^[ \t]*<think>", re.MULTILINE)
_CODE_LINE = re.compile(r"(?:(?:async )?def |class |import |from \w[\w.]* import |@\w)")


class Extracted(NamedTuple):
    """A whole program, and the rule that found it: one of RULES."""

    program: str
    rule: str


RULES = ("continued", "fenced", "body", "unfenced", "none")


def extract(answer: str, problem: Problem, prompt: Prompt) -> Extracted:
    """The whole program that an answer makes; it may be empty."""
    answer = answer.replace("\r\n", "\n")
    if prompt.in_fence:
        end = _FENCE_LINE.search(answer)
        code = answer[: end.start()] if end else answer
        if code.strip() or end is None:
            return Extracted(put_before(prompt.begun, code, first_is_open=True), "continued")
        return _whole(answer, problem)  # it opens a fence of its own
    if prompt.begun:
        return Extracted(put_before(prompt.begun, _until_stop(answer), first_is_open=True), "continued")
    return _whole(answer.partition(DONE)[0], problem)


def _until_stop(answer: str) -> str:
    """A continued function: until something else begins at the left edge, or a fence."""
    ends = [answer.find(stop) for stop in STOPS]
    fence = _FENCE_LINE.search(answer)
    ends += [fence.start()] if fence else []
    return answer[: min((end for end in ends if end >= 0), default=len(answer))]


def _whole(answer: str, problem: Problem) -> Extracted:
    _, _, answer = answer.rpartition("</think>")
    if _THINK_OPEN.search(answer):
        return Extracted("", "none")
    blocks = _blocks(answer, problem.entry_point)
    if blocks:
        defining = [code for code, _ in blocks if defines(code, problem.entry_point)]
        python = [code for code, tag in blocks if not tag or language_of_fence(tag) == "python"]
        code = (defining or python or [code for code, _ in blocks])[-1]
        if not defining and problem.prefix and _is_indented(code):
            return Extracted(problem.program(code), "body")
        return Extracted(put_before(preamble(problem), code), "fenced")
    if problem.prefix and _is_indented(answer):
        return Extracted(problem.program(_until_stop(answer.lstrip("\n"))), "body")
    code = _parsing_lines(answer)
    return Extracted(put_before(preamble(problem), code), "unfenced") if code else Extracted("", "none")


def preamble(problem: Problem) -> str:
    """What a prompt has before the function that it asks for: imports, and helpers that the function may call."""
    start = re.search(_definition(problem.entry_point), problem.prefix, re.MULTILINE)
    return problem.prefix[: start.start()] if start and problem.entry_point else ""


def defines(code: str, name: str) -> bool:
    """Whether code defines a function or class of a name at its left edge."""
    return bool(name) and re.search(_definition(name), code, re.MULTILINE) is not None


def _definition(name: str) -> str:
    return rf"^(?:async[ \t]+def|def|class)[ \t]+{re.escape(name)}\b"


def _blocks(text: str, name: str) -> list[tuple[str, str]]:
    """Code and tag of the fenced blocks, the last of which may have no end: the answer was cut off in it.

    Args:
        name: of the entry point
    """
    longest = max((len(run) for run in _FENCE_RUN.findall(text)), default=0)
    if not longest:
        return []
    # A block that is open is closed by one of these; a fence that closes nothing opens a block without an end, which is none.
    text = text.removesuffix("\n") + "\n"
    blocks = max((fenced_blocks(text + sign * longest) for sign in "`~"), key=len)
    return [(_at_left_edge(block.code, name), block.tag) for block in blocks if block.code.strip()]


def _at_left_edge(code: str, name: str) -> str:
    """A program that stands indented as a whole, moved to the left; a function's body stays indented."""
    if not _is_indented(code):
        return code
    dedented = textwrap.dedent(code)
    is_program = defines(dedented, name) if name else _CODE_LINE.match(dedented.lstrip("\n")) is not None
    return dedented if is_program else code


def _is_indented(code: str) -> bool:
    first = next((line for line in code.split("\n") if line.strip()), "")
    return first[:1] in (" ", "\t")


def _parsing_lines(text: str) -> str:
    """The longest run of whole lines that Python parses, from the first that looks like code; all of them if none does."""
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if _CODE_LINE.match(line)), None)
    if first is None:
        return ""
    for end in range(len(lines), first, -1):
        if lines[end - 1].strip() and _parses("\n".join(lines[first:end])):
            return "\n".join(lines[first:end]) + "\n"
    return "\n".join(lines[first:]) + "\n"


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that are none, in a model's program
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
