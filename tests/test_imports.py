"""Who may import whom: the table of the design, held by walking the syntax tree of every file.

Imports inside functions count, as do `importlib.import_module("name")` and `__import__("name")`.
"""

import ast
import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
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


TABLE = (
    Rule("pipeline/shard.py", own="pipeline.errors", others="pyarrow"),
    Rule("pipeline/errors.py", own="", others="pyarrow"),
    Rule("pipeline/compression.py", own="", others="pyarrow"),
    Rule("pipeline/jsonlines.py", own="pipeline.errors pipeline.compression", others="pyarrow"),
    Rule(
        "pipeline/*.py",
        never="torch deepspeed peft",
        own="pipeline.*",
        only_in={"click": "cli.py command.py", "tree_sitter*": "grammar.py"},
    ),
    Rule(
        "train/*.py",
        never="tree_sitter* click",
        own="train.* pipeline.shard pipeline.errors pipeline.jsonlines",
        only_in={"deepspeed": "engine.py engine_repairs.py engine_schema.py engine_optimizer.py"},
    ),
    Rule(
        "eval/*.py",
        never="deepspeed tree_sitter*",
        own="eval.* train.model train.checkpoint train.denoise train.batch train.corruption train.leaves train.noise "
        "train.objective train.start train.export train.llada train.agreement "
        "train.operators train.strategies train.settings train.step train.validation train.gguf_import "
        "pipeline.shard pipeline.errors pipeline.jsonlines pipeline.grammar pipeline.alignment pipeline.spans "
        "pipeline.codec pipeline.command pipeline.display pipeline.template pipeline.sample pipeline.record pipeline.response",
        only_in={"click": "cli.py options.py", "scipy": "stats.py"},
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
                # Only in `from syntaxdiff.pipeline import shard` is what follows `import` a module.
                is_package = module in ("syntaxdiff", *(f"syntaxdiff.{part}" for part in PARTS))
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
        return matches(name.removeprefix("syntaxdiff."), rule.own)
    if rule.others is not None:
        return name.split(".")[0] in sys.stdlib_module_names or matches(name, rule.others)
    reserved = any(matches(name, module) and Path(path).name not in files.split() for module, files in rule.only_in.items())
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
        ("pipeline/spans.py", "import numpy as np\nfrom syntaxdiff.pipeline.grammar import Grammar"),
        ("pipeline/spans.py", "from syntaxdiff.pipeline import alignment, shard"),
        ("pipeline/cli.py", "import click\nfrom syntaxdiff.pipeline.build import build"),
        ("pipeline/grammar.py", "import tree_sitter\nimport tree_sitter_python"),
        ("pipeline/shard.py", "import json\nimport pyarrow.parquet as pq\nfrom syntaxdiff.pipeline.errors import E"),
        ("train/engine.py", "import deepspeed\nimport torch\nfrom syntaxdiff.pipeline.shard import Manifest"),
        ("eval/stats.py", "def f():\n    from scipy.stats import t"),
        ("eval/cli.py", "import click\nfrom syntaxdiff.train import denoise\nfrom syntaxdiff.pipeline.spans import S"),
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


def misplaced(paths: list[str]) -> list[str]:
    """Files below a folder of a part, or named like a module of the standard library."""
    return [path for path in paths if path.count("/") != 1 or Path(path).stem in sys.stdlib_module_names]


def test_parts_are_flat_and_hide_no_standard_module() -> None:
    """The launcher puts train/ first on sys.path, where train/random.py would be everybody's `random`."""
    assert misplaced([path.relative_to(ROOT).as_posix() for path in python_files(*PARTS)]) == []
    assert misplaced(["train/random.py", "pipeline/grammars/python.py", "pipeline/spans.py"]) == [
        "train/random.py",
        "pipeline/grammars/python.py",
    ]
