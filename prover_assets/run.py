"""`make run`: the next iteration, in this process, with progress on the terminal and a summary at the end."""

import sys
from collections.abc import Sequence

STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one iteration, or several. Exit code 0: all went well; 1: the reason is on standard error; 130: Ctrl-C."""
    try:
        from prover_assets.running import run  # seconds of imports, in which Ctrl-C wants an answer too

        return run(arguments)
    except KeyboardInterrupt:
        print("\nstopped; `make run` goes on from here", file=sys.stderr)
        return STOPPED


if __name__ == "__main__":
    sys.exit(main())
