"""Does a folder of shards hold what the contract says? Every file, every column, every invariant, every sample.

Besides the columns' own rules, each program is decoded from its ids, parsed again, and its spans, roles and leaf kinds
computed anew: they must be those that are stored. That needs a byte-level vocabulary; others are checked by the rules alone.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline.alignment import anchors
from syntaxdiff.pipeline.codec import Codec
from syntaxdiff.pipeline.errors import ShardError
from syntaxdiff.pipeline.grammar import LANGUAGES, load_grammar
from syntaxdiff.pipeline.record import Record
from syntaxdiff.pipeline.sample import Sample, make_samples
from syntaxdiff.pipeline.shard import (
    REJECT_SCHEMA,
    REJECTS,
    SPLITS,
    TOKENIZER,
    Manifest,
    Region,
    Role,
    SampleRow,
    ShardFile,
    file_sha256,
    iter_row_groups,
    iter_rows,
    read_manifest,
)
from syntaxdiff.pipeline.spans import MIN_SPAN_TOKENS, code_tree, nesting
from syntaxdiff.pipeline.template import read_template
from syntaxdiff.pipeline.tokenizer import load_tokenizer

Array: TypeAlias = npt.NDArray[Any]


class Fault(NamedTuple):
    """The first thing found wrong: in which file, in which sample (empty where the file itself is at fault), and what."""

    file: str
    sample_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {f'sample {self.sample_id}: ' if self.sample_id else ''}{self.what}"


class BrokenInvariantError(Exception):
    """An invariant that does not hold."""


def _hold(condition: bool | np.bool_, what: str) -> None:
    if not condition:
        raise BrokenInvariantError(what)


def verify(folder: Path, on_shard: Callable[[str], None] | None = None) -> Fault | None:
    """Checks a folder of shards; the first fault found, or None.

    Args:
        folder: of the shards
        on_shard: called with each shard's name when it is through

    Raises:
        ShardError: there is no complete folder of shards to check
    """
    manifest = read_manifest(folder)
    for split in SPLITS:
        for shard in manifest.splits[split]:
            fault = _file_fault(folder, shard)
            if fault is not None:
                return fault
    fault = _folder_fault(folder, manifest)
    if fault is not None:
        return fault
    codec = Codec(folder / TOKENIZER, "hf")
    if codec.sha256 != manifest.tokenizer["sha256"]:
        return Fault(f"{TOKENIZER}/tokenizer.json", "", "the checksum is not the manifest's: the tokenizer was changed")
    checker = _Checker(manifest, codec, _empty_prompt(folder, codec))
    for split in reversed(SPLITS):  # validation first: its prompts are what training must not hold
        for shard in manifest.splits[split]:
            for row in iter_rows(folder, shard):
                try:
                    checker.check(row, split)
                except BrokenInvariantError as broken:
                    return Fault(shard.file, row.sample_id, str(broken))
            if on_shard is not None:
                on_shard(shard.file)
    return None


def _file_fault(folder: Path, shard: ShardFile) -> Fault | None:
    path = folder / shard.file
    if not path.is_file():
        return Fault(shard.file, "", "the file is missing")
    if file_sha256(path) != shard.sha256:
        return Fault(shard.file, "", "the checksum is not the manifest's: the file was changed or damaged")
    rows = tokens = 0
    try:
        for table in iter_row_groups(folder, shard):
            rows += table.num_rows
            tokens += sum(table["length"].to_pylist())
    except ShardError as error:
        return Fault(shard.file, "", str(error))
    if (rows, tokens) != (shard.rows, shard.tokens):
        return Fault(shard.file, "", f"{rows} rows and {tokens} tokens, the manifest says {shard.rows} and {shard.tokens}")
    return None


def _folder_fault(folder: Path, manifest: Manifest) -> Fault | None:
    """Rejects and samples must account for every row; no shard may be there that the manifest does not know."""
    known = {shard.file for split in SPLITS for shard in manifest.splits[split]}
    found = {path.relative_to(folder).as_posix() for split in SPLITS for path in (folder / split).glob("*.parquet")}
    if found - known:
        return Fault(min(found - known), "", "the manifest does not know this shard")
    try:
        rejects = pq.read_table(folder / REJECTS, columns=["reason"])
        schema = pq.read_schema(folder / REJECTS)
    except (OSError, pa.ArrowException) as error:
        return Fault(REJECTS, "", f"cannot be read ({error})")
    counts = {str(item["values"]): item["counts"] for item in rejects["reason"].value_counts().to_pylist()}
    if not schema.equals(REJECT_SCHEMA) or counts != manifest.rejected:
        return Fault(REJECTS, "", f"holds {counts or 'nothing'}, the manifest says {manifest.rejected or 'nothing'}")
    samples = sum(manifest.num_samples(split) for split in SPLITS)
    if samples + rejects.num_rows != manifest.rows_read:
        what = f"{samples} samples and {rejects.num_rows} rejects do not make up the {manifest.rows_read} rows read"
        return Fault("manifest.json", "", what)
    return None


def _empty_prompt(folder: Path, codec: Codec) -> bytes:
    """Hash of the prompt of a sample without a statement: the template alone."""
    template = read_template(load_tokenizer(str(folder / TOKENIZER)))
    record = Record(prompt="", reasoning="", code="x", language=LANGUAGES[0], source="", source_id="", problem="")
    sample = make_samples([record], codec, template, max_length=1 << 30)[0]
    assert isinstance(sample, Sample)  # nothing in it can be rejected
    return _prompt_hash(sample.input_ids, sample.region_end)


def _prompt_hash(input_ids: Array, region_end: Array) -> bytes:
    return hashlib.blake2b(input_ids[: region_end[0] if len(region_end) else 0].tobytes(), digest_size=16).digest()


class _Checker:
    """Holds what must be compared between samples: ids seen, and prompts of the validation split (16 bytes each)."""

    def __init__(self, manifest: Manifest, codec: Codec, empty_prompt: bytes) -> None:
        self._manifest = manifest
        self._codec = codec
        self._empty_prompt = empty_prompt
        self._seen: set[bytes] = set()
        self._validation_prompts: set[bytes] = set()

    def check(self, row: SampleRow, split: str) -> None:
        """Raises BrokenInvariantError at the first invariant that does not hold."""
        _hold(all(value is not None for value in row), "a column is null")
        self._check_identity(row, split)
        self._check_tokens(row)
        region = self._check_regions(row)
        code = np.flatnonzero(region == Region.CODE)
        self._check_spans(row, code)
        if self._codec.is_byte_level:
            self._check_tree(row, code)

    def _check_identity(self, row: SampleRow, split: str) -> None:
        key = hashlib.blake2b(row.sample_id.encode(), digest_size=16).digest()
        _hold(bool(row.sample_id) and key not in self._seen, "sample_id is empty or not unique")
        self._seen.add(key)
        prompt = _prompt_hash(row.input_ids, row.region_end)
        if split == "validation":
            self._validation_prompts.add(prompt)
        elif prompt != self._empty_prompt:  # without a statement, problems are told apart by keys that shards don't hold
            _hold(prompt not in self._validation_prompts, "its problem is in the validation split too")

    def _check_tokens(self, row: SampleRow) -> None:
        vocab_size = self._manifest.tokenizer["vocab_size"]
        _hold(row.length == len(row.input_ids) > 0, f"length is {row.length}, input_ids holds {len(row.input_ids)}")
        _hold(row.length <= self._manifest.settings["max_length"], "longer than max_length")
        _hold(((row.input_ids >= 0) & (row.input_ids < vocab_size)).all(), "an id outside the vocabulary")
        _hold(not (row.input_ids == self._manifest.token_ids.mask).any(), "the mask token is among the clean ids")

    def _check_regions(self, row: SampleRow) -> Array:
        """The region of every token, from runs that are whole and in order."""
        ends, labels = row.region_end.astype(np.int64), row.region_label
        _hold(len(ends) == len(labels) > 0 and ends[-1] == row.length, "the region runs do not end at length")
        lengths = np.diff(ends, prepend=0)
        _hold((lengths > 0).all() and (np.diff(labels.astype(int)) != 0).all(), "a region run is empty or not maximal")
        _hold(labels.max() <= max(Region), "an unknown region label")
        _hold(labels[0] == Region.PROMPT, "the sequence does not open with the prompt")
        for once in (Region.PROMPT, Region.REASONING, Region.CODE):
            _hold((labels == once).sum() <= 1, f"{once.name.lower()} is in several runs")
        _hold((labels == Region.CODE).any() and labels[-1] == Region.SCAFFOLD, "there is no code, or nothing after it")
        return np.repeat(labels, lengths)

    def _check_spans(self, row: SampleRow, code: Array) -> None:
        kinds = self._manifest.languages.get(row.language)
        if kinds is None:
            raise BrokenInvariantError(f"language {row.language!r} is not in the manifest")
        _hold(len(row.role) == len(row.leaf_kind) == len(code), "role or leaf_kind is not one a code token")
        _hold((row.role <= max(Role)).all(), "an unknown role")
        _hold((row.leaf_kind < len(kinds.node_kinds)).all(), "a leaf kind outside the manifest's list")
        start, end = row.span_start.astype(np.int64), row.span_end.astype(np.int64)
        same = {len(column) for column in (start, end, row.span_kind, row.span_arity, row.span_parent)}
        _hold(len(same) == 1, "span columns of different lengths")
        _hold((row.span_kind < len(kinds.node_kinds)).all(), "a span kind outside the manifest's list")
        _hold((end - start >= MIN_SPAN_TOKENS).all(), f"a span of under {MIN_SPAN_TOKENS} tokens")
        _hold(len(start) == 0 or (start.min() >= code[0] and end.max() <= code[-1] + 1), "a span outside the code")
        forward = (np.diff(start) > 0) | ((np.diff(start) == 0) & (np.diff(end) < 0))
        _hold(forward.all(), "spans are not in pre-order, or one is there twice")
        parent, depth = nesting(start, end)
        _hold(np.array_equal(parent, row.span_parent), "span_parent is not the smallest span around")
        inner = parent >= 0
        _hold((end[inner] <= end[parent[inner]]).all(), "spans cross")
        _hold(depth == row.span_depth, f"span_depth is {row.span_depth}, the spans nest {depth} deep")

    def _check_tree(self, row: SampleRow, code: Array) -> None:
        """Decodes the code, parses it again, and compares."""
        if self._manifest.languages[row.language].grammar != load_grammar(row.language).origin:
            return  # another grammar may rightly see other nodes
        ids = row.input_ids[code[0] : code[-1] + 1]
        text = self._codec.decode(ids)
        end_byte = np.cumsum(self._codec.num_bytes(ids))
        start_byte = end_byte - self._codec.num_bytes(ids)
        tree = code_tree(text, row.language, anchors(start_byte, end_byte, text))
        spans = tree.spans.shifted(int(code[0]))
        _hold(tree.has_error == row.has_error, "has_error is not what the parser says")
        for name, ours, theirs in (
            ("span intervals", np.stack([spans.start, spans.end]), np.stack([row.span_start, row.span_end])),
            ("span_kind", spans.kind, row.span_kind),
            ("span_arity", spans.arity, row.span_arity),
            ("role", tree.role, row.role),
            ("leaf_kind", tree.leaf_kind, row.leaf_kind),
        ):
            _hold(np.array_equal(ours, theirs), f"{name} is not what the parsed program gives")
