"""Scores in a terminal: one evaluation, or several side by side with the programs on which they differ."""

from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from syntaxdiff.eval.compare import Comparison, Evaluated
from syntaxdiff.eval.results import Sample
from syntaxdiff.eval.scores import Interval
from syntaxdiff.pipeline.display import visible

MIN_PANEL_COLUMNS = 56
IDS_SHOWN = 12
DETAIL_CHARACTERS = 160


def print_results(results: dict[str, Any], console: Console) -> None:
    """Prints what ``results.json`` holds as a table."""
    table = Table(title=Text(_title(results), "bold"), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    is_chosen = results["num_candidates"] > 1
    table.add_row("most probable passes" if is_chosen else "pass@1", share(results["pass_at_1"]))
    if "pass_at_1_without_reference_failures" in results:
        table.add_row("  without the listed", share(results["pass_at_1_without_reference_failures"]))
    for k, score in results.get("pass_at_k", {}).items():
        low, high = score["interval"]
        estimated = f"{score['value']:.1%}  over {score['total']} problems  [{low:.1%}, {high:.1%}]"
        table.add_row(f"pass@{k}", f"{estimated}  unbiased, from {results['num_candidates']} candidates")
    table.add_row("verdicts", _counted(results["verdicts"]))
    table.add_row("compiles", share(results["compiles"]))
    table.add_row("parses", share(results["parses"]))
    table.add_row("program found as", _counted(results["extraction"]))
    repair = results.get("syntax_repair")
    if repair:
        table.add_row(
            "syntax repair",
            f"{repair['with_errors']} of {repair['programs']} programs had errors, repair tried on {repair['tried']}, "
            f"helped {repair['helped']}, mended {repair['mended']}",
        )
    generation = results["generation"]
    if generation:
        rate = generation["tokens_per_second"]
        passes = generation["forward_passes_per_token"]
        table.add_row(
            "generation",
            f"{generation['tokens']:,} tokens in {generation['seconds']:,.1f} s: "
            f"{rate or 0:,.1f} tokens/s, {passes or 0:.2f} forward passes a token",
        )
    prompt = results["settings"].get("prompt")
    if prompt:
        table.add_row("prompt", f"{prompt['preset']}  sha256 {prompt['sha256'][:12]}")
    table.add_row("isolation", _isolation(results["isolation"]))
    console.print(table)
    failures = results["reference_failures"]
    if failures:
        ids = ", ".join(list(failures)[:IDS_SHOWN]) + (f" and {len(failures) - IDS_SHOWN} more" * (len(failures) > IDS_SHOWN))
        console.print(
            Text(f"The reference fails here on {len(failures)} of these problems, which stay counted: {ids}", "yellow")
        )
    if too_long := results["extraction"].get("too-long"):
        console.print(
            Text(f"{too_long} prompts left no room for an answer, which counts as not passed: lower --gen-length", "yellow")
        )
    if not results["is_complete"]:
        console.print(Text(f"The first {results['num_problems']} problems alone: no score of the benchmark.", "yellow"))


def print_comparison(comparison: Comparison, console: Console, *, show: int) -> None:
    """Prints evaluations side by side: scores, paired differences, and programs.

    Args:
        show: differing problems whose programs are printed; those of the paper's study are printed besides
    """
    first = comparison.evaluations[0]
    table = Table(title=Text(_title(first.results, with_name=False), "bold"), title_justify="left")
    for column in ("", "pass@1", f"against {first.name}", "95 % interval", "p", "both", "lost", "won", "neither"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row(first.name, _score(first))
    for one, pair in zip(comparison.evaluations[1:], comparison.pairs, strict=True):
        counts = (pair.both, pair.only_first, pair.only_other, pair.neither)
        row = (one.name, _score(one), f"{pair.difference:+.1%}", _signed(pair.interval), f"{pair.p_value:.3g}")
        table.add_row(*row, *map(str, counts))
        if pair.candidates:
            mean, interval = pair.candidates
            table.add_row("  all candidates", "", f"{mean:+.1%}", _signed(interval))
    console.print(table)
    console.print(
        Text(f"On {len(comparison.task_ids)} problems. Intervals: paired bootstrap. p: McNemar, exact, two-sided.", "dim")
    )
    for note in comparison.notes:
        console.print(Text(note, "yellow"))
    differing = [task_id for task_id in comparison.differing if task_id not in comparison.studied]
    for task_id in comparison.studied:
        _print_programs(comparison, task_id, console, "the paper's study")
    for task_id in differing[:show]:
        _print_programs(comparison, task_id, console)
    if differing[show:]:
        console.print(Text(f"They differ on {len(differing) - show} more: {', '.join(differing[show:])}", "dim"))


def share(score: dict[str, Any]) -> str:
    """A share as text: value, count of total, interval."""
    if score["value"] is None:
        return "none"
    low, high = score["interval"]
    return f"{score['value']:.1%}  {score['count']}/{score['total']}  [{low:.1%}, {high:.1%}]"


def _score(one: Evaluated) -> str:
    score = one.results["pass_at_1"]
    return f"{score['value']:.1%} {score['count']}/{score['total']}"


def _signed(interval: Interval | None) -> str:
    return f"[{interval.low:+.1%}, {interval.high:+.1%}]" if interval else "none"


def _title(results: dict[str, Any], *, with_name: bool = True) -> str:
    parts = [results["benchmark"], results["split"] or "", f"{results['num_problems']} problems"]
    if with_name:
        step = results["settings"]["checkpoint"].get("step")
        parts.append(results["checkpoint"] + (f" step {step}" if step is not None else ""))
    return "  ".join(part for part in parts if part)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _isolation(isolation: dict[str, Any]) -> str:
    active = [name for name, layer in isolation["layers"].items() if layer["is_active"]]
    missing = [name for name, holds in isolation["guarantees"].items() if not holds]
    return ", ".join(active) + (f"; NOT HELD: {', '.join(missing)}" if missing else "")


def _print_programs(comparison: Comparison, task_id: str, console: Console, remark: str = "") -> None:
    console.print()
    console.print(Text.assemble((task_id, "bold"), f"  {remark}" if remark else ""))
    panels = [_panel(one.name, one.answers[task_id]) for one in comparison.evaluations]
    columns = max(1, min(len(panels), console.width // MIN_PANEL_COLUMNS))
    for start in range(0, len(panels), columns):
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in range(columns):
            grid.add_column(ratio=1)
        grid.add_row(*panels[start : start + columns])
        console.print(grid)


def _panel(name: str, sample: Sample) -> Panel:
    code = Syntax(visible(sample.program).rstrip(), "python", word_wrap=True, background_color="default")
    detail = visible(" ".join(sample.detail.split()))[:DETAIL_CHARACTERS]
    outcome = Text.assemble((sample.status or "", "green" if sample.has_passed else "red"), f"  {detail}" if detail else "")
    return Panel(Group(outcome, code), title=Text(name), border_style="green" if sample.has_passed else "red")
