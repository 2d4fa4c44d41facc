"""Answers of a model as lists, in the order of what was asked, for the tests of evaluation."""

from collections.abc import Sequence
from typing import Any

from syntaxdiff.eval.inference.answer import Answer, in_order
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel


def generate(model: LanguageModel, prompts: Sequence[Sequence[int]], config: GenerationConfig, **options: Any) -> list[Answer]:
    """Answers to prompts; options as of ``LanguageModel.generate``."""
    return in_order(model.generate(prompts, config, **options))


def infill(model: LanguageModel, canvases: Sequence[Sequence[int]], config: GenerationConfig, **options: Any) -> list[Answer]:
    """Canvases filled; options as of ``LanguageModel.infill``."""
    return in_order(model.infill(canvases, config, **options))
