"""Help texts: they come without the libraries that take seconds to import, and they are made from the declared options."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from syntaxdiff.eval.benchmarks.config import EvaluationConfig
from syntaxdiff.eval.cli import main as eval_main
from syntaxdiff.eval.inference.config import GenerationConfig
from syntaxdiff.pipeline.cli import main as prep_main
from syntaxdiff.pipeline.command_line import LazyGroup
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.options import flag_of, options_of
from syntaxdiff.train.settings import Settings, parser

SLOW_TO_IMPORT = (
    *("torch", "transformers", "pyarrow", "tree_sitter", "deepspeed", "matplotlib", "scipy", "numpy", "tokenizers"),
    "jinja2",
)
RUN = Path(__file__).resolve().parents[1] / "train" / "run.py"

OF_A_GROUP = """
import sys
from click.testing import CliRunner
from {module} import main
for name in [(), *([name] for name in main.table)]:
    result = CliRunner().invoke(main, [*name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output
print(*(name for name in {names} if name in sys.modules))
"""
OF_TRAINING = """
import runpy, sys
sys.argv = ["run.py", "--help"]
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code
print(*(name for name in {names} if name in sys.modules))
"""


@pytest.mark.parametrize(
    "code",
    [
        OF_A_GROUP.format(module="syntaxdiff.pipeline.cli", names=SLOW_TO_IMPORT),
        OF_A_GROUP.format(module="syntaxdiff.eval.cli", names=SLOW_TO_IMPORT),
        OF_TRAINING.format(path=str(RUN), names=SLOW_TO_IMPORT),
    ],
    ids=["prep", "eval", "train"],
)
def test_help_imports_nothing_slow(code: str) -> None:
    """All help texts of an executable, printed in one process, leave the libraries that take long to import alone."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("main", [prep_main, eval_main], ids=["prep", "eval"])
def test_the_table_names_commands(main: LazyGroup) -> None:
    """Each row of the table leads to the command of that name, and other names lead nowhere."""
    context = click.Context(main)
    for name in main.table:
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help
    assert main.get_command(context, "nothing") is None


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("prep build", BuildConfig),
        ("eval humaneval", EvaluationConfig),
        ("eval generate", GenerationConfig),
        ("eval syntax", GenerationConfig),
    ],
)
def test_every_field_is_an_option(command: str, settings: type) -> None:
    """Options, their help and their choices are those that the fields declare."""
    program, name = command.split()
    main = {"prep": prep_main, "eval": eval_main}[program]
    made = main.get_command(click.Context(main), name)
    assert made is not None
    parameters = {parameter.name: parameter for parameter in made.params}
    for field, declared in options_of(settings):
        if (name, field.name) == ("humaneval", "hole_tokens"):
            assert field.name not in parameters
            continue
        parameter = parameters[field.name]
        assert isinstance(parameter, click.Option)
        assert flag_of(field) in parameter.opts
        assert (parameter.help or "").startswith(declared.help)
        if declared.choices is not None and declared.parse is None:
            assert isinstance(parameter.type, click.Choice)
            assert tuple(parameter.type.choices) == declared.choices


def test_every_setting_of_training_is_an_option() -> None:
    """The same for the trainer's command line."""
    actions = {action.dest: action for action in parser()._actions}
    for field, declared in options_of(Settings):
        assert flag_of(field) in actions[field.name].option_strings
        assert actions[field.name].choices == declared.choices


REQUIRED: dict[type[Any], dict[str, Any]] = {
    BuildConfig: {"src": ("stdlib",)},
    EvaluationConfig: {"reference": True},
    GenerationConfig: {},
    Settings: {},
}


@pytest.mark.parametrize("settings", REQUIRED, ids=lambda settings: settings.__name__)
def test_every_declared_range_and_choice_is_checked(settings: type[Any]) -> None:
    """A value just outside a range, NaN, infinity and an unknown name are refused, and the message names the option."""
    num_checked = 0
    for field, declared in options_of(settings):
        wrong: list[object] = []
        wrong += [declared.minimum - 1, float("nan")] if declared.minimum is not None else []
        wrong += [declared.maximum + 1, float("inf")] if declared.maximum is not None else []
        wrong += [declared.above, declared.above - 0.5] if declared.above is not None else []
        wrong += [declared.below] if declared.below is not None else []
        wrong += ["no-such-name"] if declared.choices is not None else []
        for value in wrong:
            given = (value,) if isinstance(field.default, tuple) else value
            with pytest.raises(SettingsError, match=f"^{flag_of(field)} "):
                settings(**REQUIRED[settings] | {field.name: given})
            num_checked += 1
    assert num_checked > 5
    assert dataclasses.is_dataclass(settings(**REQUIRED[settings]))
