"""Records to samples: token ids, regions, roles and candidate spans, and the Arrow table that holds them.

One function, ``make_samples``, reads as the pipeline does: pieces of text, tokens, regions, length, tree, spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from syntaxdiff.pipeline.config import OVERLENGTH
from syntaxdiff.pipeline.errors import RowError, SettingsError
from syntaxdiff.pipeline.rows.record import Record
from syntaxdiff.pipeline.shard import SAMPLE_SCHEMA, Region
from syntaxdiff.pipeline.syntax.alignment import TokenBytes, anchors, first_token_from
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.syntax.spans import Spans, code_tree
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import THINK_CLOSE, THINK_OPEN, Piece, Template

MIN_REASONING_TOKENS = 16  # what the length must leave of a reasoning whose middle is cut
SEAM_TOKENS = 64  # how far from the middle a line's end is looked for


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training sample; columns as shard.SAMPLE_SCHEMA describes them. L tokens, C of them code, S spans."""

    sample_id: str
    input_ids: npt.NDArray[np.int32]  # L
    region_label: npt.NDArray[np.uint8]  # one per run
    region_end: npt.NDArray[np.int32]
    role: npt.NDArray[np.uint8]  # C
    leaf_kind: npt.NDArray[np.uint16]  # C
    spans: Spans
    language: str
    source: str
    truncated: bool
    has_error: bool
    is_exact: bool  # the ids spell the text: always with a byte-level vocabulary, with others not where they merge characters


class Run(NamedTuple):
    """Text between two special tokens: its pieces joined, and where each piece ends in bytes."""

    text: str
    text_bytes: bytes
    piece_end_byte: npt.NDArray[np.int64]
    piece_region: npt.NDArray[np.uint8]


Part: TypeAlias = Run | Piece  # a Piece here is a special token


def parts_of(pieces: Sequence[Piece]) -> list[Part]:
    """A sequence's pieces with the text between two special tokens joined, so that it is tokenised at once."""
    parts: list[Part] = []
    text: list[Piece] = []
    for piece in [*pieces, None]:
        if piece is not None and piece.token_id is None:
            if piece.text:
                text.append(piece)
            continue
        if text:
            encoded = [part.text.encode() for part in text]
            regions = np.array([part.region for part in text], dtype=np.uint8)
            end_byte = np.cumsum([len(part) for part in encoded])
            parts.append(Run("".join(part.text for part in text), b"".join(encoded), end_byte, regions))
            text = []
        if piece is not None:
            parts.append(piece)
    return parts


class Tokens(NamedTuple):
    """Tokens of a whole sequence with the region of each, and the run of text that holds reasoning and code.

    ``run`` are that run's tokens with their bytes in ``text``, ``first_token`` the index of the first of them; ``reasoning``
    and ``code`` are half-open byte intervals of ``text``. ``kept_text`` is the text without what was cut out of it.
    """

    ids: npt.NDArray[np.int32]
    region: npt.NDArray[np.uint8]
    run: TokenBytes
    first_token: int
    text: bytes
    reasoning: tuple[int, int]
    code: tuple[int, int]
    kept_text: bytes


class Encoded(NamedTuple):
    """A record with the parts of its sequence, and the tokens of each run of text among them (None where it is refused)."""

    record: Record
    parts: Sequence[Part]
    runs: Sequence[TokenBytes | None]

    @property
    def answer(self) -> int:
        """Index of the run that holds reasoning and code."""
        return next(i for i, part in enumerate(self.parts) if isinstance(part, Run) and Region.CODE in part.piece_region)


def make_samples(
    records: Sequence[Record], codec: Codec, template: Template, max_length: int, overlength: str = "drop"
) -> list[Sample | RowError]:
    """Samples of records, in their order; a record that cannot become one gives the reason.

    Args:
        max_length: maximum number of tokens of a sample
        overlength: ``drop``, or ``trim-reasoning``: cut the middle of the reasoning, never prompt or code

    Raises:
        SettingsError: no such way to treat overlength
    """
    if overlength not in OVERLENGTH:
        raise SettingsError(f"--overlength {overlength}: choose one of {', '.join(OVERLENGTH)}")
    encoded = encode_records(records, codec, template)
    return [assemble_sample(record, max_length, overlength, codec) for record in encoded]


def encode_records(records: Sequence[Record], codec: Codec, template: Template) -> list[Encoded]:
    """Records with the tokens of their sequences, in their order."""
    sequences = [parts_of(_pieces(record, codec, template)) for record in records]
    runs = encode_parts(sequences, codec)
    return [Encoded(*values) for values in zip(records, sequences, runs, strict=True)]


def _pieces(record: Record, codec: Codec, template: Template) -> list[Piece]:
    normal = codec.normalize
    fence = load_grammar(record.language).fence
    return template.pieces(normal(record.prompt), normal(record.reasoning), normal(record.code), fence)


def encode_parts(sequences: Sequence[Sequence[Part]], codec: Codec) -> list[list[TokenBytes | None]]:
    """Tokens of every run of every sequence, encoded in two batches: runs that open their sequence, and the others."""
    results: list[list[TokenBytes | None]] = [[None] * len(parts) for parts in sequences]
    for opens_sequence in (True, False):
        places = [
            (row, column)
            for row, parts in enumerate(sequences)
            for column, part in enumerate(parts)
            if isinstance(part, Run) and (column == 0) == opens_sequence
        ]
        texts = [sequences[row][column].text for row, column in places]
        for (row, column), tokens in zip(places, codec.encode_batch(texts, opens_sequence=opens_sequence), strict=True):
            results[row][column] = tokens
    return results


def assemble_sample(
    encoded: Encoded, max_length: int, overlength: str = "drop", codec: Codec | None = None
) -> Sample | RowError:
    """The sample of a record whose text is tokenised: regions, length, tree, spans.

    Args:
        encoded: as from ``encode_records``
        max_length, overlength: as of ``make_samples``
        codec: finds out whether the ids spell the text; without it they are taken to
    """
    record = encoded.record
    try:
        tokens = _join(encoded.parts, encoded.runs)
        excess = len(tokens.ids) - max_length
        if excess > 0:
            if overlength == "drop":
                raise RowError("too-long", f"{len(tokens.ids)} tokens")
            tokens = _trim_reasoning(tokens, excess)
    except RowError as error:
        return error
    first_byte, end_byte = tokens.code
    first, last = _token_interval(tokens, tokens.code)
    tree = code_tree(tokens.text[first_byte:end_byte], record.language, _anchors(tokens, first, last) - first_byte)
    run_end = np.append(np.flatnonzero(tokens.region[1:] != tokens.region[:-1]) + 1, len(tokens.region))
    return Sample(
        sample_id=record.sample_id,
        input_ids=tokens.ids,
        region_label=tokens.region[run_end - 1],
        region_end=run_end.astype(np.int32),
        role=tree.role,
        leaf_kind=tree.leaf_kind,
        spans=tree.spans.shifted(tokens.first_token + first),
        language=record.language,
        source=record.source,
        truncated=excess > 0,
        has_error=tree.has_error,
        is_exact=codec is None or codec.is_byte_level or _is_exact(encoded, tokens, codec),
    )


def _is_exact(encoded: Encoded, tokens: Tokens, codec: Codec) -> bool:
    """Whether the ids decode to the text that they were made from, a cut in its reasoning left out."""
    runs = {
        index: (part.text, run.ids)
        for index, (part, run) in enumerate(zip(encoded.parts, encoded.runs, strict=True))
        if isinstance(part, Run) and run is not None
    }
    runs[encoded.answer] = (tokens.kept_text.decode(errors="replace"), tokens.run.ids)
    spelled = codec.spellings([ids for _, ids in runs.values()])
    return all(text in texts for (text, _), texts in zip(runs.values(), spelled, strict=True))


def _join(parts: Sequence[Part], runs: Sequence[TokenBytes | None]) -> Tokens:
    """The tokens of a sequence with their regions. Raises RowError where a run's tokens do not account for its text."""
    ids: list[npt.NDArray[np.int32]] = []
    regions: list[npt.NDArray[np.uint8]] = []
    num_tokens = 0
    answer = None
    for part, tokens in zip(parts, runs, strict=True):
        if isinstance(part, Piece):
            ids.append(np.array([part.token_id], dtype=np.int32))
            regions.append(np.array([part.region], dtype=np.uint8))
        else:
            if tokens is None:
                raise RowError("unaligned", "the tokens do not account for all of the text")
            ids.append(tokens.ids)
            borders = [
                first_token_from(tokens.start_byte, tokens.end_byte, part.text_bytes, byte)
                for byte in part.piece_end_byte[:-1].tolist()
            ]
            lengths = np.array([*borders, len(tokens.ids)]) - np.array([0, *borders])
            regions.append(np.repeat(part.piece_region, lengths))
            if Region.CODE in part.piece_region:
                extents = extent_of(part, Region.REASONING), extent_of(part, Region.CODE)
                answer = (tokens, num_tokens, part.text_bytes, *extents, part.text_bytes)
        num_tokens += len(ids[-1])
    assert answer is not None  # template.pieces always holds code
    return Tokens(np.concatenate(ids), np.concatenate(regions), *answer)


def extent_of(run: Run, region: Region) -> tuple[int, int]:
    """Byte interval of the one piece of a run that is of a region; empty where there is none."""
    found = np.flatnonzero(run.piece_region == region)
    if len(found) == 0:
        return 0, 0
    return int(run.piece_end_byte[found[0] - 1]) if found[0] else 0, int(run.piece_end_byte[found[0]])


def _token_interval(tokens: Tokens, extent: tuple[int, int]) -> tuple[int, int]:
    """Half-open interval of the run's tokens whose anchor lies in a byte interval of its text."""
    start_byte, end_byte = tokens.run.start_byte, tokens.run.end_byte
    first, last = (first_token_from(start_byte, end_byte, tokens.text, byte) for byte in extent)
    return first, last


def _anchors(tokens: Tokens, first: int, last: int) -> npt.NDArray[np.int64]:
    """Anchors of the run's tokens from ``first`` to before ``last``, in bytes of its text."""
    start_byte, end_byte = tokens.run.start_byte[first:last], tokens.run.end_byte[first:last]
    if first == last:
        return start_byte
    origin = int(start_byte[0])
    return anchors(start_byte - origin, end_byte - origin, tokens.text[origin : int(end_byte[-1])]) + origin


def _trim_reasoning(tokens: Tokens, excess: int) -> Tokens:
    """Cuts at least ``excess`` tokens out of the middle of the reasoning, from line to line where a line ends nearby.

    Tags, prompt, code and scaffold stay. Raises RowError ``too-long`` where too little reasoning would be left.
    """
    begin, end = tokens.reasoning
    first, last = _token_interval(tokens, (begin + len(THINK_OPEN), end - len(THINK_CLOSE)))
    kept = last - first - excess
    if kept < MIN_REASONING_TOKENS:
        raise RowError("too-long", f"{len(tokens.ids)} tokens, of which {max(last - first, 0)} of reasoning can be cut")
    anchor = _anchors(tokens, 0, last)
    reach = min(SEAM_TOKENS, kept // 8)  # of both seams together at most a quarter of what is kept
    cut_start = _seam(tokens.text, anchor, range(first + kept // 2, first, -1), reach)
    cut_end = _seam(tokens.text, anchor, range(first + kept // 2 + excess, last), reach)
    in_run = np.ones(len(tokens.run.ids), dtype=bool)
    in_run[cut_start:cut_end] = False
    in_all = np.ones(len(tokens.ids), dtype=bool)
    in_all[tokens.first_token :][: len(in_run)] = in_run
    run = TokenBytes(tokens.run.ids[in_run], tokens.run.start_byte[in_run], tokens.run.end_byte[in_run])
    cut = slice(*tokens.run.start_byte[[cut_start, cut_end]].tolist())
    kept_text = tokens.text[: cut.start] + tokens.text[cut.stop :]
    return tokens._replace(ids=tokens.ids[in_all], region=tokens.region[in_all], run=run, kept_text=kept_text)


def _seam(text: bytes, anchor: npt.NDArray[np.int64], candidates: range, reach: int) -> int:
    """The first candidate token, in their order, that opens a line; where none of the near ones does, a character."""
    for token in candidates[: reach + 1]:
        if b"\n" in text[anchor[token - 1] : anchor[token]]:
            return token
    opens_character = (  # bytes of one character are tokens of several anchors, or (byte fallback) of one
        token for token in candidates if anchor[token - 1] < anchor[token] and text[anchor[token]] & 0xC0 != 0x80
    )
    return next(opens_character, candidates[0])


def sample_table(samples: Sequence[Sample]) -> pa.Table:
    """The samples as a table of shard.SAMPLE_SCHEMA, its lists made from flat arrays."""
    columns: dict[str, pa.Array] = {}
    lists: dict[str, list[npt.NDArray[Any]]] = {
        "input_ids": [s.input_ids for s in samples],
        "region_label": [s.region_label for s in samples],
        "region_end": [s.region_end for s in samples],
        "role": [s.role for s in samples],
        "leaf_kind": [s.leaf_kind for s in samples],
        "span_start": [s.spans.start for s in samples],
        "span_end": [s.spans.end for s in samples],
        "span_kind": [s.spans.kind for s in samples],
        "span_arity": [s.spans.arity for s in samples],
        "span_parent": [s.spans.parent for s in samples],
    }
    for name, arrays in lists.items():
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
        value_type = SAMPLE_SCHEMA.field(name).type.value_type
        values = np.concatenate(arrays) if arrays else np.zeros(0)
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values, type=value_type))
    columns["sample_id"] = pa.array([s.sample_id for s in samples], pa.string())
    columns["length"] = pa.array([len(s.input_ids) for s in samples], pa.int32())
    columns["span_depth"] = pa.array([s.spans.depth for s in samples], pa.int32())
    columns["language"] = pa.array([s.language for s in samples], pa.string())
    columns["source"] = pa.array([s.source for s in samples], pa.string())
    columns["truncated"] = pa.array([s.truncated for s in samples], pa.bool_())
    columns["has_error"] = pa.array([s.has_error for s in samples], pa.bool_())
    return pa.table([columns[name] for name in SAMPLE_SCHEMA.names], schema=SAMPLE_SCHEMA)
