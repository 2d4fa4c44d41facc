"""One sample as a person sees it: its text with the regions in colour, and the tree of its candidate spans.

Only that sample is decoded. What is printed holds no control character of the data: they are shown as symbols.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from syntaxdiff.pipeline.json_records import JsonObject, to_json
from syntaxdiff.pipeline.shard import TOKENIZER, Region, read_manifest, read_sample
from syntaxdiff.pipeline.tokens.codec import Codec

SPANS_SHOWN = 120  # in the tree, the outermost first; to_dict has them all
SNIPPET_CHARACTERS = 60
LABEL_COLUMNS = 40  # left for a span's line in the deepest level of the tree that is shown
GUIDE_COLUMNS = 4  # what a level of the tree takes
STYLES = {"prompt": "dim", "reasoning": "cyan", "code": "green", "scaffold": "bold magenta"}


@dataclass(frozen=True)
class RegionView:
    """A run of tokens [start, end) of one region, and its text."""

    label: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class SpanView:
    """A candidate span: tokens [start, end), node kind, children, index of the span around it (-1: none), depth from 1."""

    start: int
    end: int
    kind: str
    arity: int
    parent: int
    depth: int
    text: str


@dataclass(frozen=True, kw_only=True)
class SampleView:
    """One sample, decoded. Texts are as the tokenizer renders them; a character that a run cuts in two shows as U+FFFD."""

    sample_id: str
    split: str
    index: int
    language: str
    source: str
    length: int
    truncated: bool
    has_error: bool
    regions: tuple[RegionView, ...]
    spans: tuple[SpanView, ...]

    def to_dict(self) -> JsonObject:
        """Plain values for JSON, the keys being the names of the fields; spans are in pre-order."""
        plain: JsonObject = to_json(self)
        return plain


def sample_view(folder: Path, split: str, index: int) -> SampleView:
    """One sample of a split by its position over all shards.

    Raises:
        ShardError: the shards are incomplete or damaged, or there is no such sample
        TokenizerError: the folder's tokenizer cannot be read
    """
    manifest = read_manifest(folder)
    row = read_sample(folder, manifest, split, index)
    codec = Codec(folder / TOKENIZER, "hf")
    ids = row.input_ids.tolist()

    def text_of(start: int, end: int) -> str:
        return codec.decode(ids[start:end]).decode(errors="replace")

    starts = [0, *row.region_end.tolist()]
    regions = tuple(
        RegionView(Region(label).name.lower(), start, end, text_of(start, end))
        for label, start, end in zip(row.region_label.tolist(), starts, row.region_end.tolist(), strict=False)
    )
    kinds = manifest.languages[row.language].node_kinds
    spans: list[SpanView] = []
    columns = (row.span_start, row.span_end, row.span_kind, row.span_arity, row.span_parent)
    for start, end, kind, arity, parent in zip(*(column.tolist() for column in columns), strict=True):
        depth = 1 if parent < 0 else spans[parent].depth + 1
        spans.append(SpanView(start, end, kinds[kind], arity, parent, depth, text_of(start, end)))
    return SampleView(
        sample_id=row.sample_id,
        split=split,
        index=index,
        language=row.language,
        source=row.source,
        length=row.length,
        truncated=row.truncated,
        has_error=row.has_error,
        regions=regions,
        spans=tuple(spans),
    )


def visible(text: str) -> str:
    """The text with every control and format character but line ends and tabs as a symbol, safe for a terminal."""
    return "".join(character if _is_safe(character) else _symbol(character) for character in text)


def _is_safe(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _symbol(character: str) -> str:
    code_point = ord(character)
    if code_point < 0x20:
        return chr(0x2400 + code_point)  # ␀ to ␟
    return "␡" if code_point == 0x7F else f"<U+{code_point:04X}>"


def print_sample(view: SampleView, console: Console) -> None:
    """Prints a sample: what it is, a legend with the token interval of each run, the text in colour, the tree of spans."""
    flags = [name for name, is_set in (("reasoning cut", view.truncated), ("code has an error", view.has_error)) if is_set]
    facts = [f"{view.split} {view.index}", view.language, visible(view.source), f"{view.length:,} tokens", *flags]
    console.print(Text.assemble((visible(view.sample_id), "bold"), "  ", " · ".join(facts)), soft_wrap=True)
    for region in view.regions:
        interval = f"[{region.start}, {region.end})  {region.end - region.start:,} tokens"
        console.print(Text.assemble(("■ ", STYLES[region.label]), (f"{region.label:<9}", STYLES[region.label]), "  ", interval))
    console.print()
    console.print(Text.assemble(*((visible(part.text), STYLES[part.label]) for part in view.regions)), soft_wrap=True)
    console.print()
    console.print(_tree(view.spans, max_depth=max(2, (console.width - LABEL_COLUMNS) // GUIDE_COLUMNS)))


def _tree(spans: Sequence[SpanView], max_depth: int) -> Tree:
    """The tree of spans, bounded: the outermost are shown, the others counted where they stand."""
    order = sorted(range(len(spans)), key=lambda index: spans[index].depth)  # a parent before its children
    shown = {index for index in order[:SPANS_SHOWN] if spans[index].depth <= max_depth}
    left_out = len(spans) - len(shown)
    title = f"{len(spans):,} candidate spans" + (f", {left_out:,} of them not shown" if left_out else "")
    root = Tree(Text(title, style="bold"), guide_style="dim")
    branch = {-1: root}
    holder = [-1] * len(spans)  # the innermost shown span at or around each
    hidden: Counter[int] = Counter()
    for index, span in enumerate(spans):
        if index in shown:
            holder[index] = index
            branch[index] = branch[span.parent].add(_label(span))
        else:
            holder[index] = holder[span.parent] if span.parent >= 0 else -1
            hidden[holder[index]] += 1
    for index, count in hidden.items():
        branch[index].add(Text(f"… {count:,} more", style="dim"))
    return root


def _label(span: SpanView) -> Text:
    words = " ".join(span.text.split())
    snippet = words if len(words) <= SNIPPET_CHARACTERS else words[: SNIPPET_CHARACTERS - 1] + "…"
    interval = f"  [{span.start}, {span.end})  {span.end - span.start:,} tokens  "
    return Text.assemble((span.kind, "bold"), interval, (visible(snippet), "dim"), no_wrap=True, overflow="ellipsis")
