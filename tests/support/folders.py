"""Small sources and folders of shards for the tests."""

import hashlib
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from syntaxdiff.pipeline.shard import LanguageKinds


@cache
def any_kinds(*languages: str) -> dict[str, LanguageKinds]:
    """Languages of a manifest in which every node kind that fits 16 bits exists."""
    kinds = LanguageKinds(node_kinds=tuple(map(str, range(1 << 16))), named=(True,) * (1 << 16), grammar="test")
    return dict.fromkeys(languages, kinds)


def programs(count: int) -> list[dict[str, str]]:
    """Rows with a prompt, a reasoning and a program of their own; every third problem has two samples."""
    rows = []
    for number in range(count):
        problem = number - (number % 3 == 2)  # 0 1 1 3 4 4 …
        rows.append(
            {
                "id": f"row-{number}",
                "prompt": f"Return the sum of {problem} and the squares of a list.",
                "reasoning": f"Try {number}: loop, square, add {problem}.\nUse a generator where it reads better.",
                "code": f"def solve(values):\n    total = {problem}\n    for value in values:\n"
                f"        if value != {number}:\n            total += value ** 2\n    return total\n",
            }
        )
    return rows


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start_prep(*arguments: str | Path, file_size_limit: int | None = None) -> "subprocess.Popen[str]":
    """Starts ``syntaxdiff-prep`` as its own process group.

    Args:
        arguments: of the command
        file_size_limit: bytes that any file it writes may have; writing more fails as on a full disk
    """
    command = [str(Path(sysconfig.get_path("scripts")) / "syntaxdiff-prep"), *map(str, arguments)]
    if file_size_limit is not None:
        blocks = file_size_limit // 1024
        command = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=Path(__file__).parent
    )


def run_prep(*arguments: str | Path, file_size_limit: int | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs ``syntaxdiff-prep`` to its end."""
    process = start_prep(*arguments, file_size_limit=file_size_limit)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def kill_group(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to a process started by start_prep and all of its workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
