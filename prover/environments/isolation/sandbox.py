"""Limits for a process that runs untrusted Lean: resource limits, an ordinary user, no network, a scratch folder.

Standard library only, and no import from the package: the embedded host and the launcher load this file by path in a
bare interpreter. Layers, strongest first, each applied where the system has it (`available_layers` says which):

- user       started by root, Lean runs as `nobody`, with no supplementary groups (limits on root do not hold);
- seccomp    (Linux) no sockets, no new processes, no signals to others, no tracing, mounting, loading or io_uring, no
             change of rights, owners or times of files;
- landlock   (Linux >= 5.13) files can be written below the scratch folder only, whoever owns them;
- network    (Linux, root) an empty network namespace;
- rlimits    (POSIX) address space, CPU seconds, file size, open files, processes, no core dumps.

Refused system calls fail with EPERM, so Lean reports an ordinary IO error and its neighbours go on.
"""

import ctypes
import errno
import os
import platform
import resource
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass

NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3, _CAP_DAC_READ_SEARCH, _CAP_SETGID, _CAP_SETUID = 0x20080522, 2, 6, 7
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_CLONE_NEWNET = 0x40000000
_CLONE_THREAD = 0x00010000

# System call numbers: (x86-64, aarch64); -1 where the architecture has no such call.
_DENIED_CALLS: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "bind": (49, 200), "listen": (50, 201),
    "socketpair": (53, 199), "accept4": (288, 242), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "fork": (57, -1), "vfork": (58, -1),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "personality": (135, 92),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161),
    "mknod": (133, -1), "mknodat": (259, 33), "setpriority": (141, 140), "sched_setaffinity": (203, 122),
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # Landlock does not know of these, and for its user's files Lean itself has one (`IO.setAccessRights`):
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54),
    "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "setuid": (105, 146), "setgid": (106, 144), "setresuid": (117, 147), "setresgid": (119, 149),
}  # fmt: skip
_EXEC_CALLS = {"execve": (59, 221), "execveat": (322, 281)}
_KILL, _TGKILL, _CLONE, _CLONE3 = (62, 129), (234, 131), (56, 220), (435, 435)
_AUDIT_ARCH = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# Landlock: write-like access rights of ABI 1, and the ABI that added each later one.
_LANDLOCK_WRITES_V1 = (1 << 1) | sum(1 << bit for bit in range(4, 13))
_LANDLOCK_REFER, _LANDLOCK_TRUNCATE, _LANDLOCK_IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits on one Lean process. Exceeding one ends that process, never its neighbours."""

    memory_mib: int = 1024
    """Growth of private memory, MiB, beyond what the process has mapped when the limits are applied. Files mapped for
    reading (Mathlib's `.olean` files) do not count. Thread stacks do."""
    cpu_s: int = 120
    """CPU seconds, over all threads."""
    file_mib: int = 64
    """Largest file that can be written, MiB; the process's own output counts."""
    open_files: int = 128
    processes: int = 512
    """Threads and processes of the user that Lean runs as, beyond that user's others (the kernel counts by user)."""


class SandboxError(OSError):
    """A layer that this system offers could not be put in place."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _machine() -> int | None:
    """Column of the system call tables for this machine; None where there is no seccomp for it here."""
    if not sys.platform.startswith("linux") or platform.machine() not in _AUDIT_ARCH:
        return None
    return _AUDIT_ARCH[platform.machine()][1]


def landlock_abi() -> int:
    """Version of Landlock that the kernel offers; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _libc().syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def available_layers() -> dict[str, bool]:
    """Layers that this system can put around Lean, by name."""
    linux = sys.platform.startswith("linux")
    return {
        "user": lean_user() is not None,
        "seccomp": _machine() is not None and os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        "landlock": landlock_abi() > 0,
        "network": linux and hasattr(os, "geteuid") and os.geteuid() == 0,
        "rlimits": True,
    }


def _may_change_user() -> bool:
    """Whether we are root and may become another user; a container can take that capability away."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/status", "rb") as file:
            held = next(int(line.split()[1], 16) for line in file if line.startswith(b"CapEff:"))
    except (OSError, StopIteration):
        return True  # no Linux: root is root
    return all(held >> capability & 1 for capability in (_CAP_SETGID, _CAP_SETUID))


def lean_user() -> int | None:
    """User id that Lean is to run as: `nobody` when we are root, else None (stay who we are)."""
    return NOBODY if _may_change_user() else None


def leave_network() -> bool:
    """Move this process into an empty network namespace; False where that is not allowed (seccomp still refuses)."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    return _libc().unshare(_CLONE_NEWNET) == 0


def drop_user(uid: int, *, read_all: bool = False) -> None:
    """Become `uid` for good, without supplementary groups. Raises SandboxError when still able to be root.

    `read_all` (Linux) keeps one capability, to read files and enter folders of others, over the change and over what
    this process becomes: for a toolchain in root's own home folder.
    """
    keep = read_all and sys.platform.startswith("linux")
    libc = _libc()
    if keep:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    try:
        os.setgroups([])
        os.setgid(uid)  # by root these set the saved ids too
        os.setuid(uid)
    except PermissionError as error:
        raise SandboxError(f"cannot become user {uid}: {error}") from error
    if keep:
        header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
        mask = 1 << _CAP_DAC_READ_SEARCH
        if libc.capset(header, struct.pack("6I", mask, mask, mask, 0, 0, 0)) != 0:
            raise SandboxError(ctypes.get_errno(), "capset failed")
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0)
    if (os.getuid(), os.geteuid()) != (uid, uid):
        raise SandboxError(f"still root after changing to user {uid}")


def _private_memory() -> int:
    """Bytes of private writable memory mapped now (what RLIMIT_DATA counts); 0 where /proc does not say."""
    try:
        with open("/proc/self/status", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmData:"))
    except OSError:
        return 0


def _threads_of_user() -> int:
    """Threads of all processes of our user, which is what RLIMIT_NPROC counts; 0 where /proc does not say."""
    threads, uid = 0, os.getuid()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    threads += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # ended meanwhile, or hidden
    return threads


def apply_limits(limits: ProcessLimits, *, allow_fork: bool = False) -> None:
    """Resource limits for this process and what it becomes; hard limits, so that they cannot be raised again.

    The number of processes is a limit on a user's processes together, so it is left to seccomp where that is there and
    Lean runs as a person's own user, whose other programs count too; `allow_fork` says that it will not be there.
    """

    def lower(kind: int, value: int) -> None:
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))

    lower(resource.RLIMIT_DATA, _private_memory() + limits.memory_mib * 2**20)
    lower(resource.RLIMIT_CPU, limits.cpu_s)
    lower(resource.RLIMIT_FSIZE, limits.file_mib * 2**20)
    lower(resource.RLIMIT_NOFILE, limits.open_files)
    lower(resource.RLIMIT_CORE, 0)
    if os.geteuid() == NOBODY:
        lower(resource.RLIMIT_NPROC, limits.processes)
    elif allow_fork or _machine() is None:
        lower(resource.RLIMIT_NPROC, _threads_of_user() + limits.processes)


def no_new_privileges() -> None:
    """No set-uid program can give privileges back; needed before seccomp and Landlock for ordinary users."""
    if sys.platform.startswith("linux") and _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise SandboxError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")


def confine_writes(folder: str) -> bool:
    """Landlock: from now on this process can create, change or delete files below `folder` and in /dev/null only."""
    abi = landlock_abi()
    if abi == 0:
        return False
    libc = _libc()
    rights = _LANDLOCK_WRITES_V1
    rights |= (_LANDLOCK_REFER if abi >= 2 else 0) | (_LANDLOCK_TRUNCATE if abi >= 3 else 0)
    handled = rights | (_LANDLOCK_IOCTL_DEV if abi >= 5 else 0)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, struct.pack("Q", handled), ctypes.c_size_t(8), ctypes.c_uint32(0))
    if ruleset < 0:
        raise SandboxError(ctypes.get_errno(), "landlock_create_ruleset failed")
    try:
        for path, allowed in ((folder, rights), ("/dev/null", (1 << 1) | (rights & _LANDLOCK_TRUNCATE))):
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", allowed, parent)
                if libc.syscall(_LANDLOCK_ADD_RULE, ruleset, ctypes.c_uint32(1), rule, ctypes.c_uint32(0)) != 0:
                    raise SandboxError(ctypes.get_errno(), f"landlock_add_rule failed for {path}")
            finally:
                os.close(parent)
        if libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
            raise SandboxError(ctypes.get_errno(), "landlock_restrict_self failed")
    finally:
        os.close(ruleset)
    return True


def _filter_program(column: int, audit_arch: int, pid: int, *, allow_exec: bool, allow_fork: bool) -> bytes:
    """A seccomp program: allow all but the calls above. 8 bytes an instruction (code, jump if true, if false, k)."""
    load, equal, greater_equal, test, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, deny, no_such_call = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    code: list[tuple[int, int, int, int]] = []
    # Another instruction set (32-bit, x32) would number the calls differently.
    code += [(load, 0, 0, 4), (equal, 1, 0, audit_arch), (ret, 0, 0, deny), (load, 0, 0, 0)]
    if column == 0:
        code += [(greater_equal, 0, 1, 0x40000000), (ret, 0, 0, deny)]
    denied = {name: call[column] for name, call in _DENIED_CALLS.items() if call[column] >= 0}
    if allow_fork:
        denied = {name: number for name, number in denied.items() if name not in ("fork", "vfork")}
    if not allow_exec:
        denied |= {name: call[column] for name, call in _EXEC_CALLS.items()}
    for number in sorted(set(denied.values())):
        code += [(equal, 0, 1, number), (ret, 0, 0, deny)]
    if not allow_fork:
        # Threads yes, processes no. clone3 hides its flags in memory, so libc is told to fall back on clone.
        code += [(equal, 0, 1, _CLONE3[column]), (ret, 0, 0, no_such_call)]
        code += [(equal, 0, 4, _CLONE[column]), (load, 0, 0, 16), (test, 0, 1, _CLONE_THREAD)]
        code += [(ret, 0, 0, allow), (ret, 0, 0, deny)]
        # Signals to itself only (abort needs that).
        for call in (_KILL, _TGKILL):
            code += [(equal, 0, 4, call[column]), (load, 0, 0, 16), (equal, 0, 1, pid)]
            code += [(ret, 0, 0, allow), (ret, 0, 0, deny)]
    code.append((ret, 0, 0, allow))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def deny_system_calls(*, allow_exec: bool = False, allow_fork: bool = False) -> bool:
    """Install the seccomp filter for this process and what it becomes; False where there is none for this machine.

    `allow_exec`: the process is a launcher that still has to become Lean. `allow_fork`: Lean is reached through
    scripts that start it as a child; then the number of processes is held by `ProcessLimits.processes` alone.
    """
    column = _machine()
    if column is None:
        return False
    audit_arch = _AUDIT_ARCH[platform.machine()][0]
    program = _filter_program(column, audit_arch, os.getpid(), allow_exec=allow_exec, allow_fork=allow_fork)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if _libc().prctl(_PR_SET_SECCOMP, 2, header, 0, 0) != 0:
        raise SandboxError(ctypes.get_errno(), "seccomp filter refused by the kernel")
    return True


def die_with_parent() -> None:
    """Linux: the kernel ends this process when the one that forked it ends."""
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Linux: descendants whose parents end become children of this process, so that `end_descendants` finds them."""
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    if int(file.read().rsplit(b")", 1)[1].split()[1]) == os.getpid():
                        found.append(int(name))
            except (OSError, IndexError):
                continue  # ended meanwhile
    return found


def end_descendants() -> None:
    """End every process below this one; needs `adopt_orphans` before they were started."""
    while children := _children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: `status` as from waitpid; its peak resident memory; its processor seconds, all threads."""

    status: int
    timed_out: bool
    max_rss_kib: int
    cpu_s: float


def supervise(pid: int, deadline: float, control: int) -> Ending | None:
    """Wait for child `pid`; end it at `deadline` (monotonic seconds).

    `control` is a descriptor whose other end our caller holds: when it hangs up, the child is ended and None returned.
    """
    timed_out = False
    pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    poll = select.poll()
    if pidfd >= 0:
        poll.register(pidfd, select.POLLIN)
    poll.register(control, 0)  # a hang-up is always reported
    try:
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                max_rss_kib = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
                return Ending(status, timed_out, max_rss_kib, usage.ru_utime + usage.ru_stime)
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = True
                os.kill(pid, signal.SIGKILL)
            events = poll.poll(1000 * min(left, 60 if pidfd >= 0 else 0.005) if left > 0 else 50)
            if any(descriptor == control for descriptor, _ in events):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return None
    finally:
        if pidfd >= 0:
            os.close(pidfd)
