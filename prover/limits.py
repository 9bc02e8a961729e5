"""What the system refused a process: open files, memory, processes. Such errors surface anywhere, as anything."""

import errno
import re

_MEMORY = re.compile(
    r"failed to map segment|cannot allocate memory|can't allocate memory|out of memory|not enough memory|bad_alloc"
    r"|can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)


def limit_sentence(error: BaseException) -> str | None:
    """What limit an error, or what it was raised from, has run into, and what to do; None for other errors."""
    import resource

    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None) if isinstance(cause, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE) or "too many open files" in str(cause).lower():
            allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return (
                f"no more files can be opened: this process may have {allowed}, and needs some 64; raise `ulimit -n`, "
                "or use fewer --lean-workers"
            )
        if number == errno.ENOMEM or isinstance(cause, MemoryError) or _MEMORY.search(str(cause)):
            allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
            least = "" if allowed == resource.RLIM_INFINITY else f", which may use {allowed / 2**30:.1f} GiB"
            said = " ".join(str(cause).split())[:200] or type(cause).__name__
            return (
                f"there is not enough memory for this process{least} ({said}); raise `ulimit -v` or the container's "
                "limit, or use fewer --lean-workers"
            )
        cause = cause.__cause__ or cause.__context__
    return None
