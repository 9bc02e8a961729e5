"""The promoted energy model of a data folder: `champion.json`, a pointer to a checkpoint with its reasons."""

import glob
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prover.files import write_json_atomic
from prover.json_digest import parse_json
from prover.storage import on_disk

CHAMPION_FILE = "champion.json"
CHAMPION = "champion"


class ChampionError(ValueError):
    """champion.json cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Champion:
    """Which checkpoint searches use, and why."""

    checkpoint: str
    """Folder, relative to the data folder where it lies inside it."""
    ebm_id: str
    iteration: int | None = None
    """Iteration that trained it."""
    promoted_at: str = ""
    """UTC, ISO 8601."""
    evidence: dict[str, object] = field(default_factory=dict)
    """What the promotion rests on, e.g. held-out areas with and without it."""

    def path(self, data_dir: str | Path) -> Path:
        """Folder of the checkpoint in a data folder."""
        return Path(data_dir) / self.checkpoint


def read_champion(data_dir: str | Path) -> Champion | None:
    """The champion of a data folder; None when nothing has been promoted.

    Raises:
        ChampionError: champion.json is not what `promote` writes.
    """
    path = Path(data_dir) / CHAMPION_FILE
    if not path.is_file():
        return None
    try:
        champion = Champion(**parse_json(path.read_text(encoding="utf-8")))
        if not isinstance(champion.checkpoint, str) or not isinstance(champion.ebm_id, str):
            raise TypeError("checkpoint and ebm_id are text")
        return champion
    except (ValueError, TypeError) as error:
        raise ChampionError(
            f"{path} is not a champion file ({error}): delete it, or promote a checkpoint again"
        ) from error


def promote(
    data_dir: str | Path,
    checkpoint: str | Path,
    *,
    iteration: int | None = None,
    evidence: Mapping[str, object] | None = None,
) -> Champion:
    """Make a checkpoint the champion of a data folder, atomically. Raises if it is not a whole checkpoint."""
    from ebm.checkpoint import checkpoint_id

    folder, root = Path(checkpoint).resolve(), Path(data_dir).resolve()
    champion = Champion(
        checkpoint=os.fspath(folder.relative_to(root) if folder.is_relative_to(root) else folder),
        ebm_id=checkpoint_id(folder),
        iteration=iteration,
        promoted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        evidence=dict(evidence or {}),
    )
    write_json_atomic(root / CHAMPION_FILE, asdict(champion))
    return champion


def policy_of_checkpoint(path: str | Path, data_dir: str | Path) -> Path | None:
    """The tuned policy of a data folder whose hidden vectors a checkpoint reads; None where it reads another policy's.

    path: as in `resolve_checkpoint`, which says what is raised. An adopted policy lies in `policies/NAME-FINGERPRINT`,
    with the first eight digits of the fingerprint that the checkpoint's `policy_id` ends in.
    """
    from ebm.checkpoint import read_config

    encoder = read_config(resolve_checkpoint(path, data_dir)).get("encoder") or {}
    fingerprint = (encoder.get("policy_id") or "").rpartition(":")[2][:8]
    if len(fingerprint) < 8:
        return None
    found = sorted((Path(data_dir) / "policies").glob(f"*-{glob.escape(fingerprint)}"))
    return found[0] if found else None


def resolve_checkpoint(path: str | Path, data_dir: str | Path) -> Path:
    """A checkpoint folder from a path, a URL of a store (fetched to this machine), or from the word `champion`.

    Raises:
        ChampionError: nothing has been promoted, or the champion's folder is gone.
        FileNotFoundError: the path does not exist.
        StorageError: the store cannot be used, or has nothing there.
    """
    if os.fspath(path) != CHAMPION:
        folder = on_disk(path)
        if not folder.is_dir():
            raise FileNotFoundError(f"no energy-model checkpoint at {folder}: give its folder, or `{CHAMPION}`")
        return folder
    champion = read_champion(data_dir)
    if champion is None:
        raise ChampionError(
            f"no champion has been promoted in {data_dir}: train and promote one (an iteration does), give a "
            "checkpoint folder, or search without an energy model"
        )
    folder = champion.path(data_dir)
    if not folder.is_dir():
        raise ChampionError(
            f"the champion {champion.ebm_id} should be at {folder}, which is gone: restore it, or delete "
            f"{Path(data_dir) / CHAMPION_FILE} to search without one"
        )
    return folder
