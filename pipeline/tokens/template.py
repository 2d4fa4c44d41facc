"""The sequence of a sample as pieces of text and special tokens: the model's chat template around problem and answer.

    template head · problem · template middle (end of turn, assistant header) · answer · end of turn · end of text

The answer is ``<think>\\n…\\n</think>\\n\\n```python\\n…\\n``` ``. Text between two special tokens is tokenised at once, so a
sample's ids are those of the whole text, wherever its regions end.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from syntaxdiff.pipeline.errors import TokenizerError
from syntaxdiff.pipeline.shard import Region
from syntaxdiff.pipeline.tokens.tokenizer import HubTokenizer

THINK_OPEN = "<think>\n"
THINK_CLOSE = "\n</think>"
_PROBLEM = "PROBLEM-GOES-HERE"
_ANSWER = "ANSWER-GOES-HERE"
_DAY = datetime(2025, 1, 1)


class Piece(NamedTuple):
    """Text of one region, or one special token (then ``token_id`` is its id, and ``text`` its spelling)."""

    text: str
    region: Region
    token_id: int | None = None


@dataclass(frozen=True)
class Template:
    """What stands around problem and answer, split into text and special tokens.

    Attributes:
        head: before the problem
        middle: between problem and answer; it ends with the header that opens the assistant's turn
        end: after the answer: end of turn, end of text
    """

    head: tuple[Piece, ...]
    middle: tuple[Piece, ...]
    end: tuple[Piece, ...]

    def pieces(self, prompt: str, reasoning: str, code: str, fence: str) -> list[Piece]:
        """The whole sequence of one sample. ``code`` has no newlines at its ends; an empty ``reasoning`` leaves no tags."""
        answer = [Piece(THINK_OPEN + reasoning + THINK_CLOSE, Region.REASONING)] if reasoning else []
        gap = "\n\n" if reasoning else ""
        answer += [
            Piece(f"{gap}```{fence}\n", Region.SCAFFOLD),
            Piece(code + "\n", Region.CODE),
            Piece("```", Region.SCAFFOLD),
        ]
        return [*self.head, Piece(prompt, Region.PROMPT), *self.middle, *answer, *self.end]


def read_template(tokenizer: HubTokenizer) -> Template:
    """The pieces of a tokenizer's chat template, found by rendering it around two marks.

    Raises:
        TokenizerError: the template fails, or leaves out the problem
    """
    question = {"role": "user", "content": _PROBLEM}
    answer = {"role": "assistant", "content": _ANSWER}
    try:
        opened = _rendered(tokenizer, [question], add_generation_prompt=True)
        closed = _rendered(tokenizer, [question, answer], add_generation_prompt=False)
    except Exception as error:  # jinja2's errors, and whatever a template raises on purpose
        raise TokenizerError(f"the tokenizer's chat template fails on one question and answer ({error})") from error
    if opened.count(_PROBLEM) != 1 or closed.count(_ANSWER) != 1:
        raise TokenizerError("the tokenizer's chat template does not show question and answer once each")
    head, middle = opened.split(_PROBLEM)
    if middle.rstrip().endswith(THINK_OPEN.strip()):  # the tag is part of the reasoning here
        middle = middle.rstrip().removesuffix(THINK_OPEN.strip())
    added = {token.content: token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    end_of_turn = _first_special(_split(closed.split(_ANSWER)[1], added, Region.SCAFFOLD))
    pieces = [*_split(opened, added, Region.PROMPT), *([end_of_turn] if end_of_turn else [])]
    if tokenizer.mask_token_id is not None and tokenizer.mask_token_id in {piece.token_id for piece in pieces}:
        raise TokenizerError(f"{tokenizer.mask_token} is part of the chat template: choose another --mask-token")
    eos = Piece(tokenizer.eos_token, Region.SCAFFOLD, tokenizer.eos_token_id)
    end = (eos,) if end_of_turn is None or end_of_turn.token_id == eos.token_id else (end_of_turn, eos)
    return Template(_split(head, added, Region.PROMPT), _split(middle, added, Region.PROMPT), end)


def _rendered(tokenizer: HubTokenizer, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    """The template's text for some turns, on a fixed day: some templates print today's date."""
    return str(
        tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt, strftime_now=_DAY.strftime
        )
    )


def _split(text: str, special: dict[str, int], region: Region) -> tuple[Piece, ...]:
    if not special:
        return (Piece(text, region),) if text else ()
    parts = re.split("(" + "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)) + ")", text)
    return tuple(Piece(part, region, special.get(part)) for part in parts if part)


def _first_special(pieces: tuple[Piece, ...]) -> Piece | None:
    return next((piece for piece in pieces if piece.token_id is not None), None)
