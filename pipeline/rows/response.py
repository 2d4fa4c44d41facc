"""A response taken apart: reasoning, program, and the info string of the program's fence.

Where the row's own ``solution`` is given it decides: the program is the block that equals it, or the place where its text
stands. Without one a response can often be read in several ways, because a program may hold a fence or a closing tag in a
string, and people indent fences or write them inside a line. Then the first reading whose program parses is taken, in the order
of ``_readings``. A program that may have been cut is refused, never passed on. docs/data.md has the rules.

Which fields of a row hold a response is in record.py.
"""

import ast
import re
import textwrap
import warnings
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.rows.fields import MISSING
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.languages import language_of_fence

READINGS = ("block", "longer-block", "other-block", "indented-fence", "inline-fence", "solution-text")
MAX_PARSES = 48  # readings that are tried; degenerate text has thousands
MAX_PARSED_BYTES = 256 << 10  # tree-sitter is slow on what is not a program
MAX_OPENINGS = 16
MAX_FENCES = 512  # an answer with more is read only in the plain way
MAX_TAGS = 256  # the last of a response
MAX_BORDERS = 8
LINE_REACH = 200  # characters of a line next to a tag that are looked at
MAX_PLACES = 256

_FENCE_LINE = re.compile(r"^([ \t]{0,3})(`{3,}(?=[^`\n]*$)|~{3,})[ \t]*([^\n]*)\n?", re.MULTILINE)
_INDENTED_FENCE_LINE = re.compile(r"^([ \t]*)(`{3,}(?=[^`\n]*$)|~{3,})[ \t]*([^\n]*)\n?", re.MULTILINE)
_INLINE_OPENING = re.compile(r"(?<!`)`{3,}(?!`)[ \t]*([A-Za-z][\w+#.-]*)?(?:(?<=[\w+#.-])[ \t]+|[ \t]*\r?\n)")
_INLINE_CLOSING = re.compile(r"`{3,}")
_OPENS_BEFORE = re.compile(r"(`{3,}|~{3,})[ \t]*([^\n`]*?)[ \t]*(?:\r?\n)?[ \t]*\Z")
_THINK_OPEN = re.compile(r"^[ \t]*<think>", re.MULTILINE)
_THINK_CLOSE = "</think>"
_QUOTES = "`'\""

# A string or comment that is closed, or (in the group) the mark of one that is not.
_STRING = r'"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'"
_PYTHON_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' + r"'''(?:\\.|[^\\])*?'''|" + r'("""|' + r"''')|#[^\n]*|" + _STRING, re.DOTALL
)
_C_TEXT = re.compile(r"/\*.*?\*/|(/\*)|//[^\n]*|" + _STRING, re.DOTALL)
_TEMPLATE_TEXT = re.compile(r"/\*.*?\*/|(/\*)|//[^\n]*|`(?:\\.|[^`\\])*`|(`)|" + _STRING, re.DOTALL)
_TEXT_OF_LANGUAGE = {"python": _PYTHON_TEXT, "javascript": _TEMPLATE_TEXT, "typescript": _TEMPLATE_TEXT, "go": _TEMPLATE_TEXT}


class Answer(NamedTuple):
    """A response taken apart: reasoning, program, info string of its fence, and which of READINGS found it."""

    reasoning: str
    code: str
    tag: str
    reading: str = "block"


class Block(NamedTuple):
    """A fenced block: where its opening fence starts, its content, and its info string."""

    start: int
    code: str
    tag: str


def fenced_blocks(text: str) -> list[Block]:
    """The closed fenced blocks of a text.

    As in CommonMark a fence closes with as many of its signs as opened it, or more, alone on their line, and lines lose
    the indentation of the opening fence. One pass: text full of fences that never close takes no longer.
    """
    blocks = []
    opened: re.Match[str] | None = None
    for fence in _FENCE_LINE.finditer(text):
        if opened is None:
            opened = fence
        elif _closes(opened, fence):
            blocks.append(_block(text, opened, fence.start()))
            opened = None
    return blocks


def _closes(opened: re.Match[str], fence: re.Match[str]) -> bool:
    return fence[2].startswith(opened[2]) and not fence[3].strip()


def _block(text: str, opened: re.Match[str], end: int) -> Block:
    code = text[opened.end() : end]
    if opened[1]:
        code = re.sub(rf"^[ \t]{{1,{len(opened[1])}}}", "", code, flags=re.MULTILINE)
    return Block(opened.start(), code, opened[3].strip())


def parse_response(
    response: str, solution: str = "", *, language: str | None = None, default_language: str = "python"
) -> Answer:
    """Takes a response apart.

    Reasoning is what stands between ``<think>`` and the closing tag; without tags, the prose before the program. Fences inside
    the reasoning are part of it.

    Args:
        response: the whole answer of a model
        solution: the program as the row has it, alone, in a fence, or in an answer; empty or ``-`` where it has none
        language: of the program, where the row names one
        default_language: of a fence that names none

    Raises:
        RowError: ``unclosed-think``, ``no-code``, ``cut-program``, or ``solution-not-in-answer``
    """
    borders = _borders(response)
    solution = _unfenced(solution, language, default_language)
    if solution:
        return _with_solution(response, solution, borders)
    reader = _Reader(response, language, default_language)
    outcomes: list[Answer | RowError] = []
    for start in borders:
        outcome, parses = reader.read(start, only=len(borders) == 1)
        if parses and isinstance(outcome, Answer):
            return outcome
        outcomes.append(outcome)
    if isinstance(outcomes[0], RowError):
        raise outcomes[0]
    return outcomes[0]


def reasoning_of(response: str, code: str) -> str:
    """The reasoning of a response whose program is known; all of it where neither tags nor the program end it."""
    try:
        return parse_response(response, code).reasoning
    except RowError as error:
        if error.reason == "unclosed-think":
            raise
    start = _borders(response)[0]
    if start:
        return _thought(response, start)
    fence = _FENCE_LINE.search(response)
    return response[: fence.start()] if fence else response


# ------------------------------------------------------------------------------------------------ where the answer begins


def _borders(response: str) -> list[int]:
    """Where the answer may begin, best first: after each closing tag, or at 0 where there is none.

    A tag that has its line to itself comes before one at an end of a line, and that before one in mid-line; of equals the last
    comes first. A tag in quotes is a mention. Where all may be mentions, the response may have no reasoning in tags.
    """
    tags = [_rank_of_tag(response, match.start()) for match in deque(re.finditer(_THINK_CLOSE, response), maxlen=MAX_TAGS)]
    if not tags:
        return [0]
    ranked = sorted((rank, -end) for rank, end in tags)
    real = [-end for rank, end in ranked if rank < 3][:MAX_BORDERS]
    mentions = [-end for rank, end in ranked if rank == 3][:MAX_BORDERS]
    first_tag = min(end for _, end in tags) - len(_THINK_CLOSE)
    in_block = any(block.start < first_tag < block.start + len(block.code) for block in fenced_blocks(response))
    untagged = "<think>" not in response[:first_tag] and (in_block or not real)
    return [*real, *([0] if untagged else []), *mentions]


def _rank_of_tag(response: str, start: int) -> tuple[int, int]:
    end = start + len(_THINK_CLOSE)
    around = response[start - 1 : start], response[end : end + 1]
    if all(char and char in _QUOTES for char in around):
        return 3, end
    before = response[max(0, start - LINE_REACH) : start].rpartition("\n")[2].strip()
    after = response[end : end + LINE_REACH].partition("\n")[0].strip()
    return bool(before) + bool(after), end


def _thought(response: str, start: int) -> str:
    """The reasoning before an answer that begins at ``start``, its tags left out."""
    return response[: start - len(_THINK_CLOSE)].split("<think>", 1)[-1]


def _answer(response: str, start: int, block: Block, reading: str) -> Answer | RowError:
    """The answer whose program is a block of ``response[start:]``, unless a trace is open before it."""
    before = response[start : start + block.start]
    if _THINK_OPEN.search(before):
        return RowError("unclosed-think", "<think> is never closed: the trace was cut off")
    return Answer(_thought(response, start) if start else before, block.code, block.tag, reading)


# --------------------------------------------------------------------------------------------------------- by the solution


def _with_solution(response: str, solution: str, borders: list[int]) -> Answer:
    """The block that equals the solution, else the place where its text stands. Raises RowError."""
    wanted = _lines(solution)
    failure: RowError | None = None
    for start in borders:
        answer = response[start:]
        block = next((block for block in fenced_blocks(answer) if _lines(block.code) == wanted), None)
        reading = "block" if block else "solution-text"
        block = block or _place_of(answer, solution)
        if block is None:
            if _THINK_OPEN.search(answer):
                failure = failure or RowError("unclosed-think", "<think> is never closed: the trace was cut off")
            continue
        found = _answer(response, start, block, reading)
        if isinstance(found, Answer):
            return found
        failure = failure or found
    raise failure or RowError("solution-not-in-answer", "the text of the row's solution stands nowhere in its answer")


def _unfenced(solution: str, language: str | None, default_language: str) -> str:
    """A solution without the fence and the prose that it may stand in; empty where there is none.

    What parses as it stands is a program, whatever its strings hold.
    """
    if solution.strip() in ("", MISSING):
        return ""
    if "```" not in solution and "~~~" not in solution:
        return solution
    if not load_grammar(language or default_language).parse(solution.encode("utf-8", errors="replace")).root_node.has_error:
        return solution
    try:
        return parse_response(solution, language=language, default_language=default_language).code
    except RowError:
        return solution


def _lines(code: str) -> list[str]:
    """Lines without trailing blanks, and without the empty ones around them."""
    return [line.rstrip() for line in re.split(r"\r\n|\r|\n", code.strip())]


def _place_of(answer: str, solution: str) -> Block | None:
    """Where a program's text stands in an answer: as whole lines, as part of lines, or as lines indented further alike."""
    wanted = _lines(solution)
    lead = re.match(r"[ \t]*", solution.lstrip("\r\n"))
    assert lead is not None  # it matches nothing, too
    text = _Lines.of(answer)
    needle = "\n".join(wanted)
    in_mid_line: tuple[int, int] | None = None
    place = text.flat.find(needle)
    for _ in range(MAX_PLACES):
        if place < 0:
            break
        end = place + len(needle)
        before = text.flat[text.flat.rfind("\n", 0, place) + 1 : place]
        if not before.strip() and text.flat[end : end + 1] in ("", "\n"):
            return _placed(answer, text.offset(place - len(lead[0]) if before.endswith(lead[0]) else place), text.offset(end))
        is_apart = not _joins(text.flat[place - 1 : place], needle[0]) and not _joins(needle[-1], text.flat[end : end + 1])
        if in_mid_line is None and is_apart:
            in_mid_line = place, end
        place = text.flat.find(needle, place + 1)
    if in_mid_line is not None:
        return _placed(answer, *map(text.offset, in_mid_line))
    rows = (row for row, line in enumerate(text.lines) if line.endswith(wanted[0]))
    for _, row in zip(range(MAX_PLACES), rows, strict=False):
        lines = text.lines[row : row + len(wanted)]
        if _equal_but_for_indent(lines, wanted):
            block = _placed(answer, text.spans[row][0], text.spans[row + len(wanted) - 1][1])
            return block._replace(code=lead[0] + needle + "\n")
    return None


@dataclass(frozen=True)
class _Lines:
    """A text's lines without line ends and trailing blanks; ``flat`` joins them by a newline each.

    Attributes:
        spans: where each line stands in the text, half-open
        starts: where each begins in ``flat``
    """

    lines: list[str]
    spans: list[tuple[int, int]]
    starts: list[int]
    flat: str

    @classmethod
    def of(cls, text: str) -> "_Lines":
        """The lines of a text."""
        matches = re.finditer(r"[^\r\n]*(?:\r\n|\r|\n|\Z)", text)
        spans = [(match.start(), match.start() + len(match[0].rstrip())) for match in matches]
        lines = [text[start:end] for start, end in spans]
        starts = [0]
        for line in lines[:-1]:
            starts.append(starts[-1] + len(line) + 1)
        return cls(lines, spans, starts, "\n".join(lines))

    def offset(self, place: int) -> int:
        """Where a place in ``flat`` is in the text."""
        row = bisect_right(self.starts, place) - 1
        return self.spans[row][0] + place - self.starts[row]


def _joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    return bool(left and right) and (left + right).replace("_", "a").isalnum()


def _equal_but_for_indent(lines: list[str], wanted: list[str]) -> bool:
    """Whether lines are the wanted ones behind one and the same further indentation."""
    if len(lines) < len(wanted):
        return False
    indent = lines[0].removesuffix(wanted[0])
    return not indent.strip() and all(line == (indent + want if want else "") for line, want in zip(lines, wanted, strict=True))


def _placed(answer: str, start: int, end: int) -> Block:
    """A program at its place: with the tag of the fence that opens right before it, or that it stands in."""
    opening = _OPENS_BEFORE.search(answer[max(0, start - LINE_REACH) : start])
    if opening:
        return Block(max(0, start - LINE_REACH) + opening.start(), answer[start:end], opening[2].strip())
    around = [fence[3].strip() for fence in _INDENTED_FENCE_LINE.finditer(answer[:start]) if language_of_fence(fence[3])]
    return Block(start, answer[start:end], around[-1] if around else "")


# --------------------------------------------------------------------------------------------------- without a solution


@dataclass
class _Reader:
    """Tries the ways to read one response; parses no more than MAX_PARSES readings and MAX_PARSED_BYTES of them.

    Attributes:
        language: of the program, where the row names one
        default_language: of a fence that names none
    """

    response: str
    language: str | None
    default_language: str
    _num_parses: int = field(default=0, init=False)
    _num_bytes: int = field(default=0, init=False)

    def read(self, start: int, *, only: bool) -> tuple[Answer | RowError, bool]:
        """The best reading of the answer that begins at ``start``, and whether its program parses.

        Args:
            only: whether the answer can begin nowhere else: what can be read in only one way is not parsed
        """
        answer = self.response[start:]
        blocks = fenced_blocks(answer)
        named = [block for block in blocks if language_of_fence(block.tag)] or [block for block in blocks if not block.tag]
        if only and named and answer.count("```") + answer.count("~~~") == 2:
            return self._plain(start, named[-1]), True
        failure: RowError | None = None
        for block, reading in _readings(answer, named):
            if self._num_parses == MAX_PARSES:
                break
            if self._parses(block, strict=reading == "inline-fence"):
                found = _answer(self.response, start, block, reading)
                if isinstance(found, Answer):
                    return found, True
                failure = failure or found
        if failure is None and named:
            return self._plain(start, named[-1]), False
        return failure or self._no_code(start), False

    def _plain(self, start: int, block: Block) -> Answer | RowError:
        """The answer as CommonMark has it, unless a fence inside the program was taken for its end."""
        plain = _answer(self.response, start, block, "block")
        language = self._language_of(block)
        is_open = isinstance(plain, Answer) and _ends_inside_text(plain.code, language)
        if is_open and not self._parses(block, strict=False):
            return RowError("cut-program", "the program ends inside a string or a comment, and no later fence ends it")
        return plain

    def _no_code(self, start: int) -> RowError:
        answer = self.response[start:]
        if _THINK_OPEN.search(answer):
            return RowError("unclosed-think", "<think> is never closed: the trace was cut off")
        where = " after </think>" if start else ""
        if any(language_of_fence(fence[3]) for fence in islice(_INDENTED_FENCE_LINE.finditer(answer), MAX_FENCES)):
            return RowError("no-code", f"no closed fenced program{where}: a fence is opened and its program may be cut off")
        return RowError("no-code", f"no closed fenced program{where}")

    def _language_of(self, block: Block) -> str:
        return self.language or language_of_fence(block.tag) or self.default_language

    def _parses(self, block: Block, *, strict: bool) -> bool:
        """Whether a program has no syntax error; false where too much was tried already.

        Args:
            strict: ask Python's own parser, too: tree-sitter lets a function without a body pass
        """
        code = block.code.encode("utf-8", errors="replace")
        self._num_parses += 1
        if not code.strip() or self._num_bytes + len(code) > MAX_PARSED_BYTES:
            return False
        self._num_bytes += len(code)
        language = self._language_of(block)
        if load_grammar(language).parse(code).root_node.has_error:
            return False
        return not strict or language != "python" or _python_parses(block.code)


def _readings(answer: str, named: list[Block]) -> Iterator[tuple[Block, str]]:
    """The ways to read an answer, likeliest first; they overlap.

    The last block as CommonMark has it; the same up to a later fence, as a string of the program may hold fences; other blocks,
    and these up to a later fence; fences at any indentation; fences inside lines.

    Args:
        named: closed blocks in a known language, or, where there are none, those without a tag
    """
    if named:
        yield named[-1], "block"
    fences = list(islice(_FENCE_LINE.finditer(answer), MAX_FENCES + 1))
    if len(fences) > MAX_FENCES:
        return
    if named:
        for block in _up_to_each_fence(answer, fences, named[-1].start):
            yield block, "longer-block"
    for block in reversed(named[:-1]):
        yield block, "other-block"
    has_tags = any(language_of_fence(fence[3]) for fence in fences)
    openings = [fence for fence in fences if (language_of_fence(fence[3]) if has_tags else not fence[3].strip())]
    for opening in islice(reversed(openings), MAX_OPENINGS):
        for block in _up_to_each_fence(answer, fences, opening.start()):
            yield block, "longer-block"
    fences = list(islice(_INDENTED_FENCE_LINE.finditer(answer), MAX_FENCES))
    has_tags = has_tags or any(language_of_fence(fence[3]) for fence in fences)
    openings = [fence for fence in fences if (language_of_fence(fence[3]) if has_tags else not fence[3].strip())]
    for opening in islice(reversed(openings), MAX_OPENINGS):
        for block in _up_to_each_fence(answer, fences, opening.start()):
            yield block._replace(code=textwrap.dedent(block.code)), "indented-fence"
    yield from _inline_readings(answer)


def _up_to_each_fence(answer: str, fences: list[re.Match[str]], start: int) -> Iterator[Block]:
    """What the fence at ``start`` opens, up to each fence that may close it, the nearest first."""
    opened = next(fence for fence in fences if fence.start() == start)
    for fence in fences:
        if fence.start() > start and _closes(opened, fence):
            yield _block(answer, opened, fence.start())


def _inline_readings(answer: str) -> Iterator[tuple[Block, str]]:
    """What fences inside lines hold, the longest first: a comment may hold a fence, too, and what stands before it parses."""
    openings = list(islice(_INLINE_OPENING.finditer(answer), MAX_FENCES))
    has_tags = any(language_of_fence(opening[1] or "") for opening in openings)
    closings = [match.start() for match in _INLINE_CLOSING.finditer(answer)]
    openings = [opening for opening in openings if (language_of_fence(opening[1] or "") if has_tags else not opening[1])]
    for opening in islice(reversed(openings), MAX_OPENINGS):
        tag = opening[1] or ""
        for end in reversed(closings):
            if end >= opening.end():
                yield Block(opening.start(), answer[opening.end() : end], tag), "inline-fence"


def _python_parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that are none, in code that is not ours
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _ends_inside_text(code: str, language: str) -> bool:
    """Whether code ends inside a string or comment of several lines: a fence in it was taken for its end."""
    pattern = _TEXT_OF_LANGUAGE.get(language, _C_TEXT)
    return any(match.lastindex for match in pattern.finditer(code))
