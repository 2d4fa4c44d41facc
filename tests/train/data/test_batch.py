"""Samples as padded tensors, and samples that are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from corruption_data import IDS, LANGUAGES, batch_of
from corruption_reference import Sample, Span, crosses, families, nested, parents_of, random_rows, row_of
from folders import any_kinds
from hypothesis import assume, given
from hypothesis import strategies as st

from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.shard import LanguageKinds, Region, SampleRow
from syntaxdiff.train.data.batch import check_row, collate, num_corruptible


def i32(*values: int) -> Any:
    return np.array(values, dtype=np.int32)


def u8(*values: int) -> Any:
    return np.array(values, dtype=np.uint8)


def test_a_batch_holds_its_samples() -> None:
    """Every column of every sample is in the tensors, counted from the first code token, and padded as documented."""
    rows = random_rows(20, seed=6)
    batch = batch_of(rows, pad_to_multiple=16)
    tensors = batch.tensors
    assert tensors.input_ids_BL.shape[1] % 16 == 0
    assert tensors.input_ids_BL.shape[1] - max(map(len, (row.input_ids for row in rows))) < 16
    assert batch.sample_ids == tuple(row.sample_id for row in rows)
    for index, row in enumerate(rows):
        sample = Sample.of(row)
        assert batch.length_B[index] == sample.num_tokens
        assert batch.num_code_B[index] == tensors.num_code_B[index] == sample.num_code
        assert batch.num_corruptible_B[index] == num_corruptible(row) == len(sample.corruptible)
        assert tensors.code_start_B[index] == (sample.code[0] if sample.code else 0)
        for tensor, values, fill in (
            (tensors.input_ids_BL, row.input_ids.tolist(), IDS.pad),
            (tensors.region_label_BR, row.region_label.tolist(), Region.PROMPT),
            (tensors.role_BC, row.role.tolist(), 0),
            (tensors.leaf_kind_BC, row.leaf_kind.tolist(), 0),
            (tensors.span_start_BS, [start for start, _ in sample.spans], tensors.role_BC.shape[1]),
            (tensors.span_end_BS, [end for _, end in sample.spans], tensors.role_BC.shape[1]),
            (tensors.span_parent_BS, row.span_parent.tolist(), -1),
        ):
            assert tensor[index].tolist() == values + [fill] * (tensor.shape[1] - len(values))


def test_a_batch_moves_whole() -> None:
    """All tensors move to a device; what the host knows stays."""
    batch = batch_of(random_rows(3))
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in moved.tensors} == {"meta"}
    assert moved.sample_ids == batch.sample_ids
    assert moved.num_corruptible_B is batch.num_corruptible_B
    assert all(isinstance(tensor, torch.Tensor) for tensor in batch.tensors)


@given(families(min_code=0))
def test_nested_families_are_accepted(family: tuple[int, list[Span]]) -> None:
    """A sample whose spans nest, in pre-order and with their parents, is whole; the code's interval comes back."""
    num_code, spans = family
    row = row_of(num_code, spans)
    code = Sample.of(row).code
    assert check_row(row, LANGUAGES) == ((code[0], code[-1] + 1) if code else (0, 0))


def with_spans(spans: list[Span], parents: list[int], num_code: int) -> SampleRow:
    """A sample with span columns as they are, right or wrong."""
    row = row_of(num_code, [], sample_id="crooked")
    first = Sample.of(row).code[0]
    zeros = np.zeros(len(spans), dtype=np.uint8)
    return row._replace(
        span_start=i32(*(first + s for s, _ in spans)),
        span_end=i32(*(first + e for _, e in spans)),
        span_parent=i32(*parents),
        span_kind=zeros.astype(np.uint16),
        span_arity=zeros,
    )


@given(families(min_code=3), st.data())
def test_a_crossing_is_refused(family: tuple[int, list[Span]], data: st.DataObject) -> None:
    """A family with a span that crosses another is refused, in pre-order or not, whatever parents it claims."""
    num_code, several = family
    spans = nested([*several, (0, num_code), (0, num_code - 1)])
    wide = [(s, e) for s, e in spans if e - s >= 2 and (s, e) != (0, num_code)]
    assume(wide)  # one of them nearly always
    start, end = data.draw(st.sampled_from(wide))
    over_the_end = [(s, e) for s in range(start + 1, end) for e in range(end + 1, num_code + 1)]
    over_the_start = [(s, e) for s in range(start) for e in range(start + 1, end)]
    intruder = data.draw(st.sampled_from(over_the_end + over_the_start))
    assert crosses(intruder, (start, end))
    crooked = sorted([*spans, intruder], key=lambda span: (span[0], -span[1]))
    if data.draw(st.booleans()):
        parents = parents_of(crooked)
    else:
        parents = [data.draw(st.integers(-1, max(-1, index - 1))) for index in range(len(crooked))]
    if data.draw(st.booleans()):
        crooked = data.draw(st.permutations(crooked))
    with pytest.raises(ShardError, match="sample crooked"):
        check_row(with_spans(crooked, parents, num_code), LANGUAGES)


@given(families(), st.data())
def test_wrong_parents_are_refused(family: tuple[int, list[Span]], data: st.DataObject) -> None:
    """A span whose parent is not the smallest one around it is refused."""
    num_code, several = family
    spans = nested([*several, (0, num_code)])
    wrong = parents_of(spans)
    for index in data.draw(st.sets(st.integers(0, len(spans) - 1), min_size=1)):
        wrong[index] = data.draw(st.integers(-2, len(spans)).filter(wrong[index].__ne__))
    with pytest.raises(ShardError, match="sample crooked"):
        check_row(with_spans(spans, wrong, num_code), LANGUAGES)


@given(families(min_code=2), st.data())
def test_another_order_than_pre_order_is_refused(family: tuple[int, list[Span]], data: st.DataObject) -> None:
    """Spans in another order are refused, also where each one's parent is the right one."""
    num_code, several = family
    spans = nested([*several, (0, num_code), (0, 1)])  # two at least, so that there is another order
    later = data.draw(st.integers(1, len(spans) - 1))
    shuffled = data.draw(st.permutations(spans[:later])) + spans[later:]
    earlier = data.draw(st.integers(0, later - 1))
    shuffled[earlier], shuffled[later] = shuffled[later], shuffled[earlier]
    with pytest.raises(ShardError, match="sample crooked"):
        check_row(with_spans(shuffled, parents_of(shuffled), num_code), LANGUAGES)


WHOLE = row_of(10, [(0, 10), (2, 6), (3, 5)], sample_id="broken", prompt=3, reasoning=4, scaffold=2)  # code is [9, 19)

BROKEN: dict[str, dict[str, Any]] = {
    "span before the code": {"span_start": i32(8, 11, 12)},
    "span behind the code": {"span_end": i32(20, 15, 14)},
    "span far outside": {"span_start": i32(9, 11, -(2**31)), "span_end": i32(19, 15, 2**31 - 1)},
    "empty span": {"span_end": i32(19, 15, 12)},
    "turned span": {"span_end": i32(19, 15, 11)},
    "crossing spans": {"span_end": i32(19, 15, 17)},
    "not in pre-order": {"span_start": i32(11, 9, 12), "span_end": i32(15, 19, 14), "span_parent": i32(1, -1, 0)},
    "parent behind": {"span_parent": i32(-1, 2, 0)},
    "parent itself": {"span_parent": i32(-1, 1, 1)},
    "parent beyond all": {"span_parent": i32(-1, 0, 3)},
    "parent below -1": {"span_parent": i32(-2, 0, 1)},
    "grandparent": {"span_parent": i32(-1, 0, 0)},
    "no parent": {"span_parent": i32(-1, 0, -1)},
    "fewer ends": {"span_end": i32(19, 15)},
    "fewer parents": {"span_parent": i32(-1, 0)},
    "fewer kinds": {"span_kind": np.array([1, 2], dtype=np.uint16)},
    "more arities": {"span_arity": u8(1, 2, 3, 4)},
    "regions too short": {"region_end": i32(3, 7, 9, 19, 20)},
    "regions too long": {"region_end": i32(3, 7, 9, 19, 22)},
    "regions in disorder": {"region_end": i32(7, 3, 9, 19, 21)},
    "empty region run": {"region_end": i32(3, 3, 9, 19, 21)},
    "region at 0": {"region_end": i32(0, 7, 9, 19, 21)},
    "negative region end": {"region_end": i32(-3, 7, 9, 19, 21)},
    "fewer labels": {"region_label": u8(0, 1, 3, 2)},
    "no regions": {"region_label": u8(), "region_end": i32()},
    "two code runs": {"region_label": u8(0, 2, 3, 2, 3)},
    "unknown region": {"region_label": u8(0, 1, 3, 2, 4)},
    "spans without code": {"region_label": u8(0, 1, 3, 1, 3), "role": u8(), "leaf_kind": u8()},
    "no tokens": {"input_ids": i32()},
    "fewer roles": {"role": u8(*[0] * 9)},
    "more leaf kinds": {"leaf_kind": u8(*[0] * 11)},
    "unknown role": {"role": u8(*[0] * 9, 4)},
    "unknown language": {"language": "cobol"},
    "unknown leaf kind": {"leaf_kind": np.array([*[0] * 9, 9], dtype=np.uint16)},
    "unknown span kind": {"span_kind": np.array([1, 9, 2], dtype=np.uint16)},
}


@pytest.mark.parametrize("columns", BROKEN.values(), ids=BROKEN.keys())
def test_broken_samples_are_refused(columns: dict[str, Any]) -> None:
    """Columns that contradict each other are refused with the sample's name, however the rest of the batch is."""
    good = random_rows(2)
    languages = {"python": LanguageKinds(node_kinds=tuple("012345678"), named=(True,) * 9, grammar="test")}
    collate([*good, WHOLE], pad_id=IDS.pad, languages=languages)
    with pytest.raises(ShardError, match=r"^sample broken: .*syntaxdiff-prep verify"):
        collate([*good, WHOLE._replace(**columns)], pad_id=IDS.pad, languages=languages)


def test_a_language_is_its_place_among_the_manifests() -> None:
    """A sample's language becomes the index in the sorted languages of the manifest."""
    rows = [WHOLE._replace(language=language) for language in ("rust", "cpp", "python")]
    batch = collate(rows, pad_id=IDS.pad, languages=any_kinds("rust", "cpp", "python"))
    assert batch.tensors.language_B.tolist() == [2, 0, 1]
