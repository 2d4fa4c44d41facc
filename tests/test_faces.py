"""What the packages show of themselves from Python: lazy, documented, and what the notebook does with it."""

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import python_reference

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("syntaxdiff.pipeline", "syntaxdiff.train", "syntaxdiff.eval")
NOTEBOOK = ROOT / "examples" / "from_python.ipynb"


def loaded_after(statements: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after some statements."""
    program = f"import sys\n{statements}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_documented_and_no_module(package: str) -> None:
    """A name that a module has too would be the function at the first access and the module at the second."""
    face = importlib.import_module(package)
    modules = {module.name for module in pkgutil.iter_modules(face.__path__)}
    assert not modules & set(face.__all__) - {package.rpartition(".")[2]}
    assert list(face.__all__) == sorted(face.__all__)
    for name in face.__all__:
        value = getattr(face, name)
        assert name == "__version__" or inspect.getdoc(value), name
        assert getattr(face, name) is value
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = face.nothing


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_same_names(package: str) -> None:
    """Whatever the stub imports is public at run time, however its lines are written."""
    face = importlib.import_module(package)
    stub = ast.parse((ROOT / package.rpartition(".")[2] / "__init__.pyi").read_text())
    imported = [str(alias.asname) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted([*imported, "__version__"]) == face.__all__


def test_the_version_is_that_of_the_project() -> None:
    """One version for the three packages."""
    (line,) = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = ")]
    for package in PACKAGES:
        assert importlib.import_module(package).__version__ == line.split('"')[1]


@pytest.mark.slow
def test_importing_a_package_loads_nothing_of_weight() -> None:
    """The shards' reader is for trainers without a parser; evaluation never needs DeepSpeed, with all its names loaded."""
    heavy = {"torch", "transformers", "tree_sitter", "deepspeed", "datasets", "click", "scipy"}
    assert not loaded_after("import syntaxdiff.pipeline, syntaxdiff.train, syntaxdiff.eval") & (heavy | {"pyarrow", "numpy"})
    assert not loaded_after("import syntaxdiff.pipeline.shard") & heavy
    names = [name for name in importlib.import_module("syntaxdiff.eval").__all__ if name != "__version__"]
    after = loaded_after(f"from syntaxdiff.eval import {', '.join(names)}")
    assert "torch" in after
    assert "deepspeed" not in after


def test_the_reference_is_that_of_the_docstrings() -> None:
    """docs/python.md is what tools/python_reference.py makes."""
    assert python_reference.DOCUMENT.read_text() == python_reference.reference()


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Its cells, one after the other in a fresh interpreter and folder; it is committed without outputs."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    program = "\n\n".join("".join(cell["source"]) for cell in cells)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
