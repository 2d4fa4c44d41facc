"""Run the Dockerfile's own steps where there is no container engine, then every console command with `--help`.

    python tools/check_dockerfile.py                   # in a fresh folder: nothing outside it is changed
    python tools/check_dockerfile.py --chroot FOLDER   # as root, in a bare Debian

In a folder, paths such as /opt/venv lie below it, steps before `USER` (which change the system) are not run, and the
packages of `apt-get install` are looked up and their install simulated. In a chroot, which you make before with
`debootstrap --variant=minbase bookworm FOLDER`, all steps run, as the Dockerfile's user after `USER`. Neither has the
base image: no CUDA, and the Python of this machine or of that Debian.
Only what our Dockerfile uses is understood: FROM, ARG, ENV, RUN, USER, WORKDIR, COPY, CMD, one stage, shell form.
"""

import argparse
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def read_steps(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Instruction and arguments of each step, comments dropped and continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if line.strip():
            instruction, _, arguments = line.strip().partition(" ")
            yield instruction.upper(), " ".join(arguments.split())


class DockerIgnore:
    """The patterns of a .dockerignore: the last one that matches a path or a folder above it decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.rules = [(line.startswith("!"), self._compile(line.lstrip("!").strip("/"))) for line in lines]

    @staticmethod
    def _compile(pattern: str) -> re.Pattern[str]:
        translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
        return re.compile("".join(translated.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")

    def excludes(self, path: str) -> bool:
        """Whether the file of this path, relative to the context, stays out of it."""
        kept = [keep for keep, pattern in self.rules if pattern.fullmatch(path)]
        return bool(kept) and not kept[-1]


@dataclass
class Check:
    """One run through the steps, below `root`, and what is to be said of it."""

    root: Path
    chroot: bool
    environment: dict[str, str]
    workdir: str = "/"
    user: str | None = None
    failed: list[str] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)

    def below(self, path: str) -> Path:
        """Where a path of the image, relative to its WORKDIR, lies on this machine."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def say(self, verdict: str, what: str, why: str = "") -> None:
        """Print a line of the report, and keep what was not done for its end."""
        line = f"{what[:96]}{'…' if len(what) > 96 else ''}{f'  ({why})' if why else ''}"
        print(f"{verdict:<9} {line}", flush=True)
        if verdict == "FAILED":
            self.failed.append(line)
        elif verdict not in ("ran", "set"):
            self.not_done.append(f"{verdict}: {line}")

    def shell(self, command: str, cwd: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the step at hand would, standard error joined to its output."""
        if self.chroot:
            who = [f"--userspec={self.user}"] if self.user else []
            inside = f"cd {shlex.quote(cwd)} && {command}"
            argv, folder = ["chroot", *who, str(self.root), "/bin/sh", "-c", inside], None
        else:
            argv, folder = ["/bin/sh", "-c", command], self.root / cwd.lstrip("/")
        return subprocess.run(
            argv, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def run(self, what: str, command: str, cwd: str) -> None:
        """Run a command and report it."""
        result = self.shell(command, cwd)
        self.say("FAILED" if result.returncode else "ran", what)
        if result.returncode:
            print(result.stdout)

    def simulate_apt(self, command: str) -> None:
        """Look up the packages of a RUN step in this machine's package lists and simulate their install."""
        for arguments in re.findall(r"apt-get install ([^&|;]*)", command):
            if shutil.which("apt-get") is None:
                self.say("not run", f"apt-get install {arguments}", "no apt-get here")
                continue
            result = self.shell(f"apt-get --simulate install {arguments}", "/")
            verdict = "FAILED" if result.returncode else "simulated"
            self.say(verdict, f"apt-get install {arguments}", "this machine's package lists")
            if result.returncode:
                print(result.stdout)

    def copy(self, arguments: str) -> None:
        """Copy files of the context that .dockerignore lets through."""
        ignore = DockerIgnore((ROOT / ".dockerignore").read_text())
        *sources, target = [word for word in arguments.split() if not word.startswith("--")]
        copied = 0
        for source in sources:
            start = ROOT / source
            for path in [start] if start.is_file() else sorted(start.rglob("*")):
                relative = path.relative_to(ROOT).as_posix()
                if path.is_file() and not ignore.excludes(relative):
                    place = self.below(target) / path.relative_to(ROOT if start.is_dir() else start.parent)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
                    shutil.copymode(path, place)
                    copied += 1
        if self.chroot and self.user:
            owned = os.path.join(self.workdir, target)
            subprocess.run(["chroot", self.root, "chown", "-R", self.user, owned], check=True)
        self.say("ran" if copied else "FAILED", f"COPY {arguments}", f"{copied} files")

    def step(self, instruction: str, arguments: str) -> None:
        """Run one step of the Dockerfile, or say why not."""
        if instruction == "FROM":
            self.say("replaced", f"FROM {arguments}", "the chroot's system" if self.chroot else "this machine's system")
        elif instruction in ("ARG", "ENV"):
            name, _, value = arguments.partition("=")
            if instruction == "ENV" and value.startswith("/") and not self.chroot:
                value = str(self.root / value.lstrip("/"))
            self.environment[name] = string.Template(value).substitute(self.environment)
            self.say("set", f"{instruction} {arguments}")
        elif instruction == "USER":
            self.user = arguments
            verdict, why = ("set", "") if self.chroot else ("not run", "the steps run as you")
            self.say(verdict, f"USER {arguments}", why)
        elif instruction == "WORKDIR":
            self.workdir = os.path.join(self.workdir, arguments)
            self.below(".").mkdir(parents=True, exist_ok=True)
            self.say("ran", f"WORKDIR {arguments}")
        elif instruction == "COPY":
            self.copy(arguments)
        elif instruction == "RUN" and (self.chroot or self.user):
            self.run(f"RUN {arguments}", arguments, self.workdir)
        elif instruction == "RUN":
            self.simulate_apt(arguments)
            self.say("not run", f"RUN {arguments}", "changes the system")
        else:
            self.say("not run", f"{instruction} {arguments}")


def expected_commands() -> list[str]:
    """The commands that the image must have on its path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs_deepspeed = any(re.match(r"deepspeed\b", line) for line in project["dependencies"])
    return [*project["scripts"], *(["deepspeed"] if needs_deepspeed else [])]


def check(root: Path, chroot: bool) -> int:
    """Run all steps below `root`, then the commands; 1 if anything failed."""
    environment = {key: value for key, value in os.environ.items() if not re.match("PYTHON|VIRTUAL_ENV", key)}
    if chroot:
        environment |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}
        shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    report = Check(root, chroot, environment)
    for instruction, arguments in read_steps((ROOT / "Dockerfile").read_text()):
        report.step(instruction, arguments)
        if report.failed:
            break
    else:
        for command in expected_commands():
            on_path = f'test "$(command -v {command})" = "$VIRTUAL_ENV/bin/{command}"'
            report.run(f"{command} --help", f"{on_path} && {command} --help", "/")
        print(report.shell("python --version && id", "/").stdout.strip())
    print("\nNot as in a container:", *report.not_done, sep="\n  ")
    print(f"\n{len(report.failed)} failed", *report.failed, sep="\n  ")
    return int(bool(report.failed))


def main() -> int:
    """Parse the options and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chroot", type=Path, metavar="FOLDER", help="a bare Debian; it is changed")
    parser.add_argument(
        "--copy-in", type=Path, action="append", default=[], metavar="PATH",
        help="copied to the same place in the chroot first: certificates, pip.conf, a folder of wheels",
    )  # fmt: skip
    options = parser.parse_args()
    if options.chroot is None:
        with tempfile.TemporaryDirectory(prefix="dockerfile-") as folder:
            return check(Path(folder), chroot=False)
    if os.geteuid() or not (options.chroot / "etc/debian_version").exists():
        parser.error("--chroot needs root and a folder made by: debootstrap --variant=minbase bookworm FOLDER")
    for path in options.copy_in:
        target = options.chroot / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)
    return check(options.chroot.resolve(), chroot=True)


if __name__ == "__main__":
    sys.exit(main())
