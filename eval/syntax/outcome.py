"""What ``syntax`` yields; ``to_json`` of json_records.py makes ``syntax.json`` of it.

The keys are explained in docs/reconstruction.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syntaxdiff.eval.stats import Share
from syntaxdiff.pipeline.json_records import Json, read_record

RESULT, RESULT_VERSION = "syntax.json", 1


@dataclass(frozen=True, kw_only=True)
class ErrorCounts:
    """Of a kind of error: in how many programs it is, and how often."""

    programs: int
    times: int


@dataclass(frozen=True, kw_only=True)
class DenoisingSteps:
    """Of traced answers: the share of steps at which the decided part holds together, over all and by QUARTERS of the steps."""

    num_answers: int
    steps: Share
    by_progress: dict[str, Share]


@dataclass(frozen=True, kw_only=True)
class SyntaxResults:
    """The results of ``syntax``.

    Attributes:
        source: where the programs come from, as the caller says it
        python: version whose compiler was asked
        num_empty: programs without a word, which count in no rate as right
        compiles: of those in Python
        tree_errors, compile_errors: by kind, the most frequent first
        denoising: None where no answer was traced
    """

    version: int
    source: Mapping[str, Json]
    python: str
    num_programs: int
    num_empty: int
    parses: Share
    compiles: Share
    tree_errors: dict[str, ErrorCounts]
    compile_errors: dict[str, ErrorCounts]
    denoising: DenoisingSteps | None


def read_syntax(path: Path) -> SyntaxResults:
    """The results in a file. Raises SourceError where it is damaged, or of another version."""
    return read_record(SyntaxResults, path, version=RESULT_VERSION)
