"""The candidate's side: runs a program, and answers calls of what it defines.

This process is confined before it gets here (jail.py), and nothing that it says is trusted: the tests and what they expect are
in another process (tester.py), to which only plain data goes (plain_data.py).
"""

import sys
import types
from collections.abc import Callable
from typing import Any

from syntaxdiff.eval.sandbox.plain_data import Channel, PlainDataError, Reference, decode, encode, plain_base

_MODULE = "candidate"
_MUTABLE_TAGS = ("dict", "set", "bytearray", "deque", "Counter", "OrderedDict", "defaultdict", "array", "ndarray", "objects")


def serve(read_fd: int, write_fd: int) -> None:
    """Answers until the tester hangs up."""
    channel = Channel(read_fd, write_fd)
    side = _Candidate(channel)
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        side.answer(request)


class _Candidate:
    """What a program defined, and the objects that the tester holds references to."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._module = types.ModuleType(_MODULE)
        sys.modules[_MODULE] = self._module
        self._objects: dict[int, Any] = {}

    def answer(self, request: dict[str, Any]) -> None:
        """Does what one request asks and sends the reply, which bears its number."""
        try:
            reply = getattr(self, f"_do_{request['do']}")(request)
        except BaseException as error:  # SystemExit too: all are reported to the tester
            reply = {"raised": self._describe(error)}
        try:
            self._channel.send({"number": request["number"], **reply})
        except (PlainDataError, MemoryError) as error:
            self._channel.send({"number": request["number"], "raised": self._describe(error)})

    def _do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Runs the program. A compile error is reported apart from errors of the program."""
        try:
            code = compile(decode(request["program"]), "<candidate>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            return {"refused": f"{type(error).__name__}: {error}"[:500]}
        exec(code, self._module.__dict__)
        return {"value": None}

    def _do_call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Calls a name of the program, or an object; reports what became of mutable arguments."""
        function = self._target(request)
        arguments = [decode(argument, self._resolve) for argument in request["arguments"]]
        named = {decode(name): decode(value, self._resolve) for name, value in request["named"]}
        result = function(*arguments, **named)
        is_kept = request["keeps"] and isinstance(function, type) and plain_base(type(result)) is not None
        value = {"reference": list(self._refer(result))} if is_kept else encode(result, self._refer)
        changed = []
        for index, (argument, before) in enumerate(zip(arguments, request["arguments"], strict=True)):
            if type(before) is list or (type(before) is dict and next(iter(before)) in _MUTABLE_TAGS):
                after = encode(argument, self._refer)
                if after != before:
                    changed.append([index, after])
        return {"value": value, "changed": changed}

    def _do_get(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"value": encode(getattr(self._objects[request["object"]], decode(request["name"])), self._refer)}

    def _do_set(self, request: dict[str, Any]) -> dict[str, Any]:
        setattr(self._objects[request["object"]], decode(request["name"]), decode(request["value"], self._resolve))
        return {"value": None}

    def _do_next(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"value": encode(next(self._objects[request["object"]]), self._refer)}
        except StopIteration:
            return {"exhausted": True}

    def _target(self, request: dict[str, Any]) -> Any:
        if request["object"] is not None:
            return self._objects[request["object"]]
        name = decode(request["name"])
        if name not in self._module.__dict__:
            raise NameError(f"name {name!r} is not defined")
        return self._module.__dict__[name]

    def _refer(self, value: Any) -> Reference:
        """A reference to an object of this side."""
        if type(value) is _Callback:
            return Reference(value.number, "callable", "function", False)
        self._objects[len(self._objects)] = value
        nature = "iterator" if hasattr(type(value), "__next__") else "callable" if callable(value) else "object"
        return Reference(len(self._objects) - 1, nature, type(value).__name__[:100], True)

    def _resolve(self, reference: Reference) -> Any:
        return _Callback(self, reference.number) if reference.is_mine else self._objects[reference.number]

    def call_back(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Calls a function of the tests, and answers what it asks meanwhile."""
        encoded = [encode(argument, self._refer) for argument in arguments]
        encoded_named = [[encode(name), encode(value, self._refer)] for name, value in named.items()]
        self._channel.send({"callback": number, "arguments": encoded, "named": encoded_named})
        while True:
            message = self._channel.receive()
            if "do" not in message:
                break
            self.answer(message)
        if "raised" in message:
            raise RuntimeError(f"a function of the tests raised {message['raised']}")
        return decode(message["value"], self._resolve)

    def _describe(self, error: BaseException) -> dict[str, Any]:
        """An exception as plain data: the names of its classes, its message, its arguments where they are plain."""
        names = [kind.__name__[:100] for kind in type(error).__mro__ if kind is not object]
        message = _attempt(lambda: str(error)[:1000], "")
        return {
            "types": names,
            "message": message,
            "arguments": _attempt(lambda: [encode(argument) for argument in error.args], []),
        }


class _Callback:
    """A function of the tests, as the candidate sees it."""

    __slots__ = ("_side", "number")

    def __init__(self, side: _Candidate, number: int) -> None:
        self._side = side
        self.number = number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._side.call_back(self.number, arguments, named)


def _attempt(make: Callable[[], Any], otherwise: Any) -> Any:
    """What a function gives, or something else where the candidate's classes make it fail."""
    try:
        return make()
    except BaseException:
        return otherwise
