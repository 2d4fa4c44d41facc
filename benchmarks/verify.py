"""Time of a verification beside that of the build of the same samples, on as many workers.

    python benchmarks/verify.py                       # rows of ../shared/data, a vocabulary trained on them; minutes
    python benchmarks/verify.py --source rows.jsonl.gz --tokenizer ./tokenizer --json figures.json

Both are whole commands, each in a process of its own, in turns, so that a busy machine slows both alike. The tokenizer is
loaded, not trained, by both. Ratios are medians over rounds.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from report import machine, plain, print_machine, print_table, verdict

from syntaxdiff.pipeline.shard import read_manifest
from syntaxdiff.pipeline.splits import SPLITS

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT.parent / "shared" / "data" / "programs" / "leetcode-train.jsonl.gz"
FIELDS = ("--prompt-field", "query", "--response-field", "response")
PACKAGES = ("tokenizers", "tiktoken", "transformers", "pyarrow", "numpy", "tree-sitter")
PREP = (sys.executable, "-c", "from syntaxdiff.pipeline.cli import main; main()")
MOST_OF_BUILD = 1.0


class Seconds(NamedTuple):
    """Wall time of a command, and CPU time of it and its workers."""

    wall: float
    cpu: float


def seconds(*arguments: str | Path) -> Seconds:
    """Time of a command of ``syntaxdiff-prep``."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*PREP, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(time.perf_counter() - start, cpu)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", type=Path, default=ROWS)
    parser.add_argument("--field", nargs="*", default=FIELDS, help="Options of the build that name the fields.")
    parser.add_argument("--tokenizer", help="Name or folder. [default: one of 4,096 tokens, trained on the rows first]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print_machine(machine(PACKAGES))
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        out, tokenizer = Path(scratch) / "data", options.tokenizer
        source = ["--src", options.source, *options.field, "--out", out]
        if tokenizer is None:
            seconds("build", *source, "--tokenizer", "train:4096", "--workers", "1")
            tokenizer = str(shutil.move(out / "tokenizer", Path(scratch) / "tokenizer"))
        for workers in options.workers:
            times: dict[str, list[Seconds]] = {"build": [], "verify": []}
            for _ in range(options.rounds):
                shutil.rmtree(out, ignore_errors=True)
                times["build"].append(seconds("build", *source, "--tokenizer", tokenizer, "--workers", str(workers)))
                times["verify"].append(seconds("verify", out, "--workers", str(workers)))
            pairs = list(zip(times["build"], times["verify"], strict=True))
            ratio = {
                "wall": statistics.median(verify.wall / build.wall for build, verify in pairs),
                "cpu": statistics.median(verify.cpu / build.cpu for build, verify in pairs),
            }
            samples = sum(map(read_manifest(out).num_samples, SPLITS))
            figures.append({"workers": workers, "samples": samples, "ratio": ratio, **times})
    print_table(
        f"Build and verification, medians of {options.rounds} rounds",
        ("workers", "samples", "build, s", "verify, s", "verify over build", "in CPU time", "aim"),
        [
            (
                f"{measured['workers']}",
                f"{measured['samples']:,}",
                *(f"{statistics.median(time.wall for time in measured[name]):.1f}" for name in ("build", "verify")),
                f"{measured['ratio']['wall']:.2f}",
                f"{measured['ratio']['cpu']:.2f}",
                verdict(measured["ratio"]["wall"], most=MOST_OF_BUILD),
            )
            for measured in figures
        ],
    )
    if options.json:
        options.json.write_text(json.dumps(plain(figures), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
