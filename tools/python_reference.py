"""Write docs/python.md: what each package shows of itself, from signatures and docstrings.

python tools/python_reference.py
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

PACKAGES = ("syntaxdiff.pipeline", "syntaxdiff.train", "syntaxdiff.eval")
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "python.md"
HEAD = """# From Python

What a command does, a function does. These are the public names of the three packages. Each is loaded when it is first used, so
importing a package costs nothing. `examples/from_python.ipynb` runs them, from rows to verdicts.

`python tools/python_reference.py` makes this page.
"""


def reference() -> str:
    """The page."""
    return "\n".join([HEAD, *(section(package) for package in PACKAGES)])


def section(package: str) -> str:
    """The public names of a package, functions first."""
    module = importlib.import_module(package)
    found = {name: getattr(module, name) for name in module.__all__ if name != "__version__"}
    names = sorted(found, key=lambda name: (inspect.isclass(found[name]), name.lower()))
    return "\n".join([f"## `{package}`\n", *(entry(name, found[name]) for name in names)])


def entry(name: str, value: Any) -> str:
    """One name: its signature and its docstring."""
    parts = [f"### `{name}`\n", f"```python\n{signature(name, value)}\n```\n"]
    return "\n".join([*parts, text_of(inspect.getdoc(value) or "")])


def signature(name: str, value: Any) -> str:
    """A call as it is declared, one parameter per line."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        return f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    declared = inspect.signature(value)
    kinds = [parameter.kind for parameter in declared.parameters.values()]
    lines = [f"    {shown(parameter)}," for parameter in declared.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "    *,")
    result = "" if inspect.isclass(value) else f" -> {plain(declared.return_annotation)}"
    return "\n".join([f"{name}(", *lines, f"){result}"])


def shown(parameter: inspect.Parameter) -> str:
    """A parameter with type and default; defaults that are no plain values as ``...``."""
    text = str(parameter.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty))
    text += f": {plain(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        is_plain = isinstance(parameter.default, str | int | float | bool | tuple | None)
        text += f" = {parameter.default!r}" if is_plain else " = ..."
    return text


def plain(annotation: Any) -> str:
    """A type without the modules that define it."""
    text = inspect.formatannotation(annotation) if not isinstance(annotation, str) else annotation
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text)


def text_of(docstring: str) -> str:
    """A docstring as Markdown: its sections as bold words, their entries as lists."""
    lines, in_section = [], False
    for line in docstring.replace("``", "`").splitlines():
        heading = re.fullmatch(r"(Args|Returns|Raises|Attributes|Yields):", line)
        if heading:
            lines += [f"**{heading[1]}**", ""]
            in_section = True
        elif in_section and re.match(r" {4}\S", line):
            is_entry = re.match(r" {4}([\w, ]+): ", line)
            lines.append(f"- `{is_entry[1]}`: {line[is_entry.end() :]}" if is_entry else f"- {line.strip()}")
        elif in_section and line.strip():
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(reference())
