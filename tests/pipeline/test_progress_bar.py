"""The bar that prep, the trainer and evaluations share."""

import contextlib
import io
from collections.abc import Iterator

import pytest

from syntaxdiff.pipeline.progress_bar import ProgressBar


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Standard error as a terminal; pytest replaces it between a fixture and its test."""
    with contextlib.redirect_stderr(Terminal()) as made:
        yield made


def test_nothing_is_drawn_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is not a terminal there are no bars among the lines."""
    with ProgressBar() as bar:
        bar.show(0, 9, "building")
        bar.show(9, 9, "building", note="all of it")
        assert not bar.is_drawn
    assert capsys.readouterr().err == ""


def test_a_state_is_shown_with_its_note() -> None:
    """Description, unit, and what came out so far, also where no further unit is done."""
    with terminal() as screen, ProgressBar() as bar:
        bar.show(2, 4, "study", unit="commands", note="first")
        assert bar.is_drawn
        bar.show(2, 4, "study", unit="commands", note="second")
    drawn = screen.getvalue()
    assert "study:  50%" in drawn
    assert "2/4" in drawn
    assert "commands/s" in drawn
    assert "second" in drawn


def test_each_stage_has_a_bar_of_its_own() -> None:
    """Another description, or another total, begins again."""
    with terminal() as screen, ProgressBar(stays=False) as bar:
        bar.show(3, 3, "generating")
        bar.show(0, 7, "running")
        bar.show(0, 8, "running")
    drawn = screen.getvalue()
    assert all(words in drawn for words in ("generating: 100%", "running:   0%", "0/7", "0/8"))


def test_bytes_have_prefixes_and_a_total_may_be_unknown() -> None:
    """Megabytes are written as such; without a total there is no percentage."""
    with terminal() as screen, ProgressBar() as bar:
        bar.show(3_000_000, 6_000_000, "building", unit="bytes")
    assert "3.00M/6.00M" in screen.getvalue()
    with terminal() as screen, ProgressBar() as bar:
        bar.show(5, None, "reading", unit="rows")
    assert "5 rows" in screen.getvalue()
