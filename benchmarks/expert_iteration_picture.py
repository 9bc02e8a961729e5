"""The picture of `expert_iteration.py`: what was proved on held-out theorems, round by round."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Measured(Protocol):
    """One world in one round."""

    @property
    def world(self) -> str: ...
    @property
    def round(self) -> int: ...
    @property
    def theorems(self) -> int: ...
    @property
    def guided_area(self) -> float: ...
    @property
    def policy_area(self) -> float: ...


def draw(rows: Sequence[Measured], path: Path) -> None:
    """A picture of the climb: area of each round, guided and with the policy alone, over all worlds and in each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    worlds = [world for world in dict.fromkeys(row.world for row in rows) if world != "all"]
    shown = ["all", *(w for w in worlds if len({row.round for row in rows if row.world == w}) > 2)]
    figure, places = plt.subplots(1, len(shown), figsize=(3.1 * len(shown), 2.9), sharey=True, layout="constrained")
    for place, world in zip(places if len(shown) > 1 else [places], shown, strict=True):
        some = [row for row in rows if row.world == world]
        numbers = [row.round for row in some]
        place.plot(numbers, [row.guided_area for row in some], "o-", color="#2f8fdd", label="guided by the energy")
        place.plot(numbers, [row.policy_area for row in some], "s--", color="#7a8892", label="policy alone")
        place.set_title(f"{world.replace('_', ' ')}, {some[0].theorems} held-out theorems", fontsize=9)
        place.set_xlabel("round")
        place.set_xticks(numbers)
        place.grid(alpha=0.25)
    first = places[0] if len(shown) > 1 else places
    first.set_ylabel("area under the solve curve")
    first.legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
