"""The names of iterations, `iter_000`, `iter_001`, ...: of folders in the data folder and of partitions in Dagster."""

import re
from collections.abc import Iterable

FIRST_ITERATION = "iter_000"

_KEY = re.compile(r"iter_(\d{3,})")


def iteration_key(number: int) -> str:
    """`iter_007` for 7."""
    if number < 0:
        raise ValueError(f"an iteration number is 0 or more; got {number}")
    return f"iter_{number:03d}"


def iteration_number(key: str) -> int:
    """7 for `iter_007`. Raises ValueError for anything else."""
    match = _KEY.fullmatch(key)
    if match is None or iteration_key(int(match[1])) != key:
        raise ValueError(f"an iteration is named iter_000, iter_001, ...; got {key!r}")
    return int(match[1])


def following(key: str) -> str:
    """The key of the next iteration: `iter_008` for `iter_007`."""
    return iteration_key(iteration_number(key) + 1)


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys sorted by their number (iter_1000 after iter_999); keys of another form are left out."""
    return sorted((key for key in keys if _KEY.fullmatch(key)), key=iteration_number)
