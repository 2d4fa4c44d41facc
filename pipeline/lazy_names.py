"""What a package shows of itself: names that are loaded when they are first asked for.

Importing ``syntaxdiff.pipeline.shard`` runs the package's ``__init__`` first: so that costs nothing, a face is a table of names
and the modules that define them (PEP 562).
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any


def lazy(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: the package's full name
        modules: by public name, the module that defines it, relative to the package
    """

    def get(name: str) -> Any:
        if name == "__version__":
            value: Any = version("syntaxdiff")
        elif name in modules:
            value = getattr(import_module(f"{package}.{modules[name]}"), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return get
