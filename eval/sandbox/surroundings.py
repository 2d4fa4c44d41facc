"""What a program can see of the interpreter that it runs in: that of a script without arguments, nothing of ours.

Not hidden are the folders of the standard library and of the packages that programs may import, which must be there, and
what a program finds that walks the frames or reads the memory of its process. docs/execution.md has the list.
"""

import gc
import os
import posix
import sys
import types

SCRIPT = "program.py"
PROJECT = "syntaxdiff"


def appear_as_script() -> None:
    """Gives this interpreter an empty environment and the command line of ``python program.py``.

    What is imported later takes its paths from here, so this comes first. Of a virtual environment the interpreter that it
    was made from remains, whose library programs see anyway.
    """
    os.environ.clear()
    posix.environ.clear()  # the environment as it was at the start
    executable = os.path.join(sys.base_exec_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    sys.executable = sys._base_executable = executable  # type: ignore[attr-defined]
    sys.prefix, sys.exec_prefix = sys.base_prefix, sys.base_exec_prefix
    sys._home = None  # type: ignore[attr-defined]
    sys.argv = [SCRIPT]
    sys.orig_argv = [executable, SCRIPT]


def hide_source(folder: str) -> None:
    """Takes the folder that modules were imported from out of their functions: frames and tracebacks name it.

    Functions that run keep it, so this comes before any is called that a program runs below.
    """
    for item in gc.get_objects():
        if isinstance(item, types.FunctionType) and item.__code__.co_filename.startswith(folder + os.sep):
            item.__code__ = _without_folder(item.__code__, folder)


def forget_modules() -> None:
    """Takes our modules out of those that are loaded, and empties ``__main__``; functions keep what they use."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == PROJECT:
            del sys.modules[name]
            for folder in module.__dict__.get("__path__", ()):
                sys.path_importer_cache.pop(folder, None)
            for attribute in ("__file__", "__cached__", "__loader__", "__spec__", "__path__"):
                module.__dict__.pop(attribute, None)
    sys.modules.pop("platform", None)  # it keeps the host's name once it was asked
    sys.modules["__main__"] = types.ModuleType("__main__")


def _without_folder(code: types.CodeType, folder: str) -> types.CodeType:
    constants = (
        _without_folder(constant, folder) if isinstance(constant, types.CodeType) else constant for constant in code.co_consts
    )
    return code.replace(co_filename=f"<sandbox>{code.co_filename.removeprefix(folder)}", co_consts=tuple(constants))
