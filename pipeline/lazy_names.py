"""What a package shows of itself: names that are loaded when they are first asked for (PEP 562).

Importing ``syntaxdiff.pipeline.shard`` runs the package's ``__init__`` first, which therefore must import nothing. The names
and the modules that define them are listed once, in the stub ``__init__.pyi``: type checkers and editors read it as it is, and
the package at run time reads its lines ``from MODULE import NAME as NAME``.
"""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LINE = re.compile(r"^from (\S+) import (\w+) as \2$", re.MULTILINE)


def public_names(package: str, file: str) -> tuple[list[str], Callable[[str], Any]]:
    """A package's ``__all__`` and ``__getattr__``.

    Args:
        package: the package's full name
        file: of its ``__init__``, next to which the stub lies
    """
    modules = {name: module for module, name in _LINE.findall(Path(file).with_suffix(".pyi").read_text("utf-8"))}

    def get(name: str) -> Any:
        if name == "__version__":
            value: Any = version("syntaxdiff")
        elif name in modules:
            value = getattr(import_module(modules[name]), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return sorted([*modules, "__version__"]), get
