"""What ``syntax`` prints; and shares in percent with their intervals, for all tables of the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syntaxdiff.eval.stats import Share
from syntaxdiff.eval.syntax.outcome import SyntaxResults
from syntaxdiff.pipeline.inspection.display import visible

ERRORS_SHOWN = 12


def print_syntax(results: SyntaxResults, console: Console) -> None:
    """Prints the results of ``syntax``: rates, kinds of errors, and what holds while denoising."""
    table = table_of("Programs", ("", "share", "of"))
    for share, name in ((results.parses, "parse (tree-sitter)"), (results.compiles, f"compile (CPython {results.python})")):
        table.add_row(name, with_interval(share), f"{share.of:,}")
    table.add_row("no program found", "", f"{results.num_empty:,}")
    if (denoising := results.denoising) is not None:
        table.add_row("decided part holds, by step", with_interval(denoising.steps), f"{denoising.steps.of:,}")
        for name, share in denoising.by_progress.items():
            table.add_row(f"  steps {name}", with_interval(share), f"{share.of:,}")
    console.print(table)
    for errors, title in ((results.tree_errors, "tree-sitter's errors"), (results.compile_errors, "CPython's errors")):
        if not errors:
            continue
        listed = table_of(title, ("", "programs", "times"))
        for kind, counts in list(errors.items())[:ERRORS_SHOWN]:
            listed.add_row(Text(visible(kind)), f"{counts.programs:,}", f"{counts.times:,}")
        if len(errors) > ERRORS_SHOWN:
            listed.add_row(f"{len(errors) - ERRORS_SHOWN} more kinds", "", "")
        console.print(listed)


def table_of(title: str, header: Sequence[str]) -> Table:
    """An empty table: the first column on the left, figures on the right, no column narrower than its heading."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place, name in enumerate(header):
        longest = max(map(len, name.split("\n")))
        table.add_column(name, justify="right" if place else "left", min_width=longest if place else None)
    return table


def percent(share: Share) -> str:
    """A share in percent; ``-`` for none."""
    return "-" if share.value is None else f"{100 * share.value:.1f} %"


def with_interval(share: Share, *, is_mean: bool = False) -> str:
    """A share in percent, or a mean, with its interval of 95 %."""
    if share.value is None:
        return "-"
    scale, digits = (1.0, 2) if is_mean else (100.0, 1)
    middle = f"{scale * share.value:.{digits}f}" + ("" if is_mean else " %")
    if share.low is None or share.high is None:
        return middle
    return f"{middle} [{scale * share.low:.{digits}f}, {scale * share.high:.{digits}f}]"
