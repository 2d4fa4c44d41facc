"""The summary of a folder against a plain recomputation, sample by sample and token by token."""

import io
import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import ShardError, StorageError
from syntaxdiff.pipeline.inspection.picture import plot_summary
from syntaxdiff.pipeline.inspection.summary import Summary, print_summary, summarize
from syntaxdiff.pipeline.inspection.tally import Tally, distribution, length_bins
from syntaxdiff.pipeline.shard import MANIFEST, Region, Role, read_manifest
from syntaxdiff.pipeline.splits import SPLITS

Sample = dict[str, Any]
PERCENT_OF_KEY = {"min": 0, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100}


def program(number: int, dice: random.Random) -> str:
    """A Python function with a few nested loops and conditions."""
    lines, depth = [f"def task_{number}(values):"], 1
    for step in range(dice.randint(1, 12)):
        line = dice.choice([f"x{step} = {number} + len(values)", "for v in values:", f"if {step} < number:", "print(values)"])
        lines.append("    " * depth + line)
        depth += line.endswith(":")
    return "\n".join([*lines, "    " * depth + "return None"])


def source_rows() -> list[dict[str, str]]:
    """Rows of two languages, some with errors, without spans, with long reasoning; and rows that become no sample."""
    dice = random.Random(1)
    rows = [
        {
            "prompt": f"Write task {number}.",
            "reasoning": "Think again. " * dice.choice([0, 1, 5, 200]),
            "code": program(number, dice),
            "language": "python",
        }
        for number in range(200)
    ]
    rows += [
        {"prompt": f"Give {number}.", "code": f"int f() {{ return {number} * (2 + {number}); }}", "language": "cpp"}
        for number in range(30)
    ]
    rows += [
        {"prompt": "Broken.", "code": "def f(:\n    x = g(1, 2)\n    return (", "language": "python"},
        {"prompt": "No sound node.", "code": ")", "language": "python"},
        {"prompt": "Blank.", "code": " "},
        {"prompt": "Too long.", "code": "\n".join(f"value_{number} = {number}" for number in range(400)), "language": "python"},
        {"prompt": "No code at all."},
    ]
    return [*rows, rows[0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of several row groups and both splits."""
    source = tmp_path_factory.mktemp("source") / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in source_rows()), encoding="utf-8")
    out = tmp_path_factory.mktemp("built") / "data"
    config = BuildConfig(src=(str(source),), tokenizer="train:400", out=out, workers=1, validation_size=20)
    build_shards(replace(config, shard_rows=150, max_length=600, overlength="trim-reasoning"))
    return out


@pytest.fixture(scope="module")
def summary(folder: Path) -> Summary:
    return summarize(folder)


@pytest.fixture(scope="module")
def samples(folder: Path) -> dict[str, list[Sample]]:
    """Samples as Python values, of each split and of both."""
    read = {
        split: [row for path in sorted((folder / split).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
        for split in SPLITS
    }
    return read | {"all": [row for split in SPLITS for row in read[split]]}


def tallies(summary: Summary) -> dict[str, Any]:
    """The tallies as JSON shows them, by split and "all"."""
    shown: Any = summary.to_dict()
    return {**shown["splits"], "all": shown["all"]}


def assert_describes(described: dict[str, float], values: list[int]) -> None:
    """Every quantile is the value at its rank in sorted order; the mean is the mean."""
    ordered = sorted(values)
    for key, percent in PERCENT_OF_KEY.items():
        assert described[key] == ordered[max(1, math.ceil(percent * len(ordered) / 100)) - 1]
    assert described["mean"] == pytest.approx(sum(values) / len(values))


def region_of_tokens(sample: Sample) -> list[int]:
    """The region of every token of a sample."""
    return [
        next(label for label, end in zip(sample["region_label"], sample["region_end"], strict=True) if token < end)
        for token in range(sample["length"])
    ]


def spans_of(sample: Sample) -> list[tuple[int, int]]:
    return list(zip(sample["span_start"], sample["span_end"], strict=True))


def test_the_fixture_has_every_case(samples: dict[str, list[Sample]], folder: Path) -> None:
    """The shards hold what the other tests are about, so that none of them passes on nothing."""
    rows = samples["all"]
    assert {row["language"] for row in rows} == {"python", "cpp"}
    assert any(row["truncated"] for row in rows)
    assert any(row["has_error"] for row in rows)
    assert any(not row["span_start"] for row in rows)
    assert any(pq.ParquetFile(path).num_row_groups > 1 for path in (folder / "train").glob("*.parquet"))
    assert len(read_manifest(folder).splits["train"]) > 1
    assert len(read_manifest(folder).rejected) > 2


def test_regions_and_roles(summary: Summary, samples: dict[str, list[Sample]]) -> None:
    """Tokens by region and code tokens by role are those counted one by one, and their shares add up to one."""
    for split, tally in tallies(summary).items():
        regions = Counter(region for sample in samples[split] for region in region_of_tokens(sample))
        roles = Counter(role for sample in samples[split] for role in sample["role"])
        for enum, key, counts in ((Region, "regions", regions), (Role, "roles", roles)):
            expected = {each.name.lower(): counts[each] for each in enum}
            assert {name: part["tokens"] for name, part in tally[key].items()} == expected
        assert tally["tokens"] == regions.total() == sum(len(sample["input_ids"]) for sample in samples[split])
        for parts in (tally["regions"], tally["roles"]):
            assert sum(part["share"] for part in parts.values()) == pytest.approx(1)


def test_distributions(summary: Summary, samples: dict[str, list[Sample]]) -> None:
    """Lengths, spans and depths have the quantiles of the sorted values."""
    for split, tally in tallies(summary).items():
        rows = samples[split]
        assert tally["samples"] == len(rows)
        assert tally["spans"]["count"] == sum(len(row["span_start"]) for row in rows)
        assert_describes(tally["length"], [row["length"] for row in rows])
        assert_describes(tally["spans"]["per_sample"], [len(row["span_start"]) for row in rows])
        assert_describes(tally["spans"]["length"], [end - start for row in rows for start, end in spans_of(row)])
        assert_describes(tally["spans"]["sample_depth"], [row["span_depth"] for row in rows])
        depths = [
            sum(outer <= start and end <= last for outer, last in spans_of(row)) for row in rows for start, end in spans_of(row)
        ]
        assert_describes(tally["spans"]["depth"], depths)


def test_node_kinds(summary: Summary, samples: dict[str, list[Sample]], folder: Path) -> None:
    """Spans by language and node kind, their number and mean length, the commonest first."""
    languages = read_manifest(folder).languages
    for split, tally in tallies(summary).items():
        lengths: dict[tuple[str, str], list[int]] = {}
        for row in samples[split]:
            for kind, (start, end) in zip(row["span_kind"], spans_of(row), strict=True):
                name = languages[row["language"]].node_kinds[kind]
                lengths.setdefault((row["language"], name), []).append(end - start)
        found = {
            (language, entry["kind"]): (entry["count"], entry["mean_length"])
            for language, kinds in tally["spans"]["kinds"].items()
            for entry in kinds
        }
        assert found == {key: (len(values), pytest.approx(sum(values) / len(values))) for key, values in lengths.items()}
        for kinds in tally["spans"]["kinds"].values():
            counts = [entry["count"] for entry in kinds]
            assert counts == sorted(counts, reverse=True)


def test_coverage(summary: Summary, samples: dict[str, list[Sample]]) -> None:
    """Code tokens in a span, and in one that is not the whole code's, are those counted token by token."""
    for split, tally in tallies(summary).items():
        in_any = in_inner = 0
        for row in samples[split]:
            code = [token for token, region in enumerate(region_of_tokens(row)) if region == Region.CODE]
            whole = (code[0], code[-1] + 1)
            in_any += sum(any(start <= token < end for start, end in spans_of(row)) for token in code)
            inner = [span for span in spans_of(row) if span != whole]
            in_inner += sum(any(start <= token < end for start, end in inner) for token in code)
        assert tally["code_coverage"]["any_span"]["tokens"] == in_any
        assert tally["code_coverage"]["below_whole_code"]["tokens"] == in_inner
        assert in_inner < in_any


def test_flags_and_names(summary: Summary, samples: dict[str, list[Sample]]) -> None:
    """Samples by flag, language and source are those that bear it."""
    for split, tally in tallies(summary).items():
        rows = samples[split]
        without = sum(not row["span_start"] for row in rows)
        expected = {flag: sum(row[flag] for row in rows) for flag in ("has_error", "truncated")} | {"without_span": without}
        assert {name: part["samples"] for name, part in tally["flags"].items()} == expected
        for key, column in (("languages", "language"), ("sources", "source")):
            assert {name: part["samples"] for name, part in tally[key].items()} == Counter(row[column] for row in rows)


def test_span_length_histogram(summary: Summary) -> None:
    """Bins run from 2 upward, each twice as long as the one before, and hold every span once."""
    for tally in tallies(summary).values():
        bins = tally["spans"]["length_histogram"]
        assert [(entry["from"], entry["to"]) for entry in bins] == [(2 << n, 4 << n) for n in range(len(bins))]
        assert sum(entry["count"] for entry in bins) == tally["spans"]["count"]
        assert bins[-1]["count"] > 0


@given(st.lists(st.integers(0, 300), min_size=1))
def test_quantiles_of_any_values(values: list[int]) -> None:
    """Quantiles from counts by value are numpy's inverted-CDF quantiles; bins hold every value from 2 on."""
    counts = np.bincount(values)
    tally = distribution(counts)
    assert tally is not None
    assert_describes(vars(tally), values)
    assert tally.p50 == np.quantile(values, 0.5, method="inverted_cdf")
    assert sum(count for _, _, count in length_bins(counts)) == sum(value >= 2 for value in values)


def test_nothing_has_no_distribution(folder: Path) -> None:
    """A split without samples is told as such: no quantiles, shares of 0."""
    tally: Any = Tally().to_dict()
    assert tally["samples"] == tally["tokens"] == tally["spans"]["count"] == 0
    assert tally["length"] is None
    assert tally["spans"]["depth"] is None
    assert tally["regions"]["code"] == {"tokens": 0, "share": 0.0}
    assert tally["spans"]["length_histogram"] == []
    empty = Summary({split: Tally() for split in SPLITS}, Tally(), read_manifest(folder))
    print_summary(empty, Console(file=io.StringIO()))


def test_json_keys_are_those_documented(summary: Summary) -> None:
    """The JSON has the documented keys, survives a round trip, and its rejects and samples add up to the rows read."""
    described: Any = summary.to_dict()
    assert list(described) == [
        "schema_version",
        "fingerprint",
        "accounting",
        "rejects",
        "readings",
        "grouping",
        "unused_fields",
        "splits",
        "all",
    ]
    assert list(described["splits"]) == list(SPLITS)
    keys = ["samples", "tokens", "length", "regions", "roles", "spans", "code_coverage", "flags", "languages", "sources"]
    inner = ["count", "per_sample", "length", "length_histogram", "depth", "sample_depth", "kinds"]
    for tally in tallies(summary).values():
        assert list(tally) == keys
        assert list(tally["spans"]) == inner
        assert list(tally["length"]) == [*PERCENT_OF_KEY, "mean"]
    documented = Summary.to_dict.__doc__ or ""
    assert all(key in documented for key in [*described, *described["accounting"], *keys, *inner, *PERCENT_OF_KEY, "mean"])
    assert json.loads(json.dumps(described)) == described
    accounting = described["accounting"]
    assert accounting["rows_read"] == len(source_rows()) == accounting["samples"] + accounting["rejects"]
    assert sum(part["rows"] for part in described["rejects"].values()) == accounting["rejects"]
    assert all(part["share"] == part["rows"] / accounting["rows_read"] for part in described["rejects"].values())


@pytest.mark.parametrize("change", [lambda rows: rows + 1, lambda rows: rows - 1])
def test_rows_that_do_not_add_up_are_an_error(folder: Path, tmp_path: Path, change: Callable[[int], int]) -> None:
    """A row too many or too few is told, with both sides of the sum."""
    shutil.copytree(folder, tmp_path / "copy")
    manifest = read_manifest(folder)
    wrong = replace(manifest, rows_read=change(manifest.rows_read))
    (tmp_path / "copy" / MANIFEST).write_text(wrong.to_json(), encoding="utf-8")
    with pytest.raises(ShardError, match=f"{wrong.rows_read} rows read are not"):
        summarize(tmp_path / "copy")


def test_each_shard_is_reported_once(folder: Path) -> None:
    """The callback hears of every shard, in the order of the splits."""
    heard: list[str] = []
    summarize(folder, heard.append)
    assert heard == [shard.file for split in SPLITS for shard in read_manifest(folder).splits[split]]


def test_tables_show_names_as_they_are(summary: Summary) -> None:
    """Brackets in the data are no markup, control characters never reach the terminal, and every reason is shown."""
    hostile = "[bold red]evil\x1b[31m\x9b2J\u202e[/]"
    total = replace(summary.total, sources=Counter({hostile: 7}))
    manifest = replace(summary.manifest, rejected={**summary.manifest.rejected, hostile: 1})
    printed = io.StringIO()
    print_summary(Summary(summary.splits, total, manifest), Console(file=printed, width=120))
    text = printed.getvalue()
    assert text.count("[bold red]evil␛[31m<U+009B>2J<U+202E>[/]") == 2
    assert all(character.isprintable() or character == "\n" for character in text)
    assert all(reason in text for reason in summary.manifest.rejected)


@pytest.mark.slow
def test_picture_appears_whole(summary: Summary, folder: Path, tmp_path: Path) -> None:
    """The picture is one PNG file and leaves nothing beside it, also where there is nothing to draw."""
    empty = Summary({split: Tally() for split in SPLITS}, Tally(), replace(read_manifest(folder), rows_read=0, rejected={}))
    for name, shown in (("full.png", summary), ("empty.png", empty)):
        plot_summary(shown, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.png", "full.png"]
    with pytest.raises(StorageError):
        plot_summary(summary, tmp_path / "missing" / "picture.png")
