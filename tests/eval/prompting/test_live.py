"""The live canvas: every step is shown, the last of them is the answer, and what it writes is marked."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console
from tiny_checkpoint import export_tiny, network, tokenizer

from syntaxdiff.eval.inference.canvas import Canvas
from syntaxdiff.eval.inference.checkpoint import load_checkpoint
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.eval.inference.language_model import LanguageModel
from syntaxdiff.eval.prompting import live
from syntaxdiff.eval.prompting.live import MASK, LiveAnswer
from syntaxdiff.eval.prompting.programs import generate
from syntaxdiff.pipeline.errors import SettingsError

ONE_BY_ONE = GenerationConfig(gen_length=8, block_length=8, schedule="fixed", num_steps=8, early_stop=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_checkpoint(str(export_tiny(tmp_path_factory.mktemp("tiny"))), device="cpu")


def shown(model: LanguageModel, *, is_terminal: bool) -> tuple[str, list[str]]:
    """What is printed while an answer is generated, and the canvas drawn after each step, without colours."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, height=50)
    frames: list[str] = []
    with LiveAnswer(model, console) as answer:

        def keep(canvases: Sequence[Canvas]) -> None:
            ids = canvases[0].ids[canvases[0].start :]
            frames.append(answer.drawn(ids, ids == model.token_ids.mask).plain)
            answer.show(canvases)

        list(generate(model, ["sum"], ONE_BY_ONE, on_step=keep))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), frames


def test_each_step_fills_what_was_masked(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mask less after each of eight steps, none at the end."""
    monkeypatch.setattr(live, "FRAME_SECONDS", 0)
    printed, frames = shown(model, is_terminal=True)
    assert [frame.count(MASK) for frame in frames] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert printed.count("\x1b[30;102m") >= 4  # what was just written, in colour, unless it is a special token


def test_without_a_terminal_three_states_are_printed(model: LanguageModel) -> None:
    """A log is not filled with frames, and has no control characters."""
    printed, _ = shown(model, is_terminal=False)
    assert [line for line in printed.splitlines() if line.startswith("after step")] == [
        "after step 2:",
        "after step 4:",
        "after step 6:",
    ]
    assert printed.count(MASK) == 6 + 4 + 2
    assert "\x1b" not in printed


def test_a_causal_model_has_no_steps_to_show(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is refused at the call."""
    folder = tmp_path_factory.mktemp("causal")
    network().float().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    with pytest.raises(SettingsError, match="no denoising steps to show"):
        generate(load_checkpoint(str(folder), device="cpu"), ["sum"], ONE_BY_ONE, on_step=lambda canvases: None)
