"""`make run`: the next iteration, in this process, with progress on the terminal and a summary at the end."""

import signal
import sys
import threading
from collections.abc import Sequence

STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one iteration, or several. Exit code 0: all went well; 1: the reason is on standard error; 130: Ctrl-C."""
    reported, sys.unraisablehook = sys.unraisablehook, _insist
    try:
        from prover_assets.operate.run_iteration import run  # seconds of imports, in which Ctrl-C wants an answer too

        return run(arguments)
    except KeyboardInterrupt:
        print("\nstopped; `make run` goes on from here", file=sys.stderr)
        return STOPPED
    finally:
        sys.unraisablehook = reported


def _insist(unraisable: "sys.UnraisableHookArgs") -> None:
    """A Ctrl-C that fell into a callback, of which every import has some, is dropped by Python: it comes again."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # Not here, which is still within the callback; and to the main thread, which may be asleep.
        again = threading.Timer(0.02, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    sys.exit(main())
