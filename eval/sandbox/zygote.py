"""The process that candidates and testers are forked from: bare, jailed once, the same for each program.

It never runs a line of a candidate or of a test, and never reads one, so that what it forks is fresh and has no state of other
programs. Its parent (worker.py) sends it its settings over a socket on standard input, then asks, one message at a time:

    {"run": "candidate" | "tester" | "probe", "limits": {…}}  with the descriptors that the process gets   → {"pid": …}
    {"kill": true}                                            ends the process that runs
                                                              → {"status": …, "cpu_seconds": …, "peak_bytes": …} at its end

The descriptors become 1 and 2 (the first of them) and 3, 4, … in the process; 0 is empty.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from syntaxdiff.eval.sandbox import candidate, tester
from syntaxdiff.eval.sandbox.jail import (
    Jail,
    JailConfig,
    confine,
    end_all,
    enter,
    fresh_folder,
    remove_folder,
    try_to_break_out,
)
from syntaxdiff.eval.sandbox.surroundings import appear_as_script, forget_modules

# Imported before the fork: what programs import most, and what links libraries that cannot be found inside the jail.
_WARM = """
abc array ast asyncio bisect bz2 calendar cmath collections contextlib copy csv ctypes dataclasses datetime decimal enum
fractions functools hashlib heapq inspect io itertools json lzma math numbers operator pprint queue random re secrets sqlite3
ssl statistics string struct textwrap threading time timeit traceback types typing unittest uuid zlib
"""
_CAN_BE_ABSENT = ("lzma", "bz2", "sqlite3", "ssl", "ctypes", "uuid")
_FIRST_FREE_FD = 64  # above those that a process gets


def main(control: socket.socket, request: dict[str, Any]) -> None:
    """Enters the jail and serves until the parent hangs up.

    Args:
        control: the connection to the parent
        request: ``jail`` as of JailConfig, ``packages`` as pairs of a name and the folder that is searched for it
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        appear_as_script()
        _warm_up(request["packages"])
        jail = enter(
            JailConfig(
                readable=tuple(request["jail"]["readable"]),
                hidden=tuple(request["jail"]["hidden"]),
                mount_point=request["jail"]["mount_point"],
                layers=tuple(request["jail"]["layers"]),
            )
        )
        forget_modules()
        gc.collect()
        gc.freeze()  # a forked process that collects garbage must not touch, and so copy, all of this memory
    except Exception:
        _send(control, {"failed": traceback.format_exc(limit=-4)})
        return
    _send(control, {"layers": jail.layers})
    with contextlib.suppress(ConnectionError):
        _serve(control, jail)


def _serve(control: socket.socket, jail: Jail) -> None:
    """Starts one process after the other."""
    while True:
        message, descriptors = _receive(control)
        if message is None:
            return
        if "run" not in message:
            continue  # it asks to end a process that has ended
        fresh_folder(jail)
        try:
            pid, failure = _start(message, descriptors, jail)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        _send(control, {"failed": failure} if failure else {"pid": pid})
        hung_up = _watch(control, pid)
        _, status, usage = os.wait4(pid, 0)
        end_all(jail)
        remove_folder(jail)
        if hung_up:
            return
        if not failure:
            cpu_seconds = usage.ru_utime + usage.ru_stime
            _send(control, {"status": status, "cpu_seconds": cpu_seconds, "peak_bytes": usage.ru_maxrss * 1024})


def _watch(control: socket.socket, pid: int) -> bool:
    """Waits for a process to end, ends it if asked to; returns whether the parent hung up."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(control, select.POLLIN)
        while True:
            ready = [ready_fd for ready_fd, _ in poll.poll()]
            if descriptor in ready:
                return False
            message, _ = _receive(control)
            os.kill(pid, signal.SIGKILL)
            if message is None:
                return True
    finally:
        os.close(descriptor)


def _start(message: dict[str, Any], descriptors: list[int], jail: Jail) -> tuple[int, str]:
    """Forks a process; returns its id, and what went wrong before it was confined."""
    failure_read, failure_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(message, descriptors, jail, failure_write)  # never returns
    os.close(failure_write)
    with os.fdopen(failure_read, "r", errors="replace") as report:
        return pid, report.read()


def _become(message: dict[str, Any], descriptors: list[int], jail: Jail, failure_write: int) -> None:
    """Confines this new process, then runs what it is for."""
    try:
        os.setsid()
        failure_write = _arrange(descriptors, failure_write)
        gc.enable()
        random.seed(0)  # programs that draw without a seed get the same verdict each time
        confine(jail, limits=message["limits"], is_candidate=message["run"] != "tester")
        run = _ROLES[message["run"]](jail, message)
    except BaseException:
        os.write(failure_write, traceback.format_exc(limit=-4).encode())
        os._exit(1)
    os.close(failure_write)
    try:
        run()
    finally:
        os._exit(0)


def _arrange(descriptors: list[int], failure_write: int) -> int:
    """Moves the descriptors that a process gets to their places and closes all others; returns that of ``failure_write``."""
    null = os.open("/dev/null", os.O_RDONLY)
    first, *others = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FIRST_FREE_FD) for descriptor in descriptors)
    failure_write = fcntl.fcntl(failure_write, fcntl.F_DUPFD, _FIRST_FREE_FD)
    targets = (null, first, first, *others, failure_write)
    for number, descriptor in enumerate(targets):
        os.dup2(descriptor, number)
    os.closerange(len(targets), os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 20 else 1 << 20)
    return len(targets) - 1


def _probe(jail: Jail, message: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        os.write(3, json.dumps(try_to_break_out(jail, message["outside_file"], message["outside_pid"])).encode())

    return run


_ROLES: dict[str, Callable[[Jail, dict[str, Any]], Callable[[], None]]] = {
    "candidate": lambda jail, message: lambda: candidate.serve(3, 4),
    "tester": lambda jail, message: lambda: tester.serve(3, 4, 5, 6),
    "probe": _probe,
}


def _warm_up(packages: list[list[str]]) -> None:
    """Imports what programs may import, so that each fork has it for nothing."""
    for name in _WARM.split():
        try:
            importlib.import_module(name)
        except ImportError:
            if name not in _CAN_BE_ABSENT:
                raise
    with contextlib.suppress(OSError):
        import ctypes

        ctypes.CDLL("libgcc_s.so.1")  # the C library loads it when a thread ends early
    with _searched([folder for _, folder in packages]):
        for name, _ in packages:
            importlib.import_module(name)
    sys.dont_write_bytecode = True


@contextlib.contextmanager
def _searched(folders: list[str]) -> Iterator[None]:
    """Folders that are searched for modules inside the block; only what was asked for is to be found later."""
    before = list(sys.path)
    sys.path += folders
    try:
        yield
    finally:
        sys.path[:] = before


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


def _receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One message and the descriptors that came with it; None when the parent hung up."""
    data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 8)
    return (json.loads(data) if data else None), descriptors
