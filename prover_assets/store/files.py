"""The small files of the data folder: JSON written whole or not at all, digests, and what to say of a damaged file."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from prover.files import write_json_atomic
from prover.json_digest import parse_json
from prover.json_types import JsonObject
from prover_assets.store.iterations import iteration_key, iteration_number


class DamagedFile(ValueError):
    """A file of the data folder that is not what it should be. The message names it, what is wrong and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {' '.join(reason.split())}; materialize {maker(path)} again")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one. NaN and infinity become null.

    The last key, `digest`, is of all the others: `read_json` takes it off again, and refuses a file that it does not
    fit.
    """
    write_json_atomic(path, _finite(content))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_json(path: Path) -> JsonObject | None:
    """The content of a JSON file without its digest, or None where there is none.

    Raises DamagedFile for one that is not an object or was changed since it was written. Older files have no digest.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFile(path, f"it should hold a JSON object, and is no JSON ({error})") from error
    except ValueError as error:
        raise DamagedFile(path, str(error)) from error
    if not isinstance(content, dict):
        raise DamagedFile(path, f"it should hold a JSON object, and holds a {type(content).__name__}")
    return content


def require_parquet(path: Path) -> None:
    """Check a Parquet file against its digest; of one without, that its columns can be read.

    Raises DamagedFile, and FileNotFoundError for a file that is not there: it is missing, not damaged.
    """
    import pyarrow.parquet as pq

    from prover.parquet import UNREADABLE, ParquetDamaged, check

    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; materialize {maker(path)} again")
    try:
        if not check(path):
            pq.read_schema(path)
    except (ParquetDamaged, *UNREADABLE) as error:
        raise DamagedFile(path, f"it should be a Parquet file as it was written: {error}") from error


MAKERS = (
    (r"ITERATION/champion\.json", "iteration_report", -1),
    (r"ITERATION/policy\.json", "policy_checkpoint", -1),
    (r"ITERATION/(policy_tuning\.json|lessons\.json|tuned_policy/.*)", "policy_checkpoint", 0),
    (r"ITERATION/(trajectories\.|new_theorems\.jsonl).*", "trajectories", 0),
    (r"ITERATION/ebm/.*", "ebm_checkpoint", 0),
    (r"ITERATION/(guided\.|control\.|heads/).*", "guided_trajectories", 0),
    (r"ITERATION/report/.*", "iteration_report", 0),
    (r"theorems/[^/]+", "theorems", 0),
    (r"baseline/([^/]+/)?[^/]+", "baseline_trajectories", 0),
    (r"champion\.json", "iteration_report of the newest iteration", 0),
)
"""(the end of a path, the asset that writes it, how many iterations after the one that it lies in); first counts."""


def maker(path: Path) -> str:
    """The asset that writes a file of the data folder, with its iteration: `ebm_checkpoint of iter_003`."""
    for pattern, asset, later in MAKERS:
        found = re.search("(?:^|/)" + pattern.replace("ITERATION", r"(?P<key>iter_\d{3,})") + "$", path.as_posix())
        if found is not None:
            key = found.groupdict().get("key")
            return asset if key is None else f"{asset} of {iteration_key(max(0, iteration_number(key) + later))}"
    return "the asset that writes it"


def digest_of(content: object) -> str:
    """Hex digest of anything JSON can write, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files, and folders of temporary files, that killed processes have left.

    For who holds the lock on what lies in the folder.
    """
    for path in list(folder.rglob(".*.tmp")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
