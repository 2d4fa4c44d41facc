"""One training per output folder: a lock that ends with the process that holds it."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.shard import storage_errors

LOCK = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds the folder within the block, which is made where it is missing. For only one rank to call.

    The file goes with the lock, and so does a folder that nothing was written into.

    Raises:
        SettingsError: another training holds the folder; the message says where it runs, and since when
        StorageError: the folder cannot be written to
    """
    is_new = not out.exists()
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    path = out / LOCK
    descriptor = _acquire(path, out)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while the lock is held: who opened this file before finds another one, or none
        os.close(descriptor)
        if is_new:
            with suppress(OSError):  # it is not empty
                out.rmdir()


def _acquire(path: Path, out: Path) -> int:
    while True:
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 500).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise SettingsError(
                f"another training writes to {out}{f' ({holder})' if holder else ''}: give another --out, or wait until it "
                "has ended"
            ) from error
        except OSError:
            pass  # a file system without locks: the run goes on without one
        with suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                break
        os.close(descriptor)  # its holder has just ended, and taken the file with it
    with suppress(OSError):  # a full disk: the lock holds without a name, and what is too large for the disk says so itself
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}\n".encode())
    return descriptor
