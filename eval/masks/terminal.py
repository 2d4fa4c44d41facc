"""Masks in a terminal: the program once a strategy, side by side where they fit, and the subtrees that were drawn."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from syntaxdiff.eval.masks.draw import CORRUPTIBLE, Masks, Subject, pieces
from syntaxdiff.pipeline.inspection.display import visible
from syntaxdiff.pipeline.shard import Region
from syntaxdiff.train.corruption.operators import Operator

MIN_PANEL_COLUMNS = 44
UNITS_SHOWN = 12
SNIPPET_CHARACTERS = 48
STYLES = {
    Operator.NONE: "",
    Operator.MASK: "black on bright_red",
    Operator.DROP: "strike black on white",
    Operator.SHUFFLE: "black on bright_cyan",
    Operator.RELABEL: "black on bright_green",
    Operator.PLACEHOLDER: "black on bright_magenta",
}
TOKEN_STYLE = "black on bright_yellow"  # a single masked token, no subtree
BRACKETS = "⟦", "⟧"  # where there is no colour
EXPLAINED = {
    Operator.MASK: "masked subtree",
    Operator.DROP: "dropped",
    Operator.SHUFFLE: "shuffled",
    Operator.RELABEL: "relabelled",
    Operator.PLACEHOLDER: "placeholders",
}


def print_masks(subject: Subject, draws: Sequence[Masks], console: Console, *, whole: bool) -> None:
    """Prints a sample under several draws.

    Args:
        whole: also print reasoning and scaffold, not only the code
    """
    row = subject.row
    facts = [row.language, visible(row.source), f"{row.length:,} tokens", f"seed {draws[0].seed}", f"epoch {draws[0].epoch}"]
    console.print(Text.assemble((visible(row.sample_id), "bold"), "  ", " · ".join(facts)), soft_wrap=True)
    console.print(_legend(draws))
    columns = max(1, min(len(draws), console.width // MIN_PANEL_COLUMNS))
    has_colour = console.color_system is not None
    panels = [_panel(subject, masks, whole=whole, has_colour=has_colour) for masks in draws]
    for first in range(0, len(panels), columns):
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in range(columns):
            grid.add_column(ratio=1)
        grid.add_row(*panels[first : first + columns])
        console.print(grid)


def _legend(draws: Sequence[Masks]) -> Text:
    used = {Operator(int(operator)) for masks in draws for operator in set(masks.operator_L.tolist())} - {Operator.NONE}
    legend = Text()
    for operator in sorted(used):
        legend.append(f" {EXPLAINED[operator]} ", STYLES[operator]).append("  ")
    if Operator.MASK in used:
        legend.append(" masked token ", TOKEN_STYLE)
    return legend


def _panel(subject: Subject, masks: Masks, *, whole: bool, has_colour: bool) -> Panel:
    parts = [
        f"{region.name.lower()} {count} of {total} ({count / total:.0%})"
        for region in CORRUPTIBLE
        for count, total in [masks.share(region, subject)]
        if total
    ]
    start, end = subject.interval(Region.CODE)
    if whole:
        start, end = subject.interval(Region.PROMPT)[1], subject.row.length
    program = Text(overflow="fold")
    for piece in pieces(subject, masks, start, end):
        style = TOKEN_STYLE if piece.operator == Operator.MASK and piece.unit < 0 else STYLES[piece.operator]
        if piece.operator != Operator.NONE and not has_colour:
            line_end = "\n" if piece.text.endswith("\n") and piece.text != "\n" else ""
            program.append(piece.text.removesuffix(line_end).join(BRACKETS) + line_end)
        else:
            _append(program, piece.text, style)
    program.rstrip()
    title = f"{masks.strategy}  rate {masks.mask_rate:g}"
    return Panel(Group(Text(", ".join(parts), "dim"), "", program, "", _units(subject, masks)), title=title)


def _append(program: Text, text: str, style: str) -> None:
    """Appends text with its lines' indentation and ends left uncoloured."""
    for number, line in enumerate(text.split("\n")):
        program.append("\n" if number else "")
        blank = len(line) - len(line.lstrip()) if number else 0
        program.append(line[:blank]).append(line[blank:], style)


def _units(subject: Subject, masks: Masks) -> Text:
    """The drawn subtrees, the largest first."""
    if not masks.units:
        return Text("no subtrees drawn", "dim")
    ids = subject.row.input_ids.tolist()
    order = sorted(masks.units, key=lambda unit: (unit.start - unit.end, unit.start))
    lines = []
    for unit in order[:UNITS_SHOWN]:
        snippet = " ".join(subject.texts(ids, (unit.start, unit.end))[0].split())
        snippet = snippet if len(snippet) <= SNIPPET_CHARACTERS else snippet[: SNIPPET_CHARACTERS - 1] + "…"
        size = f" {unit.end - unit.start:>4} tokens  "
        lines.append(Text.assemble((unit.kind, "bold"), size, (snippet, "dim"), no_wrap=True, overflow="ellipsis"))
    if len(order) > UNITS_SHOWN:
        lines.append(Text(f"… {len(order) - UNITS_SHOWN:,} more subtrees", "dim"))
    return Text("\n").join(lines)
