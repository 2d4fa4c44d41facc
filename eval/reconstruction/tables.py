"""What ``reconstruct`` and ``loss`` print: their results as tables, shares in percent with their intervals."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

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


def print_reconstruction(result: dict[str, Any], console: Console) -> None:
    """Prints a result of ``reconstruct``: an overview by strategy and rate, then spans by shape, length, depth and kind."""
    shapes = result["shapes"]
    cells = result["cells"]
    console.print(
        Text.assemble(
            (visible(result["checkpoint"]["name"]), "bold"),
            f"  {result['num_samples']:,} {result['data']['split']} samples, {result['settings']['num_steps']} steps",
        )
    )
    console.print(
        f"{shapes['training_shapes']:,} shapes of {shapes['min_nodes']} to {shapes['max_nodes']} named nodes in "
        f"{shapes['training_samples']:,} training samples; {sum(result['per_sample']['has_unseen_shape']):,} of the samples "
        "hold others"
    )
    if not cells:
        return
    originals = cells[0]["all"]
    console.print(
        f"of {originals['originals_parse']['of']:,} originals, {with_interval(originals['originals_parse'])} parse; of "
        f"{originals['originals_compile']['of']:,}, {with_interval(originals['originals_compile'])} compile"
    )
    _print_overview(console, "Masked tokens and spans restored", cells, _OF_PARTS)
    _print_overview(console, "Whole programs restored", cells, _OF_PROGRAMS)
    depths = sorted({depth for cell in cells for depth in cell["spans_by_depth"]}, key=int)
    for key, title, groups in (
        ("spans_by_shape", "Masked spans by shape", ("unseen", "seen")),
        ("spans_by_length", "Masked spans by length in tokens", list(cells[0]["spans_by_length"])),
        ("spans_by_depth", "Masked spans by depth", depths),
        ("spans_by_node_kind", f"Masked spans by node kind, the {NODE_KINDS_SHOWN} most frequent", _most_frequent(cells)),
    ):
        _print_spans(console, title, cells, key, groups)


def _print_overview(console: Console, title: str, cells: Sequence[dict[str, Any]], measures: Sequence[tuple[str, str]]) -> None:
    """Strategies and rates down, measures across; below each, the samples with and without an unseen shape."""
    rows = []
    for cell in cells:
        for key, name in _SUBSETS:
            is_first = key == "all"
            told = (
                f"{cell['strategy']} {cell['mask_rate']:g}" if is_first else f"  {name}",
                percent(cell["masked_share"]) if is_first else "",
                f"{cell[key]['parses']['of']:,}",
                *(with_interval(cell[key][measure], is_mean=measure == "cross_entropy") for measure, _ in measures),
            )
            rows.append((told, "" if is_first else "dim"))
    _print_wide(console, title, ("masks", "code\nmasked", "samples", *(name for _, name in measures)), rows, num_repeated=3)


def _print_spans(console: Console, title: str, cells: Sequence[dict[str, Any]], key: str, groups: Sequence[str]) -> None:
    """Groups down, strategies and rates across: exact spans of each."""
    rows = []
    for group in groups:
        shares = [cell[key].get(group, {}).get("exact_spans") for cell in cells]
        told = (f"{with_interval(share)} of {share['of']:,}" if share and share["of"] else "-" for share in shares)
        rows.append(((group, *told), ""))
    header = ("", *(f"{cell['strategy']} {cell['mask_rate']:g}" for cell in cells))
    _print_wide(console, f"{title}: exact, of how many", header, rows, num_repeated=1)


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


def _most_frequent(cells: Sequence[dict[str, Any]]) -> list[str]:
    counts: dict[str, int] = {}
    for cell in cells:
        for kind, measured in cell["spans_by_node_kind"].items():
            counts[kind] = counts.get(kind, 0) + measured["exact_spans"]["of"]
    return sorted(counts, key=lambda kind: (-counts[kind], kind))[:NODE_KINDS_SHOWN]


def print_losses(result: dict[str, Any], console: Console) -> None:
    """Prints a result of ``loss``: nats a token by strategy, over all and by region and rate."""
    strategies = result["strategies"]
    regions, rates = (next(iter(strategies.values()))[name] for name in ("by_region", "by_rate"))
    rate_names = (f"rate to {rate}" for rate in rates)
    table = table_of(f"Nats per token, {result['num_samples']:,} samples", ("masks", "all", *regions, *rate_names))
    for name, one in strategies.items():
        told = (one["loss"], *one["by_region"].values(), *one["by_rate"].values())
        table.add_row(name, *("" if nats is None else f"{nats:.3f}" for nats in told))
    console.print(table)
    for name, one in strategies.items():
        console.print(
            f"{name}: weighted by {one['objective']}, {one['effective_samples']:.1f} effective samples", highlight=False
        )
