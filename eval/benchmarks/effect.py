"""Which settings had an effect on results, how they are described next to a score, and which options are refused.

A setting without effect is None in results: the block length of an autoregressive model, the threshold of a fixed schedule. The
same rule reads results of earlier versions, which kept all settings as they were asked for. What each kind of model uses is in
inference's abilities.py.
"""

from collections.abc import Collection
from dataclasses import fields, replace

from syntaxdiff.eval.benchmarks.settings import EvaluationSettings, GenerationSettings
from syntaxdiff.eval.inference.abilities import ABILITIES, CAUSAL, DENOISING, DENOISING_OPTIONS
from syntaxdiff.eval.inference.generation import GenerationConfig
from syntaxdiff.eval.problems.problem import INFILLING
from syntaxdiff.pipeline.errors import SettingsError

REFERENCE = "reference"  # stands for a kind of model in results of the benchmark's own solutions
_REFERENCE_OPTIONS: tuple[str, ...] = (
    *("gen_length", "temperature", "forbid_eos", "seed", "batch_size"),
    *DENOISING_OPTIONS,
    *("prompt", "likelihood_samples", "hole_tokens", "device", "dtype", "kind", "mask_token"),
)


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


def effective_settings(settings: EvaluationSettings) -> EvaluationSettings:
    """The settings of an evaluation of this version or an earlier one, with None for what had no effect on generation."""
    kind = settings.checkpoint.kind
    if settings.generation is not None:
        generation = effective(settings.generation, kind, is_infilling=settings.benchmark == INFILLING)
        settings = replace(settings, generation=generation)
    if not ABILITIES.get(kind, DENOISING).estimates_likelihood:
        settings = replace(settings, likelihood_samples=None)  # an exact likelihood takes no samples
    return settings


def generation_text(settings: EvaluationSettings) -> str:
    """How the answers of an evaluation were generated, in words; empty for references."""
    settings = effective_settings(settings)
    generation = settings.generation
    if generation is None:
        return ""
    if settings.checkpoint.kind == CAUSAL.kind:
        parts = [f"from left to right, at most {generation.gen_length} tokens"]
        parts += [] if generation.temperature else ["the most probable token each"]
    else:
        parts = [
            f"{_length(settings)} in blocks of {generation.block_length}",
            f"{_schedule(generation)}, {generation.confidence}",
            _cache(generation),
        ]
        parts += ["no early stop"] if generation.early_stop is False else []
    for name in _SHOWN_WHERE_SET:
        value = getattr(generation, name)
        if value or (name == "seed" and value is not None):
            parts.append(f"{name.replace('_', ' ')} {value}".removesuffix(" True"))
    return ", ".join(parts)


_SHOWN_WHERE_SET = ("temperature", "guidance", "syntax_repair", "language", "forbid_eos", "lower_eos", "seed")


def _length(settings: EvaluationSettings) -> str:
    if settings.benchmark != INFILLING:
        return f"at most {settings.generation.gen_length if settings.generation else None} tokens"
    size = settings.hole_tokens
    return "holes of the reference's length" if size in (None, REFERENCE) else f"holes of {size} tokens"


def _schedule(generation: GenerationSettings) -> str:
    if generation.schedule == "fixed":
        return f"{generation.num_steps} steps" if generation.num_steps else "one token a step"
    if generation.schedule == "threshold":
        return f"all above confidence {generation.threshold:g}"
    return f"by factor {generation.factor:g}"


def _cache(generation: GenerationSettings) -> str:
    if generation.cache == "none":
        return "no cache"
    refresh = generation.cache_refresh
    return f"{generation.cache} cache" + (f" computed again every {refresh} steps" if refresh else "")


def refuse_without_effect(
    given: Collection[str], kind: str, *, temperature: float = 0.0, is_infilling: bool = False, used: Collection[str] = ()
) -> None:
    """Refuses options that a kind of model does not use, so that nobody takes a result for one under them.

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
