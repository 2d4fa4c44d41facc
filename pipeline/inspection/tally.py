"""Counts over samples: lengths, regions, roles, candidate spans and how much of the code they cover.

What is kept is counts by value, so every quantile is exact, and memory grows with the number of different values, not with
the number of samples. No Python loop runs over tokens or spans.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from syntaxdiff.pipeline.json_records import JsonObject
from syntaxdiff.pipeline.shard import Manifest, Region, Role

Counts: TypeAlias = npt.NDArray[np.int64]  # entry v: how often the value v occurred
Ints: TypeAlias = npt.NDArray[Any]

FLAGS = ("has_error", "truncated", "without_span")
COVERAGE = ("any_span", "below_whole_code")


def _no_counts() -> Counts:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Distribution:
    """Exact quantiles of whole numbers: the smallest value that at least so many percent of them do not exceed."""

    min: int
    p5: int
    p25: int
    p50: int
    p75: int
    p95: int
    max: int
    mean: float


def distribution(counts: Counts) -> Distribution | None:
    """Distribution of values from their counts; None where there are no values."""
    total = int(counts.sum())
    if total == 0:
        return None
    reached = np.cumsum(counts)
    ranks = [max(1, -(-percent * total // 100)) for percent in (0, 5, 25, 50, 75, 95, 100)]
    low, p5, p25, p50, p75, p95, high = np.searchsorted(reached, ranks).tolist()
    return Distribution(low, p5, p25, p50, p75, p95, high, mean=int(np.arange(len(counts)) @ counts) / total)


def length_bins(counts: Counts) -> list[tuple[int, int, int]]:
    """Counts by length gathered into half-open bins between powers of two: (from, to, count) up to the longest."""
    edges = [1 << power for power in range(1, max(2, len(counts).bit_length() + 1))]
    return [(low, high, int(counts[low:high].sum())) for low, high in pairwise(edges) if low < len(counts)]


@dataclass
class Tally:
    """Counts over some samples. Arrays are counts by value; ``region_tokens`` and ``role_tokens`` by Region and Role.

    Attributes:
        lengths: tokens per sample
        spans_per_sample: candidate spans per sample
        span_lengths: tokens per span
        span_depths: nesting depth of a span, 1 for one that lies in no other
        sample_depths: deepest nesting in a sample
        covered: code tokens in a span, by COVERAGE
        flagged: samples, by FLAGS
        kinds, kind_tokens: spans and their tokens, by (language, node kind)
    """

    lengths: Counts = field(default_factory=_no_counts)
    spans_per_sample: Counts = field(default_factory=_no_counts)
    span_lengths: Counts = field(default_factory=_no_counts)
    span_depths: Counts = field(default_factory=_no_counts)
    sample_depths: Counts = field(default_factory=_no_counts)
    region_tokens: Counts = field(default_factory=_no_counts)
    role_tokens: Counts = field(default_factory=_no_counts)
    covered: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    kind_tokens: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.lengths.sum())

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return int(np.arange(len(self.lengths)) @ self.lengths)

    @property
    def spans(self) -> int:
        """Number of candidate spans."""
        return int(self.span_lengths.sum())

    def region(self, region: Region) -> int:
        """Number of tokens of a region."""
        return _at(self.region_tokens, region)

    def role(self, role: Role) -> int:
        """Number of code tokens of a role."""
        return _at(self.role_tokens, role)

    def kinds_of(self, language: str) -> list[tuple[str, int, int]]:
        """Node kinds of a language's spans, the commonest first: kind, spans, tokens in them all."""
        rows = [(kind, count, self.kind_tokens[name, kind]) for (name, kind), count in self.kinds.items() if name == language]
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def add(self, other: "Tally") -> None:
        """Counts another tally in."""
        for column in fields(self):
            ours, theirs = getattr(self, column.name), getattr(other, column.name)
            if isinstance(ours, Counter):
                ours.update(theirs)
            else:
                total = np.zeros(max(len(ours), len(theirs)), dtype=np.int64)
                total[: len(ours)] += ours
                total[: len(theirs)] += theirs
                setattr(self, column.name, total)

    def to_dict(self) -> JsonObject:
        """Plain values for JSON; the keys are described at Summary.to_dict."""
        code, samples = self.region(Region.CODE), self.samples
        return {
            "samples": samples,
            "tokens": self.tokens,
            "length": _plain(self.lengths),
            "regions": {region.name.lower(): counted(self.region(region), self.tokens, "tokens") for region in Region},
            "roles": {role.name.lower(): counted(self.role(role), code, "tokens") for role in Role},
            "spans": {
                "count": self.spans,
                "per_sample": _plain(self.spans_per_sample),
                "length": _plain(self.span_lengths),
                "length_histogram": [
                    {"from": low, "to": high, "count": count} for low, high, count in length_bins(self.span_lengths)
                ],
                "depth": _plain(self.span_depths),
                "sample_depth": _plain(self.sample_depths),
                "kinds": {
                    language: [
                        {"kind": kind, "count": count, "mean_length": tokens / count}
                        for kind, count, tokens in self.kinds_of(language)
                    ]
                    for language in sorted(self.languages)
                },
            },
            "code_coverage": {name: counted(self.covered[name], code, "tokens") for name in COVERAGE},
            "flags": {name: counted(self.flagged[name], samples, "samples") for name in FLAGS},
            "languages": {name: counted(count, samples, "samples") for name, count in self.languages.most_common()},
            "sources": {name: counted(count, samples, "samples") for name, count in self.sources.most_common()},
        }


def tally_table(table: pa.Table, manifest: Manifest) -> Tally:
    """Tally of one row group."""
    num_runs, run_label = _lists(table, "region_label")
    _, run_end = _lists(table, "region_end")
    num_spans, start = _lists(table, "span_start")
    _, end = _lists(table, "span_end")
    _, kind = _lists(table, "span_kind")
    _, parent = _lists(table, "span_parent")
    num_code, role = _lists(table, "role")
    languages = table["language"].to_pylist()
    rows = np.arange(table.num_rows)
    owner = np.repeat(rows, num_spans)
    length = (end - start).astype(np.int64)

    run_start = np.concatenate([[0], run_end[:-1]])
    run_start[np.cumsum(num_runs) - num_runs] = 0
    is_code = run_label == Region.CODE
    code_start = np.zeros(table.num_rows, dtype=np.int64)
    code_start[np.repeat(rows, num_runs)[is_code]] = run_start[is_code]  # a sample has one run of code
    to_code = (np.cumsum(num_code) - num_code - code_start)[owner]  # from a sample's tokens to the code tokens of all
    below = length < num_code[owner]
    around = np.where(parent >= 0, parent + (np.cumsum(num_spans) - num_spans)[owner], -1)

    tally = Tally(
        lengths=np.bincount(table["length"].to_numpy()),
        spans_per_sample=np.bincount(num_spans),
        span_lengths=np.bincount(length),
        span_depths=np.bincount(_depths(around)),
        sample_depths=np.bincount(table["span_depth"].to_numpy()),
        region_tokens=np.bincount(run_label, weights=run_end - run_start).astype(np.int64),
        role_tokens=np.bincount(role),
        languages=Counter(languages),
        sources=Counter(table["source"].to_pylist()),
    )
    first, last = start + to_code, end + to_code
    tally.covered["any_span"] = _covered(first, last, len(role))
    tally.covered["below_whole_code"] = _covered(first[below], last[below], len(role))
    tally.flagged["without_span"] = int(np.count_nonzero(num_spans == 0))
    for flag in ("has_error", "truncated"):
        tally.flagged[flag] = int(np.count_nonzero(table[flag].to_numpy()))
    names, language_index = np.unique(languages, return_inverse=True)
    for index_of_language, language in enumerate(names.tolist()):
        ours = language_index[owner] == index_of_language
        spans, tokens = np.bincount(kind[ours]), np.bincount(kind[ours], weights=length[ours])
        for index in np.flatnonzero(spans).tolist():
            key = language, manifest.languages[language].node_kinds[index]
            tally.kinds[key] += int(spans[index])
            tally.kind_tokens[key] += int(tokens[index])
    return tally


def _lists(table: pa.Table, name: str) -> tuple[Ints, Ints]:
    """A list column as the length of each list, and all their values one after the other."""
    column = table[name].combine_chunks()
    return np.diff(column.offsets.to_numpy()), column.flatten().to_numpy()


def _depths(parent: Ints) -> Counts:
    """Nesting depth of spans from the index of the span around each, -1 at the top; as many rounds as the deepest."""
    depth = np.ones(len(parent), dtype=np.int64)
    inner = np.flatnonzero(parent >= 0)
    around = parent[inner]
    while len(inner):
        depth[inner] += 1
        around = parent[around]
        inner, around = inner[around >= 0], around[around >= 0]
    return depth


def _covered(start: Ints, end: Ints, size: int) -> int:
    """How many of ``size`` positions lie in at least one half-open interval."""
    change = np.bincount(start, minlength=size + 1) - np.bincount(end, minlength=size + 1)
    return int(np.count_nonzero(np.cumsum(change[:size])))


def _at(counts: Counts, value: int) -> int:
    return int(counts[value]) if value < len(counts) else 0


def share(part: int, whole: int) -> float:
    """Share of a part in 0 to 1; a share of nothing is 0."""
    return part / whole if whole else 0.0


def counted(part: int, whole: int, unit: str) -> dict[str, float]:
    """A part as its number of ``unit`` and its share."""
    return {unit: part, "share": share(part, whole)}


def _plain(counts: Counts) -> dict[str, float] | None:
    values = distribution(counts)
    return None if values is None else asdict(values)
