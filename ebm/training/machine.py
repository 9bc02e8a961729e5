"""The machine that a head is trained on. Nothing here decides a result."""

import os
from dataclasses import dataclass

from prover.settings import checked, setting

_SMALL_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class TrainingMachine:
    """What a training may use of its machine."""

    threads: int = setting(0, unit="count", ge=0, le=1024)
    """CPU threads of the training. 0: one for a small head, else all cores."""

    def __post_init__(self) -> None:
        checked(self)


def threads_for(width: int) -> int:
    """Threads for a head that reads vectors of `width` numbers, where nobody has chosen.

    A training step of a small head is too short to share: threads that wait for each other cost more than they do.
    """
    return 1 if width < _SMALL_WIDTH else os.cpu_count() or 1
