"""Whether CPython compiles a program, asked of a process of its own, and in which class of words it refuses.

Compiling runs nothing of a program, but one may nest so deep, or hold such numbers, that the compiler dies or eats the memory:
so it is done in a child under limits, which this file, run as a program, is. It imports only the standard library. Running
programs is sandbox.py's.
"""

import contextlib
import json
import keyword
import re
import resource
import select
import subprocess
import sys
import warnings
from types import TracebackType
from typing import Any, NamedTuple

COMPILED_LANGUAGE = "python"
MEMORY_BYTES = 1 << 30
SECONDS = 20.0  # for one program, wall-clock; the compiler takes a millisecond
_ALLOW_INCOMPLETE_INPUT = 0x4000  # PyCF_ALLOW_INCOMPLETE_INPUT: what codeop asks with


class Compiled(NamedTuple):
    """What the compiler says.

    ``fault`` is None for a program that compiles, else the error's class: type and message, with numbers and names left out.
    ``is_prefix``: it compiles, or would with more text after it.
    """

    fault: str | None
    is_prefix: bool


class Compiler:
    """A child process that compiles; it is started by the first request, and again where a program killed it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def compile(self, program: bytes) -> Compiled:
        """Compiles a program of UTF-8; bytes that are none are a fault."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        answer = b""
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(program.decode("utf-8", "surrogateescape")).encode() + b"\n")
            child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], SECONDS)
            answer = child.stdout.readline() if ready else b""
        if not answer:
            is_late = child.poll() is None
            self.close()
            return Compiled("compiler ran out of time" if is_late else "compiler crashed", False)
        return Compiled(*json.loads(answer))


def error_class(error: BaseException) -> str:
    """Type and message of an error, with numbers and the program's own names and characters left out."""
    if isinstance(error, UnicodeError):
        return f"{type(error).__name__}: not UTF-8"
    message = str((error.msg if isinstance(error, SyntaxError) else error) or "")
    message = re.sub(r"character ('.' \(U\+[0-9A-F]+\)|U\+[0-9A-F]+)", "character", message)
    message = re.sub(r"'([^\W\d]\w*)'", lambda match: match[0] if keyword.iskeyword(match[1]) else "'NAME'", message)
    message = re.sub(r"\b\d+\b", "N", message)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _compiled(program: str) -> Compiled:
    try:
        compile(program, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        fault = error_class(error)
    else:
        return Compiled(None, True)
    try:
        compile(program, "<program>", "exec", flags=_ALLOW_INCOMPLETE_INPUT, dont_inherit=True)
    except SyntaxError as error:
        return Compiled(fault, error.msg == "incomplete input")
    except (ValueError, OverflowError, RecursionError, MemoryError):
        return Compiled(fault, False)
    return Compiled(fault, False)


def _serve() -> None:
    """Answers one line of JSON per program, until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    for line in sys.stdin.buffer:
        answer: list[Any] = list(_compiled(json.loads(line)))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
