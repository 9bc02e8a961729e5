"""The open nodes of one search in the order they will be expanded: one or more queues, popped in turn."""

import heapq
from collections.abc import Iterator
from typing import Protocol

import numpy as np


class OpenNodes(Protocol):
    """What a search asks of its frontier."""

    def __len__(self) -> int: ...

    def __contains__(self, index: int) -> bool: ...

    def push(self, index: int, priorities: tuple[float, ...]) -> None:
        """Open a node, or move one that is open."""
        ...

    def pop(self) -> int:
        """Take the best open node out."""
        ...

    def upcoming(self, n: int) -> list[int]:
        """The n nodes that would be popped next if nothing were pushed in between."""
        ...


class Frontier:
    """Max-priority queues over node indices. Ties go to the node that was created first.

    With several queues (split-queue mode) each node is in all of them, pops go round the queues, and a node popped from
    one is gone from all. Pushing a node again replaces its priorities.
    """

    def __init__(self, n_queues: int = 1) -> None:
        self._heaps: list[list[tuple[float, int, int]]] = [[] for _ in range(n_queues)]
        self._version: dict[int, int] = {}  # of the open nodes; heap entries with another version are stale
        self._pushes = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._version)

    def __contains__(self, index: int) -> bool:
        return index in self._version

    def push(self, index: int, priorities: tuple[float, ...]) -> None:
        """Open a node, or move one that is open. priorities: one a queue, higher is popped first, never NaN."""
        if len(priorities) != len(self._heaps):
            raise ValueError(f"{len(priorities)} priorities for {len(self._heaps)} queues")
        if any(priority != priority for priority in priorities):
            raise ValueError(f"node {index} has a priority that is not a number: {priorities}")
        self._pushes += 1
        version = self._version[index] = self._pushes
        for heap, priority in zip(self._heaps, priorities, strict=True):
            heapq.heappush(heap, (-priority, index, version))

    def pop(self) -> int:
        """The best open node of the queue whose turn it is. Raises IndexError when none is open."""
        heap = self._heaps[self._turn % len(self._heaps)]
        self._turn += 1
        while True:
            _, index, version = heapq.heappop(heap)
            if self._version.get(index) == version:
                del self._version[index]
                return index

    def upcoming(self, n: int) -> list[int]:
        """The n nodes that would be popped next if nothing were pushed in between; changes nothing."""
        queues = [self._ordered(heap) for heap in self._heaps]
        taken: list[int] = []
        seen: set[int] = set()
        turn = self._turn
        while len(taken) < min(n, len(self._version)):
            for index in queues[turn % len(queues)]:
                if index not in seen:
                    seen.add(index)
                    taken.append(index)
                    break
            turn += 1
        return taken

    def _ordered(self, heap: list[tuple[float, int, int]]) -> Iterator[int]:
        for _, index, version in sorted(heap):
            if self._version.get(index) == version:
                yield index


class RankedFrontier:
    """Open nodes by the sum of their ranks, one rank per priority: no priority needs a scale beside the others.

    A node's rank in a priority is the number of open nodes that have a strictly higher one. Ranks are taken among the
    nodes that are open at the time of the pop; ties go to the node that was created first.
    """

    def __init__(self, n_priorities: int) -> None:
        self._n_priorities = n_priorities
        self._open: dict[int, tuple[float, ...]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, index: int) -> bool:
        return index in self._open

    def push(self, index: int, priorities: tuple[float, ...]) -> None:
        """Open a node, or give one that is open other priorities: higher is better, never NaN."""
        if len(priorities) != self._n_priorities:
            raise ValueError(f"{len(priorities)} priorities given, {self._n_priorities} are ranked")
        if any(priority != priority for priority in priorities):
            raise ValueError(f"node {index} has a priority that is not a number: {priorities}")
        self._open[index] = priorities

    def pop(self) -> int:
        """The open node with the least sum of ranks. Raises IndexError when none is open."""
        if not self._open:
            raise IndexError("no node is open")
        index = self._best(self._open)
        del self._open[index]
        return index

    def upcoming(self, n: int) -> list[int]:
        """The n nodes that would be popped next if nothing were pushed in between; changes nothing."""
        left = dict(self._open)
        taken: list[int] = []
        while left and len(taken) < n:
            taken.append(self._best(left))
            del left[taken[-1]]
        return taken

    def _best(self, nodes: dict[int, tuple[float, ...]]) -> int:
        order = sorted(nodes)
        values = -np.array([nodes[index] for index in order])  # (n, priorities), lower is better
        ranks = [np.searchsorted(np.sort(column), column, side="left") for column in values.T]
        return order[int(np.argmin(np.sum(ranks, axis=0)))]
