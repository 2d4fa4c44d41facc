"""Prompt presets: the ways in which a problem is shown, by name. The prompts that they make are in prompts.py."""

from typing import NamedTuple

from syntaxdiff.eval.problems.names import EXERCISES, INFILLING
from syntaxdiff.pipeline.errors import SettingsError

AUTO = "auto"


class Preset(NamedTuple):
    """How a problem is shown.

    Attributes:
        is_chat: in the tokenizer's chat template
        has_turn: the user's turn states the problem; else the turn is empty, as in samples of programs alone
        in_fence: the answer is begun by an opening fence
        in_code: the problem stands at the start of the program: a function's head, or the statement as a docstring
        has_shots: solved problems stand before it
        names_function: the turn says what the function is called, and its parameters
    """

    is_chat: bool = False
    has_turn: bool = False
    in_fence: bool = False
    in_code: bool = False
    has_shots: bool = False
    names_function: bool = False


PRESETS = {
    "chat": Preset(is_chat=True, has_turn=True),
    "chat-code": Preset(is_chat=True, has_turn=True, in_fence=True),
    "chat-signature": Preset(is_chat=True, has_turn=True, in_fence=True, names_function=True),
    "program": Preset(is_chat=True, in_fence=True, in_code=True),
    "completion": Preset(in_code=True),
    "mbpp-tests": Preset(has_shots=True),
}
INFILLING_PRESETS = ("program", "completion")


def check_preset(preset: str, benchmark: str) -> None:
    """Raises SettingsError where there is no such preset, or not for a benchmark."""
    if preset == AUTO:
        return
    if preset not in PRESETS:
        raise SettingsError(f"--preset {preset}: choose from {AUTO}, {', '.join(PRESETS)}")
    if benchmark == INFILLING and preset not in INFILLING_PRESETS:
        raise SettingsError(f"--preset {preset} is for whole answers: infilling takes {' or '.join(INFILLING_PRESETS)}")
    if PRESETS[preset].names_function and benchmark != EXERCISES:
        raise SettingsError(f"--preset {preset} is for {EXERCISES}: problems of {benchmark} say what the function is called")
