"""Puts the outcome of a study into docs/study.md: its tables between two marks, and the figures behind them beside it.

    python tools/study_document.py studies/cpu

The figures, docs/study-SIZE.json, are study.json without what can be computed from it and without what no table shows.
tests/test_documents.py makes the tables again from them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from syntaxdiff.eval.study.measures import runs_of, summarized
from syntaxdiff.eval.study.study import RESULT
from syntaxdiff.eval.study.tables import GROUPS, markdown, masks_restored, middle_rate

DOCS = Path(__file__).resolve().parents[1] / "docs"
DERIVED = ("means", "differences")


def figures(told: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a study's outcome."""
    where = f"reconstruct/{masks_restored(told)[-1]}/{middle_rate(told):g}"
    shown = tuple(f"{where}/{label}/" for label in GROUPS)
    grouped = tuple(f"/{label}/" for label in (*GROUPS, "length"))

    def kept(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value for name, value in values.items() if not any(part in name for part in grouped) or name.startswith(shown)
        }

    arms = {}
    for name, arm in told["arms"].items():
        runs = [run | {"measures": kept(run["measures"])} for run in arm["runs"]]
        arms[name] = {key: value for key, value in arm.items() if key not in DERIVED} | {"runs": runs}
    return {**told, "arms": arms, "counts": kept(told["counts"])}


def told_again(kept: dict[str, Any]) -> dict[str, Any]:
    """The outcome with means and differences, of its figures alone."""
    return {**kept, **summarized(kept["declared"], runs_of(kept))}


def marks(size: str) -> tuple[str, str]:
    """What stands before and behind the tables of a size."""
    return f"<!-- tables of {size} -->\n", f"<!-- end of the tables of {size} -->"


def main() -> int:
    """Writes both files."""
    if len(sys.argv) != 2:
        print("usage: python tools/study_document.py FOLDER-OF-A-STUDY", file=sys.stderr)
        return 2
    told = json.loads((Path(sys.argv[1]) / RESULT).read_text("utf-8"))
    size = told["declared"]["name"]
    document = DOCS / "study.md"
    text = document.read_text("utf-8")
    first, last = marks(size)
    before, rest = text.split(first)
    _, after = rest.split(last)
    kept = figures(told)
    (DOCS / f"study-{size}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    document.write_text(f"{before}{first}{markdown(told_again(kept))}{last}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
