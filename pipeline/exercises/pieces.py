"""What exercises are composed of: a domain that gives elements, filters, maps, a reduction, a guard and an ending.

Every piece holds its wordings and its code. Code is a template, a Python expression or statement in which names stand for
what is put in: the domain's variables (``x``, or ``a`` and ``b``), ``E`` for the mapped element, ``ACC`` for the accumulator,
``S`` for the elements as a sequence, ``R`` for the result. compose.py puts them together.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What all pieces have.

    Attributes:
        name: as compositions name it
        parameters: of the function, besides the domain's
        weight: how often it is drawn, relative to others of its kind
    """

    name: str
    parameters: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Domain(Piece):
    """Where elements come from.

    Attributes:
        kind: of its elements
        noun: of one element, and of several
        where: the phrase that says where they are: ``in xs``
        loops: headers of the loops, the outermost first
        variables: names that the loop variables may have, one tuple each choice, the first as templates spell them
        element: an expression of the loop variables, where that is not a variable itself
        is_list: whether ``S`` may be the parameter itself
    """

    kind: str
    noun: tuple[str, str]
    where: str
    loops: tuple[str, ...]
    variables: tuple[tuple[str, ...], ...]
    element: str | None = None
    is_list: bool = False


@dataclass(frozen=True, kw_only=True)
class Filter(Piece):
    """Keeps some elements.

    Attributes:
        kind: of the elements
        before: wordings that stand before the noun (``even``)
        after: wordings that stand after it (``greater than n``)
        condition: the template
        opposite: the template of its negation, for loops that continue
    """

    kind: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    condition: str
    opposite: str


@dataclass(frozen=True, kw_only=True)
class Map(Piece):
    """Turns an element into another.

    Attributes:
        kind: of what it takes
        result: kind of what it gives
        wordings: with ``{}`` for the elements
        expression: the template
    """

    kind: str
    result: str
    wordings: tuple[str, ...]
    expression: str


@dataclass(frozen=True, kw_only=True)
class Reduction(Piece):
    """Turns the elements into one result.

    Attributes:
        kinds: of elements that it takes; empty for all
        result: kind of the result, ``list`` of the elements' kind excepted
        wordings: with ``{}`` for the elements
        singular: wordings with ``{}`` for a single element, where nothing is mapped: ``the largest even number``
        names: that the accumulator may have
        start, step, end: statement before the loop, statements in it, and the result, as templates
        whole: the result as one expression of ``S``; None where there is none
        imports: a module that ``whole`` needs
    """

    kinds: tuple[str, ...] = ()
    result: str
    wordings: tuple[str, ...]
    singular: tuple[str, ...] = ()
    names: tuple[str, ...] = ("result",)
    start: tuple[str, ...] = ()
    step: tuple[str, ...]
    end: str
    whole: str | None = None
    imports: str | None = None

    @property
    def is_of_list(self) -> bool:
        """Whether the whole result can be made of a list."""
        return self.whole is not None and not self.whole.startswith("next(")

    @property
    def returns_early(self) -> bool:
        """Whether a loop returns the result before its end."""
        return any("return" in line for line in self.step)


@dataclass(frozen=True, kw_only=True)
class Guard(Piece):
    """What is looked at before anything else.

    Attributes:
        domains: that it suits; empty for all
        wordings: whole sentences
        lines: the template's lines
    """

    domains: tuple[str, ...] = ()
    wordings: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ending(Piece):
    """What becomes of the result.

    Attributes:
        kinds: of results that it takes
        wordings: whole sentences
        lines: statements, the last of them returns; ``R`` is the result
    """

    kinds: tuple[str, ...]
    wordings: tuple[str, ...]
    lines: tuple[str, ...]
