"""Programs from Python: what is asked for comes back with its index, whole, and mistakes are refused at the call."""

from typing import Any

import pytest
from tiny_checkpoint import export_tiny, network, tokenizer

from syntaxdiff.eval.inference.answer import in_order
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.eval.prompting.programs import generate, infill
from syntaxdiff.pipeline.errors import SettingsError

SHORT = GenerationConfig(gen_length=8, block_length=4, batch_size=2)
HOLES = ["x = <FILL>\n", "def f(x):\n    y = <FILL>\n    return <FILL>\n", "<FILL>"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_checkpoint(str(export_tiny(tmp_path_factory.mktemp("tiny"))), device="cpu")


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("causal")
    network().float().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return load_checkpoint(str(folder), device="cpu")


@pytest.mark.parametrize("kind", ["model", "causal"])
def test_each_prompt_gets_its_program(kind: str, request: pytest.FixtureRequest) -> None:
    """Every index once, whatever the order; what comes back is the model's answer to the prompt as it was shown."""
    model: LanguageModel = request.getfixturevalue(kind)
    prompts = ["sum", "a much longer prompt than the others: add two numbers", "max", "min of a list"]
    results = list(generate(model, prompts, SHORT))
    assert sorted(index for index, _ in results) == [0, 1, 2, 3]
    for index, written in results:
        assert prompts[index] in written.prompt
        ((_, answer),) = model.generate([written.prompt_ids], SHORT)
        assert (written.answer, written.num_tokens) == (answer.text, answer.num_generated)


def test_each_program_keeps_what_is_around_its_holes(model: LanguageModel) -> None:
    """The text before the first hole and after the last stays, and every hole has its tokens."""
    for program, written in zip(HOLES, in_order(infill(model, HOLES, SHORT, hole_tokens=3)), strict=True):
        assert written.prompt == program
        assert written.program.startswith(program.split("<FILL>")[0])
        assert written.program.endswith(program.split("<FILL>")[-1])
        assert written.num_tokens == 3 * program.count("<FILL>") == written.prompt_ids.count(model.token_ids.mask)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: generate(model, "sum"), "prompts is one string: give a list of strings"),
        (lambda model: generate(model, []), "there is no prompt"),
        (lambda model: generate(model, ["sum"], preset="wrong"), "wrong"),
        (lambda model: generate(model, ["sum"], GenerationConfig(gen_length=600)), "lower --gen-length"),
        (lambda model: infill(model, HOLES[0]), "programs is one string: give a list of strings"),
        (lambda model: infill(model, ["x = 1"]), "has no hole"),
        (lambda model: infill(model, HOLES, hole_tokens=0), "--hole-tokens 0"),
        (lambda model: infill(model, HOLES, hole_tokens=600), "reads 512"),
    ],
)
def test_mistakes_are_refused_at_the_call(ask: Any, message: str, model: LanguageModel) -> None:
    """Not when the first result is asked for, which may be far from the mistake."""
    with pytest.raises(SettingsError, match=message):
        ask(model)


def test_a_causal_model_refuses_holes(causal: LanguageModel) -> None:
    """With the reason, at the call."""
    with pytest.raises(SettingsError, match="cannot fill gaps"):
        infill(causal, HOLES)
