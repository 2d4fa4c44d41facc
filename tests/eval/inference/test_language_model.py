"""The protocol of models: both kinds have all of it, and what one cannot do it refuses with the reason."""

import dataclasses
import inspect
from typing import Any

import pytest
from tiny_checkpoint import autoregressive, diffusion

from syntaxdiff.eval.inference.abilities import ABILITIES, CAUSAL, DENOISING, Abilities
from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.causal import CausalModel
from syntaxdiff.eval.inference.checkpoint import Unloaded
from syntaxdiff.eval.inference.config import KINDS, GenerationConfig
from syntaxdiff.eval.inference.denoising import DenoisingModel
from syntaxdiff.eval.inference.language_model import Described, LanguageModel
from syntaxdiff.pipeline.errors import SettingsError


def members(protocol: type) -> set[str]:
    """Names of a protocol, and of those it extends."""
    return {name for base in protocol.__mro__ for name in vars(base) if name[0] != "_"}


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [(DenoisingModel, LanguageModel), (CausalModel, LanguageModel), (Unloaded, Described)],
    ids=lambda kind: kind.__name__,
)
def test_every_kind_has_the_whole_protocol(kind: type, protocol: type) -> None:
    """Each member is there, and each method takes the protocol's parameters by its names and defaults."""
    fields = {field.name for field in dataclasses.fields(kind)}
    for name in members(protocol):
        assert name in fields or hasattr(kind, name), name
        declared: Any = next((vars(base)[name] for base in protocol.__mro__ if name in vars(base)), None)
        if inspect.isfunction(declared):
            wanted = [
                (parameter.name, parameter.kind, parameter.default)
                for parameter in inspect.signature(declared).parameters.values()
            ]
            own = inspect.signature(getattr(kind, name)).parameters.values()
            assert [(parameter.name, parameter.kind, parameter.default) for parameter in own] == wanted, name


def test_the_kinds_of_results_are_those_of_models() -> None:
    """The names that results store, that the command line knows and that models bear are the same."""
    assert {*KINDS} == {*ABILITIES} == {diffusion().kind, autoregressive().kind}
    assert (diffusion().abilities, autoregressive().abilities) == (DENOISING, CAUSAL)


@pytest.mark.parametrize("call", ["infill", "sampler", "check_infilling"])
def test_a_causal_model_says_why_it_does_not_infill(call: str) -> None:
    """At the call, with its name and what to give instead; a denoising model does it."""
    arguments: dict[str, tuple[Any, ...]] = {
        "infill": ([[5, 6]], GenerationConfig()),
        "sampler": (GenerationConfig(),),
        "check_infilling": (),
    }
    with pytest.raises(SettingsError, match="causal writes from left to right and cannot fill gaps: give a diffusion model"):
        getattr(autoregressive(), call)(*arguments[call])
    getattr(diffusion(), call)(*arguments[call])


@pytest.mark.parametrize("abilities", ABILITIES.values(), ids=ABILITIES)
@pytest.mark.parametrize(
    "changes", [{}, {"temperature": 1.0}, {"schedule": "threshold"}, {"cache": "dual"}, {"confidence": "random"}], ids=str
)
def test_a_setting_without_effect_changes_no_answer(abilities: Abilities, changes: dict[str, Any]) -> None:
    """Whatever is said to have no effect can be changed, one setting at a time, and the tokens stay."""
    config = GenerationConfig(gen_length=6, block_length=3, num_steps=4 if "schedule" not in changes else None, **changes)
    model: LanguageModel = diffusion() if abilities is DENOISING else autoregressive()
    others: dict[str, Any] = {
        "block_length": 2, "threshold": 0.5, "factor": 2.0, "cache_refresh": 1, "language": "cpp", "seed": 7, "guidance": 0.5,
        "lower_eos": True, "early_stop": False, "syntax_repair": 0,
    }  # fmt: skip
    expected = in_order(model.generate([[7, 9, 30], [40]], config))
    tried = abilities.without_effect(config, is_infilling=False) & others.keys()
    assert tried
    for name in tried:
        changed = dataclasses.replace(config, **{name: others[name]})
        assert in_order(model.generate([[7, 9, 30], [40]], changed)) == expected, name
