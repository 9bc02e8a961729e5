"""Where a run starts from: nothing, a run that was interrupted, or the weights of a trained head.

Resuming and a warm start are different things. A resumed run is the same run, on the same data with the same settings,
and ends with the same weights, bit for bit, as if it had not been cut. A warm start is a new run, on any data, that
begins with the weights and feature statistics of another head instead of random ones.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ebm.checkpoint import checkpoint_id, load_head, load_weights, read_config
from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from ebm.training.features import WidthMismatchError
from ebm.training.resume import ResumeState

_FREE_SETTINGS = frozenset({"checkpoint_interval", "keep_checkpoints", "memory_limit_gib"})
"""What a resumed run may change: the result does not depend on it."""


class ResumeError(ValueError):
    """A run that cannot be resumed like this; the message says what differs and what to do instead."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A trained head to begin with."""

    head: EnergyHead
    """On the CPU, in training mode."""
    ebm_id: str
    folder: Path
    held_out: tuple[str, ...]
    """Theorems that it was not trained on, as far as its checkpoint says."""

    @classmethod
    def load(cls, folder: str | Path, head_config: EnergyHeadConfig | None = None) -> "WarmStart":
        """From a checkpoint folder. `head_config`: gives the dropout; its widths must be those of the head.

        Raises:
            FileNotFoundError, CheckpointError: there is no whole checkpoint.
            WidthMismatchError: `head_config` has other widths than the head.
        """
        folder = Path(folder)
        head = load_head(folder)
        if head_config is not None:
            widths = [(c.d_encoder, c.d_hidden1, c.d_hidden2) for c in (head.config, head_config)]
            if widths[0] != widths[1]:
                raise WidthMismatchError(
                    f"the head of {folder} has the widths {_arrows(widths[0])}, and {_arrows(widths[1])} were asked "
                    "for: ask for the same, or start without its weights"
                )
            weights = head.state_dict()
            head = EnergyHead(replace(head.config, dropout=head_config.dropout))
            load_weights(head, weights, folder)
        held_out = read_config(folder).get("data", {}).get("valid_theorems", [])
        return cls(head.train(), checkpoint_id(folder), folder, tuple(held_out))

    def to_dict(self) -> dict[str, object]:
        """For config.json."""
        return {"kind": "warm", "ebm_id": self.ebm_id, "folder": str(self.folder)}


def check_resumable(
    resume: ResumeState, folder: str | Path, config: EBMTrainingConfig, digests: Sequence[Mapping[str, str]]
) -> None:
    """Raise `ResumeError` unless `resume` is an unfinished run with this data and these settings.

    folder: as the caller gave it. digests: name and sha256 of the trajectory files now, in order.
    """
    instead = f"to begin a new run from its weights, use init_from (--init-from {folder})"
    status = resume.progress.get("status")
    difference = _other_files(resume.data["trajectories"], digests) if resume.data else ""
    if status in ("finished", "early_stopped"):
        taken = resume.progress.get("steps_taken", resume.step)
        ended = "finished" if status == "finished" else "stopped early"
        other = f" (and these are other trajectories: {difference})" if difference else ""
        raise ResumeError(
            f"the run in {folder} {ended} after {taken} steps: nothing is left to resume{other}; {instead}"
        )
    if difference:
        raise ResumeError(
            f"the run in {folder} cannot be resumed on other trajectories: {difference}. Give the files it was begun "
            f"with; or {instead}"
        )
    was, now = resume.config.to_dict(), config.to_dict()
    changed = [name for name in was if was[name] != now[name] and name not in _FREE_SETTINGS]
    if changed:
        words = ", ".join(f"{name} is {was[name]} there and {now[name]} here" for name in changed)
        raise ResumeError(
            f"the run in {folder} cannot be resumed with other settings: {words}. Leave them out; or {instead}"
        )


def _other_files(was: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> str:
    """How two lists of trajectory files differ; "" if their contents are the same, in the same order."""
    before, after = [entry["sha256"] for entry in was], [entry["sha256"] for entry in now]
    if before == after:
        return ""
    missing, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    if not missing and not new:
        return "the files are the same, in another order"
    by_name = {entry["name"]: entry["sha256"] for entry in was}
    changed = [e["name"] for e in now if e["sha256"] in new and by_name.get(e["name"], e["sha256"]) != e["sha256"]]
    parts = [
        ("changed since", changed),
        ("not among them", [e["name"] for e in was if e["sha256"] in missing and e["name"] not in changed]),
        ("new", [e["name"] for e in now if e["sha256"] in new and e["name"] not in changed]),
    ]
    return "; ".join(f"{words}: {', '.join(_short(names))}" for words, names in parts if names)


def _short(names: Collection[str]) -> list[str]:
    listed = list(names)
    return listed if len(listed) <= 4 else [*listed[:4], f"and {len(listed) - 4} more"]


def _arrows(widths: tuple[int, ...]) -> str:
    return " -> ".join(map(str, widths))
