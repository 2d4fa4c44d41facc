"""Do two versions of the project make the same? Shards, a short training, its evaluations, and how to compare them.

    python tools/same_outputs.py make before/        # with the environment of one checkout: a few minutes on two cores
    python tools/same_outputs.py make after/         # with that of the other
    python tools/same_outputs.py compare before/ after/

Equal means: byte for byte, but for what JSON and texts say of times, speeds, paths, commits and the machine.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "prep build --src stdlib --tokenizer train:1000 --max-length 512 --limit 400 --validation-size 40 --out shards",
    "prep verify shards",
    "prep stats shards",
    "prep show shards --index 3",
    "train --data shards --out out --max-steps 8 --model tiny --validate-every 4 --validation-samples 10 --sample-every 4",
    "eval reconstruct --ckpt out --data shards --samples 6 --mask-rate 0.3 --out reconstruction",
    "eval loss --ckpt out --data shards --samples 6 --out loss",
    "eval humaneval --ckpt out --limit 4 --gen-length 48 --trace --out humaneval",
    "eval humaneval --reference --limit 6 --out reference",
    "eval compare humaneval reference",
    "eval masks shards --index 3 --html masks.html --svg masks.svg",
    "eval report out reconstruction humaneval --html report.html",
)
VARYING = re.compile(r"seconds|time|per_second|revision|peak|isolation|machine|ckpt|folder|memory", re.IGNORECASE)
PASSING = re.compile(
    rb"\d+:\d\d|[\d.,]+ ?(?:s|ms|it|min|h|GiB|tok/s|tokens/s|steps/s)\b|\b[0-9a-f]{12,40}\b|20\d\d-[\d-]+ [\d:,]+"
)
SCALED_BY_TIME = ("curves.png", "report.html")  # charts of speed have axes of their own


def make(out: Path) -> None:
    """Runs every command in a new folder, with the programs next to this interpreter."""
    out.mkdir(parents=True)
    (out / "ds.json").write_bytes((ROOT / "ds_zero3.json").read_bytes())
    programs = Path(sys.executable).parent
    starts = {
        "prep": [str(programs / "syntaxdiff-prep")],
        "eval": [str(programs / "syntaxdiff-eval")],
        "train": [sys.executable, str(ROOT / "train" / "run.py"), "--ds-config", "ds.json"],
    }
    for number, line in enumerate(COMMANDS):
        name, *arguments = line.split()
        print(line, flush=True)
        done = subprocess.run([*starts[name], *arguments], cwd=out, stdout=subprocess.PIPE, check=True)
        (out / f"{number:02}-{name}.txt").write_bytes(done.stdout)


def compare(before: Path, after: Path) -> int:
    """Prints what differs; 1 where anything does."""
    files = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (before, after)]
    lacking = sorted(files[0] ^ files[1])
    common = sorted(path for path in files[0] & files[1] if path.name not in SCALED_BY_TIME)
    different = [path for path in common if constant(before / path, before) != constant(after / path, after)]
    for path in (*lacking, *different):
        print("differs" if path in common else "only on one side", path)
    print(f"{len(common) - len(different)} of {len(common)} files are equal; not compared: {', '.join(SCALED_BY_TIME)}")
    return 1 if lacking or different else 0


def constant(path: Path, root: Path) -> object:
    """What a file holds that does not vary from run to run."""
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(without_varying(json.loads(data)))
    if path.suffix == ".jsonl":
        return [json.dumps(without_varying(json.loads(line))) for line in data.splitlines()]
    return PASSING.sub(b"#", data.replace(str(root.resolve()).encode(), b"")) if path.suffix == ".txt" else data


def without_varying(value: Any) -> Any:
    """JSON without the keys whose values are times, paths or the machine's."""
    if isinstance(value, dict):
        return {key: without_varying(inner) for key, inner in value.items() if not VARYING.search(key)}
    return [without_varying(inner) for inner in value] if isinstance(value, list) else value


def main() -> int:
    """Makes or compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="run everything into a new folder").add_argument("out", type=Path)
    both = commands.add_parser("compare", help="compare two such folders")
    both.add_argument("before", type=Path)
    both.add_argument("after", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make(given.out)
        return 0
    return compare(given.before, given.after)


if __name__ == "__main__":
    sys.exit(main())
