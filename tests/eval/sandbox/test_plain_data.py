"""Plain data between two processes: nothing is lost on the way, and nothing but plain data gets through."""

import array
import collections
import datetime
import decimal
import enum
import fractions
import json
import math
import os
import struct
import tracemalloc
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syntaxdiff.eval.sandbox.plain_data import (
    _DECODERS,
    MAX_MESSAGE_BYTES,
    Channel,
    PlainDataError,
    Reference,
    decode,
    encode,
    no_reference,
)

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.binary()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes().map(lambda moment: moment.replace(fold=0))  # which of two equal hours is no part of equality
    | st.timedeltas()
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
PLAIN = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4).map(collections.OrderedDict)
        | st.dictionaries(HASHABLE, inner, max_size=4).map(lambda items: collections.defaultdict(list, items))
        | st.sets(HASHABLE, max_size=4)
        | st.binary().map(bytearray)
    ),
    max_leaves=12,
)


def signature(value: Any) -> Any:
    """What distinguishes two values, with the exact types all the way down; nan is nan, and 0.0 is not -0.0."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else repr(value)
    if isinstance(value, complex):
        return kind, signature(value.real), signature(value.imag)
    if isinstance(value, dict):
        factory = getattr(value, "default_factory", None)
        return kind, factory, [(signature(key), signature(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(signature(item)) for item in value)
    if isinstance(value, list | tuple | collections.deque):
        return kind, getattr(value, "maxlen", None), [signature(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return kind, value.dtype.str, value.shape, signature(value.tolist())
    return kind, hex(value) if isinstance(value, int) else repr(value)


def travelled(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


@given(PLAIN)
@example("\ud83d\ude00")  # two halves that are not one character
@example([-0.0, math.inf, -math.inf, math.nan, complex(-0.0, math.nan), 2**53, 2**53 + 1, 10**5000])
@example({1: {(): {frozenset({1.0}), "a"}}, True and "b": bytearray(b"\x00")})
def test_values_arrive_as_they_were(value: Any) -> None:
    """Exactly the value, exactly its types, through JSON."""
    assert signature(travelled(value)) == signature(value)


@pytest.mark.parametrize(
    "value",
    [
        collections.Counter("abca"),
        collections.deque([1, 2], maxlen=3),
        array.array("d", [1.5, -0.0]),
        {1: 2}.keys(),
        {1: 2}.items(),
        slice(1, None, 2),
        ...,
        datetime.time(1, 2, 3, 4),
        decimal.Decimal("sNaN"),
        fractions.Fraction(-1, 3),
        int,
        type(None),
        np.float64(1.5),
        np.int8(-3),
        np.bool_(True),
        np.str_("é"),
        np.arange(6, dtype=">i2").reshape(2, 3)[:, ::2],
        np.array(1.5),
        np.zeros((0, 3)),
        np.array(["a", "bc"]),
        np.array([1, "a", None, [2]], dtype=object),
    ],
    ids=repr,
)
def test_further_types_arrive_as_they_were(value: Any) -> None:
    """So do the types that the references of the benchmarks return now and then."""
    if not isinstance(value, np.ndarray):
        assert type(travelled(value)) is type(value)
    assert signature(travelled(value)) == signature(value) or travelled(value) == value


def test_values_of_a_dictionary_arrive_in_order() -> None:
    """A view of values equals only itself, so its values are compared."""
    assert list(travelled({"a": 1, "b": [2]}.values())) == [1, [2]]


class Number(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class NumberOfNumber(Number):
    pass


class Count(int):
    """Leaves alone what compares it, and changes what does not."""

    def __int__(self) -> int:
        return 7

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 7


class Rehashed(int):
    __eq__ = int.__eq__
    __hash__ = int.__hash__


class Colour(enum.IntEnum):
    RED = 1


class Shade(enum.IntEnum):
    DARK = 1

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Word(enum.StrEnum):
    A = "a"


class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2


class Backwards(list[Any]):
    def __iter__(self) -> Any:
        return iter([9])

    def __len__(self) -> int:
        return 0


class Hidden(dict[Any, Any]):
    def items(self) -> Any:
        return []


class Text(str):
    def __str__(self) -> str:
        return "no"


class Real(float):
    def __float__(self) -> float:
        return 7.0


point = collections.namedtuple("point", "x y")


def of(base: type, *arguments: Any, **named: Any) -> Any:
    """An object of a subclass that changes nothing."""
    return type(f"Own{base.__name__}", (base,), {})(*arguments, **named)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (point(x=1, y=[2]), (1, [2])),
        (Count(3), 3),
        (Count(2**70), 2**70),
        (Rehashed(3), 3),
        (Colour.RED, 1),
        (Mode.READ | Mode.WRITE, 3),
        (Word.A, "a"),
        (Text("x"), "x"),
        (Real(2.5), 2.5),
        (Real("nan"), math.nan),
        (Backwards([1, Count(2)]), [1, 2]),
        (Hidden(a=Count(1)), {"a": 1}),
        ({Count(1): {Count(2)}, "a": (Word.A,)}, {1: {2}, "a": ("a",)}),
        (of(complex, 1, 2), 1 + 2j),
        (of(bytes, b"ab"), b"ab"),
        (of(bytearray, b"ab"), bytearray(b"ab")),
        (of(set, [1]), {1}),
        (of(frozenset, [1]), frozenset([1])),
        (of(tuple, [1, 2]), (1, 2)),
        (of(collections.deque, [1, 2], 2), collections.deque([1, 2], 2)),
        (of(collections.Counter, "aab"), collections.Counter("aab")),
        (of(collections.OrderedDict, a=1), collections.OrderedDict(a=1)),
        (of(collections.defaultdict, int, {1: 2}), collections.defaultdict(int, {1: 2})),
        (collections.defaultdict(lambda: 0, {1: 2}), collections.defaultdict(None, {1: 2})),
        (collections.OrderedDict(a=1).keys(), {"a": 1}.keys()),
        (of(array.array, "d", [1.5]), array.array("d", [1.5])),
        (of(fractions.Fraction, 1, 3), fractions.Fraction(1, 3)),
        (of(decimal.Decimal, "1.50"), decimal.Decimal("1.50")),
        (of(datetime.timedelta, 1, 2, 3), datetime.timedelta(1, 2, 3)),
        (of(datetime.date, 2020, 1, 2), datetime.date(2020, 1, 2)),
        (of(datetime.datetime, 2020, 1, 2, 3, tzinfo=datetime.UTC), datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC)),
        (of(datetime.time, 1, 2), datetime.time(1, 2)),
        (np.arange(3).view(type("Own", (np.ndarray,), {})), np.arange(3)),
        (np.ones((1, 2)).view(np.matrix), np.ones((1, 2))),
        (np.array([Count(1)], dtype=object), np.array([1], dtype=object)),
        (of(np.float64, 1.5), np.float64(1.5)),
        (collections.UserList([Count(1)]), [1]),
        (collections.UserDict(a=1), {"a": 1}),
        (collections.UserString("a"), "a"),
        (collections.ChainMap({1: 2}, {3: 4}), {3: 4, 1: 2}),
        (types.MappingProxyType({1: 2}), {1: 2}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_of_a_subclass_arrives_as_the_plain_value_that_it_is_compared_as(value: Any, plain: Any) -> None:
    """By the `__eq__` that it inherits: what else its class overrides has no say; so do the standard library's stand-ins."""
    assert signature(travelled(value)) == signature(plain)


@pytest.mark.parametrize(
    "value",
    [
        Number(3),
        NumberOfNumber(3),
        object(),
        print,
        iter([]),
        [object()],
        {1: Number(2)},
        type("T", (), {}),
        type("T", (collections.UserList,), {"__eq__": lambda self, other: True})([1]),
        Shade.DARK,
        types.SimpleNamespace(a=1),
        np.ma.array([1]),
        np.zeros(1, dtype=[("a", int)]).view(np.recarray),
        np.char.array(["a"]),
        np.datetime64("2020-01-01"),
        np.zeros(1, dtype=[("a", int)]),
        np.ones(1).view(type("T", (np.ndarray,), {"__eq__": lambda self, other: True})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_does_not_travel(value: Any) -> None:
    """An object of any other class, of a subclass with an `__eq__` of its own too, is refused or referred to, at any depth."""
    with pytest.raises(PlainDataError):
        encode(value, no_reference)
    assert "reference" in json.dumps(encode(value, lambda value: Reference(7, "object", type(value).__name__, True)))


def test_a_reference_is_to_the_object_itself() -> None:
    """Not to a plain view of it that cannot travel."""
    records, referred = np.zeros(1, dtype=[("a", int)]).view(np.recarray), []

    def refer(value: Any) -> Reference:
        referred.append(value)
        return Reference(7, "object", "", True)

    encode(records, refer)
    assert referred[0] is records


def test_a_reference_comes_back_to_its_owner() -> None:
    """A reference is resolved by who receives it, and refused where data must be plain."""
    data = encode([object()], lambda value: Reference(7, "object", "thing", True))
    assert decode(data, lambda reference: reference.number) == [7]
    with pytest.raises(PlainDataError):
        decode(data)


TAGS = (*_DECODERS, "reference", "pickle", "eval", "__class__")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(TAGS), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=1000)
@given(JSON)
@example({"dict": [1]})
@example({"set": [[]]})
@example({"ndarray": ["O", [1], "00" * 8]})
@example({"ndarray": ["<f8", [-1, -1], "00" * 8]})
@example({"defaultdict": ["eval"]})
@example({"type": "eval"})
@example({"array": ["Z", ""]})
@example({"int": "10", "str": ""})
def test_whatever_arrives_is_plain_or_refused(data: Any) -> None:
    """A decoder of hostile data gives exact types, or raises one error."""
    try:
        value = decode(data)
    except PlainDataError:
        return
    encode(value)  # no_reference refuses all that is not plain


def test_what_is_nested_too_deep_is_refused() -> None:
    """By both sides, instead of ending the process."""
    data: Any = []
    for _ in range(100_000):
        data = [data]
    with pytest.raises(RecursionError):
        encode(data)
    with pytest.raises(PlainDataError):
        decode(data)


@pytest.fixture
def pipes() -> Any:
    """A channel that hears itself, and the descriptor to write to."""
    read, write = os.pipe()
    yield Channel(read, write), write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_messages_arrive_one_by_one(pipes: Any) -> None:
    """Two messages sent are two received, and then there is none unread."""
    channel, _ = pipes
    channel.send({"a": 1})
    channel.send([])
    assert channel.has_unread()
    assert [channel.receive(), channel.receive()] == [{"a": 1}, []]
    assert not channel.has_unread()


@pytest.mark.parametrize("data", [struct.pack(">I", MAX_MESSAGE_BYTES + 1), struct.pack(">I", 2) + b"{]", struct.pack(">I", 0)])
def test_what_is_no_message_is_refused(pipes: Any, data: bytes) -> None:
    """Too long, no JSON, empty."""
    channel, write = pipes
    os.write(write, data)
    with pytest.raises(PlainDataError):
        channel.receive()


@pytest.mark.parametrize(
    "value",
    [bytes(MAX_MESSAGE_BYTES // 2 + 1), bytearray(60 << 20), "a" * (MAX_MESSAGE_BYTES + 1)],
    ids=["bytes", "bytearray", "str"],
)
def test_what_cannot_fit_is_refused_before_it_is_encoded(value: Any) -> None:
    """Its size is enough to refuse it: encoding would cost a program's seconds and memory, and name the wrong limit."""
    tracemalloc.start()
    try:
        with pytest.raises(PlainDataError, match="takes more than"):
            encode([1, value])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_closed_channel_is_reported(pipes: Any) -> None:
    """Also in the middle of a message."""
    channel, write = pipes
    os.write(write, struct.pack(">I", 10) + b"abc")
    os.close(write)
    assert channel.has_unread()
    with pytest.raises(EOFError):
        channel.receive()
    assert not channel.has_unread()
