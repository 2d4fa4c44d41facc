"""Does a folder of shards hold what the contract says? Every file, every column, every sample.

Each sample is made again from its own ids, as checker.py says, and compared. Here is what goes beyond one sample: files, the
manifest, what samples must not share, worker processes, and what could not be checked.
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from syntaxdiff.pipeline.assembly.facts import node_kinds_of, token_ids_of
from syntaxdiff.pipeline.assembly.part import follow_parent
from syntaxdiff.pipeline.assembly.pool import worker_pool
from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.inspection.checker import Checker, Contract, FileReport, GroupReport, check_file
from syntaxdiff.pipeline.inspection.fault import Fault, first_difference, shown
from syntaxdiff.pipeline.shard import (
    MANIFEST,
    REJECT_SCHEMA,
    REJECTS,
    TOKENIZER,
    WORK_FOLDER,
    Manifest,
    ShardFile,
    read_manifest,
)
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.template import Template, read_template
from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer

__all__ = ["Fault", "Report", "Verified", "contract_of", "examine", "verify"]

READING_ORDER = tuple(reversed(SPLITS))  # validation first: its statements are what training must not hold
ALWAYS_UNCHECKED = (
    "the order of the samples",
    "the source's own ids, at the beginning of sample_id",
    "source, source_id and detail of the rejects",
    "the manifest's settings and versions, as far as no sample depends on them",
)


class Verified(NamedTuple):
    """State of a running verification: samples and tokens checked so far, and samples of all shards."""

    samples: int
    tokens: int
    total: int


OnProgress: TypeAlias = Callable[[Verified], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Outcome of a verification.

    Attributes:
        fault: the first thing found wrong, None where there is none
        samples, tokens: of both splits, as the manifest says
        not_checked: what the folder's own ids, tokenizer and grammars cannot show, a phrase each
    """

    fault: Fault | None
    samples: int
    tokens: int
    not_checked: tuple[str, ...]


def verify(folder: Path | str, on_progress: OnProgress = lambda verified: None, *, workers: int = 1) -> Fault | None:
    """Checks a folder of shards; the first fault found, or None. Arguments and errors are those of ``examine``."""
    return examine(folder, on_progress, workers=workers).fault


def examine(folder: Path | str, on_progress: OnProgress = lambda verified: None, *, workers: int = 1) -> Report:
    """Checks a folder of shards.

    The fault is the same whatever the number of workers: what is there, the manifest, files, then samples in their order.

    Args:
        folder: of the shards
        on_progress: called after every row group, from this process
        workers: processes; with one, everything is done in this process

    Raises:
        ShardError: there is no complete folder of shards to check
        TokenizerError, SettingsError: the tokenizer's files or a grammar are missing
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    seen = _Seen()
    with closing(_faults(folder, manifest, seen, on_progress, workers)) as faults:
        fault = next(faults, None)
    return Report(
        fault=fault,
        samples=sum(manifest.num_samples(split) for split in SPLITS),
        tokens=sum(manifest.num_tokens(split) for split in SPLITS),
        not_checked=() if fault else _not_checked(manifest, seen),
    )


@dataclass
class _Seen:
    """What samples were found to be, in reading order: keys by row group, and counts."""

    groups: list[tuple[ShardFile, int, str, GroupReport]] = field(default_factory=list)  # with first row, and split
    counts: Counter[str] = field(default_factory=Counter)
    languages: set[str] = field(default_factory=set)
    suspects: list[Fault] = field(default_factory=list)


def _codec_of(folder: Path, manifest: Manifest) -> Codec:
    """The folder's tokenizer. Its engine is proven again where the build's was another, or of another version."""
    codec = Codec(folder / TOKENIZER, "auto", proven=True)
    is_proven = codec.engine_name == manifest.tokenizer.engine and codec.sha256 == manifest.tokenizer.sha256
    is_proven = is_proven and manifest.versions.get("tokenizers") == version("tokenizers")
    return codec if is_proven or codec.engine_choice == "hf" else Codec(folder / TOKENIZER, "auto")


def contract_of(folder: Path, manifest: Manifest, codec: Codec, template: Template) -> Contract:
    """What the samples of a folder are held to."""
    return Contract(
        folder=folder,
        tokenizer_folder=folder / TOKENIZER,
        engine=codec.engine_choice,
        template=template,
        manifest=manifest,
        sources=_sources(manifest),
        is_strict=codec.is_byte_level or manifest.tokenizer.inexact_samples == 0,
    )


def _faults(
    folder: Path, manifest: Manifest, seen: _Seen, on_progress: OnProgress, workers: int
) -> Generator[Fault, None, None]:
    """Everything that is wrong, in the order in which it is looked for; the first is what counts."""
    yield from _missing_files(folder, manifest)
    yield from _folder_faults(folder, manifest)
    shards = [(split, shard) for split in READING_ORDER for shard in manifest.splits[split]]
    with _processes(workers, folder / TOKENIZER) as processes:
        files = processes.files(folder, [shard for _, shard in shards])
        codec = _codec_of(folder, manifest)
        if codec.sha256 != manifest.tokenizer.sha256:
            what = "the checksum is not the manifest's: the tokenizer was changed"
            yield Fault(f"{TOKENIZER}/tokenizer.json", "", what)
        tokenizer = load_tokenizer(str(folder / TOKENIZER))
        template = read_template(tokenizer)
        yield from _tokenizer_faults(manifest, codec, token_ids_of(tokenizer, template, codec))
        yield from _grammar_faults(manifest)
        tasks: list[_Task] = []
        for (split, shard), report in zip(shards, files, strict=True):
            if report.fault is not None:
                yield report.fault
            first_rows = list(accumulate(report.group_rows, initial=0))[:-1]
            tasks += [_Task(split, shard, group, first_row) for group, first_row in enumerate(first_rows)]
        contract = contract_of(folder, manifest, codec, template)
        yield from _sample_faults(contract, tasks, processes.groups(contract, codec, tasks), seen, on_progress)
    yield from _shared_faults(folder, seen)
    yield from _count_faults(manifest, seen)
    yield from _file_facts(folder, manifest)


# --------------------------------------------------------------------------------------------------- the folder, the manifest


def _missing_files(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    for split in SPLITS:
        for shard in manifest.splits.get(split, ()):
            if not (folder / shard.file).is_file():
                yield Fault(shard.file, "", "the file is missing")


def _manifest_fault(what: str, key: str, expected: Any, found: Any) -> Fault:
    return Fault(MANIFEST, "", what, None, key, shown(expected), shown(found))


def _folder_faults(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """The manifest must know every shard and agree with itself; rejects and samples must account for every row."""
    if set(manifest.splits) != set(SPLITS):
        yield _manifest_fault("other splits", "splits", sorted(SPLITS), sorted(manifest.splits))
    known = {shard.file for shards in manifest.splits.values() for shard in shards}
    inside = [path for split in SPLITS for path in (folder / split).rglob("*.parquet")]
    found = {path.relative_to(folder).as_posix() for path in [*inside, *folder.rglob("shard-*.parquet")]}
    strangers = sorted(name for name in found - known if not name.startswith(f"{WORK_FOLDER}/"))
    if strangers:
        yield Fault(strangers[0], "", "the manifest does not know this shard")
    yield from _layout_faults(manifest)
    yield from _reject_faults(folder, manifest)


def _layout_faults(manifest: Manifest) -> Iterator[Fault]:
    settings = manifest.settings
    shard_rows = settings.shard_rows
    for split in SPLITS:
        shards = manifest.splits[split]
        for number, shard in enumerate(shards):
            name = f"{split}/shard-{number:05d}.parquet"
            if shard.file != name:
                yield _manifest_fault("a shard out of order", f"splits.{split}[{number}].file", name, shard.file)
            is_last = number == len(shards) - 1
            if not 0 < shard.rows <= shard_rows or (shard.rows < shard_rows and not is_last):
                key = f"splits.{split}[{number}].rows"
                yield _manifest_fault("a shard has other rows than settings.shard_rows asks for", key, shard_rows, shard.rows)
    samples = sum(manifest.num_samples(split) for split in SPLITS)
    limit, held_out = settings.limit, settings.validation_size
    if limit is not None and samples > limit:
        yield _manifest_fault("more samples than settings.limit", "splits", f"at most {limit}", samples)
    if held_out is not None and manifest.num_samples("validation") != held_out:
        what = "not as many validation samples as settings.validation_size"
        yield _manifest_fault(what, "splits.validation", held_out, manifest.num_samples("validation"))
    strangers = set(manifest.languages) - set(settings.languages)
    if strangers:
        yield _manifest_fault("a language not in settings.languages", "languages", list(settings.languages), min(strangers))


def _reject_faults(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    try:
        rejects = pq.read_table(folder / REJECTS)
        rejects.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        yield Fault(REJECTS, "", f"cannot be read ({error})")
        return
    if not rejects.schema.equals(REJECT_SCHEMA):
        yield Fault(REJECTS, "", "the columns are not those of the schema")
        return
    counts = {str(item["values"]): item["counts"] for item in rejects["reason"].value_counts().to_pylist()}
    if counts != manifest.rejected:
        yield Fault(REJECTS, "", f"holds {counts or 'nothing'}, the manifest says {manifest.rejected or 'nothing'}")
    sources = _sources(manifest)
    for name in ("source", "source_id", "reason"):  # a duplicate has no detail
        nulls = np.flatnonzero(rejects[name].is_null().to_numpy())
        if len(nulls):
            yield Fault(REJECTS, "", "a column is null", int(nulls[0]), name)
    for row, source in enumerate(rejects["source"].to_pylist() if sources else ()):
        if source not in sources:
            yield Fault(REJECTS, "", "an unknown source", row, "source", ", ".join(sorted(sources)), shown(source))
    samples = sum(manifest.num_samples(split) for split in SPLITS)
    if samples + rejects.num_rows != manifest.rows_read:
        what = f"{samples} samples and {rejects.num_rows} rejects do not make up the {manifest.rows_read} rows read"
        yield Fault(MANIFEST, "", what, None, "rows_read")


def _sources(manifest: Manifest) -> frozenset[str]:
    """Names of the sources; none where the manifest does not say."""
    return frozenset(source.name for source in manifest.settings.sources)


def _tokenizer_faults(manifest: Manifest, codec: Codec, token_ids: Any) -> Iterator[Fault]:
    """What the manifest says of the tokenizer must hold."""
    described = manifest.tokenizer
    expected = {"vocab_size": codec.vocab_size, "byte_level": codec.is_byte_level, "name": manifest.settings.tokenizer}
    for name, value in expected.items():
        found = getattr(described, name)
        if found != value and not (name == "byte_level" and found is None):  # which older builds did not say
            yield _manifest_fault("not that of the tokenizer's folder", f"tokenizer.{name}", value, found)
    for name, value in vars(token_ids).items():
        if getattr(manifest.token_ids, name) != value:
            found = getattr(manifest.token_ids, name)
            yield _manifest_fault("not that of the tokenizer's folder", f"token_ids.{name}", value, found)
    if codec.is_byte_level and described.inexact_samples:
        what = "a byte-level vocabulary has none"
        yield _manifest_fault(what, "tokenizer.inexact_samples", 0, described.inexact_samples)


def _grammar_faults(manifest: Manifest) -> Iterator[Fault]:
    """Node kinds must be those of the installed grammar, where that is the one that the build had."""
    for language, described in manifest.languages.items():
        ours = node_kinds_of(language)
        if ours.grammar != described.grammar:
            if len(described.named) != len(described.node_kinds):
                what = "node_kinds and named differ in length"
                yield _manifest_fault(what, f"languages.{language}.named", len(described.node_kinds), len(described.named))
            continue
        for name in ("node_kinds", "named"):
            expected, found = (np.array(getattr(kinds, name), dtype=object) for kinds in (ours, described))
            broken = first_difference(f"not that of {ours.grammar}", f"languages.{language}.{name}", expected, found)
            if broken is not None:
                yield Fault(MANIFEST, "", broken.what, None, broken.column, broken.expected, broken.found)


# --------------------------------------------------------------------------------------------------------------- the samples


class _Task(NamedTuple):
    """A row group to check."""

    split: str
    shard: ShardFile
    group: int
    first_row: int


_codec: Codec | SyntaxdiffError | None = None  # of a worker process
_checker: Checker | None = None


def _start_codec(tokenizer_folder: Path) -> None:
    """Initialiser of a worker process: it loads the tokenizer while the main process proves the engine."""
    global _codec
    follow_parent()
    try:
        _codec = Codec(tokenizer_folder, "auto", proven=True)
        gc.freeze()  # vocabulary and grammars stay: no collection walks them again
    except SyntaxdiffError as error:  # raised where the main process listens: in the first row group
        _codec = error


def _check_group(contract: Contract, task: _Task) -> GroupReport:
    """Checks a row group in a worker process."""
    global _checker
    if _checker is None:
        if isinstance(_codec, SyntaxdiffError):
            raise _codec
        is_proven = _codec is not None and _codec.engine_choice == contract.engine
        _checker = Checker(contract, _codec if is_proven else None)
    return _checker.check(task.shard, task.group, task.first_row)


class _Here:
    """Does the work in this process, when its result is asked for."""

    def files(self, folder: Path, shards: Sequence[ShardFile]) -> Iterator[FileReport]:
        """Reports of shard files, in order."""
        return (check_file(folder, shard) for shard in shards)

    def groups(self, contract: Contract, codec: Codec, tasks: Sequence[_Task]) -> Iterator[GroupReport]:
        """Reports of row groups, in order."""
        checker = Checker(contract, codec)
        return (checker.check(task.shard, task.group, task.first_row) for task in tasks)


class _Pool:
    """Does the work in other processes, ahead of what is asked for."""

    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool = pool
        self._ahead = 2 * workers + 1

    def files(self, folder: Path, shards: Sequence[ShardFile]) -> Iterator[FileReport]:
        """Reports of shard files, in order; the work begins at once."""
        futures = [self._pool.submit(check_file, folder, shard) for shard in shards]
        return (future.result() for future in futures)

    def groups(self, contract: Contract, codec: Codec, tasks: Sequence[_Task]) -> Iterator[GroupReport]:
        """Reports of row groups, in order."""
        pending: deque[Future[GroupReport]] = deque()
        for task in tasks:
            pending.append(self._pool.submit(_check_group, contract, task))
            if len(pending) == self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _processes(workers: int, tokenizer_folder: Path) -> Iterator[_Here | _Pool]:
    if workers == 1:
        yield _Here()
        return
    advice = (
        "If it was for want of memory, run the same command again with fewer --workers; a script that calls verify() with "
        "workers must do so under `if __name__ == '__main__':`"
    )
    with worker_pool(workers, _start_codec, (tokenizer_folder,), advice) as pool:
        yield _Pool(pool, workers)


def _sample_faults(
    contract: Contract, tasks: Sequence[_Task], reports: Iterator[GroupReport], seen: _Seen, on_progress: OnProgress
) -> Iterator[Fault]:
    """What is wrong with samples, and what they share; their facts are noted in ``seen``."""
    total = sum(contract.manifest.num_samples(split) for split in SPLITS)
    samples = tokens = 0
    for task, report in zip(tasks, reports, strict=True):
        seen.groups.append((task.shard, task.first_row, task.split, report))
        seen.counts += report.counts
        seen.languages |= report.languages
        seen.suspects += report.suspects
        if report.fault is not None:
            yield from _shared_faults(contract.folder, seen)
            yield report.fault
        samples, tokens = samples + report.counts["samples"], tokens + report.counts["tokens"]
        on_progress(Verified(samples, tokens, total))


def _shared_faults(folder: Path, seen: _Seen) -> Iterator[Fault]:
    """The first sample that shares with an earlier one what no two samples may share."""
    if not seen.groups:
        return
    ids, contents, prompts = (np.concatenate([getattr(group, name) for *_, group in seen.groups]) for name in _KEYS)
    held_out = np.concatenate([np.full(len(group.id_key), split == "validation") for _, _, split, group in seen.groups])
    has_prompt = prompts != 0
    leaks = ~held_out & has_prompt & np.isin(prompts, prompts[held_out & has_prompt])
    found = [
        ("sample_id is empty or not unique", "sample_id", _repeated(ids)),
        ("its problem is in the validation split too", "input_ids", leaks),
        ("its problem, reasoning and program are those of an earlier sample", "input_ids", _repeated(contents)),
    ]
    places = [(int(np.argmax(is_faulty)), order) for order, (_, _, is_faulty) in enumerate(found) if is_faulty.any()]
    if places:
        index, order = min(places)
        what, column, _ = found[order]
        for shard, first_row, _, group in seen.groups:
            if index < len(group.id_key):
                sample_id = _sample_id(folder, shard, first_row + index)
                yield Fault(shard.file, sample_id, what, first_row + index, column)
                return
            index -= len(group.id_key)


_KEYS = ("id_key", "content_key", "prompt_key")


def _repeated(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each key whether it stood before."""
    is_repeated = np.ones(len(keys), dtype=bool)
    is_repeated[np.unique(keys, return_index=True)[1]] = False
    return is_repeated


def _sample_id(folder: Path, shard: ShardFile, row: int) -> str:
    with pq.ParquetFile(folder / shard.file) as parquet:
        return str(parquet.read(columns=["sample_id"])["sample_id"][row].as_py())


def _count_faults(manifest: Manifest, seen: _Seen) -> Iterator[Fault]:
    """What the manifest counts must be what was counted."""
    counts, unsure = seen.counts, len(seen.suspects)
    inexact = manifest.tokenizer.inexact_samples
    if inexact is not None and not inexact - counts["truncated"] <= unsure <= inexact:
        if unsure > inexact:
            first = seen.suspects[0]
            what = f"{first.what}; so are {unsure} samples, the manifest counts {inexact} whose ids do not spell their text"
            yield first._replace(what=what)
        yield _manifest_fault("not the samples whose ids do not spell their text", "tokenizer.inexact_samples", unsure, inexact)
    if counts["has_error"] != manifest.samples_with_error:
        what = "not the samples that have has_error"
        yield _manifest_fault(what, "samples_with_error", counts["has_error"], manifest.samples_with_error)
    alone = counts["programs_alone"]
    if manifest.programs_alone is not None and not alone <= manifest.programs_alone <= alone + counts["unread"]:
        what = "not the samples that have neither problem nor reasoning"
        yield _manifest_fault(what, "programs_alone", alone, manifest.programs_alone)
    if seen.languages != set(manifest.languages):
        yield _manifest_fault(
            "not the languages of the samples", "languages", sorted(seen.languages), sorted(manifest.languages)
        )


def _file_facts(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    for split in SPLITS:
        for number, shard in enumerate(manifest.splits[split]):
            size = (folder / shard.file).stat().st_size
            if size != shard.bytes:
                yield _manifest_fault("not the size of the file", f"splits.{split}[{number}].bytes", size, shard.bytes)
    lines = [f"{shard.file} {shard.sha256}\n" for split in SPLITS for shard in manifest.splits[split]]
    fingerprint = sha256("".join(lines).encode()).hexdigest()
    if fingerprint != manifest.fingerprint:
        what = "not the hash of the shards' names and checksums"
        yield _manifest_fault(what, "fingerprint", fingerprint, manifest.fingerprint)


# --------------------------------------------------------------------------------------------------------- what stays open


def _not_checked(manifest: Manifest, seen: _Seen) -> tuple[str, ...]:
    """What the folder itself cannot show, a phrase each."""
    counts = seen.counts
    phrases = list(ALWAYS_UNCHECKED)
    if len(_sources(manifest)) != 1:
        phrases.append("which of several sources a sample is from")
    if counts["without_statement"]:
        phrases.append(
            f"whether the problems of {counts['without_statement']:,} samples without statement are on one side only"
        )
    if counts["truncated"]:
        phrases.append(
            f"the words of {counts['truncated']:,} samples with reasoning cut out, and the tokens around the cut: the hash in "
            "sample_id covers what was cut"
        )
    if seen.suspects:
        cause = "as the build counted" if manifest.tokenizer.inexact_samples is not None else "or were changed"
        phrases.append(
            f"more than the rules that columns keep among themselves, of {len(seen.suspects):,} samples whose ids do not spell "
            f"their text in this vocabulary ({cause})"
        )
    for language, described in manifest.languages.items():
        samples = counts[f"grammar of {language}"]
        if samples:
            phrases.append(
                f"spans, kinds, roles, leaf kinds and has_error of {samples:,} {language} samples: {described.grammar} made "
                f"them, {node_kinds_of(language).grammar} is installed"
            )
    if manifest.programs_alone is None:
        phrases.append("programs_alone: an older build did not count them")
    return tuple(phrases)
