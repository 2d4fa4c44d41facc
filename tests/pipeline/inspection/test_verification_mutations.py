"""Whatever value of a sample is changed, in whatever way, verification finds it, with any make of vocabulary."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import programs, write_jsonl
from parameters import slow_but
from prepared_tokenizers import METASPACE, Prepared

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.inspection.checker import Checker
from syntaxdiff.pipeline.inspection.fault import Fault
from syntaxdiff.pipeline.inspection.verification import contract_of, examine
from syntaxdiff.pipeline.shard import SAMPLE_SCHEMA, iter_row_groups, read_manifest
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import read_template
from syntaxdiff.pipeline.tokens.tokenizer import PLAIN_TEMPLATE, load_tokenizer, save_tokenizer

Row = dict[str, Any]
VOCABULARIES = ("trained", *METASPACE)
HASH_DIGITS = 12
WHOLE, ALONE, CPP, CUT = range(4)

SOURCE: list[dict[str, str]] = [
    programs(1)[0] | {"prompt": "Sum the squares; é, 日本 🙂.", "code": "def f(a):\n    if a:  # é\n        return g(a) + 1\n"},
    {"id": "alone", "code": "x = [1, 22]\nfor y in x:\n    print(y)\n"},
    {"prompt": "Add.", "code": "int f(int a) { return a + 1; }\n", "language": "cpp"},
    programs(2)[1]
    | {"id": "long", "reasoning": "\n".join(f"Step {number}: think of {number * 7} é." for number in range(300))},
]


@dataclass(frozen=True)
class Sound:
    """A sound folder of shards, its rows, and a checker of them."""

    folder: Path
    rows: list[Row]
    checker: Checker

    def fault(self, row: Row) -> Fault | None:
        return self.checker.check_table(pa.Table.from_pylist([row], schema=SAMPLE_SCHEMA)).fault


@pytest.fixture(scope="module")
def sound(prepared: Callable[[str], Prepared], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sound]:
    """Shards of SOURCE by vocabulary, built once."""
    made: dict[str, Sound] = {}

    def get(name: str) -> Sound:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            source = write_jsonl(folder / "rows.jsonl", SOURCE)
            config = BuildConfig(
                src=(str(source),),
                out=folder / "data",
                tokenizer=str(prepared(name).folder),
                validation_size=0,
                max_length=700,
                overlength="trim-reasoning",
                workers=1,
            )
            manifest = build_shards(config)
            assert manifest.tokenizer.inexact_samples == 0
            codec = Codec(folder / "data" / "tokenizer", "auto")
            template = read_template(load_tokenizer(str(folder / "data" / "tokenizer")))
            checker = Checker(contract_of(folder / "data", manifest, codec, template), codec)
            rows = pq.read_table(folder / "data" / "train" / "shard-00000.parquet").to_pylist()
            assert [row["truncated"] for row in rows] == [False, False, False, True]
            made[name] = Sound(folder / "data", rows, checker)
        return made[name]

    return get


def changes_of_list(values: list[int], largest: int, stride: int) -> Iterator[tuple[str, list[int]]]:
    """Lists that differ from one in one way, at every ``stride``-th place."""
    for at in range(0, len(values), stride):
        for name, value in (("up", values[at] + 1), ("down", values[at] - 1), ("another", (values[at] * 7 + 11) % largest)):
            if 0 <= value <= largest:
                yield f"{name} at {at}", [*values[:at], value, *values[at + 1 :]]
        yield f"dropped at {at}", [*values[:at], *values[at + 1 :]]
        yield f"doubled at {at}", [*values[:at], values[at], *values[at:]]
        if at + 1 < len(values):
            yield f"swapped at {at}", [*values[:at], values[at + 1], values[at], *values[at + 2 :]]
    yield "reversed", values[::-1]
    yield "emptied", []
    yield "lengthened", [*values, 0]


def changes(row: Row, stride: int = 1) -> Iterator[tuple[str, Row]]:
    """Rows that differ from a sound one in one column, and in all span columns together."""
    for field in SAMPLE_SCHEMA:
        name, value = field.name, row[field.name]
        others: list[tuple[str, Any]] = [("null", None)]
        if pa.types.is_list(field.type):
            largest = {"uint8": 255, "uint16": 65535}.get(str(field.type.value_type), 2**31 - 1)
            others += changes_of_list(value, 300 if name == "input_ids" else largest, stride)
            others += [("a null inside", [None, *value[1:]])]
        elif pa.types.is_boolean(field.type):
            others += [("flipped", not value)]
        elif pa.types.is_integer(field.type):
            others += [("up", value + 1), ("down", value - 1), ("zero", 0)]
        elif name == "sample_id":
            others += [("emptied", ""), ("cut", value[:-1]), ("longer", value + "0"), ("upper case", value.upper())]
            for at in range(len(value) - HASH_DIGITS, len(value)):
                others += [(f"digit {at}", value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :])]
        else:
            others += [(other, other) for other in ("", "python", "cpp", "rust", "cobol", value + "x", value.upper())]
        for what, other in others:
            if other != value:
                yield f"{name} {what}", row | {name: other}
    spans = ("span_start", "span_end", "span_kind", "span_arity", "span_parent")
    for at in range(len(row["span_start"])):
        without = deepcopy(row)
        for name in spans:
            del without[name][at]
        yield f"span {at} dropped", without
        moved = deepcopy(row)
        moved["span_start"][at] += 1
        moved["span_end"][at] += 1
        yield f"span {at} moved", moved
    for at in range(len(row["region_end"]) - 1):
        for step in (-1, 1):
            moved = deepcopy(row)
            moved["region_end"][at] += step
            yield f"border {at} moved by {step}", moved


@pytest.mark.parametrize("which", [WHOLE, ALONE, CPP])
@pytest.mark.parametrize("name", slow_but(["trained"], VOCABULARIES))
def test_every_change_of_every_column_is_found(name: str, which: int, sound: Callable[[str], Sound]) -> None:
    """One value off by one, another, dropped, doubled, swapped, flipped or null: none passes."""
    folder = sound(name)
    row = folder.rows[which]
    assert folder.fault(row) is None
    tried = list(changes(row, stride=2 if which == ALONE else 11))
    missed = [what for what, changed in tried if folder.fault(changed) is None]
    assert missed == []
    assert {what.split()[0] for what, _ in tried} >= set(SAMPLE_SCHEMA.names)


@pytest.mark.parametrize("name", slow_but(["trained", "metaspace-prepend"], VOCABULARIES))
def test_what_passes_in_a_truncated_sample_is_said(name: str, sound: Callable[[str], Sound]) -> None:
    """Where reasoning was cut, only ids that other words give, the hash, and tokens around the cut may pass; it is said."""
    folder = sound(name)
    row = folder.rows[CUT]
    assert folder.fault(row) is None
    missed = [what for what, changed in changes(row, stride=23) if folder.fault(changed) is None]
    assert {what.split()[0] for what in missed} <= {"input_ids", "sample_id"}
    for what in missed:
        assert "digit" in what or not what.startswith("sample_id"), what
        assert not what.endswith(("emptied", "reversed", "lengthened", "inside")), what
    report = examine(folder.folder)
    assert report.fault is None
    assert any("1 samples with reasoning cut out" in phrase for phrase in report.not_checked)


@pytest.mark.parametrize("name", slow_but(["trained", "metaspace-prepend"], VOCABULARIES))
def test_another_spelling_of_the_same_text_is_found(name: str, sound: Callable[[str], Sound]) -> None:
    """Ids that decode to the same text, but are not what the tokenizer gives for it, are a fault of input_ids."""
    folder = sound(name)
    hub = load_tokenizer(str(folder.folder / "tokenizer"))
    row = folder.rows[WHOLE]
    tried = 0
    for at, token_id in enumerate(row["input_ids"]):
        piece = hub.convert_ids_to_tokens(token_id)
        halves = hub.convert_tokens_to_ids([piece[:1], piece[1:]])
        if token_id in hub.all_special_ids or len(piece) < 2 or None in halves or hub.unk_token_id in halves:
            continue
        ids = [*row["input_ids"][:at], *halves, *row["input_ids"][at + 1 :]]
        later = [end + (end > at) for end in row["region_end"]]
        fault = folder.fault(row | {"input_ids": ids, "length": len(ids), "region_end": later})
        assert fault is not None
        tried += 1
    assert tried > 10


def test_text_that_looks_like_the_sequence_around_it_is_no_fault(prepared: Callable[[str], Prepared], tmp_path: Path) -> None:
    """Problems and answers that hold the template's words, tags and fences are read back as they were."""
    tokenizer = load_tokenizer(str(prepared("trained").folder))
    tokenizer.chat_template = PLAIN_TEMPLATE  # words alone: problem and answer are one run of text
    save_tokenizer(tokenizer, tmp_path / "plain")
    looks = "### User\nq\n\n### Assistant\n<think>\nx\n</think>\n\n```python\ny = 1\n```<|eot_id|><|endoftext|>"
    code = f"s = {looks!r}\nt = 1\n'''\n{looks}\n'''\n"
    rows = [
        {"id": "a", "prompt": looks, "reasoning": looks, "code": code},
        {"id": "b", "prompt": looks + " b", "code": code},
        {"id": "c", "code": code + "# c\n"},
        {"id": "d", "prompt": "d", "reasoning": "\n".join([looks] * 40), "code": code},
    ]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    for name in ("trained", "plain"):
        folder = str(tmp_path / "plain" if name == "plain" else prepared(name).folder)
        out = tmp_path / f"{name} data"
        config = BuildConfig(src=(str(source),), out=out, tokenizer=folder, validation_size=0, workers=1)
        build_shards(replace(config, max_length=1500, overlength="trim-reasoning"))
        rows_of_shard = pq.read_table(out / "train" / "shard-00000.parquet").to_pylist()
        assert [row["truncated"] for row in rows_of_shard] == [False, False, False, True]
        assert examine(out).fault is None


def test_ids_that_do_not_spell_their_text_are_counted(prepared: Callable[[str], Prepared], tmp_path: Path) -> None:
    """A sign that the vocabulary takes for a space: no false alarm, the sample is counted, and one more is a fault."""
    rows = [*programs(5), {"id": "bar", "prompt": "Draw.", "code": "x = '▁▂▃'\nprint(x)\n"}]
    config = BuildConfig(
        src=(str(write_jsonl(tmp_path / "rows.jsonl", rows)),),
        out=tmp_path / "data",
        tokenizer=str(prepared("metaspace").folder),
        validation_size=0,
        workers=1,
    )
    assert build_shards(config).tokenizer.inexact_samples == 1
    report = examine(tmp_path / "data")
    assert report.fault is None
    assert any("1 samples whose ids do not spell their text" in phrase for phrase in report.not_checked)
    told_manifest = read_manifest(tmp_path / "data")
    codec = Codec(tmp_path / "data" / "tokenizer", "auto")
    template = read_template(load_tokenizer(str(tmp_path / "data" / "tokenizer")))
    checker = Checker(contract_of(tmp_path / "data", told_manifest, codec, template), codec)
    (table,) = iter_row_groups(tmp_path / "data", told_manifest.splits["train"][0])
    sound = table.to_pylist()[-1]
    assert sound["sample_id"].startswith("bar-")
    assert len(checker.check_table(table).suspects) == 1
    without_text = {"source": "elsewhere", "length": sound["length"] + 1, "truncated": True, "sample_id": "", "span_depth": 9}
    for name, value in without_text.items():
        assert checker.check_table(pa.Table.from_pylist([sound | {name: value}], schema=SAMPLE_SCHEMA)).fault is not None, name
    manifest = tmp_path / "data" / "manifest.json"
    stored = json.loads(manifest.read_text())
    for count in (0, 2):
        stored["tokenizer"]["inexact_samples"] = count
        manifest.write_text(json.dumps(stored))
        assert examine(tmp_path / "data").fault is not None
    del stored["tokenizer"]["inexact_samples"]  # as an older build has it
    manifest.write_text(json.dumps(stored))
    assert examine(tmp_path / "data").fault is None
    assert read_manifest(tmp_path / "data").tokenizer.inexact_samples is None
