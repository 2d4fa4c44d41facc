"""Puts the outcome of a study into docs/study.md: its tables between two marks, and the figures behind them next to it.

    python tools/study_document.py studies/cpu

The figures, docs/study-SIZE.json, are study.json without what can be computed from it and without what no table shows.
tests/test_documents.py makes the tables again from them.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from syntaxdiff.eval.study.measures import runs_of, summarized
from syntaxdiff.eval.study.outcome import StudyResults, read_study
from syntaxdiff.eval.study.study import RESULT
from syntaxdiff.eval.study.tables import GROUPS, markdown, masks_restored, middle_rate
from syntaxdiff.pipeline.json_records import json_text, to_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
COMPUTED = ("means", "differences")
Value = TypeVar("Value")


def figures(results: StudyResults) -> StudyResults:
    """What is kept of a study's results: neither what no table shows, nor what can be computed."""
    where = f"reconstruct/{masks_restored(results)[-1]}/{middle_rate(results):g}"
    shown = tuple(f"{where}/{label}/" for label in GROUPS)
    grouped = tuple(f"/{label}/" for label in (*GROUPS, "length"))

    def kept(values: Mapping[str, Value]) -> dict[str, Value]:
        return {
            name: value for name, value in values.items() if not any(part in name for part in grouped) or name.startswith(shown)
        }

    arms = {
        name: replace(arm, runs=tuple(replace(run, measures=kept(run.measures)) for run in arm.runs), means={}, differences={})
        for name, arm in results.arms.items()
    }
    return replace(results, arms=arms, counts=kept(results.counts))


def computed_again(kept: StudyResults) -> StudyResults:
    """The results with means and differences, of their figures only."""
    summary = summarized(kept.declared, runs_of(kept))
    return replace(kept, arms=summary.arms, counts=summary.counts, warnings=summary.warnings)


def marks(size: str) -> tuple[str, str]:
    """What stands before and behind the tables of a size."""
    return f"<!-- tables of {size} -->\n", f"<!-- end of the tables of {size} -->"


def main() -> int:
    """Writes both files."""
    if len(sys.argv) != 2:
        print("usage: python tools/study_document.py FOLDER-OF-A-STUDY", file=sys.stderr)
        return 2
    results = read_study(Path(sys.argv[1]) / RESULT)
    size = results.declared.name
    document = DOCS / "study.md"
    text = document.read_text("utf-8")
    first, last = marks(size)
    before, rest = text.split(first)
    _, after = rest.split(last)
    kept = figures(results)
    plain = to_json(kept)
    for arm in plain["arms"].values():
        for key in COMPUTED:
            del arm[key]
    (DOCS / f"study-{size}.json").write_text(json_text(plain), encoding="utf-8")
    document.write_text(f"{before}{first}{markdown(computed_again(kept))}{last}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
