"""Which rows become which samples."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntaxdiff.pipeline.assembly.plan import Fate, Keys, Plan, make_plan
from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.rows.grouping import Grouping


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


# ----------------------------------------------------------------------------------------------------------------- groups

BY_TWO_FIELDS = Grouping(("a", "b"))
Row = tuple[int, int, int | None, int | None]  # content, statement, and the values of two fields
CONNECTED = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 40), st.none() | st.integers(0, 8), st.none() | st.integers(0, 8)), max_size=40
)


def connected_keys(rows: Iterable[Row]) -> Keys:
    """Keys of rows, all of them samples; equal contents have one statement, as they hold it."""
    rows = list(rows)
    further = [[(kind, value) for kind, value in ((2, row[2]), (3, row[3])) if value is not None] for row in rows]
    return Keys(
        np.ones(len(rows), bool),
        np.array([row[0] * 1009 + row[1] for row in rows], np.uint64),
        np.array([row[1] for row in rows], np.uint64),
        np.array([len(keys) for keys in further], np.uint8),
        np.array([kind * 1_000_000 + value for keys in further for kind, value in keys], np.uint64),
        np.array([kind for keys in further for kind, _ in keys], np.uint8),
    )


def groups_of(rows: list[Row]) -> list[int]:
    """Group of each row, by joining two that share anything until nothing changes."""
    group = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for i, row in enumerate(rows):
            for j, other in enumerate(rows[:i]):
                shares = any(a == b and a is not None for a, b in zip(row[1:], other[1:], strict=True))
                if shares and group[i] != group[j]:
                    smaller, larger = sorted((group[i], group[j]))
                    group = [smaller if number == larger else number for number in group]
                    changed = True
    return group


def plan_of(rows: list[Row], size: int | None, limit: int | None) -> Plan:
    return make_plan(connected_keys(rows), validation_size=size, limit=limit, grouping=BY_TWO_FIELDS)


@settings(deadline=None)  # scipy is imported in the first
@given(CONNECTED, st.integers(1, 4), st.none() | st.integers(2, 20))
def test_no_group_is_on_both_sides(rows: list[Row], size: int, limit: int | None) -> None:
    """Samples that share a statement or an id, or that others connect, are never on both sides, with a limit or without."""
    try:
        plan = plan_of(rows, size, limit)
    except SettingsError:
        return
    group = groups_of(rows[: len(plan.fate)])
    sides = [{group[row] for row in np.flatnonzero(plan.fate == fate)} for fate in (Fate.VALIDATION, Fate.TRAIN, Fate.SIBLING)]
    assert not sides[0] & sides[1]
    assert sides[2] <= sides[0]
    assert plan.grouping.groups == len(sides[0] | sides[1])
    if limit is None:
        assert len(sides[0]) == (plan.fate == Fate.VALIDATION).sum() == (size if rows else 0)
    else:
        assert int(np.isin(plan.fate, [Fate.TRAIN, Fate.VALIDATION]).sum()) + plan.shortfall == limit


@settings(deadline=None)
@given(CONNECTED, st.integers(1, 20), st.integers(0, 40), st.sampled_from([None, 0, 1, 2, 3]))
def test_groups_within_a_limit_do_not_depend_on_later_rows(rows: list[Row], limit: int, cut: int, size: int | None) -> None:
    """A later row may connect two groups; the plan of those that counted stays what it was."""
    try:
        early = plan_of(rows[:cut], size, limit)
    except SettingsError:
        return
    if early.shortfall == 0:
        assert plan_of(rows, size, limit).fate.tolist() == early.fate.tolist()


@settings(deadline=None)
@given(CONNECTED)
def test_ids_that_never_repeat_change_nothing(rows: list[Row]) -> None:
    """Data sets whose ids are their rows' own are split as without them."""
    own: list[Row] = [(content, statement, number, None) for number, (content, statement, _, _) in enumerate(rows)]
    without: list[Row] = [(content, statement, None, None) for content, statement, _, _ in rows]
    for size in (None, 1, 2):
        try:
            expected = plan_of(without, size, None).fate.tolist()
        except SettingsError:
            continue
        assert plan_of(own, size, None).fate.tolist() == expected


def test_a_usual_name_with_one_value_for_all_is_no_id() -> None:
    """`task_id: python` in every row groups nothing, and the plan says so; a field that the user names always counts."""
    rows: list[Row] = [(0, number, 7, None) for number in range(50)]
    usual, named = Grouping(), Grouping(("task",))
    for grouping, groups, ignored in ((usual, 50, [usual.kinds[2]]), (named, 1, [])):
        plan = make_plan(connected_keys(rows), validation_size=0, limit=None, grouping=grouping)
        assert (plan.grouping.groups, list(plan.grouping.ignored)) == (groups, ignored)
    with pytest.raises(SettingsError, match=r"1 problems .*statement or task"):
        make_plan(connected_keys(rows), validation_size=1, limit=None, grouping=named)


def test_a_usual_name_counts_however_few_rows_there_are() -> None:
    """Three answers to one problem are one group, though nothing else is there."""
    rows: list[Row] = [(0, number, 7, None) for number in range(3)]
    plan = make_plan(connected_keys(rows), validation_size=0, limit=None)
    assert plan.grouping.groups == 1


def test_a_stream_of_siblings_takes_one_look() -> None:
    """A limit that is reached only after 200,000 rows of one held-out problem is planned in a moment."""
    first: list[Row] = [(0, number, number, None) for number in range(10)]
    fate = plan_of(first, 1, 10).fate
    held_out = int(np.flatnonzero(fate == Fate.VALIDATION)[0]) if (fate == Fate.VALIDATION).any() else 0
    siblings: list[Row] = [(1 + number, held_out, held_out, None) for number in range(200_000)]
    plan = plan_of([*first[:9], *siblings, (0, 99, 99, None)], 1, 10)
    assert plan.shortfall == 0
    assert plan.fate[-1] == Fate.TRAIN
