"""Syntax in the loop: where a finished program does not parse, the tokens at fault are hidden and denoised again.

The program is the last fenced block of a known language that the model wrote at least in part, or the whole text where the
prompt is code, not a chat. Tokens of ERROR nodes outside of their sound subtrees, tokens next to a MISSING node, and the
least confident tokens around both are masked and filled with the text on both sides in view; the version with fewer error
bytes stays. The number of tokens stays the same, so a missing token can only replace another one. tree-sitter forgives some
of what a compiler does not.

Shapes: T tokens.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from syntaxdiff.eval.inference.answer import Repair, answer_end
from syntaxdiff.eval.inference.canvas import Canvas
from syntaxdiff.eval.inference.sampler import Sampler
from syntaxdiff.pipeline.syntax.alignment import anchors
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.languages import language_of_fence
from syntaxdiff.pipeline.syntax.spans import read_nodes
from syntaxdiff.pipeline.tokens.codec import Codec

NEAR_TOKENS = 4  # in the first round; twice as many in each further one
MIN_NEAR_HIDDEN = 2
MOST_HIDDEN = 0.5  # of the written tokens of a program: one that is wrong all over is not worth more
_FENCE = re.compile(rb"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)


class Program(NamedTuple):
    """Bytes [start, end) of a text that are a program, and its language."""

    start_byte: int
    end_byte: int
    language: str


class Faults(NamedTuple):
    """What is wrong with a program.

    ``error_bytes``: bytes under ERROR nodes, and one for each MISSING node. ``is_faulty``: bool, by byte: under an ERROR node,
    but not in a sound subtree below it. ``missing``: bytes at which something is missing.
    """

    error_bytes: int
    is_faulty: npt.NDArray[np.bool_]
    missing: list[int]


def find_program(text: bytes, turn_from: int | None, written_from: int, language: str) -> Program | None:
    """The program in a text.

    Args:
        text: UTF-8 of prompt and answer
        turn_from: in a chat, where the assistant's turn begins, and only a fenced block is a program; None: there are no
            turns, and a text without fences is a program
        written_from: where what was written begins; blocks that end before it are given ones
        language: of code that no fence names
    """
    first = max(turn_from or 0, text.rfind(b"</think>", turn_from or 0))
    blocks: list[tuple[int, int, str]] = []
    opened: re.Match[bytes] | None = None
    for fence in _FENCE.finditer(text[first:]):  # cut, so that the turn begins a line
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            blocks.append((first + opened.end() + 1, first + fence.start(), opened[2].decode(errors="replace")))
            opened = None
    if opened is not None:  # the text ends inside of it
        blocks.append((min(first + opened.end() + 1, len(text)), len(text), opened[2].decode(errors="replace")))
    for start, end, tag in reversed(blocks):
        named = language_of_fence(tag) if tag.strip() else language
        if named is not None and end > written_from:
            return Program(start, end, named)
    return None if turn_from is not None or blocks else Program(0, len(text), language)


def find_faults(code: bytes, language: str) -> Faults:
    """What tree-sitter finds wrong with a program."""
    grammar = load_grammar(language)
    nodes, has_error = read_nodes(code, grammar)
    is_faulty = np.zeros(len(code), dtype=bool)
    if not has_error:
        return Faults(0, is_faulty, [])
    is_error = nodes.kind == grammar.dense_kind[0xFFFF]
    missing = nodes.start_byte[~nodes.sound & (nodes.arity == 0) & ~is_error].tolist()
    for start, end in zip(nodes.start_byte[is_error], nodes.end_byte[is_error], strict=True):
        is_faulty[start:end] = True
    under_error = is_faulty.copy()
    is_sound_tree = nodes.sound & (nodes.arity > 0)
    for start, end in zip(nodes.start_byte[is_sound_tree], nodes.end_byte[is_sound_tree], strict=True):
        is_faulty[start:end] = False
    if not is_faulty.any():  # sound parts that do not fit together
        is_faulty = under_error
    return Faults(int(under_error.sum()) + len(missing), is_faulty, missing)


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnosis:
    """A canvas's program in token space: canvas positions [start, end), and which of them are at fault."""

    start: int
    end: int
    language: str
    error_bytes: int
    is_faulty_T: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Repairer:
    """Finds what is wrong in canvases, and has it masked and filled again.

    Attributes:
        sampler: of the first version; for repairs it writes no end tokens, which would cut the program short
        codec: of the model's tokenizer
        special_ids: tokens that are not text
        end_ids: tokens that end the answer; none for a canvas that is infilled
        header_ids: what opens an answer in a chat; a prompt without them is code
    """

    sampler: Sampler
    codec: Codec
    special_ids: frozenset[int]
    end_ids: frozenset[int]
    header_ids: tuple[int, ...]

    def repair(self, canvases: Sequence[Canvas], rounds: int) -> list[Repair]:
        """Up to so many rounds for each canvas whose program has errors; the best version stays, the first of equal ones."""
        sampler = self._without_ends()
        found = [self.diagnose(canvas) for canvas in canvases]
        first = list(found)
        tried, num_hidden = [0] * len(canvases), [0] * len(canvases)
        for number in range(rounds):
            hidden = {}
            for row, (canvas, diagnosis) in enumerate(zip(canvases, found, strict=True)):
                places = to_hide(canvas, diagnosis, NEAR_TOKENS << number) if diagnosis and diagnosis.error_bytes else []
                if places:
                    hidden[row] = torch.tensor(places), canvas.ids.clone(), canvas.confidence.clone()
                    canvas.write(hidden[row][0], torch.full((len(places),), sampler.output_ids.mask))
            sampler.fill([canvases[row] for row in hidden])
            for row, (places_T, ids, confidence) in hidden.items():
                tried[row] += 1
                num_hidden[row] += len(places_T)
                before, after = found[row], self.diagnose(canvases[row])
                if _is_better(after, before):
                    found[row] = after
                else:
                    canvases[row].write(places_T, ids[places_T])
                    canvases[row].confidence = confidence
        return [
            Repair(
                language=before.language if before else None,
                rounds=tried[row],
                num_hidden=num_hidden[row],
                error_bytes_before=before.error_bytes if before else 0,
                error_bytes_after=after.error_bytes if after else 0,
            )
            for row, (before, after) in enumerate(zip(first, found, strict=True))
        ]

    def _without_ends(self) -> Sampler:
        """The sampler that writes no end tokens, and does not fill their places last."""
        ids = self.sampler.output_ids
        config = dataclasses.replace(self.sampler.config, lower_eos=False)
        return dataclasses.replace(self.sampler, output_ids=ids._replace(never=ids.never | self.end_ids), config=config)

    def diagnose(self, canvas: Canvas) -> Diagnosis | None:
        """What is wrong with a canvas's program; None where it holds none."""
        ids: list[int] = canvas.ids.tolist()
        ids = ids[: answer_end(ids, canvas.start, self.end_ids)]
        pieces = self._pieces(ids)
        num_bytes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        end_byte = np.cumsum(num_bytes)
        start_byte = end_byte - num_bytes
        text = b"".join(pieces)
        written_from = int(start_byte[canvas.start]) if canvas.start < len(ids) else len(text)
        turn = self._turn_start(ids[: canvas.start])
        turn_from = None if turn is None else int(end_byte[turn - 1])
        program = find_program(text, turn_from, written_from, self.sampler.config.language)
        if program is None:
            return None
        faults = find_faults(text[program.start_byte : program.end_byte], program.language)
        anchor = anchors(start_byte, end_byte, text)
        start, end = np.searchsorted(anchor, (program.start_byte, program.end_byte)).tolist()
        inside = anchor[start:end] - program.start_byte
        is_faulty_T = faults.is_faulty[inside]
        for byte in faults.missing:  # nothing is there to mask, so its neighbours are
            after = int(np.searchsorted(inside, byte))
            is_faulty_T[max(after - 1, 0) : after + 1] = True
        return Diagnosis(
            start=start, end=end, language=program.language, error_bytes=faults.error_bytes, is_faulty_T=is_faulty_T
        )

    def _pieces(self, ids: list[int]) -> list[bytes]:
        """The text of each token; none for special ones."""
        if self.codec.is_byte_level:
            return [b"" if token in self.special_ids else self.codec.decode([token]) for token in ids]
        pieces: list[bytes] = []
        plain: list[int] = []
        text = b""
        for token in ids:
            plain += [token] if token not in self.special_ids else []
            whole = self.codec.decode(plain) if plain else b""
            pieces.append(whole[len(text) :])
            text = whole if len(whole) > len(text) else text
        return pieces

    def _turn_start(self, prompt_ids: list[int]) -> int | None:
        """Position after the last header of an assistant's turn; None where there is none."""
        size = len(self.header_ids)
        ends = range(len(prompt_ids), size - 1, -1) if size else range(0)
        return next((end for end in ends if tuple(prompt_ids[end - size : end]) == self.header_ids), None)


def to_hide(canvas: Canvas, diagnosis: Diagnosis, near_tokens: int) -> list[int]:
    """Canvas positions to hide: those at fault, and of those near them as many of the least confident.

    Only positions that were written are hidden, never what was given; where that is more than half of them, only the least
    confident half.
    """
    is_open_T = canvas.is_open[diagnosis.start : diagnosis.end].numpy()
    faulty_T = diagnosis.is_faulty_T & is_open_T
    reach = np.convolve(diagnosis.is_faulty_T, np.ones(2 * near_tokens + 1), "full")[near_tokens:-near_tokens] > 0.5
    near = np.flatnonzero(reach & is_open_T & ~faulty_T)
    confidence = canvas.confidence[diagnosis.start : diagnosis.end].numpy()
    least = near[np.argsort(confidence[near], kind="stable")][: max(MIN_NEAR_HIDDEN, int(faulty_T.sum()))]
    places = np.concatenate([np.flatnonzero(faulty_T), least])
    most = int(np.ceil(MOST_HIDDEN * is_open_T.sum()))
    if len(places) > most:
        places = places[np.argsort(confidence[places], kind="stable")][:most]
    result: list[int] = (np.sort(places) + diagnosis.start).tolist()
    return result


def _is_better(after: Diagnosis | None, before: Diagnosis | None) -> bool:
    """Fewer error bytes in the same tokens: a fence that closes early would leave less to be wrong."""
    assert before is not None
    same_tokens = after is not None and (after.start, after.end, after.language) == (
        before.start,
        before.end,
        before.language,
    )
    return after is not None and same_tokens and after.error_bytes < before.error_bytes
