"""One sample as it is shown: the texts and the tree are the sample's, and nothing in the data steers the terminal."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Tokenizer

from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.inspection.display import SPANS_SHOWN, SampleView, SpanView, print_sample, sample_view, visible
from syntaxdiff.pipeline.shard import TOKENIZER, read_manifest, read_sample

HOSTILE = {
    "prompt": "Say [bold]hello[/bold] :smile: \x1b[2J\x07\x9b31m\u202eé日本 <|endoftext|>\r\nplease.",
    "reasoning": "A [red]thought[/].\x01\x7f",
    "code": 'def greet(name):\n    text = "[blue]é日本[/]\x1b[31m"\n\tif name:\n        print(text, name)',
    "language": "python",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few programs, the first of them hostile, one with many spans."""
    rows = [
        HOSTILE,
        {"prompt": "Many.", "code": "\n".join(f"value_{n} = {n} + call({n}, 2)" for n in range(60)), "language": "python"},
        {"prompt": "None.", "code": ")", "language": "python"},
        *({"prompt": f"Give {n}.", "code": f"def f():\n    return {n} + 1", "language": "python"} for n in range(6)),
    ]
    source = tmp_path_factory.mktemp("source") / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path_factory.mktemp("built") / "data"
    build_shards(BuildConfig(src=(str(source),), tokenizer="train:400", out=out, workers=1, validation_size=0))
    return out


@pytest.fixture(scope="module")
def views(folder: Path) -> list[SampleView]:
    return [sample_view(folder, "train", index) for index in range(read_manifest(folder).num_samples("train"))]


def printed(view: SampleView, width: int = 120) -> str:
    """What a terminal without colours gets."""
    out = io.StringIO()
    print_sample(view, Console(file=out, width=width))
    return out.getvalue()


def test_texts_are_those_of_the_row(views: list[SampleView]) -> None:
    """Regions and code are the source's own text, whatever the tokens cut."""
    view = views[0]
    text = {region.label: region.text for region in view.regions}
    assert text["code"] == HOSTILE["code"] + "\n"
    # The last sign of the tag and the line ends behind it may be one token, which belongs where it begins.
    assert text["reasoning"].rstrip("\n") == f"<think>\n{HOSTILE['reasoning']}\n</think>"
    assert HOSTILE["prompt"] in text["prompt"]


def test_view_is_the_stored_sample(folder: Path, views: list[SampleView]) -> None:
    """Intervals, kinds, arity and parents are the shard's; regions follow each other; a child is one deeper."""
    manifest = read_manifest(folder)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER / "tokenizer.json"))
    for index, view in enumerate(views):
        row = read_sample(folder, manifest, "train", index)
        assert (view.sample_id, view.language, view.source) == (row.sample_id, row.language, row.source)
        assert (view.length, view.truncated, view.has_error) == (row.length, row.truncated, row.has_error)
        assert [region.end for region in view.regions] == row.region_end.tolist()
        assert [region.start for region in view.regions] == [0, *row.region_end[:-1].tolist()]
        whole = "".join(region.text for region in view.regions)
        assert whole == tokenizer.decode(row.input_ids.tolist(), skip_special_tokens=False)
        kinds = manifest.languages[row.language].node_kinds
        for column in ("start", "end", "arity", "parent"):
            assert [getattr(span, column) for span in view.spans] == getattr(row, f"span_{column}").tolist()
        assert [span.kind for span in view.spans] == [kinds[kind] for kind in row.span_kind]
        assert all(span.depth == (view.spans[span.parent].depth + 1 if span.parent >= 0 else 1) for span in view.spans)
        assert max((span.depth for span in view.spans), default=0) == row.span_depth


def test_json_has_the_fields(views: list[SampleView]) -> None:
    """The JSON of a view survives a round trip and has the documented keys."""
    for view in views:
        shown = json.loads(json.dumps(view.to_dict()))
        assert list(shown) == [
            *("sample_id", "split", "index", "language", "source", "length", "truncated", "has_error", "regions", "spans")
        ]
        assert all(list(region) == ["label", "start", "end", "text"] for region in shown["regions"])
        assert all(list(span) == ["start", "end", "kind", "arity", "parent", "depth", "text"] for span in shown["spans"])
        assert tuple(SpanView(**span) for span in shown["spans"]) == view.spans


def test_data_is_shown_and_not_obeyed(views: list[SampleView]) -> None:
    """Brackets are no markup, special tokens are visible, control characters are symbols; lines stay as they are."""
    view = replace(views[0], sample_id="[b]id\x1b", source="[i]\x9bsource")
    text = printed(view)
    assert all(character.isprintable() or character == "\n" for character in text)
    for shown in ("[b]id␛", "[i]<U+009B>source", "[bold]hello[/bold] :smile: ␛[2J␇", "A [red]thought[/].␁␡", "<|endoftext|>"):
        assert shown in text
    assert '    text = "[blue]é日本[/]␛[31m"\n' in text
    assert not re.search(r"\x1b\[(?![\d;]*m)", coloured(view))  # nothing but colours


def coloured(view: SampleView) -> str:
    """What a terminal with colours gets."""
    out = io.StringIO()
    print_sample(view, Console(file=out, width=120, force_terminal=True))
    return out.getvalue()


def test_regions_have_colours_of_their_own(views: list[SampleView]) -> None:
    """The four regions differ in the escape sequence before their text, in the legend too."""
    text = coloured(views[0])
    styles = {label: re.search(rf"(\x1b\[[\d;]*m){label} *\x1b", text) for label in ("prompt", "reasoning", "code", "scaffold")}
    assert all(styles.values())
    assert len({match[1] for match in styles.values() if match}) == 4


@given(st.text())
def test_visible_is_safe_and_leaves_the_rest(text: str) -> None:
    """What is shown holds no control character but line ends and tabs, and plain text is left alone."""
    shown = visible(text)
    assert all(not ("\x00" <= character < " " or "\x7f" <= character < "\xa0") or character in "\n\t" for character in shown)
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


def test_every_span_is_shown_or_counted(views: list[SampleView]) -> None:
    """Lines of the tree and the numbers left out add up to the spans, in narrow terminals too."""
    for view in views:
        for width in (60, 80, 200):
            tree = printed(view, width).split(f"{len(view.spans):,} candidate spans")[-1]
            lines = [line for line in tree.splitlines()[1:] if line.strip()]
            hidden = [int(match[1]) for line in lines if (match := re.search(r"… (\d+) more", line))]
            shown = len(lines) - len(hidden)
            assert shown + sum(hidden) == len(view.spans)
            assert shown <= SPANS_SHOWN
            assert (f", {sum(hidden):,} of them not shown" in tree) == bool(hidden)
            assert max(map(len, lines), default=0) <= width


def test_tree_tells_each_span(views: list[SampleView]) -> None:
    """A span's line has its kind, its interval, its number of tokens and the begin of its text on one line."""
    text = printed(views[0], width=200)
    for span in views[0].spans:
        line = next(line for line in text.splitlines() if f"{span.kind}  [{span.start}, {span.end})" in line)
        assert f"{span.end - span.start} tokens" in line
        assert visible(" ".join(span.text.split())[:30]) in line


@pytest.mark.parametrize("index", [-1, 9, 10**9])
def test_no_such_sample_is_an_error(folder: Path, index: int) -> None:
    """An index outside the split is told with what the split holds."""
    with pytest.raises(ShardError, match="holds 9 samples"):
        sample_view(folder, "train", index)
