"""Where rows come from: what ``--src`` names, as a source that streams units."""

import re
from pathlib import Path

from syntaxdiff.pipeline.errors import SourceError
from syntaxdiff.pipeline.jsonlines import data_suffix
from syntaxdiff.pipeline.shard import MANIFEST, REJECTS, TOKENIZER, WORK_FOLDER
from syntaxdiff.pipeline.sources.exercises import names_exercises, open_exercises
from syntaxdiff.pipeline.sources.files import DATA_SUFFIXES, DataFiles, PythonFiles, common_root
from syntaxdiff.pipeline.sources.hub import HubDataset, HubOptions, SavedDataset
from syntaxdiff.pipeline.sources.snippets import interpreter, python_files, stdlib_files
from syntaxdiff.pipeline.sources.units import Source
from syntaxdiff.pipeline.splits import SPLITS

STDLIB = "stdlib"
PYTHON = "python:"  # before a folder: its Python files, whatever else it holds
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def open_source(spec: str, hub: HubOptions, out: Path | None = None, seed: int = 0) -> Source:
    """The source that ``--src`` names.

    Args:
        spec: ``stdlib``, ``exercises``, a file, folder or glob, ``python:FOLDER``, or the name of a data set on the hub
        hub: options for the hub and for folders laid out like one
        out: folder of the shards, whose own files are not a source
        seed: of the exercises

    Raises:
        SourceError: there is no such file, nothing in it can be read, or it is not a name
    """
    if spec == STDLIB:
        return PythonFiles(f"{STDLIB} ({interpreter()})", stdlib_files(), None)
    if names_exercises(spec):
        return open_exercises(spec, seed)
    if spec.startswith(PYTHON):
        return _python_source(spec, Path(spec.removeprefix(PYTHON)).expanduser())
    try:
        path = Path(spec).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, a home that is unknown
        raise SourceError(f"--src {spec[:200]}: {error}") from error
    if not exists and any(char in spec for char in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
        try:
            files = sorted(file for file in root.glob(pattern) if _is_file(file))
        except ValueError as error:
            raise SourceError(f"--src {spec}: {error}") from error
        return _files_source(spec, files, common_root(files))
    if spec and path.is_dir():
        return _folder_source(spec, path, hub, out)
    if path.is_file():
        return _files_source(path.name, [path], path.parent)
    if path.exists() or not _HUB_NAME.fullmatch(spec):
        raise SourceError(f"--src {spec}: there is no such file or folder, and it is not the name of a data set on the hub")
    return HubDataset(spec, spec, hub)


def _folder_source(spec: str, folder: Path, hub: HubOptions, out: Path | None) -> Source:
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return SavedDataset(folder.resolve().name, folder, hub)
    readme = folder / "README.md"
    if hub.given or (readme.is_file() and re.match(r"---\n(.*\n)*?configs:", readme.read_text(errors="replace"))):
        return HubDataset(folder.resolve().name, str(folder), hub)
    ours = [] if out is None else [(out / name).resolve() for name in (WORK_FOLDER, *SPLITS, TOKENIZER, MANIFEST, REJECTS)]
    files = sorted(
        file
        for file in folder.rglob("*")
        if _is_file(file) and data_suffix(file) in DATA_SUFFIXES and not {file.resolve(), *file.resolve().parents} & set(ours)
    )
    if files:
        return _files_source(spec, files, folder)
    if not python_files(folder):
        raise SourceError(f"--src {spec}: the folder holds no JSON, JSON lines, Parquet or Python files and no saved data set")
    return _python_source(spec, folder)


def _python_source(spec: str, folder: Path) -> PythonFiles:
    files = python_files(folder) if folder.is_dir() else []
    if not files:
        raise SourceError(f"--src {spec}: there is no such folder, or it holds no Python files")
    return PythonFiles(folder.resolve().name, files, folder)


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a link to none, which is an error when read and not one file less."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _files_source(spec: str, files: list[Path], root: Path) -> DataFiles:
    if not files:
        raise SourceError(f"--src {spec}: no file matches")
    for file in files:
        if data_suffix(file) not in DATA_SUFFIXES:
            raise SourceError(f"--src {spec}: {file.name} is none of {', '.join(DATA_SUFFIXES)} (plain, .gz or .zst)")
    name = files[0].name if len(files) == 1 else (Path(spec).name or spec)
    return DataFiles(name, files, root)
