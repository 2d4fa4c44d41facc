"""What `pip install` delivers, and that the files of the repository agree on it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
COMMANDS = sorted(PROJECT["scripts"])


def run(*argv: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    result = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source_files() -> list[Path]:
    """Files that are committed or would be, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(source_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the source files, so that the tree stays clean."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for path in source_files:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes((ROOT / path).read_bytes())
    pip_wheel = ["pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(sys.executable, "-m", *pip_wheel, "--wheel-dir", out, ".", cwd=tree)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_each_part_under_syntaxdiff_and_nothing_else(wheel: zipfile.ZipFile, source_files: list[Path]) -> None:
    """Every module of a part is in the wheel as syntaxdiff.<part>, with its data; no top-level `pipeline`."""
    parts = tomllib.loads(PYPROJECT)["tool"]["setuptools"]["package-dir"].values()
    files = {f"syntaxdiff/{path}" for path in source_files if path.parts[0] in parts}
    metadata = {name for name in wheel.namelist() if name.startswith("syntaxdiff-") and ".dist-info/" in name}
    assert set(wheel.namelist()) - metadata == files
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_the_wheel_declares_the_console_scripts(wheel: zipfile.ZipFile) -> None:
    """Its entry points are those of pyproject.toml."""
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    for command in COMMANDS:
        assert f"{command} = {PROJECT['scripts'][command]}" in wheel.read(name).decode()


def test_the_command_runs_from_the_unpacked_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The packed modules import each other and their data, without the source tree: -S drops the editable install."""
    wheel.extractall(tmp_path / "installed")
    packages = Path(pytest.__file__).parents[1]
    code = (
        f"import sys; sys.path[:0] = ['installed']; sys.path.append({str(packages)!r})\n"
        "from syntaxdiff.pipeline import cli\n"
        "assert 'installed' in cli.__file__, cli.__file__\n"
        "cli.main(['--help'])"
    )
    assert "build" in run(sys.executable, "-S", "-c", code, cwd=tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_command_works_from_another_folder(command: str, tmp_path: Path) -> None:
    """The editable install does not depend on the working folder."""
    assert "Usage" in run(Path(sys.executable).parent / command, "--help", cwd=tmp_path)


def normalized(requirement: str) -> str:
    """The name of a requirement as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~\[;]", requirement)[0]).lower()


def test_every_dependency_says_what_it_is_for() -> None:
    """Each line of `dependencies` ends in a comment."""
    block = PYPROJECT[PYPROJECT.index("\ndependencies = [") : PYPROJECT.index("\n]\n\n[project.optional-dependencies]")]
    lines = [line.strip() for line in block.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(PROJECT["dependencies"])
    assert [line for line in lines if not re.fullmatch(r'"[^"]+",\s+# \S.*', line)] == []


def test_constraints_pin_every_direct_dependency() -> None:
    """One exact version each, extras included, and no local build (+cpu, +cu130) that an index does not have."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = [normalized(line) for line in lines]
    assert len(pinned) == len(set(pinned))
    direct = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    assert {normalized(line) for line in direct} - set(pinned) == set()


def test_no_file_names_a_path_of_a_machine(source_files: list[Path]) -> None:
    """Home and work folders of whoever wrote a file mean nothing to its reader."""
    machine_path = re.compile(rb"(?<![\w.~$}/-])/(?:home/(?!syntaxdiff\b)|root/|work/|Users/|mnt/)\w")
    named = {
        f"{path}: {match.group().decode()}"
        for path in source_files
        for match in machine_path.finditer((ROOT / path).read_bytes())
    }
    assert named == set()


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_run(tmp_path: Path) -> None:
    """The part of the Dockerfile that needs no container builds an environment in which every command answers."""
    report = run(sys.executable, ROOT / "tools" / "check_dockerfile.py", cwd=tmp_path)
    for command in COMMANDS:
        assert f"ran       {command} --help" in report
