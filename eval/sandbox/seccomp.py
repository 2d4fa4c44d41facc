"""The system calls that a confined process may make, as a filter that the kernel runs (seccomp, BPF), for x86_64 and aarch64.

A list of what is allowed: what a Python program needs to compute, and nothing that reaches other processes, the network or the
system. What is not on it fails with EPERM, which Python raises as PermissionError; what no honest program calls (tracing,
mounting, loading code into the kernel, rings that carry calls past this filter) ends the process with SIGSYS. A number newer
than the table is ENOSYS, so that the C library falls back to a call it knows.

What else confines a process is in jail.py.
"""

import ctypes
import os
import struct
import sys

# name, number on x86_64, number on aarch64; - where there is none. Facts of the kernel's unistd headers.
_ALLOWED = """
read 0 63, write 1 64, close 3 57, fstat 5 80, lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137,
rt_sigsuspend 130 133, pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70,
preadv2 327 286, pwritev2 328 287, access 21 -, faccessat 269 48, faccessat2 439 439, pipe 22 -, pipe2 293 59, select 23 -,
pselect6 270 72, poll 7 -, ppoll 271 73, sched_yield 24 124, mremap 25 216, msync 26 227, mincore 27 232, madvise 28 233,
dup 32 23, dup2 33 -, dup3 292 24, pause 34 -, nanosleep 35 101, clock_nanosleep 230 115, getitimer 36 102,
setitimer 38 103, alarm 37 -, getpid 39 172, gettid 186 178, exit 60 93, exit_group 231 94, uname 63 160, flock 73 32,
fsync 74 82, fdatasync 75 83, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, readlink 89 -,
readlinkat 267 78, umask 95 166, gettimeofday 96 169, time 201 -, times 100 153, clock_gettime 228 113,
clock_getres 229 114, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, getuid 102 174, getgid 104 176, geteuid 107 175,
getegid 108 177, getppid 110 173, getpgrp 111 -, getpgid 121 155, getsid 124 156, capget 125 90, getgroups 115 158,
getresuid 118 148, getresgid 120 150, getpriority 140 141, sigaltstack 131 132, stat 4 -, lstat 6 -, newfstatat 262 79,
statx 332 291, statfs 137 43, fstatfs 138 44, futex 202 98, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126, getcpu 309 168,
set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, membarrier 324 283, restart_syscall 219 128,
epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441,
eventfd2 290 19, timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87, getrandom 318 278,
close_range 436 436, fadvise64 221 223, wait4 61 260, waitid 247 95, recvfrom 45 207, getsockname 51 204, getsockopt 55 209,
getpeername 52 205, shutdown 48 210, sendfile 40 71
"""
_WRITES = """
truncate 76 45, ftruncate 77 46, fallocate 285 47, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34,
rmdir 84 -, creat 85 -, link 86 -, linkat 265 37, unlink 87 -, unlinkat 263 35, symlink 88 -, symlinkat 266 36, chmod 90 -,
fchmod 91 52, fchmodat 268 53, utimensat 280 88, utimes 235 -, copy_file_range 326 285
"""
_CONDITIONAL = """
open 2 -, openat 257 56, kill 62 129, tgkill 234 131, clone 56 220, socketpair 53 199, sendto 44 206, ioctl 16 29,
fcntl 72 25, prctl 157 167, prlimit64 302 261
"""
_FATAL = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440, kcmp 312 272, mount 165 40,
umount2 166 39, pivot_root 155 41, chroot 161 51, unshare 272 97, setns 308 268, move_mount 429 429, open_tree 428 428,
fsopen 430 430, fsmount 432 432, fsconfig 431 431, mount_setattr 442 442, bpf 321 280, perf_event_open 298 241,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, keyctl 250 219, add_key 248 217,
request_key 249 218, init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104,
kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225, userfaultfd 323 282, open_by_handle_at 304 265,
name_to_handle_at 303 264, pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, quotactl 179 60, acct 163 89,
settimeofday 164 170, clock_settime 227 112, clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161,
setdomainname 171 162, iopl 172 -, ioperm 173 -
"""
_NEWEST_KNOWN = 450
_CLONE3 = 435  # its flags lie in memory, where a filter cannot look; on ENOSYS the C library takes clone

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000

_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)  # dup, flags, locks, pipe size; not F_SETOWN, which has the kernel send signals
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_PRCTL = (15, 16, 39, 0x53564D41)  # the name of a thread, no_new_privs asked for, the name of a mapping
_CLONE_THREAD = 0x10000
_AF_UNIX = 1
_OPEN_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_OWN_PID = 0x7EC0FFEE  # stands for it in a filter that is built before the fork; ids of processes are below 2^22

Instruction = tuple[int, int, int, int]


def is_supported() -> bool:
    """Whether this kernel takes filters, and this machine's call numbers are known."""
    action = ctypes.c_uint32(_KILL)
    call = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine)
    if call is None or sys.maxsize < 2**32:
        return False
    return int(ctypes.CDLL(None, use_errno=True).syscall(call, 2, 0, ctypes.byref(action))) == 0  # is the action available?


def build_filter(*, may_write: bool, may_thread: bool) -> bytes:
    """The filter's program, with a place for the id of the process that is confined: the only one it may signal.

    Args:
        may_write: whether files may be opened for writing and made; only where a folder of bounded size is all there is
        may_thread: whether threads may be started; only where their number is bounded
    """
    machine = os.uname().machine
    conditional = _numbers(_CONDITIONAL, machine)
    body: list[Instruction] = []
    for number in _numbers(_FATAL, machine).values():
        body += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _KILL)]
    for number in (_numbers(_ALLOWED, machine) | (_numbers(_WRITES, machine) if may_write else {})).values():
        body += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    body += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]

    writing = _OPEN_FOR_WRITING if not may_write else 0
    conditions = {
        "kill": _argument_is(0, [_OWN_PID]),
        "tgkill": _argument_is(0, [_OWN_PID]),
        "prlimit64": _argument_is(0, [0, _OWN_PID]),
        "fcntl": _argument_is(1, _FCNTL),
        "ioctl": _argument_is(1, _IOCTL),
        "prctl": _argument_is(0, _PRCTL),
        "socketpair": _argument_is(0, [_AF_UNIX]),
        # No address: the bytes go to the other end of a pair that the process made itself.
        "sendto": [(_LOAD, 0, 0, _ARGUMENTS + 8 * 4 + 4), (_JUMP_EQUAL, 1, 0, 0), _deny(), *_argument_is(4, [0])],
        "clone": _argument_is(0, [_CLONE_THREAD] if may_thread else [], mask=_CLONE_THREAD),
        "open": _argument_is(1, [0], mask=writing),
        "openat": _argument_is(2, [0], mask=writing),
    }
    for name, number in conditional.items():
        body += [(_JUMP_EQUAL, 0, len(conditions[name]), number), *conditions[name]]
    body += [(_JUMP_AT_LEAST, 0, 1, _NEWEST_KNOWN), (_RETURN, 0, 0, _ERRNO | _ENOSYS), _deny()]

    head: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),  # calls in the 32-bit convention have other numbers
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_JUMP_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in head + body)


def install_filter(program: bytes) -> None:
    """Confines this thread and all it starts, for good. Needs no_new_privs.

    Raises:
        OSError: the kernel refused
    """
    program = program.replace(struct.pack("I", _OWN_PID), struct.pack("I", os.getpid()))
    instructions = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, ctypes.c_char_p(head), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "the system call filter was refused")


def _numbers(table: str, machine: str) -> dict[str, int]:
    """Call numbers of a table by name, for one machine."""
    rows = (entry.split() for entry in table.replace("\n", " ").split(","))
    column = {"x86_64": 1, "aarch64": 2}[machine]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _deny() -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | _EPERM)


def _argument_is(index: int, values: tuple[int, ...] | list[int], mask: int = 0xFFFFFFFF) -> list[Instruction]:
    """Allows the call if an argument's low 32 bits, masked, are one of the values; else denies it."""
    test: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * index), (_AND, 0, 0, mask)]
    for value in values:
        test += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*test, _deny()]
