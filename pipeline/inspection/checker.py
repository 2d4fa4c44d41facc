"""Samples held to what their ids and the tokenizer give: the record is read back, made into a sample again, and compared.

One row group at a time, in any process. What must be compared between samples leaves as keys; see verification.py.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline.assembly.sample import Encoded, Run, assemble_sample, encode_records, extent_of
from syntaxdiff.pipeline.errors import RowError
from syntaxdiff.pipeline.inspection.fault import BrokenInvariantError, Fault, first_difference, hold
from syntaxdiff.pipeline.inspection.readback import HASH_DIGITS, Readback, Sections, record_of
from syntaxdiff.pipeline.inspection.rules import check_regions, check_spans
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.shard import (
    SAMPLE_SCHEMA,
    Manifest,
    Region,
    SampleRow,
    ShardFile,
    file_sha256,
    rows_of,
)
from syntaxdiff.pipeline.syntax.alignment import TokenBytes
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import Template

CHECKED_CHARS = 20_000  # of one program a row group, on which a fast engine is held to the tokenizers library
MOST_SEAM_TOKENS = 64  # around a cut in the reasoning, which may be other tokens than those of the text that is left
NO_LIMIT = 1 << 62
HASHED_ID = re.compile(r"(?s).+-[0-9a-f]{12}|[0-9a-f]{16}")
T = TypeVar("T")
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What samples are held to; picklable.

    Attributes:
        engine: of the codec, proven before
        sources: names that ``source`` may have; empty where the manifest does not say
        is_strict: all ids spell their text, as the build found
    """

    folder: Path
    tokenizer_folder: Path
    engine: str
    template: Template
    manifest: Manifest
    sources: frozenset[str]
    is_strict: bool


class FileReport(NamedTuple):
    """One shard file: what is wrong with it, or the rows of each of its row groups."""

    fault: Fault | None
    group_rows: tuple[int, ...]


class GroupReport(NamedTuple):
    """One row group: up to its first faulty row, that one included.

    Keys are hashes, one per row: of the sample_id, of the content, and of the statement (0 where there is none).
    ``suspects`` are rows that differ from what their ids give where ids need not spell their text.
    """

    fault: Fault | None
    suspects: tuple[Fault, ...]
    id_key: Keys
    content_key: Keys
    prompt_key: Keys
    counts: Counter[str]
    languages: frozenset[str]


def check_file(folder: Path, shard: ShardFile) -> FileReport:
    """Checksum, schema, rows and tokens of a shard, as the manifest has them."""

    def wrong(what: str) -> FileReport:
        return FileReport(Fault(shard.file, "", what), ())

    path = folder / shard.file
    if not path.is_file():
        return wrong("the file is missing")
    try:
        if file_sha256(path) != shard.sha256:
            return wrong("the checksum is not the manifest's: the file was changed or damaged")
        with pq.ParquetFile(path) as parquet:
            if not parquet.schema_arrow.equals(SAMPLE_SCHEMA):
                return wrong("the columns are not those of the schema")
            group_rows = tuple(parquet.metadata.row_group(index).num_rows for index in range(parquet.num_row_groups))
            lengths = parquet.read(columns=["length"])["length"]
    except (OSError, pa.ArrowException) as error:
        return wrong(f"cannot be read ({error})")
    rows, tokens = sum(group_rows), sum(length or 0 for length in lengths.to_pylist())
    if (rows, tokens) != (shard.rows, shard.tokens):
        return wrong(f"{rows} rows and {tokens} tokens, the manifest says {shard.rows} and {shard.tokens}")
    return FileReport(None, group_rows)


class Candidate(NamedTuple):
    """A row with the records that its ids may have been made of.

    There is one, unless the sample holds the template's own words or tags; ``is_sure`` says that the hash in its sample_id is
    that of the one.
    """

    row: SampleRow
    sections: Sections
    records: tuple[Record, ...]
    is_sure: bool


@dataclass
class _Group:
    """What is gathered of a row group."""

    suspects: list[Fault] = field(default_factory=list)
    id_key: list[int] = field(default_factory=list)
    content_key: list[int] = field(default_factory=list)
    prompt_key: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    languages: set[str] = field(default_factory=set)

    def report(self, fault: Fault | None) -> GroupReport:
        ids, contents, prompts = (np.array(keys, dtype=np.uint64) for keys in (self.id_key, self.content_key, self.prompt_key))
        return GroupReport(fault, tuple(self.suspects), ids, contents, prompts, self.counts, frozenset(self.languages))


class Checker:
    """Checks row groups; one per process."""

    def __init__(self, contract: Contract, codec: Codec | None = None) -> None:
        self._contract = contract
        self._manifest = contract.manifest
        self._codec = codec or Codec(contract.tokenizer_folder, contract.engine, proven=True)
        self._readback = Readback(self._codec, contract.template)
        self._max_length = self._manifest.settings.max_length
        self._trims = self._manifest.settings.overlength != "drop"
        self._same_grammar = {
            language: kinds.grammar == load_grammar(language).origin for language, kinds in self._manifest.languages.items()
        }

    @cached_property
    def _reference(self) -> Codec:
        return Codec(self._contract.tokenizer_folder, "hf")

    def check(self, shard: ShardFile, group: int, first_row: int) -> GroupReport:
        """Checks one row group; ``first_row`` is the position of its first row in the file."""
        try:
            with pq.ParquetFile(self._contract.folder / shard.file) as parquet:
                table = parquet.read_row_group(group)
            table.validate(full=True)
        except (OSError, pa.ArrowException) as error:
            return _Group().report(Fault(shard.file, "", f"row group {group} cannot be read ({error})", first_row))
        return self.check_table(table, shard.file, first_row)

    def check_table(self, table: pa.Table, file: str = "", first_row: int = 0) -> GroupReport:
        """Checks rows of SAMPLE_SCHEMA; ``file`` and ``first_row`` are where a fault is said to be."""
        gathered = _Group()
        num_whole, null_column = _rows_without_null(table)
        rows = rows_of(table if num_whole == table.num_rows else table.take(pa.array(range(num_whole), pa.int64())))
        fault = self._rows_fault(rows, file, first_row, gathered)
        if fault is None and num_whole < table.num_rows:
            sample_id = table["sample_id"][num_whole].as_py() or ""
            gathered.id_key.append(_key(sample_id))
            gathered.content_key.append(0)
            gathered.prompt_key.append(0)
            fault = Fault(file, sample_id, "a column is null", first_row + num_whole, null_column)
        return gathered.report(fault)

    def _rows_fault(self, rows: Sequence[SampleRow], file: str, first_row: int, gathered: _Group) -> Fault | None:
        """The first fault among rows; what must be compared between samples is gathered up to it."""
        read = self._read(rows)
        sound = [candidate for candidate in read if isinstance(candidate, Candidate)]
        codec = self._engine_for(sound)
        encoded = iter(encode_records([candidate.records[0] for candidate in sound], codec, self._contract.template))
        for number, (row, outcome) in enumerate(zip(rows, read, strict=True)):
            broken: BrokenInvariantError | None
            if isinstance(outcome, Candidate):
                _gather(outcome, gathered)
                broken = self._difference(outcome, next(encoded), codec)
                if not self._same_grammar[row.language]:
                    gathered.counts[f"grammar of {row.language}"] += 1
            else:
                _gather_unread(row, gathered)
                broken = outcome
            if broken is None and isinstance(outcome, Candidate) and self._same_grammar[row.language]:
                continue
            by_rule = self._broken_rule(row)  # says it more plainly
            wrong = by_rule or broken
            if wrong is None:
                continue
            fault = wrong.at(file, first_row + number, row.sample_id)
            if self._contract.is_strict or not wrong.needs_text:
                return fault
            gathered.suspects.append(fault)  # its ids may not spell its text
        return None

    def _read(self, rows: Sequence[SampleRow]) -> list["Candidate | BrokenInvariantError"]:
        """The records of rows, or what keeps them from being read."""
        sections = [_attempt(self._sections, row) for row in rows]
        spelled = iter(self._codec.spellings([run for part in sections if isinstance(part, Sections) for run in part.runs]))
        read: list[Candidate | BrokenInvariantError] = []
        for row, section in zip(rows, sections, strict=True):
            if isinstance(section, BrokenInvariantError):
                read.append(section)
            else:
                read.append(_attempt(self._candidate, row, section, [next(spelled) for _ in section.runs]))
        return read

    def _sections(self, row: SampleRow) -> Sections:
        """The runs of text of a row whose plain values are in range."""
        kinds = self._manifest.languages.get(row.language)
        hold(kinds is not None, f"language {row.language!r} is not in the manifest", column="language", found=row.language)
        hold(bool(row.sample_id), "sample_id is empty", column="sample_id")
        sources = self._contract.sources
        known = ", ".join(sorted(sources))
        hold(not sources or row.source in sources, "an unknown source", column="source", expected=known, found=row.source)
        what = f"length is {row.length}, input_ids holds {len(row.input_ids)}"
        hold(row.length == len(row.input_ids) > 0, what, column="length", expected=len(row.input_ids), found=row.length)
        longest = self._max_length
        hold(row.length <= longest, "longer than max_length", column="length", expected=f"at most {longest}", found=row.length)
        unknown = self._codec.unknown(row.input_ids)
        if len(unknown):
            at = int(unknown[0])
            hold(False, "an id outside the vocabulary", column=f"input_ids[{at}]", found=row.input_ids[at])
        masked = np.flatnonzero(row.input_ids == self._manifest.token_ids.mask)
        if len(masked):
            at = int(masked[0])
            hold(False, "the mask token is among the clean ids", column=f"input_ids[{at}]", found=row.input_ids[at])
        return self._readback.sections(row)

    def _candidate(self, row: SampleRow, sections: Sections, spelled: Sequence[tuple[str, ...]]) -> Candidate:
        hold(all(spelled), "the ids are not UTF-8", column="input_ids")
        records = []
        for texts in self._readback.texts(spelled, row.language):
            record = record_of(texts, row)
            if record.sample_id == row.sample_id:
                what = "the hash of the content is that of a sample of which nothing was cut"
                hold(not row.truncated, what, column="truncated", expected=False, found=True)
                return Candidate(row, sections, (record,), True)
            records.append(record)
        what = f"the text around problem, reasoning and program is not that of the template and a {row.language} answer"
        if not records:
            raise BrokenInvariantError(what, column="input_ids", needs_text=True)
        if row.truncated:
            what = "marked as truncated, but the build cut no reasoning"
            hold(self._trims, what, column="truncated", expected=False, found=True)
            has_hash = bool(HASHED_ID.fullmatch(row.sample_id))
            hold(has_hash, "sample_id does not end in the digits of a hash", column="sample_id", found=row.sample_id)
            records = [record for record in records if record.reasoning]
            hold(bool(records), "truncated, but without reasoning", column="truncated", expected=False, found=True)
        return Candidate(row, sections, tuple(records), False)

    def _engine_for(self, sound: Sequence[Candidate]) -> Codec:
        """The fast engine; the tokenizers library where the two differ on the longest program."""
        if self._codec.engine_choice == "hf" or not sound:
            return self._codec
        longest = max((candidate.records[0].code for candidate in sound), key=len)
        return self._reference if self._codec.disagreement([longest[:CHECKED_CHARS]]) is not None else self._codec

    def _difference(self, candidate: Candidate, encoded: Encoded, codec: Codec) -> BrokenInvariantError | None:
        """How a row differs from what its ids give, None where it does not."""
        broken = _raised(self._compare, candidate, encoded)
        if broken is not None:
            others = [(record, codec) for record in candidate.records[1:]]
            if codec.engine_choice != "hf":
                others += [(record, self._reference) for record in candidate.records]
            again = (encode_records([record], engine, self._contract.template)[0] for record, engine in others)
            broken = None if any(_raised(self._compare, candidate, other) is None for other in again) else broken
        if broken is None and not candidate.is_sure and not candidate.row.truncated:
            record = candidate.records[0]
            broken = BrokenInvariantError(
                "the hash in sample_id is not that of the sample's text and language: an id or the sample_id was changed",
                column="sample_id",
                expected=f"…{record.sample_id[-HASH_DIGITS:]}" if record.source_id else record.content_hash,
                found=candidate.row.sample_id,
            )
        if broken is not None:
            broken.needs_text = not candidate.is_sure
        return broken

    def _compare(self, candidate: Candidate, encoded: Encoded) -> None:
        """Raises BrokenInvariantError at the first column that is not what the record gives."""
        row = candidate.row
        if row.truncated:
            encoded = _with_stored_ids(encoded, candidate.sections.runs[-1])
        sample = assemble_sample(encoded, NO_LIMIT)
        if isinstance(sample, RowError):
            raise BrokenInvariantError(f"the tokenizer refuses its text ({sample})", column="input_ids")
        columns: list[tuple[str, str, npt.NDArray[Any]]] = [
            ("input_ids", "input_ids is not what its text gives", sample.input_ids),
            ("region_label", "region_label is not what its text gives", sample.region_label),
            ("region_end", "region_end is not what its text gives", sample.region_end),
        ]
        if self._same_grammar[row.language]:
            spans, difference = sample.spans, "is not what the parsed program gives"
            hold(
                sample.has_error == row.has_error,
                "has_error is not what the parser says",
                column="has_error",
                expected=sample.has_error,
                found=row.has_error,
            )
            columns += [
                ("span_start", f"span intervals {difference}", spans.start),
                ("span_end", f"span intervals {difference}", spans.end),
                ("span_kind", f"span_kind {difference}", spans.kind),
                ("span_arity", f"span_arity {difference}", spans.arity),
                ("span_parent", f"span_parent {difference}", spans.parent),
                ("role", f"role {difference}", sample.role),
                ("leaf_kind", f"leaf_kind {difference}", sample.leaf_kind),
            ]
        for column, what, expected in columns:
            broken = first_difference(what, column, expected, getattr(row, column))
            if broken is not None:
                raise broken
        if self._same_grammar[row.language]:
            depth = sample.spans.depth
            what = f"span_depth is {row.span_depth}, the spans nest {depth} deep"
            hold(depth == row.span_depth, what, column="span_depth", expected=depth, found=row.span_depth)

    def _broken_rule(self, row: SampleRow) -> BrokenInvariantError | None:
        """The first rule that the columns break among themselves; a language that is unknown is none."""
        kinds = self._manifest.languages.get(row.language)
        if kinds is None or row.length != len(row.input_ids):
            return None
        return _raised(check_regions, row) or _raised(check_spans, row, kinds)


def _attempt(call: Callable[..., T], *arguments: Any) -> T | BrokenInvariantError:
    try:
        return call(*arguments)
    except BrokenInvariantError as broken:
        return broken


def _raised(call: Callable[..., None], *arguments: Any) -> BrokenInvariantError | None:
    try:
        call(*arguments)
    except BrokenInvariantError as broken:
        return broken
    return None


def _rows_without_null(table: pa.Table) -> tuple[int, str]:
    """Number of rows before the first with a null in it, and the column that holds that."""
    first, name = table.num_rows, ""
    for column_name in table.column_names:
        column = table[column_name].combine_chunks()
        is_list = pa.types.is_list(column.type)
        if column.null_count == 0 and (not is_list or column.values.null_count == 0):
            continue
        for row, value in enumerate(column.to_pylist()[:first]):
            if value is None or (is_list and None in value):
                first, name = row, column_name
                break
    return first, name


def _with_stored_ids(encoded: Encoded, stored: npt.NDArray[np.int32]) -> Encoded:
    """The tokens of a text out of which reasoning was cut: around the cut the stored ones stand for those of what is left.

    Raises:
        BrokenInvariantError: other ids than those of its text, and not in one short stretch of the reasoning
    """
    at = encoded.answer
    part, run = encoded.parts[at], encoded.runs[at]
    if run is None or not isinstance(part, Run) or np.array_equal(run.ids, stored):
        return encoded
    common = min(len(run.ids), len(stored))
    left = int(np.argmax(np.append(run.ids[:common] != stored[:common], True)))
    right = int(np.argmax(np.append(run.ids[::-1][: common - left] != stored[::-1][: common - left], True)))
    last, last_stored = len(run.ids) - right, len(stored) - right
    start_byte = int(run.start_byte[left]) if left < len(run.ids) else len(part.text_bytes)
    end_byte = int(run.end_byte[last - 1]) if last > left else start_byte
    first_byte, last_byte = extent_of(part, Region.REASONING)
    num_stored = last_stored - left
    is_seam = first_byte <= start_byte < end_byte <= last_byte and 0 < max(num_stored, last - left) <= MOST_SEAM_TOKENS
    hold(
        is_seam and num_stored > 0,
        "input_ids is not what its text gives, and not only around one cut in the reasoning",
        column=f"input_ids of the answer, from its token {left} to {last_stored - 1}",
        expected=run.ids[left : left + 3].tolist(),
        found=stored[left : left + 3].tolist(),
    )
    tokens = TokenBytes(
        stored,
        np.concatenate([run.start_byte[:left], np.full(num_stored, start_byte), run.start_byte[last:]]),
        np.concatenate([run.end_byte[:left], np.full(num_stored, end_byte), run.end_byte[last:]]),
    )
    return encoded._replace(runs=[tokens if index == at else other for index, other in enumerate(encoded.runs)])


def _gather(candidate: Candidate, gathered: _Group) -> None:
    row, record = candidate.row, candidate.records[0]
    statement = " ".join(record.prompt.split())
    gathered.id_key.append(_key(row.sample_id))
    gathered.content_key.append(int(record.content_hash, 16) if candidate.is_sure else _content_key(row))
    gathered.prompt_key.append(_key(statement) if statement else 0)
    gathered.languages.add(row.language)
    gathered.counts += Counter(
        samples=1,
        tokens=row.length,
        has_error=int(row.has_error),
        truncated=int(row.truncated),
        programs_alone=int(not record.prompt and not record.reasoning),
        without_statement=int(not statement),
    )


def _gather_unread(row: SampleRow, gathered: _Group) -> None:
    """As ``_gather``, of a row whose ids give no record."""
    gathered.id_key.append(_key(row.sample_id))
    gathered.content_key.append(_content_key(row))
    gathered.prompt_key.append(0)
    gathered.languages.add(row.language)
    gathered.counts += Counter(
        samples=1, tokens=row.length, unread=1, has_error=int(row.has_error), truncated=int(row.truncated)
    )


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _content_key(row: SampleRow) -> int:
    """Key of a content that the ids do not tell: its hash as far as sample_id has it, and the ids."""
    return _key(f"{row.sample_id[-HASH_DIGITS:]} {hashlib.blake2b(row.input_ids.tobytes()).hexdigest()}")
