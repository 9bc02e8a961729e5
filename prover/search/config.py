"""What can be set about a search, with units; unknown keys are errors that name the nearest valid one."""

import difflib
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, get_args, get_origin

MODES: tuple[str, ...] = (
    "calibrated",
    "policy-mean",
    "policy-cumulative",
    "energy-only",
    "raw-half-half",
    "random-energy",
    "breadth-first",
    "split-queue",
)
"""Names of the orders of the frontier; `prover.search.guidance.Guidance` has their formulas."""


class SearchConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range. The message names the key and what to do."""


def nearest(name: str, valid: tuple[str, ...]) -> str:
    """` (did you mean X?)` for the valid name nearest to `name`, or the list of all of them if none is near."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(valid))}"


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Settings of a best-first search. Two groups: what decides the result, and what decides only the speed."""

    max_expansions: int = 32
    """Budget a theorem, in expansions. An expansion asks the policy for candidates at one node and tries them all."""

    n_candidates: int = 8
    """Candidates asked of the policy at a node (k)."""

    max_depth: int = 64
    """Longest proof that is looked for, in tactics. A node at this depth is kept but never expanded."""

    time_limit_s: float | None = 600.0
    """Seconds a theorem may use: its share of model calls and Lean calls, so that a neighbour's time is not charged
    to it. Checked before every expansion. None: no limit. The one setting that makes a result depend on the machine."""

    mode: str = "calibrated"
    """Order of the frontier, one of `MODES`."""

    beta: float | None = None
    """Weight of the standardised energy against the standardised log-prob, instead of the calibration's. >= 0."""

    seed: int = 0
    """Seed of the random-energy control; written to every row. >= 0."""

    probe_tactics: tuple[str, ...] = ()
    """Tactics tried at every expanded node besides the policy's own, e.g. ("assumption", "simp_all")."""

    probe_log_prob: float = -3.0
    """Log-probability (nats, <= 0) that a probe tactic is given."""

    max_crashes: int = 3
    """A theorem ends as `crashed` after this many expansions in a row in which Lean answered nothing at all, or
    fewer where nothing else is left to expand."""

    cohorts: int = 2
    """Waves in flight: while Lean works on one, the model works on another. Speed only."""

    wave_size: int = 64
    """Most theorems in one wave; cohorts * wave_size theorems are open at a time. Speed and memory only."""

    fill_wave_to: int = 0
    """When a wave has fewer expansions than this, the next-best nodes of its theorems are tried ahead of their turn, so
    that later expansions find their outcomes known. Order and counts do not change. 0: never. Speed only."""

    certify_batch: int = 8
    """Claims that are gathered before Lean is asked to certify them (fewer when nothing else is left). Speed only."""

    def __post_init__(self) -> None:
        for name, low in _MINIMA.items():
            value = getattr(self, name)
            if value is not None and not value >= low:  # NaN is none of both
                raise SearchConfigError(f"search.{name} is {value}; it must be at least {low}")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise SearchConfigError(
                f"search.time_limit_s is {self.time_limit_s}; give seconds > 0, or null for no limit"
            )
        if not self.probe_log_prob <= 0:
            raise SearchConfigError(f"search.probe_log_prob is {self.probe_log_prob}; a log-probability is at most 0")
        if self.mode not in MODES:
            raise SearchConfigError(f"search.mode is {self.mode!r}, which is no mode; {nearest(self.mode, MODES)}")
        if self.beta is not None and self.mode not in ("calibrated", "random-energy", "split-queue"):
            raise SearchConfigError(
                f"search.beta is {self.beta} but mode {self.mode!r} has no beta; leave beta out, or use 'calibrated'"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from parsed YAML or JSON. Raises `SearchConfigError` on an unknown key or a value of another type."""
        known = {field.name: field.type for field in fields(cls)}
        checked: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                raise SearchConfigError(f"search.{key} is no setting; {nearest(str(key), tuple(known))}")
            checked[key] = _coerce(key, value, known[key])
        return cls(**checked)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, accepted by `from_dict`."""
        values = asdict(self)
        values["probe_tactics"] = list(self.probe_tactics)
        return values

    def result_settings(self) -> dict[str, Any]:
        """The settings that can change a result: what a resumed run must share with the run it continues."""
        return {key: value for key, value in self.to_dict().items() if key not in _SPEED_ONLY}


_MINIMA: dict[str, float] = {
    "max_expansions": 1,
    "n_candidates": 1,
    "max_depth": 1,
    "beta": 0.0,
    "seed": 0,
    "max_crashes": 1,
    "cohorts": 1,
    "wave_size": 1,
    "fill_wave_to": 0,
    "certify_batch": 1,
}
_SPEED_ONLY = frozenset({"cohorts", "wave_size", "fill_wave_to", "certify_batch"})


def _coerce(key: str, value: Any, declared: Any) -> Any:
    """Check `value` against the declared type; whole floats are not ints, ints are floats, booleans are neither."""
    options = get_args(declared) if isinstance(declared, types.UnionType) else (declared,)
    if value is None:
        if type(None) in options:
            return None
    elif not isinstance(value, bool):
        for option in options:
            if option is float and isinstance(value, int | float):
                return float(value)
            if option in (int, str) and isinstance(value, option):
                return value
            is_list = get_origin(option) is tuple and isinstance(value, list | tuple)
            if is_list and all(isinstance(item, str) for item in value):
                return tuple(value)
    wanted = " or ".join(
        "null" if option is type(None) else getattr(option, "__name__", str(option)) for option in options
    )
    raise SearchConfigError(f"search.{key} is {value!r}; expected {wanted}")
