"""CPU seconds of every ``--help``, each in a process of its own, next to those of Python itself.

    python benchmarks/help.py --repeat 3

A help text should come in half a second: it imports no torch, transformers or pyarrow. tests/test_help.py holds that.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from syntaxdiff.eval.cli import COMMANDS as EVAL_COMMANDS
from syntaxdiff.pipeline.cli import COMMANDS as PREP_COMMANDS

LIMIT = 0.5  # seconds of CPU
RUN = Path(__file__).resolve().parents[1] / "train" / "run.py"
PROGRAMS = {
    "syntaxdiff-prep": ("syntaxdiff.pipeline.cli", PREP_COMMANDS),
    "syntaxdiff-eval": ("syntaxdiff.eval.cli", EVAL_COMMANDS),
}


def help_commands() -> dict[str, list[str]]:
    """Every command with a help text, by the name that a person types."""
    commands = {}
    for program, (module, names) in PROGRAMS.items():
        for name in ("", *names):
            shown = " ".join(filter(None, (program, name, "--help")))
            commands[shown] = ["-m", module, *filter(None, (name,)), "--help"]
    return commands | {"python train/run.py --help": [str(RUN), "--help"]}


def cpu_seconds(arguments: list[str], repeat: int) -> float:
    """The least user and system time of a Python process over several runs."""
    seconds = []
    for _ in range(repeat):
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        seconds.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return min(seconds)


def main() -> int:
    """Prints the table; 1 where a help text takes longer than LIMIT."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command, of which the fastest counts (%(default)s)")
    repeat = parser.parse_args().repeat
    floor = cpu_seconds(["-c", "pass"], repeat)
    print(f"{'command':<40}{'CPU s':>8}{'ratio':>8}")
    print(f"{'python -c pass':<40}{floor:>8.2f}{1:>8.1f}")
    slowest = 0.0
    for shown, arguments in help_commands().items():
        seconds = cpu_seconds(arguments, repeat)
        slowest = max(slowest, seconds)
        print(f"{shown:<40}{seconds:>8.2f}{seconds / floor:>8.1f}")
    return int(slowest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
