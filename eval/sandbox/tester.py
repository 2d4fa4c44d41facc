"""The tests' side: runs a problem's tests against a program that lives in another process.

Names of the program that the tests use are proxies here: a call ships plain data to the candidate's process (candidate.py) and
gets plain data back, in objects of built-in types made on this side (plain_data.py). So nothing that the tests compare, catch
or look at is the candidate's own, and what decides runs where the candidate cannot reach.
"""

import array
import builtins
import collections
import errno
import io
import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from syntaxdiff.eval.sandbox.evalplus_comparison import agree, inputs_of
from syntaxdiff.eval.sandbox.plain_data import Channel, PlainDataError, Reference, decode, encode

_TESTS = "<tests>"
_NAME, _NAME_KEEPS = -1, -2  # numbers of references that are to a name of the program, not to an object
_MOST_DETAIL = 1000
_ERRORS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, StopIteration | StopAsyncIteration)  # these would end a loop of the tests as if all were well
}


class CandidateError(Exception):
    """An exception of the candidate that is of no built-in kind."""


class CandidateGone(BaseException):
    """The candidate ended, or broke the protocol; no test may catch this and go on.

    Attributes:
        status: of execution.Status, or ``gone`` where how it ended decides
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def serve(job_fd: int, read_fd: int, write_fd: int, verdict_fd: int) -> None:
    """Reads a job, runs its tests, and writes the outcome: ``status`` and ``detail`` as JSON."""
    with os.fdopen(job_fd, "rb") as file:
        job = json.load(file)
    client = Client(Channel(read_fd, write_fd))
    try:
        outcome = _outcome_of(job, client)
    except MemoryError:
        outcome = ("out-of-memory", "of the tests, with what the program returned")
    status, detail = client.ended or outcome
    os.write(verdict_fd, json.dumps({"status": status, "detail": detail[:_MOST_DETAIL]}).encode())


def _outcome_of(job: dict[str, Any], client: "Client") -> tuple[str, str]:
    """Status and detail."""
    try:
        refused = client.load(job["program"])
        if refused:
            return "syntax-error", refused
        _run_tests(job, client)
    except CandidateGone as error:
        return error.status, str(error)
    except AssertionError as error:
        if client.raised(error):
            return "error", f"AssertionError: {error}"
        return "wrong", _place(error, job["tests"]) + (f": {error}" if str(error) else "")
    except MemoryError as error:
        if not client.raised(error):
            raise
        return "out-of-memory", f"MemoryError in the program: {error}"
    except PermissionError as error:
        return "forbidden", f"PermissionError: {error}"
    except Exception as error:
        if client.raised(error) and getattr(error, "errno", None) == errno.ENOMEM:
            return "out-of-memory", f"{type(error).__name__}: {error}"
        name = client.error_name(error) or type(error).__name__
        where = "" if client.raised(error) else f", in the tests: {_place(error, job['tests'])}"
        return "error", f"{name}: {error}{where}"
    return "passed", ""


def _run_tests(job: dict[str, Any], client: "Client") -> None:
    """The tests as they stand, or, for problems that come with inputs only, the reference's answers."""
    namespace: dict[str, Any] = {"__name__": "tests"}
    exec(compile(job["support"], "<support>", "exec", dont_inherit=True), namespace)
    if job["inputs"] is not None:
        reference, candidate = namespace[job["entry_point"]], client.proxy(job["entry_point"])
        for expected_of, given in inputs_of(decode(job["inputs"])):
            expected = reference(*expected_of)
            shown = repr(given)[:200]
            assert agree(job, candidate(*given), expected, expected_of), f"{job['entry_point']}(*{shown})"
        return
    for name in job["proxied"]:
        namespace[name] = client.proxy(name, keeps=name != job["entry_point"])
    exec(compile(job["tests"], _TESTS, "exec", dont_inherit=True), namespace)


def _place(error: BaseException, tests: str) -> str:
    """The line of the tests that an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _TESTS]
    if not lines or not lines[-1]:
        return ""
    return io.StringIO(tests, newline=None).readlines()[lines[-1] - 1].strip()[:300]  # lines as Python counts them


class Client:
    """Calls of the candidate.

    Attributes:
        ended: status and detail once the candidate was gone, whatever the tests made of it
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._functions: dict[int, Callable[..., Any]] = {}
        self._raised: dict[int, tuple[BaseException, str]] = {}  # the exceptions are kept, so that ids stay theirs
        self.ended: tuple[str, str] | None = None

    def load(self, program: str) -> str:
        """Has the candidate run its program; what the compiler said where it refused it."""
        reply = self._request({"do": "load", "program": encode(program)})
        return str(reply.get("refused", ""))

    def proxy(self, name: str, *, keeps: bool = False) -> "RemoteCallable":
        """What the program calls by a name, whatever it is.

        Args:
            keeps: where it is a class, its objects stay with the program, those of a subclass of a plain type too
        """
        return RemoteCallable(self, Reference(_NAME_KEEPS if keeps else _NAME, "callable", name, True), name)

    def raised(self, error: BaseException) -> bool:
        """Whether an exception came from the candidate."""
        return id(error) in self._raised

    def error_name(self, error: BaseException) -> str:
        """The candidate's own name for its exception."""
        return self._raised[id(error)][1] if id(error) in self._raised else ""

    def call(self, target: Reference, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Calls a name or an object of the candidate, and takes over what it changed in the arguments."""
        reply = self._request(
            {
                "do": "call",
                "object": None if target.number < 0 else target.number,
                "name": encode(name),
                "keeps": target.number == _NAME_KEEPS,
                "arguments": [encode(argument, self._refer) for argument in arguments],
                "named": [[encode(key), encode(value, self._refer)] for key, value in named.items()],
            }
        )
        value = self._decode(reply.get("value"))
        changes = reply.get("changed", [])
        if type(changes) is not list or len(changes) > len(arguments):
            raise self._broken("changes of what was not sent")
        for change in changes:
            if type(change) is not list or len(change) != 2 or type(change[0]) is not int:
                raise self._broken("a change of another form")
            index, after = change
            if not 0 <= index < len(arguments):
                raise self._broken("a change of what was not sent")
            self._take_over(arguments[index], self._decode(after))
        return value

    def get(self, target: Reference, name: str) -> Any:
        """An attribute of an object of the candidate."""
        return self._decode(self._request({"do": "get", "object": target.number, "name": encode(name)}).get("value"))

    def assign(self, target: Reference, name: str, value: Any) -> None:
        """Sets an attribute of an object of the candidate."""
        self._request({"do": "set", "object": target.number, "name": encode(name), "value": encode(value, self._refer)})

    def next(self, target: Reference) -> Any:
        """The next value of an iterator of the candidate."""
        reply = self._request({"do": "next", "object": target.number})
        if reply.get("exhausted") is True:
            raise StopIteration
        return self._decode(reply.get("value"))

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for its reply, calling functions of the tests meanwhile where the candidate asks."""
        if self.ended:
            raise CandidateGone(*self.ended)
        self._number += 1
        number = self._number
        try:
            if self._channel.has_unread():
                raise self._broken("a message that nobody asked for")
            self._channel.send({"number": number, **request})
            while True:
                reply = self._channel.receive()
                if type(reply) is not dict:
                    raise self._broken("a message of another form")
                if "callback" not in reply:
                    break
                self._channel.send(self._call_back(reply))
        except (EOFError, OSError):
            raise self._gone("gone", "the program ended before the tests did") from None
        except PlainDataError as error:
            raise self._broken(str(error)) from None
        if reply.get("number") != number:
            raise self._broken("a reply to another request")
        if "raised" in reply:
            raise self._rebuilt(reply["raised"])
        return reply

    def _call_back(self, message: dict[str, Any]) -> dict[str, Any]:
        """Calls a function that the tests gave away."""
        function = self._functions.get(message["callback"]) if type(message["callback"]) is int else None
        if function is None or type(message.get("arguments")) is not list or type(message.get("named")) is not list:
            raise self._broken("a call of what was not given")
        arguments = [self._decode(argument) for argument in message["arguments"]]
        try:
            named = {str(self._decode(key)): self._decode(value) for key, value in message["named"]}
        except (TypeError, ValueError):
            raise self._broken("named arguments of another form") from None
        try:
            return {"value": encode(function(*arguments, **named), self._refer)}
        except Exception as error:
            return {"raised": f"{type(error).__name__}: {error}"}

    def _refer(self, value: Any) -> Reference:
        """A reference to what the tests hand over: an object of the candidate, or a function of their own."""
        if isinstance(value, Remote):
            reference = object.__getattribute__(value, "_reference")
            if reference.number < 0:
                raise PlainDataError("a name of the program stands where a value should")
            return Reference(reference.number, reference.nature, "", False)
        if not callable(value):
            raise PlainDataError(f"{type(value).__name__} is not plain data")
        self._functions[len(self._functions)] = value
        return Reference(len(self._functions) - 1, "callable", "", True)

    def _decode(self, data: Any) -> Any:
        try:
            return decode(data, self._resolve)
        except PlainDataError as error:
            raise self._broken(str(error)) from None

    def _resolve(self, reference: Reference) -> Any:
        if not reference.is_mine:
            if reference.number not in self._functions:
                raise PlainDataError("a reference to what was not given")
            return self._functions[reference.number]
        kind = {"callable": RemoteCallable, "iterator": RemoteIterator, "object": Remote}[reference.nature]
        return kind(self, reference, reference.type_name)

    def _take_over(self, old: Any, new: Any) -> None:
        """Gives an argument the contents that the candidate left in its copy."""
        if type(old) is not type(new):
            raise self._broken("an argument of another type than was sent")
        if isinstance(old, list | bytearray | array.array):
            old[:] = new
        elif isinstance(old, dict | set):
            old.clear()
            old.update(new)
        elif isinstance(old, collections.deque):
            old.clear()
            old.extend(new)
        elif type(old).__module__ == "numpy" and old.shape == new.shape and old.dtype == new.dtype:
            old[...] = new
        else:
            raise self._broken("a change of what cannot change")

    def _rebuilt(self, described: Any) -> BaseException:
        """The candidate's exception as one of this side: of the built-in kind that it is or descends from."""
        if (
            type(described) is not dict
            or type(names := described.get("types")) is not list
            or type(message := described.get("message")) is not str
            or not all(type(name) is str for name in names)
        ):
            return self._broken("an exception of another form")
        name = names[0] if names else "BaseException"
        if "Exception" not in names:
            status = "early-exit" if "SystemExit" in names else "error"
            return self._gone(status, f"{name}: {message}")
        error = _make_error(next((_ERRORS[name] for name in names if name in _ERRORS), Exception), described, message)
        if name not in _ERRORS:
            error.add_note(name)
        self._raised[id(error)] = (error, name)
        return error

    def _broken(self, detail: str) -> CandidateGone:
        return self._gone("broken-protocol", detail)

    def _gone(self, status: str, detail: str) -> CandidateGone:
        self.ended = self.ended or (status, detail)
        return CandidateGone(*self.ended)


class Remote:
    """An object of the candidate. It is equal only to itself: its class has no say in a comparison."""

    def __init__(self, client: Client, reference: Reference, name: str) -> None:
        object.__setattr__(self, "_client", client)
        object.__setattr__(self, "_reference", reference)
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._client.get(self._reference, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._client.assign(self._reference, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        mine, theirs = (object.__getattribute__(remote, "_reference").number for remote in (self, other))
        return bool(mine == theirs and mine >= 0)

    def __hash__(self) -> int:
        return hash(self._reference.number)

    def __repr__(self) -> str:
        return f"<{self._name} of the program>"


class RemoteCallable(Remote):
    """A function or class of the candidate."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What it returns over there."""
        return self._client.call(self._reference, self._name, arguments, named)


class RemoteIterator(Remote):
    """A generator or other iterator of the candidate, which is advanced there, one value at a time."""

    def __iter__(self) -> "RemoteIterator":
        return self

    def __next__(self) -> Any:
        """The next value, made over there."""
        return self._client.next(self._reference)


def _make_error(kind: type[Exception], described: dict[str, Any], message: str) -> Exception:
    """An exception with its plain arguments where its class takes them, else with its message."""
    for arguments in (described.get("arguments"), [message]):
        try:
            return kind(*(decode(argument) for argument in arguments)) if type(arguments) is list else kind(message)
        except (PlainDataError, TypeError, ValueError):
            continue
    return CandidateError(message)
