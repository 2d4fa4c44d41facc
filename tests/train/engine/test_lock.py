"""One training per folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syntaxdiff.pipeline.errors import SettingsError, StorageError
from syntaxdiff.train.engine.lock import LOCK, locked


def test_a_second_holder_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """The refusal says who holds the folder; afterwards it is free, without a file, and a folder that stayed empty is gone."""
    out = tmp_path / "new" / "out"
    with locked(out):
        with pytest.raises(SettingsError, match=f"process {os.getpid()} on .* since"), locked(out):
            pass
        assert (out / LOCK).exists()
    assert not out.exists()
    with locked(out):
        (out / "kept").touch()
    assert [path.name for path in out.iterdir()] == ["kept"]


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    """SIGKILL leaves the file and frees the lock."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom syntaxdiff.train.engine.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match=f"process {holder.pid} "), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in the way is the disk's refusal."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"), locked(tmp_path / "file" / "out"):
        pass


def test_a_full_disk_does_not_hide_what_to_do(tmp_path: Path) -> None:
    """Where not a byte can be written the folder is held all the same: what is too large for the disk says so itself."""
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom syntaxdiff.train.engine.lock import locked\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match="another training writes to"), locked(tmp_path):
            pass
        holder.communicate()
    assert holder.returncode == 0
