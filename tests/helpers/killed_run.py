"""`make run` over the maze, killed at a given one of its writes: `python killed_run.py PROJECT AT`.

A write is a change to a file of the project that Python knows of (opened for writing, renamed, removed, a folder made)
or a statement to a database of Dagster or MLflow. Counting them, and not seconds, makes a point the same on every
machine. AT 0 kills nothing. The count of writes is kept in PROJECT/writes, one line per start.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_WRITES = os.O_WRONLY | os.O_RDWR
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


def killing(project: Path, at: int) -> None:
    """Count writes below the folder of the project from now on; before number `at`, end this process with SIGKILL."""
    inside, count = str(project), 0
    tally = os.open(project / "writes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(tally, b"\n")

    def write() -> None:
        nonlocal count
        count += 1
        os.write(tally, b".")
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and flags & _WRITES
        else:
            path, changes = (arguments or ("",))[0], event in _CHANGES
        if changes and isinstance(path, (str, Path)) and str(path).startswith(inside):
            write()

    sys.addaudithook(look)
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "before_cursor_execute")
    def execute(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            write()


def main() -> int:
    """Run the next iteration of the project, or what is left of it."""
    project, at = Path(sys.argv[1]), int(sys.argv[2])
    sys.path[:0] = [str(HERE), str(HERE.parent / "prover_assets")]
    import conftest as maze

    import prover_assets.definitions as definitions
    from prover_assets.defs.tracking import MlflowResource
    from prover_assets.run import main as make_run

    definitions.defs = definitions.definitions_with(
        lean=maze.MazeLean(), policy=maze.MazePolicyResource(), mlflow=MlflowResource(enabled=True)
    )
    maze.Figure.savefig = lambda figure, file, **_: file.write(maze.BLANK_PNG)  # drawing is a third of the time
    killing(project, at)
    return make_run(["--config", str(project / "config.yaml")])


if __name__ == "__main__":
    sys.exit(main())
