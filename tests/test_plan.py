"""Which rows become which samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.plan import Fate, Keys, make_plan


def keys_of(rows: list[tuple[bool, int, int]]) -> Keys:
    """Keys from rows of (is a sample, content, problem); a content belongs to one problem."""
    return Keys(
        np.array([row[0] for row in rows], dtype=bool),
        np.array([row[1] * 7919 + row[2] for row in rows], dtype=np.uint64),
        np.array([row[2] for row in rows], dtype=np.uint64),
    )


ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 12)), max_size=80)


def test_without_limit_or_validation_every_distinct_sample_trains() -> None:
    """Nothing is asked for: samples train, rejects stay rejects, nothing is held out."""
    plan = make_plan(keys_of([(True, 0, 0), (False, 0, 0), (True, 0, 1)]), validation_size=0, limit=None)
    assert plan.fate.tolist() == [Fate.TRAIN, Fate.REJECT, Fate.TRAIN]
    assert plan.shortfall == 0


def test_no_rows_is_no_plan() -> None:
    """An empty source gives an empty plan, not an error."""
    assert len(make_plan(Keys.joined([]), validation_size=None, limit=None).fate) == 0


@given(ROWS, st.integers(0, 6))
def test_no_problem_is_on_both_sides(rows: list[tuple[bool, int, int]], size: int) -> None:
    """Validation holds one sample of each of ``size`` problems, and training none of those problems."""
    keys = keys_of(rows)
    if 0 < len(np.unique(keys.problem[keys.is_sample])) <= size:
        with pytest.raises(SettingsError, match="nothing to train on"):
            make_plan(keys, validation_size=size, limit=None)
        return
    fate = make_plan(keys, validation_size=size, limit=None).fate
    held_out = keys.problem[fate == Fate.VALIDATION]
    assert len(held_out) == len(set(held_out.tolist())) == (size if keys.is_sample.any() else 0)
    assert not set(held_out.tolist()) & set(keys.problem[fate == Fate.TRAIN].tolist())
    assert set(keys.problem[fate == Fate.SIBLING].tolist()) <= set(held_out.tolist())


@given(ROWS)
def test_each_content_is_kept_once(rows: list[tuple[bool, int, int]]) -> None:
    """The first of equal samples stays, later ones are duplicates; rejects are never duplicates."""
    keys = keys_of(rows)
    fate = make_plan(keys, validation_size=0, limit=None).fate
    seen: set[int] = set()
    for is_sample, content, outcome in zip(keys.is_sample, keys.content.tolist(), fate, strict=True):
        expected = Fate.REJECT if not is_sample else Fate.DUPLICATE if content in seen else Fate.TRAIN
        assert outcome == expected
        if is_sample:
            seen.add(content)


@given(ROWS, st.integers(0, 4), st.integers(1, 20))
def test_the_limit_counts_samples_that_come_out(rows: list[tuple[bool, int, int]], size: int, limit: int) -> None:
    """Exactly ``limit`` samples come out of both splits together, or the plan says how many are missing."""
    keys = keys_of(rows)
    try:
        plan = make_plan(keys, validation_size=size, limit=limit)
    except SettingsError:
        return
    out = int(np.isin(plan.fate, [Fate.TRAIN, Fate.VALIDATION]).sum())
    assert out + plan.shortfall == limit
    if plan.shortfall == 0:
        assert plan.fate[-1] in (Fate.TRAIN, Fate.VALIDATION), "rows after the last sample do not count as read"


@given(ROWS, st.integers(1, 20), st.integers(0, 40))
def test_a_reached_limit_does_not_depend_on_later_rows(rows: list[tuple[bool, int, int]], limit: int, cut: int) -> None:
    """A build may stop reading as soon as the limit is reached: what follows would change nothing."""
    keys = keys_of(rows)
    first = Keys(keys.is_sample[:cut], keys.content[:cut], keys.problem[:cut])
    for size in (None, 0, 1, 2, 3):
        try:
            early = make_plan(first, validation_size=size, limit=limit)
        except SettingsError:
            continue
        if early.shortfall == 0:
            assert make_plan(keys, validation_size=size, limit=limit).fate.tolist() == early.fate.tolist()


def test_default_validation_is_at_most_a_twentieth_of_the_problems() -> None:
    """Small sources keep nearly all they have for training; large ones hold out 1,000 problems."""
    for problems, expected in ((10, 0), (100, 5), (30_000, 1_000)):
        plan = make_plan(keys_of([(True, 0, number) for number in range(problems)]), validation_size=None, limit=None)
        assert (plan.fate == Fate.VALIDATION).sum() == expected
