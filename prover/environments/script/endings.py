"""In words: which signal ended a process, and whether the kernel's out-of-memory killer is the likely sender."""

import re
import signal
from pathlib import Path

# Both count the processes that the kernel has ended because memory ran out: on the machine, and in our own container.
_OOM_COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


def oom_kills() -> int:
    """Processes ended by the out-of-memory killer since the machine started, as far as this system says; else 0."""
    found = 0
    for path in _OOM_COUNTERS:
        try:
            line = re.search(r"^oom_kill (\d+)$", path.read_text("ascii"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        found += int(line[1]) if line else 0
    return found


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    return signal.Signals(number).name if number in signal.Signals._value2member_map_ else f"signal {number}"


def describe_signal(number: int, oom_before: int | None = None) -> str:
    """The signal's name and, for SIGKILL, what that may mean.

    oom_before: `oom_kills()` from before the process was started; None where it was not looked at.
    """
    name = signal_name(number)
    if number != signal.SIGKILL:
        return name
    if oom_before is not None and oom_kills() > oom_before:
        return f"{name}, and the kernel's out-of-memory killer was at work: use fewer workers, or more memory"
    return f"{name}; if nobody sent it, memory ran out (`dmesg` says so): use fewer workers, or more memory"


def describe_exit(returncode: int, oom_before: int | None = None) -> str:
    """How a process of `subprocess` ended, after "it": `was ended by SIGKILL; ...` or `ended with status 3`."""
    if returncode < 0:
        return f"was ended by {describe_signal(-returncode, oom_before)}"
    return f"ended with status {returncode}"
