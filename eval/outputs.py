"""Whether results can be written where they are asked for, tried before anything slow begins. It leaves no files."""

import tempfile
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import storage_errors


def check_folder(folder: Path) -> None:
    """Raises StorageError where a folder cannot be made or written into; what exists stays as it is."""
    with storage_errors(folder):
        present = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
        with tempfile.TemporaryFile(dir=present):
            pass


def check_file(path: Path, option: str = "--out") -> None:
    """Refuses a file that cannot be written.

    Raises:
        SettingsError: there is a folder of that name
        StorageError: the disk refuses it, or there is no folder to put it in
    """
    if path.is_dir():
        raise SettingsError(f"{option} {path} is a folder: name a file in it")
    with storage_errors(path), tempfile.TemporaryFile(dir=path.parent):
        pass
