"""The layers that keep a process from its host: namespaces, a root of its own, Landlock, system call filter, limits.

A jail is entered once by the process that starts others (zygote.py), with what the kernel grants; each process that it starts
is then confined for good before it runs anything. What each layer stops is in docs/execution.md; whether they hold is tried,
not assumed: `try_to_break_out` runs confined like a candidate.

It runs in the jail's own bare interpreter: it imports nothing but the standard library, landlock.py and seccomp.py.
"""

import ctypes
import errno
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from syntaxdiff.eval.sandbox import landlock
from syntaxdiff.eval.sandbox.seccomp import build_filter, install_filter, is_supported

USER, MOUNT, PID, NET, IPC = "user", "mount-namespace", "pid-namespace", "net-namespace", "ipc-namespace"
UTS = "uts-namespace"
LANDLOCK, SECCOMP = "landlock", "seccomp"
LAYERS = (USER, MOUNT, PID, NET, IPC, UTS, LANDLOCK, SECCOMP)

GUARANTEES = {  # what must hold, and the layers of which one is enough
    "network": (NET, SECCOMP),
    "files": (LANDLOCK, MOUNT),
    "processes": (PID, SECCOMP),
    "privileges": (),
    "limits": (),
}

BOX = "/box"  # the folder of a candidate, where it has one
HOST_NAME = "sandbox"
FOLDER_BYTES = 16 << 20
FOLDER_FILES = 1024
STACK_BYTES = 64 << 20

_NEW = {MOUNT: 0x00020000, UTS: 0x04000000, IPC: 0x08000000, USER: 0x10000000, PID: 0x20000000, NET: 0x40000000}
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_KEPT_FLAGS = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime: a user namespace must keep them
_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_CAPSET = {"x86_64": 126, "aarch64": 91}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAP_SYS_ADMIN = 21
_OWN_USER_BASE = 0x70000000  # user ids that nobody else has

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class JailConfig:
    """What a jail is asked for.

    Attributes:
        readable: files and folders that are seen inside, at their own paths
        hidden: folders below them that are not, but for what `readable` names of them
        mount_point: an empty folder of the host, used for nothing else
        layers: of LAYERS, those to use where the kernel grants them
    """

    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    mount_point: str
    layers: tuple[str, ...] = LAYERS


class Layer(NamedTuple):
    """Whether a layer is there, and how, or why not."""

    is_active: bool
    note: str


@dataclass(kw_only=True)
class Jail:
    """A jail that was entered."""

    config: JailConfig
    layers: dict[str, Layer] = field(default_factory=dict)
    user_id: int | None = None  # that confined processes take on, where root can give one
    baseline_bytes: int = 0  # address space of the process before it runs anything
    filters: dict[bool, bytes] = field(default_factory=dict)  # of system calls, for candidates and for others

    def has(self, layer: str) -> bool:
        """Whether a layer is active."""
        return layer in self.layers and self.layers[layer].is_active

    @property
    def bounds_threads(self) -> bool:
        """Whether the number of threads can be bounded: it is counted by user, so that takes a user of its own."""
        return self.has(USER)


def enter(config: JailConfig) -> Jail:
    """Takes this process into namespaces and a root of its own, as far as the kernel grants them; then forks if it must.

    Where a pid namespace is granted, this returns in a child, the first process of the namespace, and the caller's process
    waits and ends with it.
    """
    jail = Jail(config=config)
    jail.baseline_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    own_user = _OWN_USER_BASE + os.getpid()
    may_administer = _has_capability(_CAP_SYS_ADMIN)
    if not may_administer:
        _attempt(jail, USER, _enter_user_namespace)
    for layer in (IPC, NET, MOUNT):
        _attempt(jail, layer, lambda layer=layer: _unshare(layer))  # type: ignore[misc]
    _attempt(jail, UTS, _enter_uts_namespace)
    if jail.has(MOUNT):
        _attempt(jail, MOUNT, lambda: _change_root(config))
    if may_administer and os.geteuid() == 0 and jail.has(MOUNT):
        _attempt(jail, USER, lambda: _try_user(own_user))
        jail.user_id = own_user if jail.has(USER) else None
    jail.layers.setdefault(USER, Layer(False, "root has a user of its own to give only with a mount namespace"))
    _attempt(jail, LANDLOCK, lambda: f"version {landlock.version()}")
    _attempt(jail, SECCOMP, _probe_seccomp)
    if jail.has(SECCOMP):
        jail.filters = {
            True: build_filter(may_write=jail.has(MOUNT), may_thread=jail.bounds_threads),
            False: build_filter(may_write=False, may_thread=False),
        }
    _attempt(jail, PID, lambda: _unshare(PID))  # last, for the next process that is forked is its first
    if jail.has(PID):
        _become_first_process()
    return jail


def confine(jail: Jail, *, limits: dict[str, int], is_candidate: bool) -> None:
    """Confines this process for good. What it inherits of open descriptors is the caller's to choose.

    Args:
        jail: the one that was entered
        limits: of execution.Limits
        is_candidate: it may write to its folder and start threads, where these are bounded
    """
    may_write = is_candidate and jail.has(MOUNT)
    may_thread = is_candidate and jail.bounds_threads
    if may_write:
        os.chdir(BOX)
    elif jail.has(LANDLOCK):  # nothing can be written, and where a jail lies is nobody's to know
        os.chdir("/")
    _set_limits(jail, limits, may_thread)
    if jail.user_id is not None:
        os.setgroups([])
        os.setresgid(jail.user_id, jail.user_id, jail.user_id)
        os.setresuid(jail.user_id, jail.user_id, jail.user_id)
    else:
        _drop_capabilities()
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if jail.has(LANDLOCK):
        _restrict_files(jail, may_write)
    if jail.has(SECCOMP):
        install_filter(jail.filters[is_candidate])


def fresh_folder(jail: Jail) -> None:
    """An empty folder in memory, of bounded size, in the place of the last one. Nothing where there is no mount namespace."""
    if jail.has(MOUNT):
        _mount("tmpfs", BOX, "tmpfs", 2 | 4, f"size={FOLDER_BYTES},nr_inodes={FOLDER_FILES},mode=0777")


def remove_folder(jail: Jail) -> None:
    """Removes the folder with all that is in it."""
    if jail.has(MOUNT):
        _check(_libc.umount2(BOX.encode(), _DETACH))


def end_all(jail: Jail) -> None:
    """Ends every process that a candidate may have left behind, where processes could be started at all."""
    if jail.has(PID):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            return


# ----------------------------------------------------------------------------------------------- trying it out, confined


def try_to_break_out(jail: Jail, outside_file: str, outside_pid: int) -> list[str]:
    """What a confined process still can do that it must not: of GUARANTEES; empty is good."""
    attempts: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("network", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))),
        ("files", lambda: Path(outside_file).read_bytes()),
        ("files", lambda: os.close(os.open(outside_file, os.O_WRONLY | os.O_APPEND))),
        ("processes", lambda: os.kill(outside_pid, 0)),
        ("processes", _must_hold(lambda: jail.has(PID)) if jail.has(PID) else _leave_a_process),
        ("privileges", _must_hold(lambda: _libc.prctl(39, 0, 0, 0, 0) == 1 and not _has_any_capability())),
        (
            "limits",
            _must_hold(lambda: resource.getrlimit(resource.RLIMIT_AS)[0] > 0 < resource.getrlimit(resource.RLIMIT_CPU)[0]),
        ),
    )
    broken = []
    for name, attempt in attempts:
        try:
            attempt()
        except OSError:
            continue
        broken.append(name)
    return sorted(set(broken))


def _leave_a_process() -> None:
    """Starts a process that nobody could end if it did not end by itself."""
    if os.fork() == 0:
        os._exit(0)


def _must_hold(condition: Callable[[], bool]) -> Callable[[], None]:
    """An attempt that is stopped if a condition holds."""

    def attempt() -> None:
        if condition():
            raise PermissionError

    return attempt


# ------------------------------------------------------------------------------------------------------------- entering


def _attempt(jail: Jail, layer: str, enter_layer: Callable[[], str | None]) -> None:
    """Enters a layer and records it, or records why not."""
    if layer not in jail.config.layers:
        jail.layers[layer] = Layer(False, "not asked for")
        return
    try:
        jail.layers[layer] = Layer(True, enter_layer() or "granted")
    except OSError as error:
        jail.layers[layer] = Layer(False, f"not granted: {error.strerror or error}")


def _unshare(layer: str) -> None:
    _check(_libc.unshare(_NEW[layer]))


def _enter_user_namespace() -> str:
    user, group = os.geteuid(), os.getegid()
    _unshare(USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return "user namespace"


def _enter_uts_namespace() -> str:
    _unshare(UTS)
    socket.sethostname(HOST_NAME)
    return f"the host's name is {HOST_NAME}"


def _try_user(user: int) -> str:
    """Whether processes may be given this user id: tried in a child."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(user, user, user)
            os.listdir(os.path.dirname(os.__file__))
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(errno.EPERM, "no user id to spare")
    return f"user id {user}"


def _change_root(config: JailConfig) -> str:
    """A root in memory that holds the readable paths, read-only, and nothing else of the host."""
    root = config.mount_point
    _mount("", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", 2 | 4, "size=1m,mode=0755")
    covers = []
    for path in config.readable:
        _bind(path, root + path, config.readable)
        for folder in config.hidden:
            if folder.startswith(path + "/") and os.path.isdir(root + folder):
                _mount("tmpfs", root + folder, "tmpfs", 2 | 4, "size=64k,mode=0755")
                covers.append(folder)
    for device in ("/dev/null", "/dev/urandom"):
        _bind(device, root + device, ())
    os.mkdir(root + BOX)
    for folder in covers:
        _mount("", root + folder, "", _REMOUNT | _BIND | _RDONLY | 2 | 4)
    os.chdir(root)
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."))
    _check(_libc.umount2(b".", _DETACH))  # the old root, which lies over the new one
    os.chdir("/")
    _mount("", "/", "", _REMOUNT | _BIND | _RDONLY | 2 | 4)
    return "a root of its own"


def _bind(source: str, target: str, read_only: Collection[str]) -> None:
    """Shows a file or folder of the host at another place."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, "", _BIND)
    if source in read_only:
        kept = os.statvfs(source).f_flag & _KEPT_FLAGS
        _mount("", target, "", _REMOUNT | _BIND | _RDONLY | 2 | 4 | kept)


def _become_first_process() -> None:
    """Forks; returns in the child, the first process of the pid namespace, and ends the parent with it."""
    pid = os.fork()
    if pid == 0:
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        return
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)  # only the child has the connection
    os.waitpid(pid, 0)
    os._exit(0)


def _probe_seccomp() -> None:
    if not is_supported():
        raise OSError(errno.ENOSYS, "the kernel or this machine's architecture")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()))


def _check(result: int) -> int:
    """The result of a call of the C library; its error raised."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# ----------------------------------------------------------------------------------------------------------- confining


def _set_limits(jail: Jail, limits: dict[str, int], may_thread: bool) -> None:
    most = {
        resource.RLIMIT_AS: jail.baseline_bytes + limits["memory_bytes"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: FOLDER_BYTES,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 64,
    }
    if may_thread:
        most[resource.RLIMIT_NPROC] = limits["threads"] + 3  # the process itself, the one that started it, and its parent
    for kind, value in most.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard < 0 else min(STACK_BYTES, hard), hard))
    # SIGXCPU at the limit, SIGKILL a second later for who ignores it.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"], limits["cpu_seconds"] + 1))


def _drop_capabilities() -> None:
    _libc.prctl(_PR_CAP_AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL; kernels without have none
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    header = struct.pack("Ii", 0x20080522, 0)
    call = _CAPSET.get(os.uname().machine)
    if call is not None:
        _check(_libc.syscall(call, header, bytes(24)))


def _capability_sets() -> bytes:
    """Effective, permitted and inheritable, in two times three words."""
    sets = ctypes.create_string_buffer(24)
    machine = os.uname().machine
    if machine in _CAPSET:
        _check(_libc.syscall(_CAPSET[machine] - 1, struct.pack("Ii", 0x20080522, 0), sets))
    return sets.raw


def _has_capability(number: int) -> bool:
    return bool(struct.unpack("6I", _capability_sets())[0] >> number & 1)


def _has_any_capability() -> bool:
    try:
        return any(_capability_sets())
    except PermissionError:  # the filter does not let a process ask
        return False


def _restrict_files(jail: Jail, may_write: bool) -> None:
    """Reading below the readable paths, writing in the box, nothing else."""
    rights = dict.fromkeys(_readable_without_hidden(jail), landlock.READ_FILE | landlock.READ_FOLDER)
    rights |= {"/dev/null": landlock.READ_FILE | landlock.WRITE_FILE, "/dev/urandom": landlock.READ_FILE}
    if may_write:
        rights[BOX] = landlock.ALL
    landlock.restrict(rights)


def _readable_without_hidden(jail: Jail) -> list[str]:
    """The readable paths; a folder that holds hidden ones by its entries, for a rule holds for all that lies below it."""
    if jail.has(MOUNT):  # there, hidden folders are covered
        return list(jail.config.readable)
    paths = []
    for path in jail.config.readable:
        if any(folder.startswith(path + "/") for folder in jail.config.hidden):
            paths += [entry.path for entry in os.scandir(path) if entry.path not in jail.config.hidden]
        else:
            paths.append(path)
    return paths
