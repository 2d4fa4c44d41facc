"""What a folder of shards holds, and what became of every row that was read: one pass over the shards, and its tables.

A row group is in memory at a time; what is counted of it is in tally.py, the picture of it in picture.py.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syntaxdiff.pipeline.display import visible
from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.shard import SPLITS, Manifest, Region, Role, iter_row_groups, read_manifest
from syntaxdiff.pipeline.tally import COVERAGE, FLAGS, Tally, counted, distribution, length_bins, share, tally_table

KINDS_SHOWN = 25  # of a language, in the tables; to_dict has them all
NAMES_SHOWN = 10  # sources, in the tables


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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; keys do not change within a schema version.

        ``schema_version``, ``fingerprint``; ``accounting``: rows_read, samples, rejects, where the first is the sum of the
        others; ``rejects``: {reason: {rows, share of the rows read}}; ``splits``: {train, validation: tally}; ``all``: tally.

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
    manifest, rejects = summary.manifest, sum(summary.manifest.rejected.values())
    parts = [f"{tally.samples:,} {split}" for split, tally in summary.splits.items()]
    console.print(Text(f"{manifest.rows_read:,} rows read = {' + '.join(parts)} + {rejects:,} rejects"))
    console.print(Text(f"fingerprint {manifest.fingerprint[:12]}", style="dim"))
    tallies = {**summary.splits, "all": summary.total}
    console.print(_amounts(tallies), _distributions(tallies), _span_lengths(summary.total))
    for language in sorted(summary.total.languages):
        console.print(_kinds(summary.total, language))
    samples = summary.total.samples
    console.print(_names("Languages", "samples", summary.total.languages.most_common(), samples))
    console.print(_names("Sources", "samples", summary.total.sources.most_common(), samples))
    console.print(_names("Rejects", "rows", summary.rejects, manifest.rows_read))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cell(part: int, whole: int) -> str:
    return f"{part:,} {share(part, whole):6.1%}"


def _amounts(tallies: dict[str, Tally]) -> Table:
    table = _table("\nSamples and tokens", "", *tallies)
    each = list(tallies.values())

    table.add_row("samples", *(f"{tally.samples:,}       " for tally in each))
    for name, label in zip(FLAGS, ("  whose code has an error", "  with a cut reasoning", "  without any span"), strict=True):
        table.add_row(label, *(_cell(tally.flagged[name], tally.samples) for tally in each))
    table.add_row("tokens", *(f"{tally.tokens:,}       " for tally in each))
    for region in Region:
        table.add_row(f"  {region.name.lower()}", *(_cell(tally.region(region), tally.tokens) for tally in each))
    table.add_row("code tokens", *(f"{tally.region(Region.CODE):,}       " for tally in each))
    for name, label in zip(COVERAGE, ("  in a span", "  in a span below the whole code"), strict=True):
        table.add_row(label, *(_cell(tally.covered[name], tally.region(Region.CODE)) for tally in each))
    for role in Role:
        label = f"  role {role.name.lower().replace('_', ' ')}"
        table.add_row(label, *(_cell(tally.role(role), tally.region(Region.CODE)) for tally in each))
    table.add_row("candidate spans", *(f"{tally.spans:,}       " for tally in each))
    return table


def _distributions(tallies: dict[str, Tally]) -> Table:
    table = _table("\nDistributions", "", "", "min", "5%", "25%", "50%", "75%", "95%", "max", "mean")
    columns = {
        "tokens a sample": "lengths",
        "spans a sample": "spans_per_sample",
        "tokens a span": "span_lengths",
        "depth of a span": "span_depths",
        "depth of a sample": "sample_depths",
    }
    for label, column in columns.items():
        for split, tally in tallies.items():
            values = distribution(getattr(tally, column))
            if values is not None:
                *quantiles, mean = asdict(values).values()
                table.add_row(label, split, *(f"{value:,}" for value in quantiles), f"{mean:,.1f}")
    return table


def _span_lengths(tally: Tally) -> Table:
    table = _table("\nSpan lengths", "tokens", "spans", "share", "")
    table.columns[-1].justify = "left"
    bins = length_bins(tally.span_lengths)
    most = max((count for _, _, count in bins), default=0)
    for low, high, count in bins:
        bar = "█" * round(24 * share(count, most)) or ("▏" if count else "")
        table.add_row(f"{low:,} to {high - 1:,}", f"{count:,}", f"{share(count, tally.spans):.1%}", bar)
    return table


def _kinds(tally: Tally, language: str) -> Table:
    rows = tally.kinds_of(language)
    spans = sum(count for _, count, _ in rows)
    shown = f", the {KINDS_SHOWN} commonest of {len(rows)}" if len(rows) > KINDS_SHOWN else ""
    table = _table(f"\nNode kinds of spans in {visible(language)}{shown}", "kind", "spans", "share", "mean tokens")
    for kind, count, tokens in rows[:KINDS_SHOWN]:
        table.add_row(Text(visible(kind)), f"{count:,}", f"{share(count, spans):.1%}", f"{tokens / count:,.1f}")
    return table


def _names(title: str, unit: str, rows: list[tuple[str, int]], whole: int) -> Table:
    table = _table(f"\n{title}", "", unit, "share")
    for name, count in rows[:NAMES_SHOWN]:
        table.add_row(Text(visible(name)), f"{count:,}", f"{share(count, whole):.1%}")
    rest = rows[NAMES_SHOWN:]
    if rest:
        others = sum(count for _, count in rest)
        table.add_row(f"{len(rest):,} others", f"{others:,}", f"{share(others, whole):.1%}", style="dim")
    if not rows:
        table.add_row("none", "0", "")
    return table
