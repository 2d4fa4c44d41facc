"""What an evaluation on a benchmark is asked for: settings that are read without torch."""

from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.inference.config import FAST, GenerationConfig, ModelSource
from syntaxdiff.eval.prompting.presets import AUTO, PRESETS
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import check_options, option

PROBLEMS, ANSWERS = "Problems", "Prompt and answer"  # sections of help


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(ModelSource):
    """What to evaluate and how.

    Attributes:
        ckpt: a checkpoint's folder or hub name; None for ``reference``
        problems: the file that holds them; None: where the benchmark is by default
        limit: evaluate only the first problems
        reference: take the benchmark's own solutions for the model's
        preset: of presets.PRESETS, or ``auto``
        candidates: how many answers each problem gets
        likelihood_samples: masked versions of each candidate, to estimate how probable it is
        hole_tokens: masks of an infilling's hole; None: as many tokens as the reference has there
        trace: keep with each answer what every step wrote

    Raises:
        SettingsError: a value outside its range, or two that contradict each other
    """

    problems: Path | None = option("File of the problems, JSON lines or an array, plain or compressed.", None, section=PROBLEMS)
    limit: int | None = option("Only the first N problems: to try something out.", None, minimum=1, section=PROBLEMS)
    reference: bool = option("Run the benchmark's own solutions, no model: checks this installation.", False, section=PROBLEMS)
    preset: str = option(
        "How a problem is shown; auto goes by the tokenizer. See docs/evaluation.md.",
        AUTO,
        choices=(AUTO, *PRESETS),
        section=ANSWERS,
    )
    candidates: int = option("Candidates per problem; the most probable one is the answer.", 1, minimum=1, section=ANSWERS)
    likelihood_samples: int = option(
        "Masked versions of a candidate, to estimate how probable it is.", 32, minimum=1, section=ANSWERS
    )
    hole_tokens: int | None = option(
        "Masks of the hole.", None, minimum=1, default_text="as many tokens as the reference has there", section=ANSWERS
    )
    trace: bool = option("Keep what each denoising step wrote, for a replay in the report.", False, section=ANSWERS)
    generation: GenerationConfig = FAST

    def __post_init__(self) -> None:
        if self.reference == (self.ckpt is not None):
            raise SettingsError("give a checkpoint with --ckpt, or --reference for the benchmark's own solutions")
        check_options(self)
        if self.reference and self.candidates > 1:
            raise SettingsError("--reference has one solution per problem: leave --candidates out")
        if self.reference and self.trace:
            raise SettingsError("--reference writes nothing step by step: leave --trace out")
        if self.candidates > 1 and not self.generation.temperature > 0:
            raise SettingsError(f"--candidates {self.candidates} would all be equal at temperature 0: raise --temperature")
