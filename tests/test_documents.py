"""The documents say what is so."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from syntaxdiff.eval.cli import main as eval_main
from syntaxdiff.pipeline.cli import main as prep_main
from syntaxdiff.pipeline.errors import RowError, SyntaxdiffError
from syntaxdiff.train.settings import parser

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {"syntaxdiff-prep": prep_main, "syntaxdiff-eval": eval_main}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(program: str) -> dict[str, click.Command]:
    """All commands of a program by name."""
    main = COMMANDS[program]
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def options_of(command: click.Command) -> set[str]:
    """All long options of a command."""
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_exist(document: Path) -> None:
    """Every command in a document exists, with every option written there."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for program, name, arguments in re.findall(r"(syntaxdiff-(?:prep|eval)) (\w+)([^\n`]*)", text):
        commands = commands_of(program)
        assert name in commands, name
        given = set(re.findall(r"(?<!\S)(--[a-z-]+)", arguments.split("#")[0]))
        assert given <= options_of(commands[name]), given - options_of(commands[name])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_training_options_exist(document: Path) -> None:
    """Every option that a document gives to ``train/run.py`` is one."""
    known = {name for action in parser()._actions for name in action.option_strings}
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for arguments in re.findall(r"train/run\.py([^\n`]*)", text):
        given = set(re.findall(r"(?<!\S)(--[a-z-]+)", arguments.split("#")[0]))
        assert given <= known, given - known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link and every named target of the Makefile exists."""
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (document.parent / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_option_is_explained() -> None:
    """``--help`` says something of every option, and every option of ``build`` is in the documents or speaks for itself."""
    for command in [command for program in COMMANDS for command in commands_of(program).values()]:
        for parameter in command.params:
            text = parameter.help if isinstance(parameter, click.Option) else getattr(parameter, "text", None)
            assert text, f"{command.name} {parameter.name}"


def test_every_reason_for_a_reject_is_in_the_table() -> None:
    """The reasons that the code gives are those that docs/data.md lists."""
    listed = set(re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs" / "data.md").read_text().split("## Rejects")[1]))
    code = "".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    given = set(re.findall(r'RowError\(\s*"([a-z0-9-]+)"', code)) | {"duplicate", "validation-sibling"}
    assert given <= listed, given - listed


@pytest.mark.slow
def test_the_examples_in_the_documents_run(tmp_path: Path) -> None:
    """The Python of docs/shards.md runs as scripts, one after the other, and prints what it says."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "shards.md").read_text(encoding="utf-8"), re.DOTALL)
    outputs = []
    for number, block in enumerate(blocks):
        script = tmp_path / f"example_{number}.py"
        script.write_text(block, encoding="utf-8")
        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "('PROMPT'" in outputs[0]
    assert "total += f(x)" in outputs[1]


def test_errors_are_one_family() -> None:
    """Every error of the package descends from SyntaxdiffError and stands in the tree at the head of errors.py."""
    import syntaxdiff.pipeline.errors as errors

    members = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert all(issubclass(member, SyntaxdiffError) for member in members)
    assert all(member.__name__ in (errors.__doc__ or "") for member in members)
    assert str(RowError("too-long", "9 tokens")) == "too-long: 9 tokens"


def test_the_tables_of_the_study_follow_from_its_figures() -> None:
    """The tables in docs/study.md are those that its figures, kept beside it, give; no figure was written by hand."""
    from study_document import computed_again, marks

    from syntaxdiff.eval.study.outcome import read_study
    from syntaxdiff.eval.study.tables import markdown

    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "docs").glob("study-*.json"))
    assert files
    for file in files:
        kept = read_study(file)
        first, last = marks(kept.declared.name)
        assert text.split(first)[1].split(last)[0] == markdown(computed_again(kept))
