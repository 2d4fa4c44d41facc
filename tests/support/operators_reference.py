"""Literal definitions of the operators on Python lists: slow, one unit at a time, sharing nothing with ours.

An operator has one outcome, but for `relabel`: there the definition says which donors there are, not which one is taken.
Below them, random samples, and what train makes of such samples as the same lists.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from folders import any_kinds

from syntaxdiff.pipeline.shard import Region, SampleRow, TokenIds
from syntaxdiff.train.corruption.config import CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.corrupt import Corrupted, corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import LeafTables, Operator, OperatorDraws, SpanLabels, leaves_of, operate
from syntaxdiff.train.corruption.strategies import Units, code_of
from syntaxdiff.train.data.batch import collate
from syntaxdiff.train.randomness import Stream, draw, order_key, uniform

MASK, PAD = 1, 2
PROMPT, REASONING, SCAFFOLD = 3, 4, 2  # tokens around the code of a sample
NUM_LEAF_KINDS = 7
IDS = TokenIds(mask=MASK, pad=PAD, eos=PAD, bos=None, end_of_turn=(), assistant_header=())
LANGUAGES = ("cpp", "python")
TABLES = LeafTables(
    filler_GK=torch.tensor([[-1, 3, 4, -1, -1, 0, -1], [-1, 151_000, -1, 5, -1, 7, 152_000]]),
    class_GK=torch.tensor([[-1, 1, 2, 7, 7, -1, 8], [-1, 1, 2, 3, 14, 14, -1]]),
)
Content = tuple[int, ...]


class Span(NamedTuple):
    start: int
    end: int
    parent: int
    kind: int
    arity: int


@dataclass(frozen=True)
class Program:
    """The code of a sample; spans in pre-order, counted from the first code token."""

    ids: list[int]
    leaf_kinds: list[int]
    spans: list[Span]


@dataclass(frozen=True)
class Leaves:
    """The table of one language, by leaf kind; -1 where there is nothing."""

    fillers: list[int]
    classes: list[int]


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a sample: its units, and the random numbers of the operators."""

    unit_spans: list[bool]
    unit_tokens: list[bool]
    span_uniforms: list[float]
    leaf_uniforms: list[float]
    sibling_keys: list[int]


def is_whole(program: Program, position: int) -> bool:
    """Whether a token is a leaf by itself: no neighbour is in a leaf of its kind."""
    kinds = [0, *program.leaf_kinds, 0]
    left, kind, right = kinds[position : position + 3]
    return kind > 0 and kind not in (left, right)


def asked(uniform: float, shares: OperatorShares) -> Operator:
    """The operator that a draw asks for: shares are stacked from 0 on, and what is above them masks."""
    upper = 0.0
    for operator in (Operator.DROP, Operator.SHUFFLE, Operator.RELABEL, Operator.PLACEHOLDER):
        upper += getattr(shares, operator.name.lower())
        if uniform < upper:
            return operator
    return Operator.MASK


def shuffled(program: Program, unit: int, keys: Sequence[int]) -> Content:
    """A subtree whose siblings of equal length move on by one place in the order of their keys, at every depth."""
    parent, out = program.spans[unit], []
    children = [index for index, span in enumerate(program.spans) if span.parent == unit]
    comes: dict[int, int] = {}  # which child comes to the place of a child

    def length(index: int) -> int:
        return program.spans[index].end - program.spans[index].start

    for _, group in groupby(sorted(children, key=lambda child: (length(child), keys[child])), key=length):
        siblings = list(group)
        comes.update(zip(siblings[1:] + siblings[:1], siblings, strict=True))
    position = parent.start
    for child in children:
        out += program.ids[position : program.spans[child].start]
        out += shuffled(program, comes[child], keys)
        position = program.spans[child].end
    return (*out, *program.ids[position : parent.end])


def content(program: Program, span: Span) -> Content:
    return tuple(program.ids[span.start : span.end])


def span_donors(program: Program, unit: int) -> set[Content]:
    """Contents of the other spans of a span's kind, arity and length."""
    wanted = program.spans[unit]
    shape = (wanted.kind, wanted.arity, wanted.end - wanted.start)
    return {content(program, span) for span in program.spans if (span.kind, span.arity, span.end - span.start) == shape}


def leaf_donors(program: Program, position: int, leaves: Leaves) -> set[Content]:
    """Tokens that are whole leaves of the class of a token's leaf."""
    wanted = leaves.classes[program.leaf_kinds[position]]
    others = [i for i, kind in enumerate(program.leaf_kinds) if leaves.classes[kind] == wanted and is_whole(program, i)]
    return {(program.ids[i],) for i in others} if wanted >= 0 else set()


def outcomes(
    program: Program, drawn: Drawn, start: int, end: int, unit: int | None, shares: OperatorShares, leaves: Leaves
) -> tuple[Operator, set[Content]]:
    """What a unit may become, and under which operator's name; ``unit`` is the index of its span, None for a token."""
    clean = tuple(program.ids[start:end])
    if unit is not None:
        operator = asked(drawn.span_uniforms[unit], shares)
    else:
        operator = asked(drawn.leaf_uniforms[start], shares) if is_whole(program, start) else Operator.MASK
    made: set[Content] = set()
    if operator == Operator.DROP:
        made = {(PAD,) * len(clean)}
    elif operator == Operator.SHUFFLE and unit is not None:
        made = {shuffled(program, unit, drawn.sibling_keys)}
    elif operator == Operator.RELABEL:
        made = leaf_donors(program, start, leaves) if unit is None else span_donors(program, unit)
    elif operator == Operator.PLACEHOLDER:
        fillers = [leaves.fillers[kind] for kind in program.leaf_kinds[start:end]]
        made = {tuple(token if filler < 0 else filler for token, filler in zip(clean, fillers, strict=True))}
    made -= {clean}  # what changes nothing is masked instead
    return (operator, made) if made else (Operator.MASK, {(MASK,) * len(clean)})


def assert_operated(
    program: Program, drawn: Drawn, shares: OperatorShares, leaves: Leaves, ids: list[int], operators: list[int]
) -> list[Operator]:
    """Asserts that corrupted code is what the definition allows; returns the operator of each unit."""
    assert len(ids) == len(operators) == len(program.ids)
    units: list[tuple[int, int, int | None]] = [
        (span.start, span.end, index) for index, span in enumerate(program.spans) if drawn.unit_spans[index]
    ]
    units += [(position, position + 1, None) for position, is_unit in enumerate(drawn.unit_tokens) if is_unit]
    expected_operators = [int(Operator.NONE)] * len(ids)
    expected_ids = list(program.ids)
    borne: list[Operator] = []
    became: dict[tuple[object, Content], Content] = {}
    for start, end, unit in units:
        operator, allowed = outcomes(program, drawn, start, end, unit, shares, leaves)
        got = tuple(ids[start:end])
        assert got in allowed, f"unit [{start}, {end}) {program.ids[start:end]} became {got} by {operator.name}, not {allowed}"
        assert expected_operators[start:end] == [Operator.NONE] * (end - start), "units overlap"
        expected_operators[start:end], expected_ids[start:end] = [int(operator)] * (end - start), got
        borne.append(operator)
        if operator == Operator.RELABEL:
            clean = tuple(program.ids[start:end])
            span = program.spans[unit] if unit is not None else None
            group = (span.kind, span.arity) if span else leaves.classes[program.leaf_kinds[start]]
            assert became.setdefault((group, clean), got) == got, "equal contents became different ones"
    assert len({(group, got) for (group, _), got in became.items()}) == len(became), "different contents became one"
    assert operators == expected_operators
    assert ids == expected_ids, "something outside of the units changed"
    return borne


# ------------------------------------------------------------------------------------------------------- random samples


def random_program(dice: random.Random, longest: int = 60) -> Program:
    """Code with nested spans of which many have siblings of their length, few kinds, and few different tokens."""
    num_tokens = dice.randint(1, longest)
    spans: list[Span] = []

    def grow(start: int, end: int, parent: int) -> None:
        position, usual = start, dice.choice([2, 2, 3, 4, 6, 10, 15])
        while position < end:
            length = usual if dice.random() < 0.7 else dice.randint(2, 20)
            is_smaller = parent < 0 or length < end - start
            if dice.random() < 0.2 or not is_smaller or position + length > end:
                position += 1
                continue
            spans.append(Span(position, position + length, parent, dice.choice([1, 1, 3, 300]), dice.choice([0, 2, 2, 255])))
            grow(position, position + length, len(spans) - 1)
            position += length

    grow(0, num_tokens, -1)
    tokens = dice.sample([0, 3, 4, 5, 6, 7, 151_000, 152_000], k=dice.choice([2, 3, 8]))
    kinds = dice.choices(range(NUM_LEAF_KINDS), k=num_tokens)
    return Program([dice.choice(tokens) for _ in kinds], kinds, spans)


def row_of(program: Program, name: str, language: str = "python") -> SampleRow:
    """A sample with a prompt, reasoning and scaffold around its code, as shards hold it."""
    around = [9] * PROMPT, [10] * REASONING, program.ids, [11] * SCAFFOLD
    ends = np.cumsum([len(part) for part in around])
    columns = [np.array(column, dtype=np.int64) for column in zip(*program.spans, strict=True)] or [np.zeros(0, np.int64)] * 5
    start, end, parent, kind, arity = columns
    return SampleRow(
        sample_id=name,
        input_ids=np.array(list(chain(*around))),
        region_label=np.array([Region.PROMPT, Region.REASONING, Region.CODE, Region.SCAFFOLD], dtype=np.uint8),
        region_end=ends,
        role=np.zeros(len(program.ids), dtype=np.uint8),
        leaf_kind=np.array(program.leaf_kinds),
        span_start=start + PROMPT + REASONING,
        span_end=end + PROMPT + REASONING,
        span_parent=parent,
        span_kind=kind,
        span_arity=arity,
        length=int(ends[-1]),
        span_depth=0,
        language=language,
        source="random",
        truncated=False,
        has_error=False,
    )


def program_of(row: SampleRow) -> tuple[Program, int]:
    """The code of a sample, and where it begins."""
    (run,) = np.nonzero(row.region_label == Region.CODE)
    start, end = (int(row.region_end[run[0] - 1]), int(row.region_end[run[0]])) if len(run) else (0, 0)
    columns: list[Any] = [row.span_start - start, row.span_end - start, row.span_parent, row.span_kind, row.span_arity]
    spans = [Span(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
    return Program(row.input_ids[start:end].tolist(), row.leaf_kind.tolist(), spans), start


def random_draws(program: Program, dice: random.Random) -> Drawn:
    """Units that do not overlap, of every size, and single tokens outside of them."""
    unit_spans, is_taken = [False] * len(program.spans), [False] * len(program.ids)
    for index in dice.sample(range(len(program.spans)), len(program.spans)):
        span = program.spans[index]
        if dice.random() < 0.6 and not any(is_taken[span.start : span.end]):
            unit_spans[index], is_taken[span.start : span.end] = True, [True] * (span.end - span.start)
    return Drawn(
        unit_spans=unit_spans,
        unit_tokens=[not taken and dice.random() < 0.6 for taken in is_taken],
        span_uniforms=[dice.random() for _ in program.spans],
        leaf_uniforms=[dice.random() for _ in program.ids],
        sibling_keys=[dice.getrandbits(63) for _ in program.spans],
    )


# ------------------------------------------------------------------------------------------------- what train makes of them


def leaves_of_language(tables: LeafTables, language: int) -> Leaves:
    return Leaves(*(table[language].tolist() for table in tables))


def operated(
    drawn: Sequence[tuple[Program, Drawn]], shares: OperatorShares, donor: int, languages: Sequence[str] | None = None
) -> list[tuple[list[int], list[int]]]:
    """Ids and operators that ``operate`` makes of some programs and draws, in one batch."""
    names = languages or [LANGUAGES[1]] * len(drawn)
    rows = [row_of(program, str(number), name) for number, ((program, _), name) in enumerate(zip(drawn, names, strict=True))]
    samples = collate(rows, pad_id=PAD, languages=any_kinds(*LANGUAGES)).tensors
    (_, width), (_, num_spans) = samples.role_BC.shape, samples.span_start_BS.shape

    def padded(rows: list[list[Any]], columns: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[*row, *[0] * (columns - len(row))] for row in rows], dtype=dtype)

    every = [draws for _, draws in drawn]
    span_BS = padded([draws.unit_spans for draws in every], num_spans, torch.bool)
    token_BC = padded([draws.unit_tokens for draws in every], width, torch.bool)
    draws = OperatorDraws(
        span_BS=padded([draws.span_uniforms for draws in every], num_spans, torch.float64),
        leaf_BC=padded([draws.leaf_uniforms for draws in every], width, torch.float64),
        siblings_BS=padded([draws.sibling_keys for draws in every], num_spans, torch.int64),
        donor_B=torch.full((len(drawn),), donor),
    )
    ids_BC = padded([program.ids for program, _ in drawn], width, torch.int64)
    code = code_of(
        samples.span_start_BS,
        samples.span_end_BS,
        samples.span_parent_BS,
        samples.num_code_B,
        width,
        torch.full((len(drawn),), width),
    )
    result = operate(
        Units(span_BS, token_BC, torch.zeros(len(drawn), width)),
        leaves_of(ids_BC, samples.leaf_kind_BC, samples.language_B, TABLES),
        SpanLabels(samples.span_kind_BS, samples.span_arity_BS),
        code,
        draws,
        shares,
        TokenIds(mask=MASK, pad=PAD, eos=PAD, bos=None, end_of_turn=(), assistant_header=()),
    )
    pairs = zip(drawn, result.ids_BC.tolist(), result.operator_BC.tolist(), strict=True)
    return [(ids[: len(program.ids)], operators[: len(program.ids)]) for (program, _), ids, operators in pairs]


def corrupted(
    rows: Sequence[SampleRow],
    config: CorruptionConfig,
    rates: Sequence[float],
    *,
    epoch: int = 0,
    tables: LeafTables = TABLES,
    languages: Sequence[str] = LANGUAGES,
    ids: TokenIds = IDS,
    pad_to_multiple: int = 1,
) -> tuple[Corrupted, list[tuple[Program, Drawn, list[int], list[int]]]]:
    """A corrupted batch, and for each sample its program, its draws, and the ids and operators of its code."""
    batch = collate(rows, pad_id=ids.pad, languages=any_kinds(*languages), pad_to_multiple=pad_to_multiple)
    planned = plan(batch, config, Noise(rate_B=np.array(rates)), seed=3, epoch=epoch)
    result = corrupt(batch.tensors, planned, config, ids, tables)
    wanted = [(stream, 999) for stream in (Stream.SPAN_OPERATOR, Stream.LEAF_OPERATOR, Stream.SIBLINGS)]
    span, leaf, siblings = draw(planned.keys_BK, wanted)
    views = []
    for number, row in enumerate(rows):
        program, start = program_of(row)
        num_spans, end = len(program.spans), start + len(program.ids)
        operators = result.operator_BL[number, start:end].tolist()
        unit_spans = result.unit_BS[number, :num_spans].tolist()
        units = [span for span, is_unit in zip(program.spans, unit_spans, strict=True) if is_unit]
        drawn = Drawn(
            unit_spans=unit_spans,
            unit_tokens=[o > 0 and not any(u.start <= i < u.end for u in units) for i, o in enumerate(operators)],
            span_uniforms=uniform(span)[number, :num_spans].tolist(),
            leaf_uniforms=uniform(leaf)[number, : len(program.ids)].tolist(),
            sibling_keys=order_key(siblings)[number, :num_spans].tolist(),
        )
        views.append((program, drawn, result.input_ids_BL[number, start:end].tolist(), operators))
    return result, views
