"""Arguments that exercises are tested with: by the names of parameters, near the values at which programs decide."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

Arguments: TypeAlias = dict[str, Any]
"""Arguments by parameter."""

WORDS = (
    *("apple", "Banana", "pear", "kiwi", "Fig", "a-b", "x", "level", "42", "7", "stone", "tree", "bee", "eel", "Eve", "e"),
    *("key=1", "# note", "  pad ", "one:two", "data-set-one", "pop", "prefix", "street", "under_score", "100", "Zed", "apple"),
)
KINDS = ("fruit", "tool", "book")
NAMES = ("pen", "apple", "saw", "pear", "atlas", "axe")
CHARACTERS = "aeiou xyzbcdABE19#=-:"
MAX_LENGTH = 7


def _near(rng: Random, drawn: Arguments) -> int:
    """A number, often at or beside one that the program compares with."""
    marks = [value for value in drawn.values() if type(value) is int] + [0, 10]
    if rng.random() < 0.45:
        return rng.choice(marks) + rng.randint(-1, 1)
    return rng.randint(-15, 30)


def _numbers(rng: Random, drawn: Arguments) -> list[int]:
    numbers = [_near(rng, drawn) for _ in range(rng.randint(0, MAX_LENGTH))]
    if numbers and rng.random() < 0.4:
        numbers.append(rng.choice(numbers))
    return numbers


def _word(rng: Random, drawn: Arguments) -> str:
    word = rng.choice(WORDS)
    if "prefix" in drawn and rng.random() < 0.4:
        word = drawn["prefix"] + word
    if "suffix" in drawn and rng.random() < 0.4:
        word += drawn["suffix"]
    if "n" in drawn and rng.random() < 0.4:
        word = (word * 9)[: max(1, drawn["n"] + rng.randint(-1, 1))]
    return word


def _words(rng: Random, drawn: Arguments) -> list[str]:
    words = [_word(rng, drawn) for _ in range(rng.randint(0, MAX_LENGTH))]
    if words and rng.random() < 0.4:
        words.append(rng.choice(words))
    return words


def _text(rng: Random, drawn: Arguments) -> str:
    shape = rng.randrange(3)
    if shape == 0:
        return "".join(rng.choice(CHARACTERS) for _ in range(rng.randint(0, 12)))
    return (" " if shape == 1 else "\n").join(_words(rng, drawn))


def _scores(rng: Random, drawn: Arguments) -> dict[str, int]:
    return {_word(rng, drawn): _near(rng, drawn) for _ in range(rng.randint(0, 6))}


def _items(rng: Random, drawn: Arguments) -> list[dict[str, Any]]:
    items = []
    for _ in range(rng.randint(0, 6)):
        item: dict[str, Any] = {"name": rng.choice(NAMES), "kind": rng.choice(KINDS), "price": abs(_near(rng, drawn))}
        if rng.random() < 0.7:
            item["count"] = rng.randint(0, 3)
        if rng.random() < 0.6:
            item["tag"] = rng.choice(("new", "old", None))
        items.append(item)
    return items


_DRAWS: dict[str, Callable[[Random, Arguments], Any]] = {
    "n": lambda rng, drawn: rng.choice((2, 3, 3, 4, 5, 7)),
    "low": lambda rng, drawn: rng.randint(-3, 5),
    "high": lambda rng, drawn: rng.randint(6, 14),
    "top": lambda rng, drawn: rng.randint(2, 15),
    "limit": lambda rng, drawn: rng.randint(0, 15),
    "factor": lambda rng, drawn: rng.choice((2, 3, 5)),
    "number": lambda rng, drawn: rng.choice((0, 7, 10, 42, 121, 909, 5050, rng.randint(0, 99999), rng.randint(0, 999))),
    "prefix": lambda rng, drawn: rng.choice(("a", "p", "st", "k")),
    "suffix": lambda rng, drawn: rng.choice(("e", "le", "r", "s")),
    "letter": lambda rng, drawn: rng.choice("aepx"),
    "kind": lambda rng, drawn: rng.choice(KINDS),
    "allowed": lambda rng, drawn: rng.sample(WORDS, 6),
    "xs": _numbers,
    "ys": _numbers,
    "grid": lambda rng, drawn: [_numbers(rng, drawn)[:4] for _ in range(rng.randint(0, 4))],
    "words": _words,
    "text": _text,
    "scores": _scores,
    "items": _items,
}
_COLLECTIONS = ("xs", "ys", "grid", "words", "text", "scores", "items")
_EMPTY = {"xs": [], "ys": [], "grid": [], "words": [], "text": "", "scores": {}, "items": [], "limit": 0, "number": 0}


def draw_inputs(parameters: Sequence[str], count: int, rng: Random, *, special: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Arguments of some calls: first an empty collection, then ``special`` values of the first parameter, then drawn ones."""
    calls = []
    firsts = [_EMPTY[parameters[0]], *special]
    for number in range(count):
        drawn: Arguments = {}
        for name in sorted(parameters, key=lambda name: name in _COLLECTIONS):
            drawn[name] = _DRAWS[name](rng, drawn)
        if number < len(firsts):
            drawn[parameters[0]] = firsts[number]
        calls.append(tuple(drawn[name] for name in parameters))
    return calls
