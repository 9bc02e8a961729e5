"""The manifest of a search: what made its files, kept beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prover.json_types import JsonObject
from prover_assets.store.files import DamagedFile, digest_of, read_json, require_parquet
from prover_assets.store.layout import SearchFiles

if TYPE_CHECKING:
    from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class Manifest:
    """What made a search's files. A search is taken up again only under the same fingerprint."""

    fingerprint: str
    complete: bool
    iteration: int
    settings: JsonObject
    theorems: str
    """Digest of the theorems searched."""
    policy_id: str
    policy_fingerprint: str
    environment: str
    environment_fingerprint: str
    ebm_id: str | None
    seconds: float
    policy: str = ""
    """The policy as it was configured: a folder, a hub id, an address or the name of a shipped one; "" for the default.
    Manifests of 0.1.0 do not say it."""
    candidates_known: int = 0
    """States whose candidates the memo knew already, so that the model was not asked."""
    candidates_asked: int = 0
    note: str = ""
    """What a person should know about how the search was guided: a champion that was left out, and why."""
    lost: str = ""
    """Why a search that ran to its end is not complete all the same: it lost too many theorems to crashes of Lean."""
    curriculum: JsonObject | None = None
    """How many theorems of each kind there were and were tried, by what budget (`RoundPlan.to_dict`). None: the next
    theorems of the set were tried, all with the same budget."""
    figures: JsonObject = field(default_factory=dict)
    """What `prover.search.search_to_files` said of the search."""


def read_manifest(files: SearchFiles) -> Manifest | None:
    """The manifest of a search, None where there is none. Raises DamagedFile."""
    content = read_json(files.manifest)
    if content is None:
        return None
    try:
        return Manifest(**content)
    except TypeError as error:
        raise DamagedFile(files.manifest, f"it is no manifest of a search ({error})") from error


def require_complete(files: SearchFiles, maker: str) -> Manifest:
    """The manifest of a search that ended. Raises FileNotFoundError or DamagedFile, naming the asset to materialize."""
    manifest = read_manifest(files)
    if manifest is None or not manifest.complete:
        state = "is missing" if manifest is None else (manifest.lost or "is not finished")
        raise FileNotFoundError(f"the search {files.nodes} {state}; materialize {maker} first")
    for path in (files.nodes, files.summary):
        require_parquet(path)
    return manifest


def digest_of_theorems(theorems: Sequence["Theorem"]) -> str:
    """Hash of names, headers and statements, in order."""
    return digest_of([(t.name, t.statement, t.header) for t in theorems])
