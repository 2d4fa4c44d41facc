"""Programs that try to pass without solving the problem, or to hurt the host: none does, and each is reported as what it is."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from evil_programs import EVIL, LIMITS, PLUS_PROBLEM, PROBLEM, ROOT, VICTIM, verdicts_of

from syntaxdiff.eval.sandbox.jail import LANDLOCK, LAYERS, SECCOMP
from syntaxdiff.eval.sandbox.sandbox import Sandbox

CONTAINER = (LANDLOCK, SECCOMP)  # what an ordinary container grants
NAMESPACES = tuple(layer for layer in LAYERS if layer not in CONTAINER)
ORDINARY_USER = 54321
BY_NAME = {evil.name: evil for evil in EVIL}

# Python without a project, made to find the three parts and the tests by their folders alone.
BARE = """
import sys, types
root = sys.argv[1]
for name, path in (("syntaxdiff", []), ("syntaxdiff.eval", [root + "/eval"]), ("syntaxdiff.pipeline", [root + "/pipeline"])):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = path
sys.path.append(root + "/tests/support")
import evil_programs
evil_programs.main(*sys.argv[2:])
"""

Statuses = dict[str, tuple[str, str]]


@cache
def statuses(layers: tuple[str, ...], *, quick: bool) -> Statuses:
    """Status and detail of each program, run by this process's user."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(layers=layers, packages=()) as sandbox:
        verdicts = verdicts_of(sandbox, Path(folder), quick=quick)
    return {name: (verdict.status, verdict.detail) for name, verdict in verdicts.items()}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def ordinary_python() -> str:
    """An interpreter that an ordinary user may run."""
    if os.geteuid() != 0:
        pytest.skip("these tests run as an ordinary user already")
    for python in (sys.executable, shutil.which("python3", path=os.defpath)):
        try:
            code = "import sys, pathlib; pathlib.Path(sys.argv[1]).read_bytes(); sys.exit(sys.version_info < (3, 11))"
            command = [str(python), "-c", code, str(ROOT / "tests" / "evil_programs.py")]
            subprocess.run(command, user=ORDINARY_USER, group=ORDINARY_USER, extra_groups=[], cwd="/", check=True)
        except (PermissionError, FileNotFoundError, subprocess.CalledProcessError):
            continue
        return str(python)
    pytest.skip("no Python 3.11 that an ordinary user may run, or they may not read the project")


def statuses_as_ordinary(folder: Path, layers: tuple[str, ...], extent: str) -> Statuses:
    process = subprocess.run(
        [ordinary_python(), "-B", "-c", BARE, str(ROOT), str(folder), extent, *layers],
        user=ORDINARY_USER,
        group=ORDINARY_USER,
        extra_groups=[],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    assert answer["user"] == ORDINARY_USER
    return {name: (status, detail) for name, (status, detail) in answer["verdicts"].items()}


def misnamed(found: Statuses) -> dict[str, tuple[str, str]]:
    """Programs that were reported as something they are not."""
    return {name: outcome for name, outcome in found.items() if outcome[0] not in BY_NAME[name].statuses}


@pytest.mark.parametrize("name", BY_NAME)
def test_an_evil_program_does_not_pass_and_is_reported_as_what_it_is(name: str) -> None:
    """With all layers that this machine grants; file, process and the next program are unhurt (evil_programs.verdicts_of)."""
    status, detail = statuses(LAYERS, quick=False)[name]
    assert status in BY_NAME[name].statuses, detail


def test_an_evil_program_does_not_pass_a_plus_problem(tmp_path: Path) -> None:
    """Where the reference's answers decide instead of tests, the same programs fare the same."""
    with Sandbox(packages=()) as sandbox:
        verdicts = verdicts_of(sandbox, tmp_path, quick=True, problem=PLUS_PROBLEM)
    assert misnamed({name: (verdict.status, verdict.detail) for name, verdict in verdicts.items()}) == {}


def test_an_ordinary_user_has_the_same_protection(open_folder: Path) -> None:
    """Nothing that holds takes root."""
    assert misnamed(statuses_as_ordinary(open_folder, LAYERS, "quick")) == {}


@pytest.mark.slow
def test_an_ordinary_user_has_the_same_protection_in_a_container(open_folder: Path) -> None:
    """What a container grants is enough: Landlock and the filter of system calls, as root and as an ordinary user."""
    assert misnamed(statuses(CONTAINER, quick=False)) == {}
    assert misnamed(statuses_as_ordinary(open_folder, CONTAINER, "all")) == {}
    (open_folder / "victim").unlink()
    assert misnamed(statuses_as_ordinary(open_folder, LAYERS, "all")) == {}


@pytest.mark.slow
def test_namespaces_alone_keep_programs_from_the_host() -> None:
    """Where no filter denies what a program tried, it hurts nothing, and passes only if it solves the problem after it."""
    found = statuses(NAMESPACES, quick=False)
    passed = {name for name, (status, _) in found.items() if status == "passed"}
    assert {name for name in passed if not BY_NAME[name].is_honest} == set()


def test_without_isolation_the_same_programs_do_harm(tmp_path: Path) -> None:
    """The files that programs aim at are there to be hurt: what holds them is the isolation, not the programs' mistakes."""
    (tmp_path / "victim").write_text(VICTIM)
    with Sandbox(layers=(), packages=(), unsafe=True) as sandbox:
        sandbox.run_tests(BY_NAME["writes a file"].filled(tmp_path, os.getpid()), PROBLEM, LIMITS)
        sandbox.run_tests(BY_NAME["removes a file"].filled(tmp_path, os.getpid()), PROBLEM, LIMITS)
    assert not (tmp_path / "victim").exists()
