"""How to generate, and where the model comes from: settings that are read without torch. Generating is in generation.py."""

from dataclasses import dataclass

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.syntax.languages import LANGUAGES
from syntaxdiff.train.model.step_rule import CONFIDENCES, SCHEDULES

KINDS = ("diffusion", "autoregressive")
DTYPES = ("float32", "bfloat16", "float16", "float64")
CACHES = ("none", "prefix", "dual")
MOST = {"cuda": 32, "cpu": 8}  # a batch is finished as a whole, or lost where a run is cut off; 8 use a core as well as 32 do


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How to generate. An autoregressive model heeds length, temperature, `forbid_eos`, seed and batch size.

    Attributes:
        gen_length: most tokens of an answer
        block_length: canvas positions that are filled before the next block begins
        num_steps: of the schedule `fixed`, over the whole canvas and at least one a block; None: one a token
        schedule: one of denoise.SCHEDULES
        threshold: of the schedule `threshold`
        factor: of the schedule `factor`
        confidence: one of denoise.CONFIDENCES
        cache: one of cache.CACHES
        cache_refresh: steps after which a cache is computed anew; None: at the start of a block only; 1: exact
        temperature: of sampling; 0 takes the most probable token
        guidance: strength of classifier-free guidance; twice the work
        forbid_eos: never write a token that ends the answer
        lower_eos: fill positions that would end the answer last
        early_stop: write nothing behind a finished block that holds the answer's end
        syntax_repair: rounds of syntax repair at most
        language: of code that no fence names, for syntax repair
        seed: of sampling; the numbers of a prompt depend on the seed and the prompt's key
        batch_size: prompts at a time; results do not depend on it; None: as many as there is room for (batch_size.py)
    """

    gen_length: int = 512
    block_length: int = 32
    num_steps: int | None = None
    schedule: str = "fixed"
    threshold: float = 0.9
    factor: float = 1.0
    confidence: str = "low-confidence"
    cache: str = "none"
    cache_refresh: int | None = None
    temperature: float = 0.0
    guidance: float = 0.0
    forbid_eos: bool = False
    lower_eos: bool = False
    early_stop: bool = True
    syntax_repair: int = 0
    language: str = "python"
    seed: int = 0
    batch_size: int | None = 1

    def __post_init__(self) -> None:
        for name in ("gen_length", "block_length", "num_steps", "cache_refresh", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{_option(name)} {value}: a whole number from 1")
        for name in ("temperature", "guidance", "syntax_repair"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingsError(f"{_option(name)} {getattr(self, name)}: a number from 0")
        for name, known in (
            ("schedule", SCHEDULES),
            ("confidence", CONFIDENCES),
            ("cache", CACHES),
            ("language", LANGUAGES),
        ):
            if getattr(self, name) not in known:
                raise SettingsError(f"{_option(name)} {getattr(self, name)}: choose from {', '.join(known)}")
        if not 0 < self.threshold <= 1:
            raise SettingsError(f"--threshold {self.threshold}: a confidence, above 0 and at most 1")
        if not self.factor > 0:
            raise SettingsError(f"--factor {self.factor}: a number above 0")
        if self.confidence == "random" and self.schedule != "fixed":
            raise SettingsError(f"--schedule {self.schedule} asks how confident the model is: --confidence random does not say")
        if self.num_steps is not None and self.schedule != "fixed":
            raise SettingsError(f"--num-steps is for --schedule fixed; {self.schedule} takes as many steps as it needs")


FAST = GenerationConfig(schedule="threshold", cache="dual", batch_size=None)
"""What the commands do where nothing else is said; the defaults of the class are the plain rule, which takes far longer."""


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
