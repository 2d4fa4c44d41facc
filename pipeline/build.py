"""The build: sources in, verified shards out. ``build`` reads from top to bottom as the pipeline does.

Killed at any moment and started again with the same settings it goes on, and ends with the bytes of an undisturbed run: the
units of the sources, what each becomes, and the assembly of the parts are functions of the settings and the rows alone.
"""

import fcntl
import json
import multiprocessing
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from syntaxdiff.pipeline.assembly import Assembled, assemble
from syntaxdiff.pipeline.codec import Codec
from syntaxdiff.pipeline.engine import ENGINES
from syntaxdiff.pipeline.errors import RowError, SettingsError, ShardError, SourceError, StorageError
from syntaxdiff.pipeline.grammar import LANGUAGES, load_grammar
from syntaxdiff.pipeline.hub import HubOptions
from syntaxdiff.pipeline.part import (
    KEY_COLUMNS,
    PartCounts,
    Recipe,
    counts_of,
    read_part,
    start_worker,
    work,
)
from syntaxdiff.pipeline.plan import Keys, Plan, make_plan
from syntaxdiff.pipeline.record import Fields, RecordReader
from syntaxdiff.pipeline.sample import OVERLENGTH
from syntaxdiff.pipeline.shard import (
    MANIFEST,
    REJECTS,
    SPLITS,
    TOKENIZER,
    LanguageKinds,
    Manifest,
    TokenIds,
    read_manifest,
    storage_errors,
    write_text,
)
from syntaxdiff.pipeline.source import open_source
from syntaxdiff.pipeline.template import Template, read_template
from syntaxdiff.pipeline.tokenizer import (
    DEFAULT_TOKENIZER,
    HubTokenizer,
    copy_tokenizer,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
    trained_size,
)
from syntaxdiff.pipeline.unit import Source, Unit

WORK_FOLDER = ".build"
_SMALLEST = {"max_length": 16, "shard_rows": 1, "workers": 1, "limit": 1, "validation_size": 0, "seed": 0}
TRAINING_TEXT_BYTES = 64 << 20  # of all sources together, for `train:SIZE`


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of a build; the names are those of the command line's options.

    Raises:
        SettingsError: a value that cannot be, or two that contradict
    """

    src: tuple[str, ...]
    out: Path = Path("data")
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    fields: Fields = field(default_factory=Fields)
    questions: str | None = None
    allow_missing_prompt: bool = False
    tokenizer: str = DEFAULT_TOKENIZER
    mask_token: str | None = None
    engine: str = "auto"
    languages: tuple[str, ...] = LANGUAGES
    max_length: int = 4096
    overlength: str = "drop"
    limit: int | None = None
    validation_size: int | None = None
    shard_rows: int = 4096
    seed: int = 0
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __post_init__(self) -> None:
        if not self.src:
            raise SettingsError("no --src was given: a hub name, a file, folder or glob, or `stdlib`")
        unknown = [language for language in self.languages if language not in LANGUAGES]
        if unknown or not self.languages:
            raise SettingsError(f"--languages {','.join(self.languages)}: choose from {', '.join(LANGUAGES)}")
        if self.overlength not in OVERLENGTH:
            raise SettingsError(f"--overlength {self.overlength}: choose one of {', '.join(OVERLENGTH)}")
        if self.engine not in ENGINES:
            raise SettingsError(f"--engine {self.engine}: choose one of {', '.join(ENGINES)}")
        for name, smallest in {
            "max_length": 16,
            "shard_rows": 1,
            "workers": 1,
            "limit": 1,
            "validation_size": 0,
            "seed": 0,
        }.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise SettingsError(f"--{name.replace('_', '-')} {value}: at least {smallest}")
        if self.limit is not None and self.validation_size is not None and self.validation_size >= self.limit:
            raise SettingsError(f"--validation-size {self.validation_size} leaves nothing of --limit {self.limit} to train on")
        if self.fields.given and not (self.fields.response or self.fields.code):
            raise SettingsError("--prompt-field and --reasoning-field need --response-field or --code-field beside them")
        trained_size(self.tokenizer)


class Progress(NamedTuple):
    """State of a running build, after each unit: what the parts hold so far, and the share of the work that is done.

    ``done`` and ``total`` are in ``unit``; ``total`` is None where the size of a source is unknown.
    """

    counts: PartCounts
    done: int
    total: int | None
    unit: str


OnProgress = Callable[[Progress], None]


def build(config: BuildConfig, on_progress: OnProgress = lambda progress: None) -> Manifest:
    """Builds a folder of shards, or goes on with one that was cut off; a complete one is left as it is.

    Args:
        config: settings
        on_progress: called after every unit, from this process

    Returns:
        the manifest, as written to ``config.out``

    Raises:
        SyntaxdiffError: settings, sources, tokenizer, or disk; what was done is kept, and the same call goes on
    """
    sources = [
        open_source(spec, HubOptions(subset=config.subset, split=config.split, revision=config.revision)) for spec in config.src
    ]
    with _locked(config.out) as work_folder:
        settings = _settings(config, sources)
        if (config.out / MANIFEST).exists():
            return _complete(config.out, settings)
        _claim(work_folder, config.out, settings)
        _check_fields(config, sources)
        tokenizer = _tokenizer(config, sources, work_folder / TOKENIZER)
        codec = Codec(work_folder / TOKENIZER, config.engine)
        template = read_template(tokenizer)
        recipe = Recipe(
            tokenizer_folder=work_folder / TOKENIZER,
            engine=codec.engine_choice,
            template=template,
            fields=config.fields,
            languages=config.languages,
            max_length=config.max_length,
            overlength=config.overlength,
            questions=config.questions,
            allow_missing_prompt=config.allow_missing_prompt,
            seed=config.seed,
        )
        parts, plan = _make_parts(config, sources, recipe, work_folder, on_progress)
        assembled = assemble(parts, plan, config.out, config.shard_rows)
        _check_any(assembled)
        copy_tokenizer(work_folder / TOKENIZER, config.out / TOKENIZER)
        manifest = _manifest(settings, codec, tokenizer, template, assembled)
        write_text(config.out / MANIFEST, manifest.to_json())
        shutil.rmtree(work_folder, ignore_errors=True)
        return manifest


@contextmanager
def _locked(out: Path) -> Iterator[Path]:
    """The work folder, held against a second build of the same shards."""
    work_folder = out / WORK_FOLDER
    fresh = not work_folder.exists()
    with storage_errors(out):
        work_folder.mkdir(parents=True, exist_ok=True)
        lock = (work_folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"another build is writing to {out}: wait for it, or choose another --out") from error
        try:
            yield work_folder
        finally:
            if fresh and not (work_folder / "settings.json").exists():
                shutil.rmtree(work_folder, ignore_errors=True)  # nothing was begun


def _settings(config: BuildConfig, sources: list[Source]) -> dict[str, Any]:
    """What decides the bytes of the shards, as it is stored and compared."""
    return {
        "sources": [source.identity() for source in sources],
        "fields": vars(config.fields),
        "questions": config.questions,
        "allow_missing_prompt": config.allow_missing_prompt,
        "tokenizer": config.tokenizer,
        "mask_token": config.mask_token,
        "engine": config.engine,
        "languages": list(config.languages),
        "max_length": config.max_length,
        "overlength": config.overlength,
        "limit": config.limit,
        "validation_size": config.validation_size,
        "shard_rows": config.shard_rows,
        "seed": config.seed,
    }


def _refuse_others(folder: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raises SettingsError where a folder was begun with other settings, and names them."""
    ours = json.loads(json.dumps(ours))
    names = [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]
    if names:
        shown = "; ".join(f"{name}: {_short(theirs.get(name))} there, {_short(ours.get(name))} now" for name in names)
        raise SettingsError(f"{folder} was built with other settings ({shown}): choose another --out, or remove the folder")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _complete(out: Path, settings: dict[str, Any]) -> Manifest:
    """The manifest of a complete folder, where it was built with the same settings."""
    manifest = read_manifest(out)
    _refuse_others(out, manifest.settings, settings)
    return manifest


def _claim(work_folder: Path, out: Path, settings: dict[str, Any]) -> None:
    """Marks a folder as this build's, or finds that it is already. Raises SettingsError where it is something else's."""
    stored = work_folder / "settings.json"
    if stored.exists():
        return _refuse_others(out, json.loads(stored.read_text(encoding="utf-8")), settings)
    strangers = [name for name in (*SPLITS, TOKENIZER, REJECTS) if (out / name).exists()]
    if strangers:
        raise SettingsError(
            f"{out} holds {', '.join(strangers)} that no build of ours left there: choose another --out, or remove them"
        )
    write_text(stored, json.dumps(settings, ensure_ascii=False))
    return None


def _check_fields(config: BuildConfig, sources: list[Source]) -> None:
    """Raises SourceError where the first row of a source is of no known shape and the options do not say what it holds."""
    reader = _reader(config)
    for source in sources:
        first_unit = next(source.units(), None)
        rows = first_unit.rows() if first_unit else iter(())
        row = next((row for _, row in rows if not isinstance(row, RowError)), None)
        if row is not None and reader.shape_of(row) is None:
            raise SourceError(
                f"--src {source.name}: its rows have the fields {', '.join(sorted(row))}; say which hold what by "
                "--prompt-field and --response-field (or --reasoning-field and --code-field)"
            )


def _reader(config: BuildConfig) -> RecordReader:
    return RecordReader(fields=config.fields, languages=config.languages, allow_missing_prompt=True)


def _tokenizer(config: BuildConfig, sources: list[Source], folder: Path) -> HubTokenizer:
    """The tokenizer, loaded or trained once and kept in ``folder``: a restart takes that."""
    if folder.exists():
        return load_tokenizer(str(folder))
    size = trained_size(config.tokenizer)
    if size is None:
        tokenizer = load_tokenizer(config.tokenizer, config.mask_token)
    else:
        tokenizer = train_tokenizer(_training_texts(config, sources), size, config.mask_token)
    save_tokenizer(tokenizer, folder)
    return tokenizer


def _training_texts(config: BuildConfig, sources: list[Source]) -> Iterator[str]:
    """Prompts, reasoning and code of the first rows, an equal share of TRAINING_TEXT_BYTES from each source."""
    reader = _reader(config)
    for source in sources:
        num_bytes = 0
        for unit in source.units():
            for place, row in unit.rows():
                if isinstance(row, RowError):
                    continue
                try:
                    record = reader.read(row, source=unit.source, place=place, default_language=unit.default_language)
                except RowError:
                    continue  # the build itself will count it, with its reason
                texts = [text for text in (record.prompt, record.reasoning, record.code) if text]
                yield from texts
                num_bytes += sum(map(len, texts))
            if num_bytes > TRAINING_TEXT_BYTES // len(sources):
                break


class _Parts:
    """The parts of a build as they come in: which are there, what they hold, and whether they suffice for the limit."""

    def __init__(self, folder: Path, config: BuildConfig) -> None:
        self.folder = folder
        self._config = config
        self._keys: list[Keys] = []
        self._samples = 0
        self._next_look = config.limit or 0
        self.counts = PartCounts(0, 0, 0, Counter())

    def path(self, index: int) -> Path:
        """Where a part is, or is to be."""
        return self.folder / f"{index:07d}.arrow"

    def restore(self) -> dict[str, Any] | None:
        """Takes the parts that an earlier run left, up to the first gap; where the sources go on after them."""
        for path in self.folder.glob("*.arrow"):
            try:
                read_part(path, KEY_COLUMNS)
            except ShardError:
                path.unlink()  # torn by a power cut: made again
        resume = None
        while self.path(len(self)).exists():
            resume = self.take(len(self))
        return resume

    def take(self, index: int) -> dict[str, Any]:
        """Counts in the next part, which must be the first not yet taken."""
        assert index == len(self._keys)
        table, resume = read_part(self.path(index), KEY_COLUMNS)
        is_sample = table["reason"].is_null().to_numpy()
        self._keys.append(Keys(is_sample, table["content"].to_numpy(), table["problem"].to_numpy()))
        counts = counts_of(table)
        self.counts = self.counts.plus(counts)
        return resume

    def __len__(self) -> int:
        return len(self._keys)

    def plan(self) -> Plan:
        """Fate of all rows taken so far."""
        config = self._config
        return make_plan(Keys.joined(self._keys), validation_size=config.validation_size, limit=config.limit)

    def suffice(self) -> bool:
        """Whether the limit is reached. Plans only when enough new samples are there for that to be possible."""
        if self._config.limit is None or self.counts.samples < self._next_look:
            return False
        try:
            shortfall = self.plan().shortfall
        except SettingsError:  # too few problems so far
            shortfall = 1
        self._next_look = self.counts.samples + shortfall
        return shortfall == 0


def _make_parts(
    config: BuildConfig, sources: list[Source], recipe: Recipe, work_folder: Path, on_progress: OnProgress
) -> tuple[list[Path], Plan]:
    """Parts of all units, or of as many as the limit needs, and the plan over their rows."""
    with storage_errors(work_folder):
        (work_folder / "parts").mkdir(exist_ok=True)
    parts = _Parts(work_folder / "parts", config)
    resume = parts.restore()
    totals = [source.size for source in sources]
    total = None if None in totals or len({source.unit for source in sources}) > 1 else sum(size or 0 for size in totals)
    unit_name = sources[0].unit

    def report(done: int) -> None:
        if config.limit is not None:
            on_progress(Progress(parts.counts, min(parts.counts.samples, config.limit), config.limit, "samples"))
        else:
            on_progress(Progress(parts.counts, done, total, unit_name))

    report(resume["done"] if resume else 0)
    if not parts.suffice():
        with _pool(config, recipe) as pool:
            pending: deque[tuple[Future[PartCounts] | None, dict[str, Any]]] = deque()
            units = _units(sources, resume)
            exhausted = False
            while True:
                while not exhausted and len(pending) < 2 * config.workers + 1:
                    following = next(units, None)
                    if following is None:
                        exhausted = True
                        break
                    unit, after = following
                    path = parts.path(len(parts) + len(pending))
                    pending.append((None if path.exists() else pool.submit(work, unit, path, after), after))
                if not pending:
                    break
                future, after = pending.popleft()
                if future is not None:
                    future.result()
                parts.take(len(parts))
                report(after["done"])
                if parts.suffice():
                    break
    return [parts.path(index) for index in range(len(parts))], parts.plan()


def _units(sources: list[Source], resume: dict[str, Any] | None) -> Iterator[tuple[Unit, dict[str, Any]]]:
    """The units of all sources in order, each with where to go on after it and the work done by then."""
    start, cursor, done = (resume["source"], resume["cursor"], resume["done"]) if resume else (0, None, 0)
    for index in range(start, len(sources)):
        for unit in sources[index].units(cursor):
            done += unit.advance
            yield unit, {"source": index, "cursor": unit.cursor, "done": done}
        cursor = None


@contextmanager
def _pool(config: BuildConfig, recipe: Recipe) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; what is still to do is dropped when the block ends."""
    # The workers are the parallelism; `true` with one thread is 1.3 times as fast as `false` (measured, tokenizers 0.22).
    environment = {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)  # a spawned process reads them as it starts
    pool = ProcessPoolExecutor(
        config.workers, multiprocessing.get_context("spawn"), initializer=start_worker, initargs=(recipe,)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise StorageError(
            "a worker process was killed, most likely for want of memory: run the same command again, it goes on, "
            "with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _manifest(
    settings: dict[str, Any],
    codec: Codec,
    tokenizer: HubTokenizer,
    template: Template,
    assembled: Assembled,
) -> Manifest:
    header = [piece for piece in template.middle if piece.token_id is None or piece.token_id not in _end_ids(template)]
    return Manifest(
        settings=settings,
        rows_read=assembled.rows_read,
        rejected=assembled.rejected,
        tokenizer={
            "name": settings["tokenizer"],
            "vocab_size": codec.vocab_size,
            "sha256": codec.sha256,
            "engine": codec.engine_name,
            "byte_level": codec.is_byte_level,
        },
        token_ids=TokenIds(
            mask=tokenizer.mask_token_id,
            pad=tokenizer.pad_token_id,
            eos=tokenizer.eos_token_id,
            bos=tokenizer.bos_token_id,
            end_of_turn=_end_ids(template),
            assistant_header=codec.piece_ids(header),
        ),
        languages={name: _kinds(name) for name in assembled.languages},
        splits=assembled.splits,
        fingerprint=assembled.fingerprint,
        versions={name: version(name) for name in ("pyarrow", "tokenizers", "transformers", "tree-sitter")},
    )


def _end_ids(template: Template) -> tuple[int, ...]:
    return tuple(piece.token_id for piece in template.end if piece.token_id is not None)


def _kinds(language: str) -> LanguageKinds:
    grammar = load_grammar(language)
    return LanguageKinds(node_kinds=grammar.node_kinds, named=grammar.named, grammar=grammar.origin)


def _check_any(assembled: Assembled) -> None:
    """Raises SourceError where no row became a sample, with the reasons."""
    if any(assembled.splits.values()):
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in assembled.rejected.items()) or "the sources hold no rows"
    raise SourceError(f"no row became a sample ({reasons}): see {REJECTS} in the folder, mend the source, remove the folder")
