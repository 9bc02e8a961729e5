"""`make run` with a kill at a given one of its writes: `python killed_run.py PROJECT WORLD VICTIM POINT...`.

WORLD: `maze` (the Lean and the policy of tests/prover_assets, which cost nothing) or `lean` (the embedded Lean and the
shipped policy). VICTIM: `main` is this process; `host` a warm process of Lean, which forks for each file; `lean` such a
fork at work. POINT: STEP:N, before the write number N after STEP of the graph has started. Points are
taken one after another. No point: nothing is killed.

A write is a change to a file of the project that Python knows of (opened for writing, renamed, removed, a folder made)
or a statement to a database of Dagster or MLflow. Counting them, and not seconds, makes a point the same on every
machine. PROJECT/writes has one line per write: the step, and after a kill also the victim.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
BEFORE = "before"
"""The step of writes before the first step of the graph starts."""
_WRITES = os.O_WRONLY | os.O_RDWR
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


class Killer:
    """Counts writes, and kills at the points given."""

    def __init__(self, project: Path, victim: str, points: Sequence[tuple[str, int]]) -> None:
        self.victim, self.points, self.step = victim, list(points), BEFORE
        self.tally = os.open(project / "writes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.left = self._due()

    def starts(self, step: str) -> None:
        """A step of the graph starts. Writes that a point still waits for may be those of later steps."""
        self.step = step
        if self.left <= 0:
            self.left = self._due()

    def _due(self) -> int:
        return self.points[0][1] if self.points and self.points[0][0] == self.step else 0

    def write(self) -> None:
        """Count a write that is about to be made, and kill if it is the one."""
        os.write(self.tally, f"{self.step}\n".encode())
        self.left -= 1
        if self.left == 0:
            del self.points[0]
            if self.victim == "main":
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Thread(target=self._kill_child, args=(self.step,), daemon=True).start()

    def _kill_child(self, step: str) -> None:
        """Kill the first victim that is seen from now on."""
        while True:
            for host in psutil.Process().children():
                try:
                    found = host.children() if self.victim == "lean" else [host]
                    if "embedded_host.py" in " ".join(host.cmdline()) and found:
                        found[0].kill()
                        os.write(self.tally, f"{step} {self.victim}\n".encode())
                        return
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.0005)


def watch(project: Path, killer: Killer) -> None:
    """Let the killer know of writes below the folder of the project, and of the start of steps."""
    inside = str(project)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and flags & _WRITES
        else:
            path, changes = (arguments or ("",))[0], event in _CHANGES
        if changes and isinstance(path, (str, Path)) and str(path).startswith(inside):
            killer.write()

    sys.addaudithook(look)
    import dagster as dg
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "before_cursor_execute")
    def execute(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            killer.write()

    handle = dg.DagsterInstance.handle_new_event

    def handled(instance: dg.DagsterInstance, entry: dg.EventLogEntry, **more: Any) -> Any:
        if entry.dagster_event is not None and entry.dagster_event.is_step_start:
            killer.starts(str(entry.dagster_event.step_key))
        return handle(instance, entry, **more)

    dg.DagsterInstance.handle_new_event = handled  # type: ignore[method-assign]


def maze_definitions() -> None:
    """Put the maze in the place of Lean and the policy."""
    sys.path[:0] = [str(HERE), str(HERE.parent / "prover_assets")]
    import conftest as maze

    import prover_assets.definitions as definitions
    from prover_assets.defs.tracking import MlflowResource

    definitions.defs = definitions.definitions_with(
        lean=maze.MazeLean(), policy=maze.MazePolicyResource(), mlflow=MlflowResource(enabled=True)
    )
    maze.Figure.savefig = lambda figure, file, **_: file.write(maze.BLANK_PNG)  # drawing is a third of the time


def main() -> int:
    """Run the next iteration of the project, or what is left of it."""
    project, world, victim = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    points = [(step, int(number)) for step, _, number in (text.partition(":") for text in sys.argv[4:])]
    if world == "maze":
        maze_definitions()
    from prover_assets.run import main as make_run

    watch(project, Killer(project, victim, points))
    return make_run(["--config", str(project / "config.yaml")])


if __name__ == "__main__":
    sys.exit(main())
