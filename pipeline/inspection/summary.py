"""What a folder of shards holds, and what became of every row that was read: one pass over the shards, and its tables.

A row group is in memory at a time; what is counted of it is in tally.py, the picture of it in picture.py.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.inspection.tally import COVERAGE, FLAGS, Tally, counted, distribution, length_bins, share, tally_table
from syntaxdiff.pipeline.json_records import JsonObject, to_json
from syntaxdiff.pipeline.rows.grouping import STATEMENT
from syntaxdiff.pipeline.shard import Manifest, Region, Role, iter_row_groups, read_manifest
from syntaxdiff.pipeline.splits import SPLITS

KINDS_SHOWN = 25  # of a language, in the tables; to_dict has them all
NAMES_SHOWN = 10  # sources, in the tables
BAR_COLUMNS = 24
READING_TEXTS = {
    "block": "in a fenced block",
    "longer-block": "in a block that holds fences",
    "other-block": "in a block before one that does not parse",
    "indented-fence": "in an indented fence",
    "inline-fence": "in a fence inside a line",
    "solution-text": "where the text of `solution` stands",
}
DISTRIBUTIONS = {
    "tokens per sample": "lengths",
    "spans per sample": "spans_per_sample",
    "tokens per span": "span_lengths",
    "depth of a span": "span_depths",
    "depth of a sample": "sample_depths",
}


@dataclass
class Summary:
    """What a folder of shards holds: a tally of each split and of all samples, and the manifest that they belong to."""

    splits: dict[str, Tally]
    total: Tally
    manifest: Manifest

    @property
    def rejects(self) -> list[tuple[str, int]]:
        """Reasons and numbers of rows that became no sample, the commonest first."""
        return Counter(self.manifest.rejected).most_common()

    def to_dict(self) -> JsonObject:
        """Plain values for JSON; keys do not change within a schema version.

        ``schema_version``, ``fingerprint``; ``accounting``: rows_read, samples, rejects, where the first is the sum of the
        others; ``rejects``: {reason: {rows, share of the rows read}}; ``readings``, ``grouping`` and ``unused_fields`` as the
        manifest has them (null where an older build did not count); ``splits``: {train, validation: tally}; ``all``: tally.

        A tally: samples, tokens; ``length`` of a sample in tokens; ``regions`` {region: {tokens, share}}; ``roles`` of the
        code tokens {role: {tokens, share}}; ``spans``: count, per_sample, length, length_histogram [{from, to, count}] with
        bins [from, to), depth, sample_depth, kinds {language: [{kind, count, mean_length}]}; ``code_coverage``: code tokens
        in any_span, and in one that is below_whole_code {tokens, share}; ``flags``: has_error, truncated, without_span
        {samples, share}; ``languages`` and ``sources`` {name: {samples, share}}.

        A distribution (length, per_sample, depth, sample_depth): min, p5, p25, p50, p75, p95, max, mean, or null where there
        are no values. Shares lie in 0 to 1; a share of nothing is 0.
        """
        rejects = sum(self.manifest.rejected.values())
        return {
            "schema_version": self.manifest.schema_version,
            "fingerprint": self.manifest.fingerprint,
            "accounting": {"rows_read": self.manifest.rows_read, "samples": self.total.samples, "rejects": rejects},
            "rejects": {reason: counted(count, self.manifest.rows_read, "rows") for reason, count in self.rejects},
            "readings": self.manifest.readings,
            "grouping": None if self.manifest.grouping is None else to_json(self.manifest.grouping),
            "unused_fields": self.manifest.unused_fields,
            "splits": {split: tally.to_dict() for split, tally in self.splits.items()},
            "all": self.total.to_dict(),
        }


def summarize(folder: Path, on_shard: Callable[[str], None] | None = None) -> Summary:
    """Counts a folder of shards, row group by row group.

    Args:
        folder: complete shards
        on_shard: called with each shard's name when it is through

    Raises:
        ShardError: shards are missing or damaged, or samples and rejects are not together the rows that were read
    """
    manifest = read_manifest(folder)
    summary = Summary({split: Tally() for split in SPLITS}, Tally(), manifest)
    for split in SPLITS:
        for shard in manifest.splits[split]:
            for table in iter_row_groups(folder, shard):
                summary.splits[split].add(tally_table(table, manifest))
            if on_shard is not None:
                on_shard(shard.file)
        summary.total.add(summary.splits[split])
    samples, rejects = summary.total.samples, sum(manifest.rejected.values())
    if manifest.rows_read != samples + rejects:
        raise ShardError(
            f"{folder}: {manifest.rows_read:,} rows read are not {samples:,} samples and {rejects:,} rejects: "
            "run `syntaxdiff-prep verify`, or build the shards again"
        )
    return summary


def print_summary(summary: Summary, console: Console) -> None:
    """Prints the tables: samples and tokens, distributions, span lengths, node kinds, where samples came from, rejects."""
    manifest, total = summary.manifest, summary.total
    parts = [f"{tally.samples:,} {split}" for split, tally in summary.splits.items()]
    rejects = f"{sum(manifest.rejected.values()):,} rejects"
    console.print(Text(f"{manifest.rows_read:,} rows read = {' + '.join([*parts, rejects])}"))
    tallies = {**summary.splits, "all": total}
    tables = {
        "Samples and tokens": _amounts(tallies),
        "Distributions": _distributions(tallies),
        "Span lengths": _span_lengths(total),
        **{f"Node kinds of spans, {name}": _kinds(total, name) for name in sorted(total.languages)},
        "Languages": _names("samples", total.languages.most_common(), total.samples),
        "Sources": _names("samples", total.sources.most_common(), total.samples),
        "Rejects": _names("rows", summary.rejects, manifest.rows_read),
    }
    for line in note_lines(manifest):
        console.print(Text(line))
    for title, table in tables.items():
        console.print()
        console.print(Text(visible(title), style="bold"))
        console.print(table)


def note_lines(manifest: Manifest) -> list[str]:
    """What a build did with the rows beyond counting them, a line each: programs found, groups, fields left unread."""
    lines = []
    if manifest.readings:
        found = (f"{count:,} {READING_TEXTS.get(name, name)}" for name, count in Counter(manifest.readings).most_common())
        lines.append(f"{'programs':<10}  {', '.join(found)}")
    if manifest.grouping:
        texts = {STATEMENT: "statement or program"}
        keys = [
            f"{texts.get(name, name)} ({key.shared:,} of {key.samples:,} samples share one)"
            for name, key in manifest.grouping.keys.items()
            if key.shared or name in texts
        ]
        lines.append(f"{'grouped':<10}  {manifest.grouping.groups:>9,} problems by {', '.join(keys) or 'program'}")
        if manifest.grouping.ignored:
            names = ", ".join(manifest.grouping.ignored)
            lines.append(f"{'':<10}  not by {names}: most samples have the same value; --group-field makes it count")
    if manifest.unused_fields:
        fields = (f"{visible(name)} ({count:,})" for name, count in Counter(manifest.unused_fields).most_common())
        lines.append(f"{'not used':<10}  fields with text, and samples that have it: {', '.join(fields)}")
    return lines


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _amounts(tallies: dict[str, Tally]) -> Table:
    each = list(tallies.values())
    table = _table("", *(cell for split in tallies for cell in (split, "")))

    def row(name: str, parts: list[int], wholes: list[int] | None = None) -> None:
        shares = [""] * len(each) if wholes is None else [f"{share(*pair):.1%}" for pair in zip(parts, wholes, strict=True)]
        table.add_row(name, *(cell for pair in zip((f"{part:,}" for part in parts), shares, strict=True) for cell in pair))

    samples, tokens = [tally.samples for tally in each], [tally.tokens for tally in each]
    code = [tally.region(Region.CODE) for tally in each]
    row("samples", samples)
    for name, label in zip(FLAGS, ("whose code has an error", "with a cut reasoning", "without any span"), strict=True):
        row(f"  {label}", [tally.flagged[name] for tally in each], samples)
    row("tokens", tokens)
    for region in Region:
        row(f"  {region.name.lower()}", [tally.region(region) for tally in each], tokens)
    row("code tokens", code)
    for name, label in zip(COVERAGE, ("in a span", "in one below the whole"), strict=True):
        row(f"  {label}", [tally.covered[name] for tally in each], code)
    for role in Role:
        row(f"  role: {role.name.lower().replace('_', ' ')}", [tally.role(role) for tally in each], code)
    row("candidate spans", [tally.spans for tally in each])
    return table


def _distributions(tallies: dict[str, Tally]) -> Table:
    table = _table("", "", "min", "5%", "25%", "50%", "75%", "95%", "max", "mean")
    for label, column in DISTRIBUTIONS.items():
        for split, tally in tallies.items():
            values = distribution(getattr(tally, column))
            if values is not None:
                *quantiles, mean = asdict(values).values()
                table.add_row(label, split, *(f"{value:,}" for value in quantiles), f"{mean:,.1f}")
    return table


def _span_lengths(tally: Tally) -> Table:
    table = _table("tokens", "spans", "share", "")
    table.columns[-1].justify = "left"
    bins = length_bins(tally.span_lengths)
    most = max((count for _, _, count in bins), default=0)
    for low, high, count in bins:
        bar = "█" * round(BAR_COLUMNS * share(count, most)) or ("▏" if count else "")
        table.add_row(f"{low:,} to {high - 1:,}", f"{count:,}", f"{share(count, tally.spans):.1%}", bar)
    return table


def _kinds(tally: Tally, language: str) -> Table:
    rows = tally.kinds_of(language)
    spans = sum(count for _, count, _ in rows)
    table = _table("", "spans", "share", "mean tokens")
    for kind, count, tokens in rows[:KINDS_SHOWN]:
        table.add_row(Text(visible(kind)), f"{count:,}", f"{share(count, spans):.1%}", f"{tokens / count:,.1f}")
    _add_rest(table, [count for _, count, _ in rows[KINDS_SHOWN:]], spans)
    return table


def _names(unit: str, rows: list[tuple[str, int]], whole: int) -> Table:
    table = _table("", unit, "share")
    for name, count in rows[:NAMES_SHOWN]:
        table.add_row(Text(visible(name)), f"{count:,}", f"{share(count, whole):.1%}")
    _add_rest(table, [count for _, count in rows[NAMES_SHOWN:]], whole)
    if not rows:
        table.add_row("none", "0")
    return table


def _add_rest(table: Table, counts: list[int], whole: int) -> None:
    if counts:
        table.add_row(f"{len(counts):,} others", f"{sum(counts):,}", f"{share(sum(counts), whole):.1%}", style="dim")
