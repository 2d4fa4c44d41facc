"""How to generate, and where the model comes from: settings that are read without torch.

Which of them have an effect for a kind of model is in abilities.py; generation is in denoising.py and causal.py.
"""

from dataclasses import dataclass

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import check_options, option
from syntaxdiff.pipeline.syntax.languages import LANGUAGES
from syntaxdiff.train.model.denoising_config import CONFIDENCES, SCHEDULES

KINDS = ("diffusion", "autoregressive")
DTYPES = ("float32", "bfloat16", "float16", "float64")
CACHES = ("none", "prefix", "dual")
MOST = {"cuda": 32, "cpu": 8}  # a batch is finished as a whole, or lost where a run is cut off; 8 use a core as well as 32 do
MODEL, GENERATION = "Model", "Generation"  # sections of help


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from, and how it is loaded; the fields are explained by their options.

    Raises:
        SettingsError: a value that there is not
    """

    ckpt: str | None = option("Folder of a training run's export or of LLaDA's files, or a hub name.", None, section=MODEL)
    device: str = option("cpu, cuda or cuda:N; auto: a GPU if there is one.", "auto", section=MODEL)
    dtype: str = option("auto: as the weights are stored.", "auto", choices=("auto", *DTYPES), section=MODEL)
    kind: str = option("auto: by what the folder holds.", "auto", choices=("auto", *KINDS), section=MODEL)
    mask_token: str | None = option("Mask token of a model whose tokenizer does not name it.", None, section=MODEL)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class RequiredModelSource(ModelSource):
    """Where a model comes from, for commands that cannot do without one."""

    ckpt: str = option("Folder of a training run's export or of LLaDA's files, or a hub name.", section=MODEL)


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How to generate. An autoregressive model heeds length, temperature, `forbid_eos`, seed and batch size.

    Attributes:
        gen_length: maximum number of new tokens
        block_length: canvas positions that are filled before the next block begins
        num_steps: of the schedule `fixed`, over the whole canvas and at least one per block; None: one per token
        schedule: one of denoising_config.SCHEDULES
        threshold: of the schedule `threshold`
        factor: of the schedule `factor`
        confidence: one of denoising_config.CONFIDENCES
        cache: one of CACHES
        cache_refresh: steps after which a cache is computed again; None: at the start of a block only; 1: exact
        temperature: sampling temperature; 0 takes the most probable token
        guidance: strength of classifier-free guidance; twice the work
        forbid_eos: never write a token that ends the answer
        lower_eos: fill positions that would end the answer last
        early_stop: write nothing after a finished block that holds the answer's end
        syntax_repair: maximum number of rounds of syntax repair
        language: language assumed for unlabelled code, for syntax repair
        seed: sampling seed; the numbers of a prompt depend on the seed and the prompt's key
        batch_size: prompts at a time; results do not depend on it; None: as many as fit into memory (batch_size.py)

    Raises:
        SettingsError: a value outside its range, or two that contradict each other
    """

    gen_length: int = option("Maximum number of new tokens; the paper has 512 and 1024.", 512, minimum=1, section=GENERATION)
    block_length: int = option("Tokens that are filled before the next block begins.", 32, minimum=1, section=GENERATION)
    num_steps: int | None = option(
        "Denoising steps of the fixed schedule, over the whole answer.",
        None,
        minimum=1,
        default_text="one per token",
        section=GENERATION,
    )
    schedule: str = option(
        "What a step fills: a fixed number, all above a threshold, or by a factor.",
        "fixed",
        choices=SCHEDULES,
        section=GENERATION,
    )
    threshold: float = option("Least confidence, for the threshold schedule.", 0.9, above=0, maximum=1, section=GENERATION)
    factor: float = option("Factor of the factor schedule.", 1.0, above=0, section=GENERATION)
    confidence: str = option(
        "What decides which positions to fill first.", "low-confidence", choices=CONFIDENCES, section=GENERATION
    )
    cache: str = option(
        "Keys and values kept between steps; faster, and an approximation.", "none", choices=CACHES, section=GENERATION
    )
    cache_refresh: int | None = option(
        "Steps after which a cache is computed again.", None, minimum=1, default_text="at each block", section=GENERATION
    )
    temperature: float = option("Sampling temperature; 0 takes the most probable token.", 0.0, minimum=0, section=GENERATION)
    guidance: float = option("Strength of classifier-free guidance; twice the work.", 0.0, minimum=0, section=GENERATION)
    forbid_eos: bool = option("Never write a token that ends the answer.", False, section=GENERATION)
    lower_eos: bool = option("Fill positions that would end the answer last.", False, section=GENERATION)
    early_stop: bool = option("Write nothing after a finished block that holds the answer's end.", True, section=GENERATION)
    syntax_repair: int = option("Rounds of hiding and rewriting what does not parse.", 0, minimum=0, section=GENERATION)
    language: str = option(
        "Language assumed for unlabelled code, for syntax repair.", "python", choices=LANGUAGES, section=GENERATION
    )
    seed: int = option("Sampling seed.", 0, section=GENERATION)
    batch_size: int | None = option(
        "Prompts at a time; results do not depend on it, except for rounding.",
        1,
        minimum=1,
        default_text=f"as many as fit into memory, at most {MOST['cpu']} on a CPU and {MOST['cuda']} on a GPU",
        section=GENERATION,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.confidence == "random" and self.schedule != "fixed":
            raise SettingsError(f"--schedule {self.schedule} asks how confident the model is: --confidence random does not say")
        if self.num_steps is not None and self.schedule != "fixed":
            raise SettingsError(f"--num-steps is for --schedule fixed; {self.schedule} takes as many steps as it needs")


FAST = GenerationConfig(schedule="threshold", cache="dual", batch_size=None)
"""What the commands do where nothing else is said; the defaults of the class are the plain rule, which takes far longer."""
