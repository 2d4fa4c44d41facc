"""The build: sources in, verified shards out. ``build_shards`` reads from top to bottom as the pipeline does.

Killed at any moment and started again with the same settings it resumes, and ends with the bytes of an undisturbed run: the
units of the sources, what each becomes, and the assembly of the parts are functions only of the settings and the rows.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from syntaxdiff.pipeline.assembly.assemble import Assembled, assemble
from syntaxdiff.pipeline.assembly.facts import node_kinds_of, token_ids_of
from syntaxdiff.pipeline.assembly.part import FORMAT, Recipe
from syntaxdiff.pipeline.assembly.pool import OnProgress, make_parts
from syntaxdiff.pipeline.assembly.sample import Run, parts_of
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import RowError, SettingsError, SourceError
from syntaxdiff.pipeline.json_records import Json, JsonObject, to_json
from syntaxdiff.pipeline.manifest import GroupingCounts, StoredTokenizer
from syntaxdiff.pipeline.rows.grouping import NONE
from syntaxdiff.pipeline.rows.record import RecordReader
from syntaxdiff.pipeline.shard import (
    MANIFEST,
    REJECTS,
    TOKENIZER,
    WORK_FOLDER,
    Manifest,
    file_sha256,
    read_manifest,
    storage_errors,
    write_text,
)
from syntaxdiff.pipeline.sources.hub import HubDataset, HubOptions, SavedDataset
from syntaxdiff.pipeline.sources.questions import QuestionBook
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.pipeline.sources.units import Source
from syntaxdiff.pipeline.splits import SPLITS
from syntaxdiff.pipeline.stored_settings import StoredSettings
from syntaxdiff.pipeline.syntax.grammar import load_grammar
from syntaxdiff.pipeline.tokens.codec import Codec
from syntaxdiff.pipeline.tokens.names import trained_size
from syntaxdiff.pipeline.tokens.template import Template, read_template
from syntaxdiff.pipeline.tokens.tokenizer import HubTokenizer, copy_tokenizer, load_tokenizer, save_tokenizer, train_tokenizer

ASSEMBLY_SETTINGS = frozenset({"validation_size", "shard_rows"})  # decide nothing about the parts
TRAINING_TEXT_BYTES = 64 << 20  # of all sources together, for `train:SIZE`


OnNote: TypeAlias = Callable[[str], None]


def build_shards(
    config: BuildConfig,
    on_progress: OnProgress = lambda progress: None,
    on_note: OnNote = lambda note: None,
) -> Manifest:
    """Builds a folder of shards, or resumes a build that was cut off; a complete one is left as it is.

    Args:
        config: settings
        on_progress: called after every unit, from this process
        on_note: called with what the user should know besides

    Returns:
        the manifest, as written to ``config.out``

    Raises:
        SyntaxdiffError: settings, sources, tokenizer, or disk; what was done is kept, and the same call resumes
    """
    hub = HubOptions(subset=config.subset, split=config.split, revision=config.revision)
    sources = [open_source(spec, hub, config.out, config.seed) for spec in config.src]
    if hub.given and not any(isinstance(source, HubDataset | SavedDataset) for source in sources):
        raise SettingsError("--subset, --split and --revision are for data sets on the hub: no --src is one")
    if config.questions:
        QuestionBook(config.questions)  # says so at once where there is no such folder
    with _locked(config.out) as work_folder:
        settings = _settings(config, sources)
        if (config.out / MANIFEST).exists():
            manifest = read_manifest(config.out)
            _refuse_others(config.out, to_json(manifest.settings), to_json(settings))
            shutil.rmtree(work_folder, ignore_errors=True)
            return manifest
        _sweep(config.out)
        _check_fields(config, sources)
        _claim(work_folder, config.out, to_json(settings) | {"made_by": _made_by(config), "format": FORMAT}, on_note)
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
            use_solution=not config.ignore_solution,
            grouping=config.grouping,
            seed=config.seed,
        )
        parts, plan = make_parts(config, sources, recipe, work_folder, on_progress)
        assembled = assemble(parts, plan, config.out, config.shard_rows)
        _check_any(assembled, config.out, work_folder)
        copy_tokenizer(work_folder / TOKENIZER, config.out / TOKENIZER)
        manifest = _manifest(settings, codec, tokenizer, template, assembled, plan.grouping)
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


def _settings(config: BuildConfig, sources: list[Source]) -> StoredSettings:
    """What decides the bytes of the shards, as it is stored and compared."""
    return StoredSettings(
        sources=tuple(source.identity() for source in sources),
        fields=vars(config.fields),
        questions=config.questions,
        allow_missing_prompt=config.allow_missing_prompt,
        tokenizer=config.tokenizer,
        tokenizer_sha256=_local_sha256(config.tokenizer),
        mask_token=config.mask_token,
        engine=config.engine,
        languages=config.languages,
        max_length=config.max_length,
        overlength=config.overlength,
        limit=config.limit,
        validation_size=config.validation_size,
        shard_rows=config.shard_rows,
        seed=config.seed,
        # None where they are not used, as in what was built before they came: that is resumed, too.
        group_fields=config.group_fields or None,
        group_by_folder=config.group_by_folder or None,
        ignore_solution=config.ignore_solution or None,
    )


def _local_sha256(tokenizer: str) -> str | None:
    """SHA-256 of a local tokenizer; the hub's is fixed by what was saved when the build began."""
    file = Path(tokenizer) / "tokenizer.json"
    return file_sha256(file) if trained_size(tokenizer) is None and len(tokenizer) < 200 and file.is_file() else None


def _refuse_others(folder: Path, theirs: JsonObject, ours: JsonObject) -> None:
    """Raises SettingsError where a folder was begun with other settings, and names them."""
    names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if names:
        shown = "; ".join(
            f"{name.replace('_', '-')}: {_short(theirs.get(name))} there, {_short(ours.get(name))} now" for name in names
        )
        raise SettingsError(f"{folder} was built with other settings ({shown}): choose another --out, or remove the folder")


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sweep(out: Path) -> None:
    """Removes the temporary files that a killed build left outside of its work folder."""
    for path in [*out.glob(f".{MANIFEST}.*.tmp"), *out.glob(f".{REJECTS}.*.tmp"), *out.glob(f".{TOKENIZER}.*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _made_by(config: BuildConfig) -> dict[str, str]:
    """What parts depend on besides the settings: a build that was cut off is not resumed by other versions."""
    packages = ("syntaxdiff", "tokenizers", "transformers", "tree-sitter")
    grammars = {f"grammar of {language}": load_grammar(language).origin for language in config.languages}
    return {name: version(name) for name in packages} | grammars


def _claim(work_folder: Path, out: Path, settings: JsonObject, on_note: OnNote) -> None:
    """Marks a folder as this build's, or finds that it is already. Raises SettingsError where it is something else's."""
    stored = work_folder / "settings.json"
    if stored.exists():
        if any((work_folder / "parts").glob("*.arrow")):
            parts_only = {name: value for name, value in settings.items() if name not in ASSEMBLY_SETTINGS}
            theirs = json.loads(stored.read_text(encoding="utf-8"))
            is_older = theirs.get("format") != FORMAT
            parts_only.pop("format")
            _refuse_others(out, {name: theirs.get(name) for name in parts_only}, parts_only)
            if is_older:  # the outcome is that of a fresh build
                on_note("this build was begun by an older syntaxdiff, which read rows otherwise: its rows are read again")
                shutil.rmtree(work_folder / "parts", ignore_errors=True)
                shutil.rmtree(work_folder / TOKENIZER, ignore_errors=True)
        else:
            shutil.rmtree(work_folder / TOKENIZER, ignore_errors=True)  # nothing is lost by other settings
        return write_text(stored, json.dumps(settings, ensure_ascii=False))
    strangers = [name for name in (*SPLITS, TOKENIZER) if (out / name).exists()]
    if strangers:
        raise SettingsError(
            f"{out} holds {', '.join(strangers)} that no build of ours left there: choose another --out, or remove them"
        )
    write_text(stored, json.dumps(settings, ensure_ascii=False))
    return None


def _check_fields(config: BuildConfig, sources: list[Source]) -> None:
    """Raises SourceError where the first row of a source is of no known shape and the options do not say what it holds."""
    reader = _reader(config)
    missing = set(config.group_fields) - {NONE}
    for source in sources:
        first_unit = next(source.units(), None)
        rows = [row for _, row in first_unit.rows() if not isinstance(row, RowError)] if first_unit else []
        missing -= {name for row in rows for name in row}
        if rows and not any(reader.shape_of(row) for row in rows):
            raise SourceError(
                f"--src {source.name}: its rows have the fields {', '.join(sorted(rows[0]))}; say which hold what by "
                "--prompt-field and --response-field (or --reasoning-field and --code-field)"
            )
    if missing:
        raise SettingsError(
            f"--group-field {', '.join(sorted(missing))}: none of the first rows of any source has such a field"
        )


def _reader(config: BuildConfig) -> RecordReader:
    return RecordReader(
        fields=config.fields,
        languages=config.languages,
        allow_missing_prompt=True,
        use_solution=not config.ignore_solution,
        grouping=config.grouping,
    )


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
    """The text of the first rows' samples, turns and fences with it, an equal share of TRAINING_TEXT_BYTES from each source.

    With a limit, of no more than about four times as many rows: a small build is not to wait for its vocabulary.
    """
    reader = _reader(config)
    template = read_template(train_tokenizer((), 0, config.mask_token))  # turns are the same in a vocabulary of any size
    for source in sources:
        num_bytes = num_rows = 0
        for unit in source.units():
            for _, row in unit.rows():
                if isinstance(row, RowError):
                    continue
                try:
                    record = reader.read(row, source=unit.source, default_language=unit.default_language)
                except RowError:
                    continue  # the build itself will count it, with its reason
                fence = load_grammar(record.language).fence
                pieces = template.pieces(record.prompt, record.reasoning, record.code, fence)
                texts = [part.text for part in parts_of(pieces) if isinstance(part, Run)]
                yield from texts
                num_bytes += sum(map(len, texts))
                num_rows += 1
            if num_bytes > TRAINING_TEXT_BYTES // len(sources) or num_rows > 4 * (config.limit or num_rows):
                break


def _manifest(
    settings: StoredSettings,
    codec: Codec,
    tokenizer: HubTokenizer,
    template: Template,
    assembled: Assembled,
    grouping: GroupingCounts,
) -> Manifest:
    return Manifest(
        settings=settings,
        rows_read=assembled.rows_read,
        rejected=assembled.rejected,
        tokenizer=StoredTokenizer(
            name=settings.tokenizer,
            vocab_size=codec.vocab_size,
            sha256=codec.sha256,
            engine=codec.engine_name,
            byte_level=codec.is_byte_level,
            inexact_samples=assembled.inexact_samples,
        ),
        token_ids=token_ids_of(tokenizer, template, codec),
        languages={name: node_kinds_of(name) for name in assembled.languages},
        splits=assembled.splits,
        samples_with_error=assembled.samples_with_error,
        programs_alone=assembled.programs_alone,
        readings=assembled.readings,
        unused_fields=assembled.unused_fields,
        grouping=grouping,
        fingerprint=assembled.fingerprint,
        versions={name: version(name) for name in ("pyarrow", "tokenizers", "transformers", "tree-sitter")},
    )


HINTS = {
    "missing-question": "fetch the statements with --questions, or keep such rows with --allow-missing-prompt",
    "too-long": "see --max-length and --overlength",
    "other-language": "see --languages",
    "no-code": "see --response-field and --code-field",
    "solution-not-in-answer": "--ignore-solution finds programs only by their fences",
    "missing-field": "see --prompt-field, --response-field, --reasoning-field and --code-field",
}


def _check_any(assembled: Assembled, out: Path, work_folder: Path) -> None:
    """Raises SourceError where no row became a sample; the rejects stay, and the folder is free for other settings."""
    if any(assembled.splits.values()):
        return
    for folder in (work_folder, *(out / split for split in SPLITS)):
        shutil.rmtree(folder, ignore_errors=True)
    by_count = sorted(assembled.rejected.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{count} {reason}" for reason, count in by_count) or "the sources hold no rows"
    hint = next((HINTS[reason] for reason, _ in by_count if reason in HINTS), "mend the source")
    raise SourceError(f"no row became a sample ({reasons}): {hint}; {out / REJECTS} names each row")
