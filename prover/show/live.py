"""A search while it runs, as a watcher reads it: part files for what is finished, `X.live.json` for what is open.

Nothing of the search waits for this: it reads files that are written whole, and touches one (`prover.search.glimpse`).
"""

import json
import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prover.json_types import JsonObject
from prover.search.glimpse import FRESH_S, live_file, watched_file
from prover.trajectory.schema import parts_folder, sibling_path

RATE_WINDOW_S = 20.0
RUNNING, UNFINISHED, FINISHED = "running", "unfinished", "finished"


@dataclass(frozen=True, slots=True)
class Landed:
    """A theorem that is done."""

    name: str
    proved: bool
    ended: str
    steps: int
    """Tactics of its proof; 0 without one."""
    expansions: int
    seconds: float
    proof: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveView:
    """A search at one moment. Rates are per second, over the last `RATE_WINDOW_S`; None before there are two looks."""

    output: Path
    state: str
    """running | unfinished (nobody writes now, or not on this machine) | finished."""
    theorems: int | None
    """None where the search does not say it."""
    done: int
    proved: int
    expansions: int
    expansions_rate: float | None
    done_rate: float | None
    elapsed_s: float | None
    """Of the running process."""
    model_s: float
    lean_s: float
    landed: tuple[Landed, ...]
    """All that are done and on disk, the latest last."""
    searches: tuple[JsonObject, ...]
    """Open theorems, as `prover.search.glimpse.glimpse` describes them."""
    generation: int = 0
    """Within one `LiveSearch`: with the same number, `landed` has only grown."""

    @property
    def seconds_left(self) -> float | None:
        """At the rate of the last seconds; None where it is not known."""
        if self.theorems is None or not self.done_rate:
            return None
        return (self.theorems - self.done) / self.done_rate


class LiveSearch:
    """Watches one search. output: `X.parquet` or `X.parts`; it need not exist yet."""

    def __init__(self, output: Path) -> None:
        self.output = output.with_suffix(".parquet")
        self._read: dict[str, int] = {}  # part -> its size when it was read
        self._landed: list[Landed] = []
        self._figures = {"model_s": 0.0, "lean_s": 0.0}
        self._merged: tuple[int, int] | None = None  # `_stamp` of the merged file that was read
        self._generation = 0
        self._looks: deque[tuple[float, int, int]] = deque()  # (when, done, expansions)

    def look(self) -> LiveView:
        """Read what is new. Raises `prover.trajectory.TrajectoryError` for a damaged file."""
        self._touch()
        live = self._live()
        self._take_in()
        state = RUNNING if live is not None else FINISHED if self._merged is not None else UNFINISHED
        done, expansions = len(self._landed), sum(one.expansions for one in self._landed)
        if live is not None:
            done, expansions = int(live["done"]), int(live["expansions"])
        done_rate, expansions_rate = self._rates(done, expansions, running=live is not None)
        return LiveView(
            output=self.output,
            state=state,
            theorems=int(live["theorems"]) if live is not None else done if self._merged is not None else None,
            done=done,
            proved=int(live["proved"]) if live is not None else sum(one.proved for one in self._landed),
            expansions=expansions,
            expansions_rate=expansions_rate,
            done_rate=done_rate,
            elapsed_s=float(live["elapsed_s"]) if live is not None else None,
            model_s=float(live["model_s"]) if live is not None else self._figures["model_s"],
            lean_s=float(live["lean_s"]) if live is not None else self._figures["lean_s"],
            landed=tuple(self._landed),
            searches=tuple(live["searches"]) if live is not None else (),
            generation=self._generation,
        )

    def close(self) -> None:
        """Tell the search that nobody watches any more."""
        with suppress(OSError):
            watched_file(self.output).unlink(missing_ok=True)

    def _touch(self) -> None:
        if not parts_folder(self.output).is_dir():
            return
        with suppress(OSError):  # a folder that only others may write to: its part files can still be read
            watched_file(self.output).touch()

    def _live(self) -> JsonObject | None:
        """What the search last wrote, where that is not old."""
        try:
            found = json.loads(live_file(self.output).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or written by something else
            return None
        if not isinstance(found, dict) or not isinstance(found.get("at"), int | float):
            return None
        return found if time.time() - found["at"] <= FRESH_S else None

    def _take_in(self) -> None:
        """Read the parts that are new; or, once, the merged file."""
        from prover.trajectory.reader import TrajectoryError

        parts, summary = parts_folder(self.output), sibling_path(self.output, "summary")
        names = sorted(parts.glob("part-?????.summary.parquet")) if parts.is_dir() else []
        if self._merged is not None and (names or _stamp(summary) != self._merged):  # searched again in this place
            self._merged = None
            self._forget()
        if self._merged is not None:
            return
        if not names and summary.exists():
            stamp = _stamp(summary)
            self._forget()
            self._add(summary)
            self._merged = stamp
            return
        if set(self._read) - {path.name for path in names}:  # another run has begun in this place
            self._forget()
        for path in names:
            size = path.stat().st_size if path.exists() else 0
            if not size or self._read.get(path.name) == size:
                continue
            try:
                self._add(path)
            except TrajectoryError:
                if path.exists():
                    raise
                return  # the search has just ended: the next look reads the merged file
            self._read[path.name] = size

    def _forget(self) -> None:
        self._read.clear()
        self._landed.clear()
        self._figures = dict.fromkeys(self._figures, 0.0)
        self._generation += 1

    def _add(self, summary: Path) -> None:
        from prover.trajectory.reader import read_summaries

        nodes = summary.with_name(summary.name.replace(".summary", ""))
        known = {one.name for one in self._landed}
        rows = read_summaries(nodes).to_dicts()
        for row in rows:
            if row["theorem_name"] in known:
                continue
            spent = (row["model_ms"] + row["lean_ms"] + row["own_ms"]) / 1000
            self._figures["model_s"] += row["model_ms"] / 1000
            self._figures["lean_s"] += row["lean_ms"] / 1000
            proof = tuple(row["proof"] or ()) if row["certified"] else ()
            self._landed.append(
                Landed(row["theorem_name"], row["certified"], row["ended"], len(proof), row["expansions"], spent, proof)
            )

    def _rates(self, done: int, expansions: int, *, running: bool) -> tuple[float | None, float | None]:
        if not running:
            self._looks.clear()
            return None, None
        self._looks.append((time.monotonic(), done, expansions))
        while len(self._looks) > 2 and self._looks[-1][0] - self._looks[0][0] > RATE_WINDOW_S:
            self._looks.popleft()
        (since, done_then, expansions_then), (now, *_) = self._looks[0], self._looks[-1]
        if now <= since:
            return None, None
        return (done - done_then) / (now - since), (expansions - expansions_then) / (now - since)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that lay there before; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def searches_in(folder: Path) -> dict[str, Path]:
    """The searches in a data folder: name -> output (`X.parquet`); running or cut off first, then the latest first.

    A name is the path within the folder, without `.parquet`. Links are not followed: they may lead anywhere.
    """
    found: dict[str, tuple[bool, float]] = {}
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # removed meanwhile, or of somebody else
            continue
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(folder).as_posix()
            if entry.is_symlink():
                continue
            if entry.is_dir() and entry.name.endswith(".parts"):
                found[name.removesuffix(".parts")] = True, entry.stat().st_mtime
            elif entry.is_dir():
                waiting += [path] if name not in _NO_SEARCHES else []
            elif entry.name.endswith(".summary.parquet"):
                found.setdefault(name.removesuffix(".summary.parquet"), (False, entry.stat().st_mtime))
    order = sorted(found, key=lambda name: found[name], reverse=True)
    return {name: folder / f"{name}.parquet" for name in order}


_NO_SEARCHES = frozenset({"mlflow", "embeddings", "logs"})
"""Folders of the data folder that hold many files, and no search."""


def newest_search(folder: Path) -> Path | None:
    """The output (`X.parquet`) of the search in a data folder that was written to last; a running one first."""
    return next(iter(searches_in(folder).values()), None)
