"""What ``syntax`` checks, and which subtrees count as patterns: settings, read without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from syntaxdiff.eval.prompting.presets import AUTO, PRESETS
from syntaxdiff.pipeline.options import check_options, option

PROGRAMS, RESULTS = "Programs", "Results"  # sections of help


class Size(NamedTuple):
    """Which subtrees count as patterns: those with so many named nodes, their root among them."""

    min_nodes: int = 4
    max_nodes: int = 12


@dataclass(frozen=True, kw_only=True)
class SyntaxConfig:
    """Which programs are checked, and where the result goes; the fields are explained by their options."""

    programs: Path | None = option("JSON lines that hold programs, such as samples.jsonl.", None, section=PROGRAMS)
    field: str = option("Where a line has its program.", "program", section=PROGRAMS)
    prompts: Path | None = option(
        "With --ckpt: one prompt per line, or JSON lines with prompt (.jsonl).", None, section=PROGRAMS
    )
    preset: str = option("How a prompt is shown: see docs/evaluation.md.", AUTO, choices=(AUTO, *PRESETS), section=PROGRAMS)
    out: Path | None = option("Also write the result there, as JSON.", None, section=RESULTS)
    as_json: bool = option("Print JSON instead of tables.", False, flag="json", section=RESULTS)

    def __post_init__(self) -> None:
        check_options(self)
