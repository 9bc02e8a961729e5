"""What can be set about a search, with units and bounds; unknown keys are errors that name the nearest valid one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from prover.search.modes import CALIBRATED, MODES
from prover.settings import coerced, faults_of, setting


class SearchConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range. The message names the key and what to do."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Settings of a best-first search. Two groups: what decides the result, and what decides only the speed."""

    max_expansions: int = setting(32, unit="expansions", ge=1, le=1_000_000)
    """Budget per theorem. An expansion asks the policy for candidates at one node and tries them all."""

    n_candidates: int = setting(8, unit="tactics", ge=1, le=4096)
    """Candidates asked of the policy at each node (k)."""

    widen: int = setting(4, unit="ratio", ge=1, le=1024)
    """Where no open node is left and the budget is not used up, expanded nodes are expanded again: the policy is asked
    for twice as many candidates as the last time, up to this many times `n_candidates`, and those that are new are
    tried. 1 means never."""

    max_depth: int = setting(64, unit="tactics", ge=1, le=100_000)
    """Longest proof that is looked for. A node at this depth is kept but never expanded."""

    time_limit_s: float | None = setting(600.0, unit="seconds", gt=0)
    """Time that a theorem may use: its share of model calls and Lean calls, so that a neighbour's time is not charged
    to it. Checked before every expansion. Null means no limit. The one setting that makes a result depend on the
    machine."""

    mode: str = setting(CALIBRATED, choices=MODES)
    """Order of the frontier. Where there is no energy model, calibrated means policy-mean."""

    beta: float | None = setting(None, unit="ratio", ge=0)
    """Weight of the standardised energy against the standardised log-probability. Null means the calibration's."""

    seed: int = setting(0, ge=0)
    """Seed of the random-energy control; written to every row."""

    probe_tactics: tuple[str, ...] = setting((), unit="tactics")
    """Tactics tried at every expanded node besides the policy's own, e.g. ["assumption", "simp_all"]."""

    probe_log_prob: float = setting(-3.0, unit="nats", le=0)
    """Log-probability that a probe tactic is given."""

    max_crashes: int = setting(3, unit="expansions", ge=1)
    """A theorem ends as crashed after this many expansions in a row in which Lean answered nothing at all, or fewer
    where nothing else is left to expand."""

    cohorts: int = setting(3, unit="count", ge=1)
    """Waves in flight: while Lean works on one, the model works on another. Speed only."""

    wave_size: int = setting(64, unit="theorems", ge=1)
    """Most theorems in one wave; cohorts * wave_size theorems are open at a time. Speed and memory only."""

    fill_wave_to: int = setting(0, unit="expansions", ge=0)
    """When a wave has fewer expansions than this, the next-best nodes of its theorems are tried ahead of their turn, so
    that later expansions find their outcomes known. Order and counts do not change. 0 means never. Speed only."""

    certify_batch: int = setting(8, unit="claims", ge=1)
    """Claims that are gathered before Lean is asked to certify them (fewer when nothing else is left). Speed only."""

    def __post_init__(self) -> None:
        faults = faults_of(self)
        if faults:
            raise SearchConfigError("; ".join(f"search.{fault}" for fault in faults))
        if self.beta is not None and not MODES[self.mode].needs_scale:
            raise SearchConfigError(
                f"search.beta is {self.beta} but mode {self.mode!r} has no beta; leave beta out, or use {CALIBRATED!r}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build from parsed YAML or JSON. Raises `SearchConfigError` on an unknown key or a value of another type."""
        try:
            return cls(**coerced(cls, values))
        except SearchConfigError:
            raise
        except ValueError as error:
            raise SearchConfigError(f"search.{error}") from None

    def to_dict(self) -> dict[str, object]:
        """Plain values, accepted by `from_dict`."""
        values = asdict(self)
        values["probe_tactics"] = list(self.probe_tactics)
        return values

    def result_settings(self) -> dict[str, object]:
        """The settings that can change a result: what a resumed run must share with the run it continues."""
        return {key: value for key, value in self.to_dict().items() if key not in _SPEED_ONLY}


_SPEED_ONLY = frozenset({"cohorts", "wave_size", "fill_wave_to", "certify_batch"})
