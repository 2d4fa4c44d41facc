"""A composition of pieces as a statement and as a program, in one of several styles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from syntaxdiff.pipeline.exercises.pieces import Domain, Ending, Filter, Guard, Map, Piece, Reduction
from syntaxdiff.pipeline.exercises.templates import block, substitute

FUNCTION = "solve"
INDENT = "    "


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What a program does, however it is worded and written."""

    domain: Domain
    filters: tuple[Filter, ...]
    maps: tuple[Map, ...]
    reduction: Reduction
    guard: Guard | None = None
    ending: Ending | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them, in the order in which they act."""
        return tuple(
            piece
            for piece in (self.domain, self.guard, *self.filters, *self.maps, self.reduction, self.ending)
            if piece is not None
        )

    @property
    def name(self) -> str:
        """Names of the pieces: ``numbers even square sum``."""
        return " ".join(piece.name for piece in self.pieces)

    @property
    def depth(self) -> int:
        """Number of pieces that act on elements or results: all but the domain."""
        return len(self.pieces) - 1

    @property
    def parameters(self) -> tuple[str, ...]:
        """Parameters of the function: the domain's, then the others in the alphabet's order."""
        others = {name for piece in self.pieces[1:] for name in piece.parameters}
        first = next(piece for piece in self.pieces if isinstance(piece, Domain)).parameters
        return (*first, *sorted(others - set(first)))

    @property
    def header(self) -> str:
        """The line that opens the function."""
        return f"def {FUNCTION}({', '.join(self.parameters)}):"


# ------------------------------------------------------------------------------------------------------------ the statement


def statement(composition: Composition, rng: Random) -> str:
    """One of the wordings."""
    reduction = composition.reduction
    if not composition.maps and reduction.singular and rng.random() < 0.5:
        text = rng.choice(reduction.singular).format(elements_text(composition, rng, plural=False))
    else:
        elements = f"the {elements_text(composition, rng, plural=True)}"
        for piece in composition.maps:
            elements = rng.choice(piece.wordings).format(elements)
        text = rng.choice(reduction.wordings).format(elements)
    sentences = [text]
    if composition.guard is not None:
        sentences.insert(rng.randrange(2), rng.choice(composition.guard.wordings))
    if composition.ending is not None:
        sentences.append(rng.choice(composition.ending.wordings))
    return " ".join(sentences)


def elements_text(composition: Composition, rng: Random, *, plural: bool) -> str:
    """``even numbers in xs greater than n``."""
    before: list[str] = []
    after: list[str] = []
    for piece in composition.filters:
        wordings = [(True, text) for text in piece.before] + [(False, text) for text in piece.after]
        stands_before, text = rng.choice(wordings)
        (before if stands_before else after).append(text)
    words = [*before, composition.domain.noun[plural], composition.domain.where]
    if after:
        words.append(" and ".join(after))
    return " ".join(words)


# -------------------------------------------------------------------------------------------------------------- the program


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a program is written.

    Attributes:
        shape: ``loop``, ``continue``, ``expression`` or ``staged``
        variables: index of the loop variables among the domain's choices
        accumulator: index among the reduction's names
        names_element: whether a loop gives the mapped element a name
        comment: what stands before the loop or the expression; none where it is empty
    """

    shape: str
    variables: int = 0
    accumulator: int = 0
    names_element: bool = False
    comment: str = ""


def program(composition: Composition, style: Style) -> str:
    """The program, with a newline at its end."""
    parts = _Parts(composition, style)
    reduction = composition.reduction
    if style.shape in ("expression", "staged"):
        body = parts.expression(staged=style.shape == "staged")
    else:
        body = parts.loop(continues=style.shape == "continue")
    comment = [f"# {style.comment}"] if style.comment else []
    imports = [f"import {reduction.imports}"] if reduction.imports and style.shape in ("expression", "staged") else []
    body = [*imports, *parts.guard(), *comment, *body]
    return "\n".join((composition.header, *(INDENT + line for line in body), ""))


class _Parts:
    """Parts of a program's body, each as lines."""

    def __init__(self, composition: Composition, style: Style) -> None:
        domain, reduction = composition.domain, composition.reduction
        self._composition = composition
        self._style = style
        choice = domain.variables[style.variables % len(domain.variables)]
        self._variables = dict(zip(domain.variables[0], choice, strict=True))
        self._accumulator = reduction.names[style.accumulator % len(reduction.names)]
        self._elements = dict(self._variables)
        if domain.element is not None:
            self._elements = {domain.variables[0][0]: substitute(domain.element, self._variables)}

    def guard(self) -> list[str]:
        guard = self._composition.guard
        return [] if guard is None else block(guard.lines, {})

    def loop(self, *, continues: bool) -> list[str]:
        """The result by a loop and an accumulator."""
        composition, reduction = self._composition, self._composition.reduction
        element = self._mapped()
        inner: list[str] = []
        if self._style.names_element and composition.maps:
            inner.append(f"mapped = {element}")
            element = "mapped"
        names = {"ACC": self._accumulator, "E": element}
        inner += block(reduction.step, names)
        if composition.filters:
            if continues:
                inner = [f"if {self._opposite()}:", f"{INDENT}continue", *inner]
            else:
                inner = [f"if {self._condition()}:", *(INDENT + line for line in inner)]
        headers = self._headers()
        return [
            *(block(reduction.start, names) if reduction.start else []),
            *(f"{INDENT * level}{header}:" for level, header in enumerate(headers)),
            *(INDENT * len(headers) + line for line in inner),
            *self._end(substitute(reduction.end, names)),
        ]

    def expression(self, *, staged: bool) -> list[str]:
        """The result as one expression, or of a list that is made first."""
        composition, template = self._composition, self._composition.reduction.whole
        assert template is not None
        if not composition.filters and not composition.maps and composition.domain.is_list and "[S]" not in template:
            return self._end(_of_sequence(template, composition.domain.parameters[0]))
        clauses = [self._mapped(), *self._headers()]
        if composition.filters:
            clauses.append(f"if {self._condition()}")
        elements = " ".join(clauses)
        if staged:
            return [f"values = [{elements}]", *self._end(_of_sequence(template, "values"))]
        result = template.replace("[S]", f"[{elements}]").replace("(S)", f"({elements})")
        return self._end(_of_sequence(result, f"({elements})"))

    def _end(self, result: str) -> list[str]:
        ending = self._composition.ending
        if ending is None:
            return [f"return {result}"]
        if sum(len(re.findall(r"\bR\b", line)) for line in ending.lines) == 1:
            return block(ending.lines, {"R": result})
        name = result if result.isidentifier() else "answer"
        return [*([] if name == result else [f"{name} = {result}"]), *block(ending.lines, {"R": name})]

    def _headers(self) -> list[str]:
        """``for x in xs``, the outermost first."""
        return [
            re.sub(r"\b\w+\b", lambda match: self._variables.get(match[0], match[0]), header)
            for header in self._composition.domain.loops
        ]

    def _condition(self) -> str:
        return substitute(" and ".join(f"({piece.condition})" for piece in self._composition.filters), self._elements)

    def _opposite(self) -> str:
        return substitute(" or ".join(f"({piece.opposite})" for piece in self._composition.filters), self._elements)

    def _mapped(self) -> str:
        """The element after all maps, as an expression of the loop variables."""
        names = self._elements
        variables = list(names.values())
        result = variables[0] if len(variables) == 1 else f"({', '.join(variables)})"
        for piece in self._composition.maps:
            result = substitute(piece.expression, names)
            names = {"x": result}
        return result


def _of_sequence(template: str, sequence: str) -> str:
    """A reduction's template with the elements put in."""
    return re.sub(r"\[S\]|\bS\b", lambda _: sequence, template)


def shapes(composition: Composition, wanted: Sequence[str]) -> list[str]:
    """Those of some shapes that a composition can take."""
    possible = {
        "loop": True,
        "continue": bool(composition.filters),
        "expression": composition.reduction.whole is not None,
        "staged": composition.reduction.is_of_list and bool(composition.filters or composition.maps),
    }
    return [shape for shape in wanted if possible[shape]]
