"""Landlock: a process gives up, for good, all access to files but what it names; also TCP and signals to outside.

It takes no privilege, only a kernel that has it (5.13, more of it in later versions). Numbers are those of the kernel's
linux/landlock.h. Reading the properties of a file by its path is not restricted. What else confines a process is in jail.py.
"""

import ctypes
import os
import struct

WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 1, 1 << 2, 1 << 3
ALL = (1 << 16) - 1
_OF_FILES = WRITE_FILE | READ_FILE  # the rest is for folders
_KNOWN_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many a version knows; 16 from version 5 on
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_BENEATH_PATH = 1
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Of the kernel's interface.

    Raises:
        OSError: it has none
    """
    return _check(_libc.syscall(_CREATE, None, 0, 1))


def restrict(rights: dict[str, int]) -> None:
    """Restricts this process and all it starts. Needs no_new_privs.

    Args:
        rights: by file or folder, what may be done with it and below it; paths that do not exist are passed over

    Raises:
        OSError: the kernel refused
    """
    number = version()
    known = (1 << _KNOWN_RIGHTS.get(number, 16)) - 1
    attributes = struct.pack("QQQ", known, _TCP if number >= 4 else 0, _SCOPES if number >= 6 else 0)
    size = 24 if number >= 6 else 16 if number >= 4 else 8
    rules = _check(_libc.syscall(_CREATE, attributes, size, 0))
    for path, allowed in rights.items():
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed &= known if os.path.isdir(path) else _OF_FILES
        _check(_libc.syscall(_ADD, rules, _BENEATH_PATH, struct.pack("=Qi", allowed, descriptor), 0))
        os.close(descriptor)
    _check(_libc.syscall(_RESTRICT, rules, 0))
    os.close(rules)


def _check(result: int) -> int:
    """The result of a system call; its error raised."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
