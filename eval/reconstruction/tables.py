"""What ``reconstruct`` and ``loss`` print: their results as tables, shares in percent with their intervals."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from syntaxdiff.eval.reconstruction.outcome import Cell, LossResults, ReconstructionResults, SampleMeasures, SpanMeasures
from syntaxdiff.eval.syntax.tables import percent, table_of, with_interval
from syntaxdiff.pipeline.inspection.display import visible

NODE_KINDS_SHOWN = 12
_UNBOUNDED = 10_000  # columns that no table needs
_SUBSETS = (("all", "all samples"), ("with_unseen_shape", "with unseen shape"), ("without_unseen_shape", "all shapes seen"))
_OF_PARTS = (
    ("token_accuracy", "tokens right"),
    ("cross_entropy", "nats, first step"),
    ("exact_spans", "exact spans"),
    ("equal_subtrees", "equal subtrees"),
)
_OF_PROGRAMS = (("exact_programs", "exact"), ("equal_trees", "equal tree"), ("parses", "parse"), ("compiles", "compile"))


def print_reconstruction(results: ReconstructionResults, console: Console) -> None:
    """Prints the results of ``reconstruct``: an overview by strategy and rate, then spans by shape, length, depth and kind."""
    shapes, cells = results.shapes, results.cells
    console.print(
        Text.assemble(
            (visible(results.checkpoint.name), "bold"),
            f"  {results.num_samples:,} {results.data.split} samples, {results.settings.num_steps} steps",
        )
    )
    console.print(
        f"{shapes.training_shapes:,} shapes of {shapes.min_nodes} to {shapes.max_nodes} named nodes in "
        f"{shapes.training_samples:,} training samples; {sum(results.per_sample.has_unseen_shape):,} of the samples "
        "hold others"
    )
    if not cells:
        return
    originals = cells[0].all
    console.print(
        f"of {originals.originals_parse.of:,} originals, {with_interval(originals.originals_parse)} parse; of "
        f"{originals.originals_compile.of:,}, {with_interval(originals.originals_compile)} compile"
    )
    _print_overview(console, "Masked tokens and spans restored", cells, _OF_PARTS)
    _print_overview(console, "Whole programs restored", cells, _OF_PROGRAMS)
    depths = sorted({depth for cell in cells for depth in cell.spans_by_depth}, key=int)
    header = [f"{cell.strategy} {cell.mask_rate:g}" for cell in cells]
    kinds = _most_frequent(cells)
    for title, groups, spans in (
        ("Masked spans by shape", ("unseen", "seen"), [cell.spans_by_shape for cell in cells]),
        ("Masked spans by length in tokens", list(cells[0].spans_by_length), [cell.spans_by_length for cell in cells]),
        ("Masked spans by depth", depths, [cell.spans_by_depth for cell in cells]),
        (
            f"Masked spans by node kind, the {NODE_KINDS_SHOWN} most frequent",
            kinds,
            [cell.spans_by_node_kind for cell in cells],
        ),
    ):
        _print_spans(console, title, header, groups, spans)


def _print_overview(console: Console, title: str, cells: Sequence[Cell], measures: Sequence[tuple[str, str]]) -> None:
    """Strategies and rates down, measures across; below each, the samples with and without an unseen shape."""
    rows = []
    for cell in cells:
        for key, name in _SUBSETS:
            is_first = key == "all"
            subset: SampleMeasures = getattr(cell, key)
            texts = (
                f"{cell.strategy} {cell.mask_rate:g}" if is_first else f"  {name}",
                percent(cell.masked_share) if is_first else "",
                f"{subset.parses.of:,}",
                *(with_interval(getattr(subset, measure), is_mean=measure == "cross_entropy") for measure, _ in measures),
            )
            rows.append((texts, "" if is_first else "dim"))
    _print_wide(console, title, ("masks", "code\nmasked", "samples", *(name for _, name in measures)), rows, num_repeated=3)


def _print_spans(
    console: Console, title: str, header: Sequence[str], groups: Sequence[str], spans: Sequence[Mapping[str, SpanMeasures]]
) -> None:
    """Groups down, strategies and rates across: exact spans of each."""
    rows = []
    for group in groups:
        shares = [by_group[group].exact_spans if group in by_group else None for by_group in spans]
        texts = (f"{with_interval(share)} of {share.of:,}" if share and share.of else "-" for share in shares)
        rows.append(((group, *texts), ""))
    _print_wide(console, f"{title}: exact, of how many", ("", *header), rows, num_repeated=1)


def _print_wide(
    console: Console, title: str, header: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], *, num_repeated: int
) -> None:
    """Prints a table, or several one below the other where the terminal is too narrow for all columns; no cell wraps.

    Args:
        rows: cells and style of each
        num_repeated: columns at the left that every part has
    """
    num_values = len(header) - num_repeated
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for num_parts in range(1, num_values + 1):
        size = -(-num_values // num_parts)
        tables = []
        for first in range(num_repeated, len(header), size):
            chosen = [*range(num_repeated), *range(first, min(first + size, len(header)))]
            table = table_of("", [header[place] for place in chosen])
            for column in table.columns:
                column.no_wrap = True
            for cells, style in rows:
                table.add_row(*(cells[place] for place in chosen), style=style)
            tables.append(table)
        if max(Measurement.get(console, unbounded, table).maximum for table in tables) <= console.width:
            break
    console.print(Text(title, "bold"))
    console.print(*tables, sep="\n")


def _most_frequent(cells: Sequence[Cell]) -> list[str]:
    counts: dict[str, int] = {}
    for cell in cells:
        for kind, measured in cell.spans_by_node_kind.items():
            counts[kind] = counts.get(kind, 0) + measured.exact_spans.of
    return sorted(counts, key=lambda kind: (-counts[kind], kind))[:NODE_KINDS_SHOWN]


def print_losses(results: LossResults, console: Console) -> None:
    """Prints the results of ``loss``: nats per token by strategy, over all and by region and rate."""
    first = next(iter(results.strategies.values()))
    rate_names = (f"rate to {rate}" for rate in first.by_rate)
    table = table_of(f"Nats per token, {results.num_samples:,} samples", ("masks", "all", *first.by_region, *rate_names))
    for name, measured in results.strategies.items():
        nats = (measured.loss, *measured.by_region.values(), *measured.by_rate.values())
        table.add_row(name, *("" if value is None else f"{value:.3f}" for value in nats))
    console.print(table)
    for name, measured in results.strategies.items():
        console.print(
            f"{name}: weighted by {measured.objective}, {measured.effective_samples or 0:.1f} effective samples",
            highlight=False,
        )
