"""What ``generate`` and ``infill`` are asked for: settings, read without torch."""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.prompting.presets import AUTO, INFILLING_PRESETS, PRESETS
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import check_options, option

FILL = "<FILL>"
DEFAULT_HOLE_TOKENS = 32
ANSWERS = "Prompt and answer"  # section of help


@dataclass(frozen=True, kw_only=True)
class WritingConfig:
    """Prompts, and where the programs go; the fields are explained by their options."""

    prompt: str | None = option("The prompt.", None, is_argument=True)
    prompts: Path | None = option(
        "File with one prompt per line, or JSON lines with the field prompt (.jsonl).", None, section=ANSWERS
    )
    preset: str = option(
        "How a prompt is shown: see docs/evaluation.md; chat leaves reasoning in.",
        AUTO,
        choices=(AUTO, *PRESETS),
        section=ANSWERS,
    )
    answer: bool = option("Print everything that the model wrote instead of only the program.", False, section=ANSWERS)
    live: bool = option("Show the answer while it is denoised: masks, and what each step writes.", False, section=ANSWERS)
    out: Path | None = option("Write JSON lines with prompt, answer and program there.", None, section=ANSWERS)
    trace: bool = option("With --out: also what each denoising step wrote, for a replay.", False, section=ANSWERS)

    def __post_init__(self) -> None:
        check_options(self)
        if (self.prompt is None) == (self.prompts is None):
            raise SettingsError("give one prompt, or a file of them with --prompts")
        if self.live and self.prompt is None:
            raise SettingsError("--live shows one answer: give one prompt instead of --prompts")
        if self.trace and self.out is None:
            raise SettingsError("--trace goes into a file: name it with --out")


@dataclass(frozen=True, kw_only=True)
class InfillingConfig:
    """A program with holes, and where the filled one goes; the fields are explained by their options."""

    file: Path = option("The program; - for standard input.", is_argument=True)
    marker: str = option("Text that marks a hole.", FILL, section=ANSWERS)
    hole_tokens: int = option("Tokens of each hole.", DEFAULT_HOLE_TOKENS, minimum=1, section=ANSWERS)
    preset: str = option(
        "program: inside the chat template and a fence; completion: bare.",
        AUTO,
        choices=(AUTO, *INFILLING_PRESETS),
        section=ANSWERS,
    )
    out: Path | None = option("Write the program there.", None, section=ANSWERS)

    def __post_init__(self) -> None:
        check_options(self)
