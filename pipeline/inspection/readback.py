"""Records from token ids: what a build was given, read back from what it wrote.

The sequence is taken apart at the chat template's special tokens, the runs of text between them are decoded, and the template's
text and the answer's tags and fences are taken off. Nothing here relies on the regions that are stored. That the record gives
the ids again is not checked here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from syntaxdiff.pipeline.assembly.sample import Part, Run, encode_parts, parts_of
from syntaxdiff.pipeline.errors import TokenizerError
from syntaxdiff.pipeline.inspection.fault import BrokenInvariantError, first_difference
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.shard import SampleRow
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import THINK_CLOSE, THINK_OPEN, Template

Ids = npt.NDArray[np.int32]
HASH_DIGITS = 12  # of the content's hash, at the end of a sample_id that begins with the source's own id


class Texts(NamedTuple):
    """Problem, reasoning and program of a sample."""

    prompt: str
    reasoning: str
    code: str


class Sections(NamedTuple):
    """The ids of a sample's runs of text: that of the problem, and that of the answer (one run where ``answer`` is None)."""

    problem: Ids
    answer: Ids | None

    @property
    def runs(self) -> list[Ids]:
        """The runs that there are, in order."""
        return [self.problem] if self.answer is None else [self.problem, self.answer]


@dataclass(frozen=True)
class Readback:
    """Reads records back from ids made with one tokenizer and template."""

    codec: Codec
    template: Template
    before: Ids = field(init=False)  # the head up to its last special token
    between: Ids | None = field(init=False)  # the middle from its first special token to its last; None where it has none
    after: Ids = field(init=False)
    head: str = field(init=False)  # text of the head that stands in the problem's run
    lead: str = field(init=False)  # text of the middle that stands in the problem's run
    tail: str = field(init=False)  # text of the middle that stands in the answer's run

    def __post_init__(self) -> None:
        head, middle = parts_of(self.template.head), parts_of(self.template.middle)
        fixed_head = head[:-1] if head and isinstance(head[-1], Run) else head
        special = [index for index, part in enumerate(middle) if not isinstance(part, Run)]
        between = middle[special[0] : special[-1] + 1] if special else []
        found = {
            "before": self._fixed_ids(fixed_head),
            "between": self._fixed_ids(between) if special else None,
            "after": self._fixed_ids(parts_of(self.template.end)),
            "head": _text(head[len(fixed_head) :]),
            "lead": _text(middle[: special[0]]) if special else _text(middle),
            "tail": _text(middle[special[-1] + 1 :]) if special else "",
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def _fixed_ids(self, parts: Sequence[Part]) -> Ids:
        ids = []
        for part, run in zip(parts, encode_parts([parts], self.codec)[0], strict=True):
            if not isinstance(part, Run):
                ids.append(np.array([part.token_id], dtype=np.int32))
            elif run is not None:
                ids.append(run.ids)
            else:
                raise TokenizerError(f"the tokens of {part.text!r}, in the chat template, do not account for all of it")
        return np.concatenate([np.zeros(0, dtype=np.int32), *ids])

    def sections(self, row: SampleRow) -> Sections:
        """The runs of text of a sample.

        Raises:
            BrokenInvariantError: the special tokens are not the template's
        """
        ids = row.input_ids
        first, last = len(self.before), len(ids) - len(self.after)
        for name, expected, start in (("opening", self.before, 0), ("end", self.after, max(last, 0))):
            stored = ids[start : start + len(expected)]
            if not np.array_equal(stored, expected):
                fault = first_difference("", "", expected, stored)
                at = start + (int(np.flatnonzero(stored != expected)[0]) if len(stored) == len(expected) else 0)
                raise BrokenInvariantError(
                    f"the sequence has not the {name} of the chat template",
                    column=f"input_ids[{at}]",
                    expected=fault.expected if fault else "",
                    found=fault.found if fault else "",
                )
        if first > last:
            raise BrokenInvariantError("the sequence is shorter than the chat template", column="input_ids")
        if self.between is None:
            return Sections(ids[first:last], None)
        size = len(self.between)
        opened = (np.flatnonzero(ids[first:last] == self.between[0]) + first).tolist()
        starts = [at for at in opened if at + size <= last and np.array_equal(ids[at : at + size], self.between)]
        if not starts:
            raise BrokenInvariantError(
                "the assistant's turn does not open as in the chat template",
                column="input_ids",
                expected=self.between.tolist(),
                found="no such ids",
            )
        # Where the vocabulary lets text give special ids, the stored border of the prompt says which are the template's.
        prompt_end = int(row.region_end[0]) if len(row.region_end) else 0
        at = next((at for at in reversed(starts) if at + size <= prompt_end), starts[0])
        return Sections(ids[first:at], ids[at + size : last])

    def texts(self, runs: Sequence[tuple[str, ...]], language: str) -> Iterator[Texts]:
        """What the texts of a sample's runs can be made of; several where they hold the template's own words or tags.

        Args:
            runs: for each run of ``Sections.runs`` the texts that it may stand for
            language: of the sample
        """
        fence = load_grammar(language).fence
        for spelled in product(*runs):
            if self.between is None:
                yield from self._of_one_run(spelled[0], fence)
                continue
            problem, answer = spelled
            prompt = _inside(problem, self.head, self.lead)
            if prompt is not None and answer.startswith(self.tail):
                yield from (Texts(prompt, *parts) for parts in _answers(answer.removeprefix(self.tail), fence))

    def _of_one_run(self, text: str, fence: str) -> Iterator[Texts]:
        if not text.startswith(self.head):
            return
        at = text.find(self.lead, len(self.head))
        while at >= 0:
            prompt, answer = text[len(self.head) : at], text[at + len(self.lead) :]
            yield from (Texts(prompt, *parts) for parts in _answers(answer, fence))
            at = text.find(self.lead, at + 1)


def record_of(texts: Texts, row: SampleRow) -> Record:
    """The record of a sample. Its ``sample_id`` is the row's if the row's ends in the hash of these texts."""
    mark = len(row.sample_id) - HASH_DIGITS - 1
    source_id = row.sample_id[:mark] if mark > 0 and row.sample_id[mark] == "-" else ""
    return Record(**texts._asdict(), language=row.language, source=row.source, source_id=source_id, problem="")


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts)


def _inside(text: str, before: str, after: str) -> str | None:
    """What stands between two texts; None where they are not there."""
    if len(text) < len(before) + len(after) or not text.startswith(before) or not text.endswith(after):
        return None
    return text[len(before) : len(text) - len(after)]


def _answers(text: str, fence: str) -> Iterator[tuple[str, str]]:
    """Reasoning and program of an answer, for every place where the one may end and the other begin."""
    opening, closing = f"```{fence}\n", "\n```"
    code = _inside(text, opening, closing)
    if code is not None:
        yield "", code
    seam = f"{THINK_CLOSE}\n\n{opening}"
    if not text.startswith(THINK_OPEN) or not text.endswith(closing):
        return
    at = text.find(seam, len(THINK_OPEN) + 1)  # reasoning is not empty where its tags are there
    while at >= 0 and at + len(seam) <= len(text) - len(closing):
        yield text[len(THINK_OPEN) : at], text[at + len(seam) : len(text) - len(closing)]
        at = text.find(seam, at + 1)
