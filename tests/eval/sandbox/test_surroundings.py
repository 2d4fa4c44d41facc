"""What a program and its tests see of the interpreter that they run in: a script's, nothing of the host or of ours."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from execution_data import problem_of

from syntaxdiff.eval.sandbox import jail
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Verdict

CONTAINER = (jail.LANDLOCK, jail.SECCOMP)


@pytest.fixture(scope="module", params=[jail.LAYERS, CONTAINER], ids=["all-layers", "container"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(layers=request.param) as sandbox:
        yield sandbox


def seen_by(sandbox: Sandbox, side: str, code: str) -> Verdict:
    """The verdict on code that asserts what it sees, as a program or as its tests."""
    if side == "program":
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        return sandbox.run_tests(f"def f():\n{lines}    return 'seen'\n", problem_of("assert f() == 'seen'"))
    return sandbox.run_tests("", problem_of(code))


SEEN = {
    "command line": "import sys\nassert sys.argv == ['program.py'], sys.argv",
    "original command line": "import sys\nassert sys.orig_argv == [sys.executable, 'program.py'], sys.orig_argv",
    "arguments": "import argparse\nassert vars(argparse.ArgumentParser().parse_args()) == {}",
    "options": "import getopt, sys\nassert getopt.getopt(sys.argv[1:], 'x') == ([], [])",
    "environment": "import os, posix\nassert not os.environ and not os.environb and not posix.environ",
    "environment of the C library": (
        "import ctypes\nC = ctypes.CDLL(None)\nC.getenv.restype = ctypes.c_char_p\n"
        "assert not any(map(C.getenv, (b'PATH', b'HOME', b'PYTHONHASHSEED', b'OMP_NUM_THREADS')))"
    ),
    "interpreter": (
        "import os, sys\nassert sys.executable == sys._base_executable == os.path.join(sys.base_exec_prefix, 'bin', "
        "'python%d.%d' % sys.version_info[:2])\nassert (sys.prefix, sys.exec_prefix) == (sys.base_prefix, sys.base_exec_prefix)"
    ),
    "paths of the interpreter": (
        "import os, sys, sysconfig\nassert {os.path.dirname(os.__file__)} == {sysconfig.get_path('stdlib')}\n"
        "assert all(one.startswith(sys.base_prefix) for one in [*sys.path, *sysconfig.get_paths().values()])"
    ),
    "main module": (
        "import sys, __main__\nassert sys.modules['__main__'] is __main__\n"
        "assert not [name for name in vars(__main__) if not name.startswith('__')]\nassert not hasattr(__main__, '__file__')"
    ),
    "modules": "import sys\nassert not [name for name in sys.modules if 'syntaxdiff' in name]",
    "import": "try: import syntaxdiff\nexcept ImportError: pass\nelse: assert False",
    "finders": "import sys\nassert 'syntaxdiff' not in repr((sys.meta_path, sys.path_hooks, list(sys.path_importer_cache)))",
    "folder": "import os\nassert os.getcwd() in ('/', '/box')",
    "process": "try: line = open('/proc/self/cmdline').read()\nexcept OSError: pass\nelse: assert False",
    "warnings": "import sys\nassert not sys.warnoptions and not sys._xoptions",
}


@pytest.mark.parametrize("side", ["program", "tests"])
@pytest.mark.parametrize("name", SEEN)
def test_what_is_seen_is_a_script_s(sandbox: Sandbox, name: str, side: str) -> None:
    """Its command line is `program.py` without arguments, and its environment empty."""
    found = seen_by(sandbox, side, SEEN[name])
    assert found.has_passed, found


WALK = """
import sys, traceback, inspect, types
texts, known = [], []
def walk(value, depth):
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, bytes):
        texts.append(value.decode("latin-1"))
    elif depth and not any(value is one for one in known[-200:]):
        known.append(value)
        if isinstance(value, dict):
            walk(list(value), depth - 1)
            walk(list(value.values()), depth - 1)
        elif isinstance(value, (list, tuple, set, frozenset)):
            for one in list(value): walk(one, depth - 1)
        elif isinstance(value, types.FunctionType):
            walk(value.__code__.co_filename, 1)
for name, module in list(sys.modules.items()):
    if name != "candidate":
        walk(vars(module), 4)
texts += traceback.format_stack() + [one.filename for one in inspect.stack()]
frame = sys._getframe().f_back
while frame:
    texts += [frame.f_code.co_filename, str(frame.f_globals.get("__file__")), str(frame.f_globals.get("__spec__"))]
    frame = frame.f_back
try: 1 / 0
except ZeroDivisionError: texts.append(traceback.format_exc())
"""


@pytest.mark.parametrize("side", ["program", "tests"])
def test_no_module_and_no_traceback_names_our_folders(sandbox: Sandbox, side: str) -> None:
    """Neither the source's, nor the folder that jails lie in, nor the virtual environment's interpreter."""
    named = [str(Path(jail.__file__).parent), str(sandbox._folder), sys.executable]
    named = ["".join(reversed(name)) for name in named]  # the code itself must not name them
    code = WALK + f"found = [text for text in texts for one in {named} if one[::-1] in text]\nassert not found, found"
    found = seen_by(sandbox, side, code)
    assert found.has_passed, found


def test_the_host_s_name_is_not_seen() -> None:
    """Where the kernel grants a namespace for it; asked in any way, also by modules that asked before."""
    host = socket.gethostname()
    code = (
        "import os, platform, socket\nnames = {os.uname().nodename, platform.node(), socket.gethostname()}\n"
        f"assert names == {{{jail.HOST_NAME!r}}}"
    )
    with Sandbox() as sandbox:
        if not sandbox.isolation.layers[jail.UTS].is_active:
            pytest.skip("no namespace for the host's name can be had here")
        for side in ("program", "tests"):
            found = seen_by(sandbox, side, code)
            assert found.has_passed, (host, found)


def test_a_program_without_isolation_keeps_its_folder() -> None:
    """Where writing is not stopped, what it writes is removed with the sandbox."""
    with Sandbox(layers=(), packages=(), unsafe=True) as sandbox:
        found = sandbox.run_tests("def f():\n open('left', 'w').close()\n return 1", problem_of("assert f() == 1"))
        assert found.has_passed, found
        folder = sandbox._folder
        assert list(folder.rglob("left"))
    assert not folder.exists()
    assert not os.path.exists("/left")
