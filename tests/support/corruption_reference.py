"""The corruption by its definitions: literal, slow, one sample and one draw at a time, in Python's own numbers.

Shares nothing with train/ but the names of the streams. Spans and code positions count from the first code token. A coin is a
number in [0, 1); Bernoulli(p) is 1 where the coin is at least 1 - p for spans of Algorithm 1 and of the independent rule,
whose 1 - p is (1 - rate)^length, and where it is below p for tokens and for blocks of ast-cut. A shuffle is an order by
(key, index), earlier is smaller.
"""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from syntaxdiff.pipeline.shard import Region, SampleRow
from syntaxdiff.train.randomness import Stream

Span = tuple[int, int]
ROLE_RATES = (0.15, 0.42, 0.58, 0.60)  # other, assignment or call, conditional, control flow: the paper's table

# -------------------------------------------------------------------------------------------------------------- randomness

GAMMA = 0x9E3779B97F4A7C15


def mix(bits: int) -> int:
    """Finaliser of splitmix64, after Vigna's C code."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def draw_bits(key: int, index: int) -> int:
    """Draw number ``index`` from 0 of a stream: the state of splitmix64 after index + 1 steps from the key, mixed."""
    return mix((key + (index + 1) * GAMMA) % 2**64)


def stream_key(seed: int, epoch: int, sample_id: str, stream: Stream) -> int:
    """Eight little-endian bytes of SHAKE-256 over seed, epoch and sample id, joined by zero bytes."""
    text = b"\0".join([str(seed).encode(), str(epoch).encode(), sample_id.encode()])
    return int.from_bytes(hashlib.shake_256(text).digest(8 * (stream + 1))[8 * stream :], "little")


def unit(bits: int) -> float:
    """The upper 53 of 64 bits as a number in [0, 1)."""
    return (bits >> 11) / 2**53


@dataclass(frozen=True)
class Draws:
    """What a sample's corruption is decided by."""

    token_coin: Sequence[float]  # by position in the sequence
    span_coin: Sequence[float]
    span_order: Sequence[int]
    fill_order: Sequence[int]  # by code token
    granularity: int
    span_reveal: Sequence[float] = ()
    token_reveal: Sequence[float] = ()  # by position in the sequence


def draws_of(seed: int, epoch: int, sample: "Sample") -> Draws:
    """The draws of a sample, from splitmix64."""

    def bits(stream: Stream, count: int) -> list[int]:
        key = stream_key(seed, epoch, sample.sample_id, stream)
        return [draw_bits(key, index) for index in range(count)]

    share = unit(stream_key(seed, epoch, sample.sample_id, Stream.GRANULARITY))
    return Draws(
        token_coin=[unit(b) for b in bits(Stream.TOKEN_COIN, sample.num_tokens)],
        span_coin=[unit(b) for b in bits(Stream.SPAN_COIN, len(sample.spans))],
        span_order=[b >> 1 for b in bits(Stream.SPAN_ORDER, len(sample.spans))],
        fill_order=[b >> 1 for b in bits(Stream.FILL_ORDER, sample.num_code)],
        granularity=math.floor(math.exp(share * math.log(max(1, sample.num_code)))),
        span_reveal=[unit(b) for b in bits(Stream.SPAN_REVEAL, len(sample.spans))],
        token_reveal=[unit(b) for b in bits(Stream.TOKEN_REVEAL, sample.num_tokens)],
    )


# -------------------------------------------------------------------------------------------------------------- strategies


def algorithm_1(
    num_code: int,
    spans: dict[int, Span],
    rate: float,
    budget: int,
    span_coin: Sequence[float],
    span_order: Sequence[int],
    fill_order: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Algorithm 1, line by line: the mask vector, and the spans that Phase 1 masked."""
    m = [0] * num_code
    shuffled = sorted(spans, key=lambda index: (span_order[index], index))
    c = 0
    accepted = []
    for index in shuffled:
        s, e = spans[index]
        length = e - s
        bernoulli = span_coin[index] >= (1 - rate) ** length
        if bernoulli and 1 not in m[s:e]:
            m[s:e] = [1] * length
            c = c + length
            accepted.append(index)
            if c > budget:
                break
    if c < budget:
        unmasked = [i for i in range(num_code) if m[i] == 0]
        for i in sorted(unmasked, key=lambda i: (fill_order[i], i))[: budget - c]:
            m[i] = 1
    return m, accepted


def matched(m: Sequence[int], fill_order: Sequence[int]) -> list[int]:
    """As many tokens as a mask vector has, those that come first in another order."""
    chosen = set(sorted(range(len(m)), key=lambda i: (fill_order[i], i))[: sum(m)])
    return [int(i in chosen) for i in range(len(m))]


def independent(num_code: int, spans: dict[int, Span], rate: float, span_coin: Sequence[float]) -> tuple[list[int], list[int]]:
    """Every span by itself: the mask vector, and the drawn spans that lie in no other drawn one."""
    m = [0] * num_code
    drawn = [index for index, (s, e) in spans.items() if span_coin[index] >= (1 - rate) ** (e - s)]
    for index in drawn:
        s, e = spans[index]
        m[s:e] = [1] * (e - s)
    outer = [i for i in drawn if not any(holds(spans[j], spans[i]) for j in drawn if j != i)]
    return m, outer


def block_of(token: int, spans: dict[int, Span], granularity: int) -> int | None:
    """The span that is a token's block in ast-cut, None where the token is a block of its own."""
    around = [index for index, (s, e) in spans.items() if s <= token < e]  # in pre-order: outer before inner
    blocks = []
    for depth, index in enumerate(around):
        length = spans[index][1] - spans[index][0]
        parent_length = spans[around[depth - 1]][1] - spans[around[depth - 1]][0] if depth else math.inf
        if length <= granularity < parent_length:
            blocks.append(index)
    assert len(blocks) <= 1
    return blocks[0] if blocks else None


def cut(
    num_code: int, spans: dict[int, Span], rate: float, granularity: int, span_coin: Sequence[float], coin: Sequence[float]
) -> tuple[list[int], list[int]]:
    """ast-cut: the mask vector, and the masked blocks that are spans. ``coin`` is by code token."""
    blocks = [block_of(token, spans, granularity) for token in range(num_code)]
    m = [int(coin[t] < rate if block is None else span_coin[block] < rate) for t, block in enumerate(blocks)]
    return m, sorted({block for t, block in enumerate(blocks) if block is not None and m[t]})


# ------------------------------------------------------------------------------------------------------------ whole samples


@dataclass(frozen=True)
class Sample:
    """A sample as the definitions see it."""

    sample_id: str
    regions: list[int]
    spans: list[Span]  # from the first code token
    roles: list[int]

    @classmethod
    def of(cls, row: SampleRow) -> "Sample":
        regions: list[int] = []
        for label, end in zip(row.region_label.tolist(), row.region_end.tolist(), strict=True):
            regions += [label] * (end - len(regions))
        first = regions.index(Region.CODE) if Region.CODE in regions else 0
        spans = [(s - first, e - first) for s, e in zip(row.span_start.tolist(), row.span_end.tolist(), strict=True)]
        return cls(row.sample_id, regions, spans, row.role.tolist())

    @property
    def num_tokens(self) -> int:
        return len(self.regions)

    @cached_property
    def code(self) -> list[int]:
        """Positions of the code tokens."""
        return [position for position, region in enumerate(self.regions) if region == Region.CODE]

    @property
    def num_code(self) -> int:
        return len(self.code)

    @cached_property
    def corruptible(self) -> list[int]:
        return [position for position, region in enumerate(self.regions) if region != Region.PROMPT]

    def candidates(self, max_span_share: float) -> dict[int, Span]:
        """The spans that are not too long, by their row."""
        return {i: (s, e) for i, (s, e) in enumerate(self.spans) if e - s <= max_span_share * self.num_code}


@dataclass(frozen=True)
class Applied:
    """The corrupted positions of the sequence, and the spans that were masked as units."""

    positions: set[int] = field(default_factory=set)
    units: set[int] = field(default_factory=set)


def apply(
    sample: Sample,
    strategy: str,
    rate: float,
    draws: Draws,
    *,
    max_span_share: float = 1.0,
    role_rates: Sequence[float] = ROLE_RATES,
) -> Applied:
    """A sample's corruption: prompt never, reasoning and scaffold token by token, the code by the strategy."""
    positions = {
        position
        for position, region in enumerate(sample.regions)
        if region in (Region.REASONING, Region.SCAFFOLD) and draws.token_coin[position] < rate
    }
    spans = sample.candidates(max_span_share)
    coin = [draws.token_coin[position] for position in sample.code]
    units: list[int] = []
    if strategy == "ast-token":
        m = [int(u < role_rates[role]) for u, role in zip(coin, sample.roles, strict=True)]
    elif strategy == "random" or not spans:  # no candidate spans: token-wise Bernoulli
        m = [int(u < rate) for u in coin]
    elif strategy in ("ast-span", "random-matched"):
        budget = math.floor(rate * sample.num_code)
        m, units = algorithm_1(sample.num_code, spans, rate, budget, draws.span_coin, draws.span_order, draws.fill_order)
        if strategy == "random-matched":
            m, units = matched(m, draws.fill_order), []
    elif strategy == "ast-span-independent":
        m, units = independent(sample.num_code, spans, rate, draws.span_coin)
    else:
        assert strategy == "ast-cut"
        m, units = cut(sample.num_code, spans, rate, draws.granularity, draws.span_coin, coin)
    positions |= {position for position, bit in zip(sample.code, m, strict=True) if bit}
    return Applied(positions, set(units))


def marginals(
    sample: Sample, strategy: str, rate: float, *, max_span_share: float = 1.0, role_rates: Sequence[float] = ROLE_RATES
) -> list[float]:
    """Probability of each code token to be corrupted, where it is known; the rate for Algorithm 1, as LLaDA weighs."""
    spans = sample.candidates(max_span_share)
    if strategy == "ast-token":
        return [role_rates[role] for role in sample.roles]
    if strategy == "ast-span-independent" and spans:
        totals = [sum(e - s for s, e in spans.values() if s <= token < e) for token in range(sample.num_code)]
        return [1 - (1 - rate) ** total for total in totals]
    return [rate] * sample.num_code


def revealed(sample: Sample, applied: Applied, step: int, draws: Draws) -> set[int]:
    """Corrupted positions that come back at step t - 1: each unit, and each single token, with probability 1/t."""
    back = set()
    for position in applied.positions:
        is_code = sample.regions[position] == Region.CODE
        token = position - sample.code[0] if is_code else -1
        units = [i for i in applied.units if sample.spans[i][0] <= token < sample.spans[i][1]]
        assert len(units) <= 1
        coin = draws.span_reveal[units[0]] if units else draws.token_reveal[position]
        if coin < 1 / step:
            back.add(position)
    return back


# ---------------------------------------------------------------------------------------------------------- nested families


def holds(outer: Span, inner: Span) -> bool:
    """Whether an interval holds another, or is equal to it."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def crosses(a: Span, b: Span) -> bool:
    """Whether two intervals overlap and neither holds the other."""
    return a[0] < b[1] and b[0] < a[1] and not holds(a, b) and not holds(b, a)


def nested(intervals: Sequence[Span]) -> list[Span]:
    """Those of some intervals that cross none before them, each once, in pre-order."""
    kept: list[Span] = []
    for interval in intervals:
        if interval not in kept and not any(crosses(interval, other) for other in kept):
            kept.append(interval)
    return sorted(kept, key=lambda span: (span[0], -span[1]))


def parents_of(spans: Sequence[Span]) -> list[int]:
    """Index of the smallest span around each of a family of distinct spans, -1 at the top."""
    around = [[j for j, outer in enumerate(spans) if holds(outer, span) and outer != span] for span in spans]
    return [min(held, key=lambda j: spans[j][1] - spans[j][0], default=-1) for held in around]


def random_family(rng: random.Random, num_code: int) -> list[Span]:
    """A nested family of distinct spans over some code tokens, in pre-order; bushy or deep, dense or sparse."""
    spans: list[Span] = []
    keep, deep = rng.uniform(0.2, 1), rng.random()

    def grow(start: int, end: int) -> None:
        while start < end:
            widest = end - start
            width = max(1, widest - rng.randint(0, 2)) if rng.random() < deep else rng.randint(1, widest)
            span = (start, start + width)
            if rng.random() < keep and span not in spans:
                spans.append(span)
                grow(*span)
            start += width

    grow(0, num_code)
    return spans


@st.composite
def families(draw: st.DrawFn, max_code: int = 24, min_code: int = 1) -> tuple[int, list[Span]]:
    """Number of code tokens, and a nested family of spans over them, in pre-order."""
    num_code = draw(st.integers(min_code, max_code))
    if num_code == 0:
        return 0, []
    starts = st.integers(0, num_code - 1)
    spans = starts.flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, num_code)))
    return num_code, nested(draw(st.lists(spans, max_size=16)))


def row_of(
    num_code: int,
    spans: Sequence[Span],
    *,
    sample_id: str = "sample",
    prompt: int = 4,
    reasoning: int = 6,
    scaffold: int = 2,
    seed: int = 0,
) -> SampleRow:
    """A sample with a code region of some spans, between as many tokens of the other regions as asked for."""
    rng = np.random.default_rng(seed)
    runs = [
        (Region.PROMPT, prompt),
        (Region.REASONING, reasoning),
        (Region.SCAFFOLD, scaffold),
        (Region.CODE, num_code),
        (Region.SCAFFOLD, scaffold),
    ]
    kept = [(label, count) for label, count in runs if count]
    length = sum(count for _, count in kept)
    first = prompt + reasoning + scaffold
    parents = parents_of(spans)
    depths: list[int] = []
    for parent in parents:
        depths.append(1 if parent < 0 else depths[parent] + 1)
    return SampleRow(
        sample_id=sample_id,
        input_ids=rng.integers(10, 1000, length).astype(np.int32),
        region_label=np.array([label for label, _ in kept], dtype=np.uint8),
        region_end=np.cumsum([count for _, count in kept]).astype(np.int32),
        role=rng.integers(0, 4, num_code).astype(np.uint8),
        leaf_kind=rng.integers(0, 9, num_code).astype(np.uint16),
        span_start=np.array([first + s for s, _ in spans], dtype=np.int32),
        span_end=np.array([first + e for _, e in spans], dtype=np.int32),
        span_kind=rng.integers(1, 5, len(spans)).astype(np.uint16),
        span_arity=rng.integers(0, 3, len(spans)).astype(np.uint8),
        span_parent=np.array(parents, dtype=np.int32),
        length=length,
        span_depth=max(depths, default=0),
        language="python",
        source="made",
        truncated=False,
        has_error=False,
    )


def random_rows(count: int, *, seed: int = 0, max_code: int = 60) -> list[SampleRow]:
    """Samples with random families, a few of them without code or without spans, and regions of various lengths."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        num_code = 0 if rng.random() < 0.05 else rng.randint(1, max_code)
        spans = [] if rng.random() < 0.1 else random_family(rng, num_code)
        rows.append(
            row_of(
                num_code,
                spans,
                sample_id=f"row-{number}",
                prompt=rng.randint(1, 9),
                reasoning=rng.randint(0, 20),
                scaffold=rng.randint(0, 3),
                seed=rng.randrange(2**32),
            )
        )
    return rows
