"""What each denoising step wrote, as text: kept with results, so that it can be shown without the model or its tokenizer.

How it is drawn is up to the report.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from syntaxdiff.eval.inference.canvas import Commit
from syntaxdiff.eval.inference.language_model import Described

HIDDEN, PLAIN, SPECIAL = 0, 1, 2


class Cell(NamedTuple):
    """What a step put at one place.

    Attributes:
        offset: of the place, from the first that was masked
        kind: HIDDEN (again, by syntax repair), PLAIN or SPECIAL
    """

    offset: int
    token_id: int
    text: str
    kind: int


Steps: TypeAlias = Sequence[Sequence[Cell]]


def steps_of(model: Described, start: int, trace: Sequence[Commit]) -> list[list[Cell]]:
    """The steps of a trace whose positions count from elsewhere.

    Args:
        start: position of the first place that was masked
    """
    cell = cell_maker(model)
    return [
        [cell(position - start, token_id) for position, token_id in zip(commit.positions, commit.token_ids, strict=True)]
        for commit in trace
    ]


def cell_maker(model: Described) -> Callable[[int, int], Cell]:
    """What makes the cell of an offset and a token id; what it needs of the tokenizer is asked for once."""
    tokenizer = model.tokenizer
    special = set(tokenizer.all_special_ids)
    before = tokenizer.encode("a", add_special_tokens=False)  # some tokenizers drop a space where a text begins

    def cell(offset: int, token_id: int) -> Cell:
        if token_id == model.token_ids.mask:
            return Cell(offset, token_id, "", HIDDEN)
        if token_id in special:
            return Cell(offset, token_id, str(tokenizer.convert_ids_to_tokens(token_id)), SPECIAL)
        text = model.text_between([*before, token_id], len(before), len(before) + 1)
        return Cell(offset, token_id, text, PLAIN)

    return cell
