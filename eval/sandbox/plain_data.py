"""Plain data between two processes that do not trust each other: a strict, tagged encoding over pipes.

Neither pickle nor eval: what arrives is JSON, checked piece by piece, and becomes objects of exactly the built-in types named
here. An object of a class that is not named here stays where it is; what travels is a reference, a number that its owner
understands. docs/execution.md has the format.
"""

import array
import collections
import datetime
import decimal
import fractions
import json
import os
import select
import struct
import types
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_MESSAGE_BYTES = 64 << 20
_EXACT_IN_JSON = 2**53
_FACTORIES = {None: None, "int": int, "float": float, "str": str, "list": list, "dict": dict, "set": set, "tuple": tuple}
_FACTORY_NAMES = {factory: name for name, factory in _FACTORIES.items()}
_TYPES = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, type(None), object)
}
_NUMPY_KINDS = "biufcSU"


class PlainDataError(Exception):
    """What arrived is not in the format, or what should be sent cannot be."""


class Reference(NamedTuple):
    """An object that stays with its owner.

    Attributes:
        number: its key on the owner's side
        nature: ``callable``, ``iterator`` or ``object``
        type_name: of its class, for people
        is_mine: whether the sender owns it; else it comes back to its owner
    """

    number: int
    nature: str
    type_name: str
    is_mine: bool


Refer = Callable[[Any], Reference]
Resolve = Callable[[Reference], Any]


def no_reference(value: Any) -> Reference:
    """For data that must be plain all through."""
    raise PlainDataError(f"{type(value).__name__} is not plain data")


def encode(value: Any, refer: Refer = no_reference) -> Any:
    """A value as JSON holds it.

    An object of a subclass that inherits its base's ``__eq__`` travels as the value of the base that this compares; whatever
    else the subclass overrides is not asked. One with an ``__eq__`` of its own is not plain data.

    Args:
        value: anything
        refer: gives the reference of an object that is not plain data

    Raises:
        PlainDataError: there is no encoding
        RecursionError: it is nested too deep, or holds itself
    """
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind in _LEAST_BYTES and len(value) * _LEAST_BYTES[kind] > MAX_MESSAGE_BYTES:
        raise PlainDataError(f"a {kind.__name__} of length {len(value)} takes more than {MAX_MESSAGE_BYTES} bytes as data")
    if kind is int:
        return value if -_EXACT_IN_JSON <= value <= _EXACT_IN_JSON else {"int": hex(value)}
    if kind is str:
        return value if value.isascii() or _is_utf8(value) else {"str": value.encode("utf-32-le", "surrogatepass").hex()}
    if kind is list:
        return [encode(item, refer) for item in value]
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        tag, content = encoder(value)
        return {tag: [encode(item, refer) for item in content] if tag in _OF_VALUES else content}
    if kind is type and value in _TYPES.values():
        return {"type": value.__name__}
    if kind.__module__ == "numpy":
        encoded = _encode_numpy(value, refer)
        if encoded is not None:
            return encoded
    base = plain_base(kind)
    if base is not None:
        plain = _plain_value_of(base)(value)
        if not _is_numpy(type(plain)) or plain.dtype.kind in (*_NUMPY_KINDS, "O"):
            return encode(plain, refer)
    return {"reference": list(refer(value))}


def plain_base(kind: type) -> type | None:
    """The plain type that objects of another class are compared as, or None.

    It is the nearest one among the class's bases if the class has its ``__eq__``, not one of its own or of a class between.
    """
    bases = kind.__mro__ if kind in _STANDING_IN else kind.__mro__[1:]
    base = next((base for base in bases if _plain_value_of(base) is not None), None)
    if base is None or _is_numpy(kind) or _equality_of(kind) is not _equality_of(base):
        return None
    return base


def _equality_of(kind: type) -> Any:
    return next(vars(base)["__eq__"] for base in kind.__mro__ if "__eq__" in vars(base))


def _plain_value_of(base: type) -> Any:
    """What makes an object of exactly this type, or of the one that it stands in for, of one of a subclass; or None."""
    if _is_numpy(base):
        if base.__name__ == "ndarray":
            return lambda value: base.view(value, base)  # type: ignore[attr-defined]
        return lambda value: base.__array__(value)[()]  # type: ignore[attr-defined]
    return _PLAIN_VALUES.get(base) or _STANDING_IN.get(base)


def _is_numpy(kind: type) -> bool:
    """Whether numpy has a class as an array or a scalar of its own, not as a subclass of one."""
    if kind.__module__ != "numpy":
        return False
    import numpy as np

    return kind is np.ndarray or (issubclass(kind, np.generic) and kind is not np.generic)


def decode(data: Any, resolve: Resolve | None = None) -> Any:
    """The value of its encoding, of exact built-in types.

    Args:
        data: what ``json.loads`` gave
        resolve: the object of a reference; none are taken without

    Raises:
        PlainDataError: it is not in the format
    """
    try:
        return _decode(data, resolve)
    except PlainDataError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise PlainDataError(f"not in the format ({type(error).__name__}: {error})") from None


class Channel:
    """Messages between two processes over two pipes: four bytes of length, then JSON."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd

    def send(self, message: Any) -> None:
        """Sends one message.

        Raises:
            PlainDataError: it is too long
            OSError: the other side is closed
        """
        data = json.dumps(message, separators=(",", ":")).encode("ascii")
        if len(data) > MAX_MESSAGE_BYTES:
            raise PlainDataError(f"{len(data)} bytes of data in one value, more than {MAX_MESSAGE_BYTES}")
        view = memoryview(struct.pack(">I", len(data)) + data)
        while view:
            view = view[os.write(self._write_fd, view) :]

    def receive(self) -> Any:
        """Waits for one message.

        Raises:
            EOFError: the other side is gone
            PlainDataError: it is not a message
        """
        (length,) = struct.unpack(">I", self._read_exactly(4))
        if length > MAX_MESSAGE_BYTES:
            raise PlainDataError(f"a message of {length} bytes was announced, more than {MAX_MESSAGE_BYTES}")
        try:
            return json.loads(self._read_exactly(length))
        except (ValueError, RecursionError) as error:
            raise PlainDataError(f"a message is no JSON ({error})") from None

    def has_unread(self) -> bool:
        """Whether an unrequested message arrived; a closed channel does not count."""
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def _read_exactly(self, length: int) -> bytes:
        parts = []
        while length:
            part = os.read(self._read_fd, min(length, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# The fewest bytes of JSON that an element takes. What cannot fit is refused before time and memory go into encoding it.
_LEAST_BYTES: dict[type, int] = {str: 1, bytes: 2, bytearray: 2, list: 2, tuple: 2, set: 2, frozenset: 2, dict: 4}

# What each type sends: a tag, and its content. Contents of the tags in _OF_VALUES are values themselves.
_OF_VALUES = frozenset(
    ("tuple", "set", "frozenset", "dict", "deque", "Counter", "OrderedDict", "defaultdict", "keys", "values", "items", "slice")
)
_ENCODERS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    tuple: lambda value: ("tuple", value),
    dict: lambda value: ("dict", _flat(value.items())),
    set: lambda value: ("set", value),
    frozenset: lambda value: ("frozenset", value),
    complex: lambda value: ("complex", [value.real, value.imag]),
    bytes: lambda value: ("bytes", value.hex()),
    bytearray: lambda value: ("bytearray", value.hex()),
    range: lambda value: ("range", [hex(value.start), hex(value.stop), hex(value.step)]),
    slice: lambda value: ("slice", [value.start, value.stop, value.step]),
    type(...): lambda value: ("ellipsis", None),
    collections.deque: lambda value: ("deque", [value.maxlen, *value]),
    collections.Counter: lambda value: ("Counter", _flat(value.items())),
    collections.OrderedDict: lambda value: ("OrderedDict", _flat(value.items())),
    collections.defaultdict: lambda value: ("defaultdict", [_factory_name(value.default_factory), *_flat(value.items())]),
    type({}.keys()): lambda value: ("keys", list(value)),
    type({}.values()): lambda value: ("values", list(value)),
    type({}.items()): lambda value: ("items", _flat(value)),
    array.array: lambda value: ("array", [value.typecode, value.tobytes().hex()]),
    decimal.Decimal: lambda value: ("Decimal", str(value)),
    fractions.Fraction: lambda value: ("Fraction", [hex(value.numerator), hex(value.denominator)]),
    datetime.date: lambda value: ("date", value.isoformat()),
    datetime.time: lambda value: ("time", value.isoformat()),
    datetime.datetime: lambda value: ("datetime", value.isoformat()),
    datetime.timedelta: lambda value: ("timedelta", [value.days, value.seconds, value.microseconds]),
}


# The value of a base that an object of a subclass has, taken by the base's own methods: the subclass may override its own.
_PLAIN_VALUES: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    collections.deque: lambda value: collections.deque(
        collections.deque.__iter__(value), collections.deque.maxlen.__get__(value)
    ),
    collections.Counter: lambda value: collections.Counter(dict(dict.items(value))),
    collections.OrderedDict: lambda value: collections.OrderedDict(collections.OrderedDict.items(value)),
    collections.defaultdict: lambda value: collections.defaultdict(
        vars(collections.defaultdict)["default_factory"].__get__(value), dict.items(value)
    ),
    type({}.keys()): lambda value: dict.fromkeys(value).keys(),
    type({}.values()): lambda value: dict(enumerate(value)).values(),
    type({}.items()): lambda value: dict(value).items(),
    array.array: lambda value: array.array.__getitem__(value, slice(None)),
    decimal.Decimal: decimal.Decimal,
    fractions.Fraction: lambda value: fractions.Fraction(
        fractions.Fraction.numerator.__get__(value), fractions.Fraction.denominator.__get__(value)
    ),
    datetime.date: lambda value: datetime.date.fromisoformat(datetime.date.isoformat(value)),
    datetime.time: lambda value: datetime.time.fromisoformat(datetime.time.isoformat(value)),
    datetime.datetime: lambda value: datetime.datetime.fromisoformat(datetime.datetime.isoformat(value)),
    datetime.timedelta: lambda value: datetime.timedelta(
        datetime.timedelta.days.__get__(value),
        datetime.timedelta.seconds.__get__(value),
        datetime.timedelta.microseconds.__get__(value),
    ),
}
# Classes of the standard library that are equal to the plain data that they hold, and that data.
_STANDING_IN: dict[type, Callable[[Any], Any]] = {
    collections.UserList: lambda value: value.data,
    collections.UserDict: lambda value: value.data,
    collections.UserString: lambda value: value.data,
    collections.ChainMap: dict,
    types.MappingProxyType: dict,
}


def _factory_name(factory: Any) -> str | None:
    """The name of a plain type; None of another factory, which has no part in comparisons."""
    return next((name for kind, name in _FACTORY_NAMES.items() if kind is factory), None)


def _flat(pairs: Any) -> list[Any]:
    """Keys and values in turn."""
    return [item for pair in pairs for item in pair]


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    if len(values) % 2:
        raise PlainDataError("a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))


def _integer(text: Any) -> int:
    if type(text) is not str:
        raise PlainDataError("an integer is no text")
    return int(text, 16)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": _integer,
    "str": lambda content: bytes.fromhex(content).decode("utf-32-le", "surrogatepass"),
    "tuple": tuple,
    "dict": lambda values: dict(_pairs(values)),
    "set": set,
    "frozenset": frozenset,
    "complex": lambda content: complex(*map(_real, _sized(content, 2))),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda content: range(*map(_integer, _sized(content, 3))),
    "slice": lambda values: slice(*_sized(values, 3)),
    "ellipsis": lambda content: ...,
    "deque": lambda values: collections.deque(values[1:], values[0]),
    "Counter": lambda values: collections.Counter(dict(_pairs(values))),
    "OrderedDict": lambda values: collections.OrderedDict(_pairs(values)),
    "defaultdict": lambda values: collections.defaultdict(_FACTORIES[values[0]], _pairs(values[1:])),
    "keys": lambda values: dict.fromkeys(values).keys(),
    "values": lambda values: dict(enumerate(values)).values(),
    "items": lambda values: dict(_pairs(values)).items(),
    "array": lambda content: _array(*_sized(content, 2)),
    "Decimal": decimal.Decimal,
    "Fraction": lambda content: fractions.Fraction(*map(_integer, _sized(content, 2))),
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "timedelta": lambda content: datetime.timedelta(*map(_whole, _sized(content, 3))),
    "type": lambda content: _TYPES[content],
    "scalar": lambda content: _decode_numpy(content)[()],
    "ndarray": lambda content: _decode_numpy(content),
    "objects": lambda values: _decode_objects(values),
}


def _decode(data: Any, resolve: Resolve | None) -> Any:
    kind = type(data)
    if data is None or kind is bool or kind is int or kind is float or kind is str:
        return data
    if kind is list:
        return [_decode(item, resolve) for item in data]
    if kind is not dict or len(data) != 1:
        raise PlainDataError("neither a value nor one tag")
    ((tag, content),) = data.items()
    if tag == "reference":
        if resolve is None:
            raise PlainDataError("a reference where data must be plain")
        number, nature, type_name, is_mine = content
        if type(number) is not int or type(nature) is not str or type(type_name) is not str or type(is_mine) is not bool:
            raise PlainDataError("a reference of other parts")
        return resolve(Reference(number, nature, type_name, is_mine))
    if tag in _OF_VALUES or tag == "objects":
        if type(content) is not list:
            raise PlainDataError(f"{tag} is no list")
        content = [_decode(item, resolve) for item in content]
    decoder = _DECODERS.get(tag)
    if decoder is None:
        raise PlainDataError(f"unknown tag {tag!r:.40}")
    return decoder(content)


def _sized(content: Any, length: int) -> list[Any]:
    if type(content) is not list or len(content) != length:
        raise PlainDataError(f"not a list of {length}")
    return content


def _real(value: Any) -> float:
    if type(value) is not float:
        raise PlainDataError("a part of a complex number is no float")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise PlainDataError("not an integer")
    return value


def _array(typecode: str, content: str) -> Any:
    numbers: Any = array.array(typecode)
    numbers.frombytes(bytes.fromhex(content))
    return numbers


def _encode_numpy(value: Any, refer: Refer) -> Any:
    """Arrays and scalars of numbers and strings, arrays of objects; None for what else numpy has."""
    import numpy as np

    if type(value) is not np.ndarray and not isinstance(value, np.generic):
        return None
    if value.dtype.kind in _NUMPY_KINDS:
        tag = "ndarray" if type(value) is np.ndarray else "scalar"
        return {tag: [value.dtype.str, list(value.shape), value.tobytes().hex()]}
    if value.dtype.kind == "O" and type(value) is np.ndarray:
        return {"objects": [encode(item, refer) for item in (list(value.shape), *value.ravel().tolist())]}
    return None


def _decode_numpy(content: Any) -> Any:
    import numpy as np

    name, shape, data = _sized(content, 3)
    dtype = np.dtype(name) if type(name) is str else None
    if dtype is None or dtype.kind not in _NUMPY_KINDS:
        raise PlainDataError("an array of other things than numbers and strings")
    return np.frombuffer(bytes.fromhex(data), dtype).reshape([_whole(size) for size in shape]).copy()


def _decode_objects(values: list[Any]) -> Any:
    import numpy as np

    shape, *objects = values
    flat = np.empty(len(objects), dtype=object)
    flat[:] = objects
    return flat.reshape([_whole(size) for size in shape])
