"""The source ``exercises``: what its name may say, and rows that a restart does not change."""

from pathlib import Path

import pytest

from syntaxdiff.pipeline import BuildConfig, build_shards
from syntaxdiff.pipeline.errors import RowError, SourceError
from syntaxdiff.pipeline.exercises.levels import LEVELS
from syntaxdiff.pipeline.sources.exercises import Exercises, open_exercises
from syntaxdiff.pipeline.sources.hub import HubOptions
from syntaxdiff.pipeline.sources.source import open_source


@pytest.mark.parametrize(
    ("spec", "level", "rows"),
    [
        ("exercises", 1, LEVELS[1].rows),
        ("exercises:2", 2, LEVELS[2].rows),
        ("exercises:500", 1, 500),
        ("exercises:2:500", 2, 500),
        ("exercises:1:10", 1, 10),
    ],
)
def test_the_name_says_level_and_rows(spec: str, level: int, rows: int) -> None:
    """One number is a level, or a number of rows where it is too large for one."""
    source = open_source(spec, HubOptions())
    assert isinstance(source, Exercises)
    assert (source.level, source.rows, source.size) == (level, rows, rows)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("exercises:", "write exercises"),
        ("exercises:easy", "write exercises"),
        ("exercises:1:2:3", "write exercises"),
        ("exercises:3", "no level 3; choose one of 1, 2"),
        ("exercises:0", "no level 0"),
        ("exercises:2:5", "at least 10 rows"),
    ],
)
def test_other_names_are_one_line(spec: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(SourceError, match=words):
        open_exercises(spec)


@pytest.mark.parametrize("level", LEVELS)
def test_units_after_a_cursor_are_the_rest(level: int) -> None:
    """Rows are the same however often reading was cut off."""
    source = open_exercises(f"exercises:{level}:200")
    units = list(source.units())
    assert sum(unit.advance for unit in units) == 200
    rest = list(source.units(units[1].cursor))
    assert [list(unit.rows()) for unit in rest] == [list(unit.rows()) for unit in units[2:]]
    ids = [row["id"] for unit in units for _, row in unit.rows() if not isinstance(row, RowError)]
    assert len(set(ids)) == 200


def test_the_seed_of_a_build_chooses_the_exercises(tmp_path: Path) -> None:
    """Nothing is validated on here, so nothing but the rows can differ."""
    fingerprints = [
        build_shards(
            BuildConfig(
                src=("exercises:20",), out=tmp_path / name, tokenizer="train:400", seed=seed, validation_size=0, workers=1
            )
        ).fingerprint
        for name, seed in (("a", 0), ("b", 1), ("c", 1))
    ]
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]
