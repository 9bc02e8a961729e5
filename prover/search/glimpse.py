"""What a running search looks like at this moment, for who watches it (`prover live`), and for nobody else.

A watcher touches `X.watched` beside the search's output now and then. While that is fresh, the search writes
`X.live.json`: counts, and a few of the open trees with their frontiers. Without a watcher a search asks for one file's
time per second and does nothing else.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prover.search.best_first import TheoremSearch
from prover.search.searcher import SearchProgress

FRESH_S = 10.0
"""A watcher that has not been heard of for this long (seconds) is gone."""
LOOK_EVERY_S = 1.0
MOST_SHARE = 0.01
"""Of the search's time that showing it may take: after a glimpse that took long, the next one comes later."""
MOST_SEARCHES, MOST_NODES, MOST_FRONTIER = 4, 300, 12
"""Open searches that are shown; nodes of each, the newest where there are more; and the best of its open nodes."""


def watched_file(output: Path) -> Path:
    """The file that a watcher touches. output: of the search, `X.parquet`."""
    return output.with_suffix(".watched")


def live_file(output: Path) -> Path:
    """The file that the search writes while it is watched."""
    return output.with_suffix(".live.json")


class Glimpses:
    """Writes what a search looks like while somebody watches."""

    def __init__(self, output: Path, *, taken_over: int = 0) -> None:
        """taken_over: theorems that an earlier run finished; they count as done."""
        self._watched, self._live = watched_file(output), live_file(output)
        self._taken_over = taken_over
        self._next_look = 0.0

    def write_if_watched(self, progress: SearchProgress) -> None:
        """Cheap: call it often."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        try:
            fresh = time.time() - self._watched.stat().st_mtime <= FRESH_S
        except OSError:  # nobody watches
            return
        if fresh:
            began = time.perf_counter()
            self._write(progress)
            self._next_look = now + max(LOOK_EVERY_S, (time.perf_counter() - began) / MOST_SHARE)

    def _write(self, progress: SearchProgress) -> None:
        text = json.dumps(glimpse(progress, self._taken_over), ensure_ascii=False)
        temporary = self._live.with_name(self._live.name + ".tmp")
        with suppress(OSError):  # a full disk is the writer's to report, not the watcher's
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self._live)


@contextmanager
def shown_while_watched(output: str | Path) -> Iterator[None]:
    """Removes what was shown of a search when it ends, however it ends."""
    try:
        yield
    finally:
        with suppress(OSError):
            live_file(Path(output)).unlink(missing_ok=True)


def glimpse(progress: SearchProgress, taken_over: int = 0) -> dict[str, object]:
    """A search at this moment as plain values.

    `at`: Unix time, seconds. `searches`: of each open theorem shown its name, expansions so far, number of nodes, the
    nodes as [place of the parent, tactic, ENERGY (lower is better), number of its expansion, state], and the frontier:
    places in `nodes`, the next to be expanded first.
    """
    counts = {
        name: getattr(progress, name)
        for name in ("theorems", "done", "proved", "active", "expansions", "tactics", "elapsed_s", "model_s", "lean_s")
    }
    counts["theorems"] += taken_over
    counts["done"] += taken_over
    largest = sorted(progress.open_searches(), key=lambda search: -search.expansions)[:MOST_SEARCHES]
    return {"at": time.time(), "process": os.getpid(), **counts, "searches": [_open_search(one) for one in largest]}


def _open_search(search: TheoremSearch) -> dict[str, object]:
    frontier = search.frontier(MOST_FRONTIER)
    nodes = search.tree.nodes
    shown = {0, *frontier} if nodes else set()
    for node in reversed(nodes):
        if len(shown) >= MOST_NODES:
            break
        shown.add(node.index)
    for index in list(shown):  # whoever is shown has its path shown
        parent = nodes[index].parent
        while parent is not None and parent not in shown:
            shown.add(parent)
            parent = nodes[parent].parent
    order = sorted(shown)
    place = {index: number for number, index in enumerate(order)}
    return {
        "name": search.theorem.name,
        "statement": search.theorem.statement,
        "expansions": search.expansions,
        "size": len(nodes),
        "nodes": [
            [
                None if nodes[index].parent is None else place[nodes[index].parent or 0],
                nodes[index].tactic,
                None if nodes[index].score is None else round(-(nodes[index].score or 0.0), 3),
                nodes[index].expansion,
                nodes[index].state.text,
            ]
            for index in order
        ],
        "frontier": [place[index] for index in frontier],
    }
