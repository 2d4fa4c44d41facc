"""Which settings of generation have an effect for a kind of model, and which options are refused because they have none.

What each kind of model uses is in abilities.py. How settings are described next to a score is benchmarks' effect.py.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace

from syntaxdiff.eval.inference.abilities import ABILITIES, DENOISING, DENOISING_OPTIONS
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.errors import SettingsError

REFERENCE = "reference"  # stands for a kind of model in results of the benchmark's own solutions
_REFERENCE_OPTIONS: tuple[str, ...] = (
    *("gen_length", "temperature", "forbid_eos", "seed", "batch_size"),
    *DENOISING_OPTIONS,
    *("preset", "likelihood_samples", "hole_tokens", "device", "dtype", "kind", "mask_token"),
)


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """The fields of GenerationConfig that decide tokens; None for one that had no effect, or that an older version lacked.

    The batch size is not among them: in exact arithmetic it decides nothing, so that a run may resume with another.
    """

    gen_length: int | None = None
    block_length: int | None = None
    num_steps: int | None = None
    schedule: str | None = None
    threshold: float | None = None
    factor: float | None = None
    confidence: str | None = None
    cache: str | None = None
    cache_refresh: int | None = None
    temperature: float | None = None
    guidance: float | None = None
    forbid_eos: bool | None = None
    lower_eos: bool | None = None
    early_stop: bool | None = None
    syntax_repair: int | None = None
    language: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, config: GenerationConfig) -> "GenerationSettings":
        """The settings of a configuration, all as they were asked for."""
        return cls(**{own.name: getattr(config, own.name) for own in fields(cls)})

    def without(self, names: Sequence[str] | set[str]) -> "GenerationSettings":
        """The same with None for some of them; names of other options are passed over."""
        return replace(self, **{own.name: None for own in fields(self) if own.name in names})


def effective(
    generation: GenerationConfig | GenerationSettings, kind: str, *, is_infilling: bool = False
) -> GenerationSettings:
    """Settings of generation, None where one had no effect.

    Args:
        generation: as they were asked for, in this version or an earlier one
        kind: of checkpoint.KINDS
    """
    asked = GenerationSettings.of(generation) if isinstance(generation, GenerationConfig) else generation
    return asked.without(ABILITIES.get(kind, DENOISING).without_effect(asked, is_infilling=is_infilling))


def refuse_without_effect(
    given: Collection[str], kind: str, *, temperature: float = 0.0, is_infilling: bool = False, used: Collection[str] = ()
) -> None:
    """Refuses options that a kind of model does not use, so that no result is taken for one with them.

    Args:
        given: options that a person gave, by their names as parameters
        kind: of checkpoint.KINDS, or REFERENCE
        temperature: of sampling: an autoregressive model samples one answer at a time
        used: options that the command itself uses

    Raises:
        SettingsError: there are some
    """
    if kind == REFERENCE:
        without, why = _REFERENCE_OPTIONS, "--reference runs the benchmark's own solutions"
    else:
        without, why = ABILITIES[kind].useless_options(temperature=temperature, is_infilling=is_infilling)
    useless = [_option(name) for name in without if name in given and name not in used]
    if useless:
        raise SettingsError(f"{why}: {', '.join(useless)} {'has' if len(useless) == 1 else 'have'} no effect, leave it out")


def unused(given: Collection[str], generation: GenerationConfig, kind: str, *, used: Collection[str] = ()) -> list[str]:
    """What to print of options that other settings leave without effect, such as a seed at temperature 0."""
    heeded = effective(generation, kind)
    names = [
        field.name
        for field in fields(heeded)
        if getattr(heeded, field.name) is None
        and getattr(generation, field.name) is not None
        and field.name in given
        and field.name not in used
    ]
    return [f"{_option(name)} has no effect with the other settings: {_REASONS[name]}" for name in names]


_REASONS = {
    "num_steps": "it is for --schedule fixed",
    "threshold": "it is for --schedule threshold",
    "factor": "it is for --schedule factor",
    "cache_refresh": "there is no cache",
    "language": "it is for --syntax-repair",
    "seed": "nothing is drawn at temperature 0",
}


def _option(name: str) -> str:
    return "--no-early-stop" if name == "early_stop" else "--" + name.replace("_", "-")
