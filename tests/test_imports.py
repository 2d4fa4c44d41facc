"""Who may import whom: the table of the design, held by walking the syntax tree of every file.

Imports inside functions count, as do `importlib.import_module("name")` and `__import__("name")`.
"""

import ast
import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("pipeline", "train", "eval")


@dataclass(frozen=True)
class Rule:
    """A row of the table. Names are separated by spaces, cover their submodules, and may hold a `*`."""

    files: str
    own: str  # what may be imported of syntaxdiff
    never: str = ""
    only_in: dict[str, str] = field(default_factory=dict)  # a module, and the files that may import it
    others: str | None = None  # if given, all that may be imported besides `own` and the standard library


# Of prep, for whoever reads what it wrote.
SHARED = (
    "pipeline.lazy_names pipeline.errors pipeline.options pipeline.splits pipeline.shard pipeline.jsonlines "
    "pipeline.json_records pipeline.progress_bar pipeline.manifest pipeline.stored_settings"
)

COMMAND_LINES = "*/command.py"
# In every room.
COMMANDS_MAY = (
    "pipeline.command_line pipeline.parameters pipeline.config eval.progress_bars eval.options eval.outputs eval.progress"
)

TABLE = (
    Rule("pipeline/lazy_names.py", own="", others=""),
    Rule("pipeline/errors.py", own="", others="pyarrow"),
    Rule("pipeline/compression.py", own="", others="pyarrow"),
    Rule("pipeline/splits.py", own="", others=""),
    Rule("pipeline/options.py", own="pipeline.errors", others=""),
    Rule("pipeline/progress_bar.py", own="", others="tqdm"),
    Rule("pipeline/stored_settings.py", own="pipeline.json_records", others=""),
    Rule("pipeline/manifest.py", own="pipeline.errors pipeline.json_records pipeline.stored_settings", others=""),
    Rule("pipeline/shard.py", own="pipeline.errors pipeline.splits pipeline.manifest", others="pyarrow"),
    Rule("pipeline/json_records.py", own="pipeline.errors", others=""),
    Rule("pipeline/jsonlines.py", own="pipeline.errors pipeline.compression pipeline.json_records", others="pyarrow"),
    Rule(
        "pipeline/*",
        never="torch deepspeed peft",
        own="pipeline.*",
        only_in={
            "click": f"{COMMAND_LINES} pipeline/cli.py pipeline/command_line.py pipeline/parameters.py",
            "tree_sitter*": "pipeline/syntax/grammar.py",
        },
    ),
    Rule("pipeline/syntax/*", own="pipeline.syntax pipeline.errors pipeline.json_records"),
    Rule("pipeline/sources/*", own=f"pipeline.sources pipeline.exercises pipeline.syntax pipeline.compression {SHARED}"),
    Rule("pipeline/exercises/*", own="pipeline.exercises", others=""),
    Rule("pipeline/rows/*", own="pipeline.rows pipeline.syntax pipeline.errors pipeline.options pipeline.json_records"),
    Rule("pipeline/tokens/*", own="pipeline.tokens pipeline.syntax pipeline.errors pipeline.shard"),
    Rule("pipeline/config.py", own="pipeline.rows pipeline.syntax pipeline.tokens pipeline.errors pipeline.options"),
    Rule(
        "pipeline/assembly/*",
        own=f"pipeline.assembly pipeline.sources pipeline.rows pipeline.syntax pipeline.tokens pipeline.config {SHARED}",
    ),
    Rule(
        "pipeline/inspection/*",
        own=f"pipeline.inspection pipeline.assembly pipeline.rows pipeline.syntax pipeline.tokens {SHARED}",
    ),
    Rule(
        "train/*",
        never="tree_sitter* click",
        own=f"train.* {SHARED}",
        only_in={
            "deepspeed": "train/engine/deepspeed_engine.py train/engine/deepspeed_repairs.py train/deepspeed_json/schema.py "
            "train/deepspeed_json/optimizer.py"
        },
    ),
    Rule("train/randomness.py", own=""),
    Rule("train/run_folder.py", own="", others=""),
    Rule("train/data/*", own=f"train.data train.randomness {SHARED}"),
    Rule("train/corruption/*", own=f"train.corruption train.data train.randomness {SHARED}"),
    Rule("train/model/*", own=f"train.model train.data {SHARED}"),
    Rule("train/imports/*", own=f"train.imports train.model {SHARED}"),
    Rule("train/engine/*", own=f"train.engine train.deepspeed_json {SHARED}"),
    Rule("train/deepspeed_json/*", own=f"train.deepspeed_json {SHARED}"),
    Rule("train/step.py", own=f"train.corruption train.data train.model {SHARED}"),
    Rule("train/monitor/metrics.py", own=SHARED, never="torch transformers"),
    Rule("train/monitor/*", own=f"train.monitor train.run_folder train.step train.corruption train.data train.model {SHARED}"),
    Rule("train/settings.py", own=f"train.corruption train.deepspeed_json train.model {SHARED}"),
    Rule(
        "eval/*",
        never="deepspeed tree_sitter*",
        own=f"eval.* train.corruption train.data train.model train.monitor.metrics "
        f"train.monitor.validation train.settings train.step "
        f"train.run_folder {SHARED} "
        "pipeline.syntax pipeline.tokens pipeline.rows.response pipeline.assembly.sample pipeline.inspection.display "
        "pipeline.command_line pipeline.parameters pipeline.exercises",
        only_in={"click": f"{COMMAND_LINES} eval/cli.py eval/options.py", "scipy": "eval/stats.py"},
    ),
    Rule("eval/stats.py", own=""),
    Rule("eval/pages.py", own="pipeline.inspection.display"),
    Rule("eval/problems/*", own=f"eval.problems pipeline.exercises {SHARED}"),
    Rule("eval/sandbox/*", own="eval.sandbox eval.problems pipeline.errors", never="torch transformers"),
    Rule("eval/inference/*", own=f"eval.inference eval.problems train.model pipeline.syntax pipeline.tokens {SHARED}"),
    Rule(
        "eval/prompting/*",
        own=f"eval.prompting eval.problems eval.inference train.model.export pipeline.syntax pipeline.tokens "
        f"pipeline.rows.response pipeline.assembly.sample pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/syntax/*",
        own=f"eval.syntax eval.prompting eval.inference eval.stats train.data pipeline.syntax pipeline.tokens "
        f"pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/benchmarks/*",
        own=f"eval.benchmarks eval.prompting eval.sandbox eval.problems eval.inference eval.stats "
        f"eval.outputs eval.progress train.model.export pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/reconstruction/*",
        own=f"eval.reconstruction eval.syntax eval.inference eval.stats "
        f"eval.progress train.corruption train.data "
        f"train.model train.monitor.validation train.step pipeline.syntax pipeline.tokens pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/masks/*",
        own=f"eval.masks eval.pages train.corruption train.data pipeline.tokens pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/report/*",
        own=f"eval.report eval.masks eval.reconstruction eval.syntax eval.benchmarks eval.inference eval.stats "
        f"eval.outputs eval.pages train.corruption train.model.export train.monitor.metrics train.run_folder "
        f"pipeline.inspection.display {SHARED}",
    ),
    Rule(
        "eval/study/*",
        own=f"eval.study eval.report eval.reconstruction eval.benchmarks eval.inference eval.stats "
        f"eval.outputs eval.pages train.corruption train.model.export train.monitor.metrics train.run_folder train.settings "
        f"{SHARED}",
    ),
)


def imported_names(source: str) -> Iterator[str]:
    """Every imported module by its full name; a relative import as dots and name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level) if level:
                yield "." * level + (module or "")
            case ast.ImportFrom(module=str(module), names=names):
                # What follows `import` is a module where a folder is imported from.
                is_package = module == "syntaxdiff" or (ROOT / module.removeprefix("syntaxdiff.").replace(".", "/")).is_dir()
                yield from (f"{module}.{alias.name}" if is_package else module for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def matches(name: str, patterns: str) -> bool:
    """Whether a module, or a package around it, is among the patterns."""
    return any(fnmatch.fnmatchcase(name, form) for pattern in patterns.split() for form in (pattern, f"{pattern}.*"))


def allowed(name: str, path: str, rule: Rule) -> bool:
    """Whether a row of the table lets the file import the module."""
    if name.startswith("syntaxdiff."):
        own = f"{rule.own} {COMMANDS_MAY}" if fnmatch.fnmatchcase(path, COMMAND_LINES) else rule.own
        return matches(name.removeprefix("syntaxdiff."), own)
    if rule.others is not None:
        return name.split(".")[0] in sys.stdlib_module_names or matches(name, rule.others)
    reserved = any(
        matches(name, module) and not any(fnmatch.fnmatchcase(path, pattern) for pattern in files.split())
        for module, files in rule.only_in.items()
    )
    return not reserved and not matches(name, rule.never)


def offences(path: str, source: str) -> list[str]:
    """What is wrong with the imports of a file, its path given as in the tree: `pipeline/shard.py`."""
    found = []
    rules = [rule for rule in TABLE if fnmatch.fnmatchcase(path, rule.files)]
    for name in sorted(set(imported_names(source))):
        if name.startswith("."):
            found.append(f"{path}: {name} is relative")
        elif name.split(".")[0] in PARTS:
            found.append(f"{path}: {name} makes a second module object, import syntaxdiff.{name}")
        else:
            found += [f"{path}: {name} is not for {rule.files}" for rule in rules if not allowed(name, path, rule)]
    return found


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", python_files(*PARTS, "tests", "tools", "benchmarks"), ids=lambda path: path.name)
def test_a_file_imports_only_what_the_table_allows(path: Path) -> None:
    """The table holds in the three parts; absolute imports by the full name hold everywhere."""
    assert offences(path.relative_to(ROOT).as_posix(), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipeline/syntax/spans.py", "import numpy as np\nfrom syntaxdiff.pipeline.syntax.grammar import Grammar"),
        ("pipeline/tokens/codec.py", "from syntaxdiff.pipeline.syntax import alignment\nfrom syntaxdiff.pipeline import shard"),
        ("pipeline/cli.py", "import click\nfrom syntaxdiff.pipeline.build import build_shards"),
        ("pipeline/syntax/grammar.py", "import tree_sitter\nimport tree_sitter_python"),
        ("pipeline/shard.py", "import json\nimport pyarrow.parquet as pq\nfrom syntaxdiff.pipeline.errors import E"),
        ("train/engine/deepspeed_engine.py", "import deepspeed\nimport torch\nfrom syntaxdiff.pipeline.shard import Manifest"),
        ("eval/stats.py", "def f():\n    from scipy.stats import t"),
        ("eval/masks/command.py", "import click\nfrom syntaxdiff.pipeline.command_line import command"),
        (
            "eval/cli.py",
            "import click\nfrom syntaxdiff.train.model import denoiser\nfrom syntaxdiff.pipeline.syntax.spans import S",
        ),
        ("tests/test_x.py", "import click, torch, tree_sitter\nfrom syntaxdiff.pipeline.cli import main"),
    ],
)
def test_the_checker_accepts(path: str, source: str) -> None:
    """What the table allows is no offence."""
    assert offences(path, source) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipeline/shard.py", "import numpy"),
        ("pipeline/shard.py", "from syntaxdiff.pipeline.spans import Spans"),
        ("pipeline/shard.py", "from syntaxdiff.pipeline import spans"),
        ("pipeline/errors.py", "import click"),
        ("pipeline/jsonlines.py", "import numpy"),
        ("pipeline/jsonlines.py", "from syntaxdiff.pipeline.files import DataFiles"),
        ("pipeline/errors.py", "from syntaxdiff.pipeline.shard import Manifest"),
        ("pipeline/spans.py", "import click"),
        ("pipeline/spans.py", "def f():\n    import torch.nn"),
        ("pipeline/spans.py", "from syntaxdiff.train.model import Model"),
        ("pipeline/spans.py", "from syntaxdiff import eval"),
        ("pipeline/spans.py", "from tree_sitter import Node"),
        ("pipeline/spans.py", "import importlib\nimportlib.import_module('tree_sitter_python')"),
        ("pipeline/spans.py", "from .grammar import Grammar"),
        ("pipeline/spans.py", "from . import grammar"),
        ("pipeline/spans.py", "import pipeline.grammar"),
        ("train/model.py", "import deepspeed"),
        ("train/run.py", "import click"),
        ("train/run.py", "import tree_sitter"),
        ("train/run.py", "import syntaxdiff.eval.report"),
        ("train/run.py", "from syntaxdiff.pipeline import build"),
        ("train/run.py", "from train.model import Model"),
        ("eval/report.py", "import click"),
        ("eval/masks/draw.py", "import click"),
        ("eval/masks/draw.py", "from syntaxdiff.pipeline.command_line import command"),
        ("eval/compare.py", "from scipy.stats import binomtest"),
        ("eval/cli.py", "import deepspeed.comm"),
        ("eval/cli.py", "import tree_sitter_python"),
        ("eval/cli.py", "from syntaxdiff.train.run import train"),
        ("eval/cli.py", "from syntaxdiff.pipeline import build"),
        ("tests/test_x.py", "from pipeline import shard"),
        ("benchmarks/prep.py", "import eval"),
    ],
)
def test_the_checker_refuses(path: str, source: str) -> None:
    """Each rule is one that a file can break."""
    assert offences(path, source) != []


def arrows(depth: int | None) -> dict[str, set[str]]:
    """What imports what, modules cut to a depth."""
    found: dict[str, set[str]] = {}
    for path in python_files(*PARTS):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in imported_names(path.read_text()):
            if name.startswith("syntaxdiff."):
                target = name.removeprefix("syntaxdiff.").removesuffix(".__init__")
                while not (ROOT / f"{target.replace('.', '/')}.py").exists() and not (ROOT / target.replace(".", "/")).is_dir():
                    target = target.rpartition(".")[0]
                ends = [".".join(one.split(".")[:depth]) for one in (module.removesuffix(".__init__"), target)]
                if ends[0] != ends[1]:
                    found.setdefault(ends[0], set()).add(ends[1])
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules each of which imports the next, and the last the first; empty where there is no circle."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        found = next((one for one in (walk(target, [*path, name]) for target in sorted(edges.get(name, ()))) if one), [])
        done.add(name)
        return found

    return next((one for one in (walk(name, []) for name in sorted(edges)) if one), [])


@pytest.mark.parametrize("depth", [None, 2], ids=["modules", "rooms"])
def test_no_circle(depth: int | None) -> None:
    """Neither modules nor rooms import each other in a circle."""
    assert circle(arrows(depth)) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_every_room_has_a_row_and_a_docstring() -> None:
    """A new room is given its arrows, and says what is in it."""
    folders = [path.parent for path in python_files(*PARTS) if path.name == "__init__.py"]
    named = {rule.files for rule in TABLE}
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder
        assert f"{folder.relative_to(ROOT).as_posix()}/*" in named, folder
    assert {path.parent for path in python_files(*PARTS)} == set(folders)
    assert all(len(path.relative_to(ROOT).parts) <= 3 for path in python_files(*PARTS))


def hiding(names: set[str]) -> set[str]:
    """Names, importable from one folder, that an installed package or the standard library has too."""
    return {name for name in names if name in sys.stdlib_module_names or name in packages_distributions()}


def test_train_hides_no_package() -> None:
    """The launcher puts train/ first on sys.path, where train/random.py would be everybody's `random`."""
    assert hiding({path.stem for path in (ROOT / "train").iterdir() if path.is_dir() or path.suffix == ".py"}) == set()
    assert hiding({"random", "torch", "corruption"}) == {"random", "torch"}
