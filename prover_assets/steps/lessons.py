"""What a policy is tuned on: the certified proofs so far, shortened, easy ones less often, older ones as replay."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.json_types import JsonObject
from prover.settings import setting
from prover_assets.protocols import LeanSource, Update
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import IterationFolder
from prover_assets.store.manifest import read_manifest

if TYPE_CHECKING:
    from prover.policy.finetune_config import ProvedStep


@dataclass(frozen=True)
class LessonSettings:
    """Which steps of the proofs so far a policy is tuned on."""

    shorten: bool = True
    """Whether Lean first removes the steps that a proof does not need. Once per iteration; the result is kept."""
    easy_expansions: int = setting(4, unit="expansions", ge=0)
    """A theorem that was proved within so few expansions is easy: the policy knows it already."""
    easy_share: float = setting(0.5, unit="share", ge=0, le=1)
    """Share of the steps of easy theorems that is learnt in a round; another share each round."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """The steps to learn."""

    newest: list["ProvedStep"]
    """Of the latest iteration."""
    older: list["ProvedStep"]
    """Of the iterations before, without what is in `newest`."""
    learnt_from: list[tuple[str, int, int]]
    """(iteration, theorems with a certified proof, steps of their proofs)."""
    removed: int
    """Steps that Lean found needless."""
    spared: int
    """Steps of easy theorems that are left out this time."""


def lessons_of(
    history: Sequence[IterationFolder], lean: LeanSource, settings: LessonSettings, update: Update
) -> Lessons:
    """The steps of all certified proofs of these iterations, alternatives of a theorem included, each step once."""
    from prover.policy.finetune_config import ProvedStep

    found: list[dict[ProvedStep, None]] = []
    learnt_from, removed, spared = [], 0, 0
    for number, folder in enumerate(history):
        update(number, len(history), f"proofs of {folder.key}")
        proofs = _proofs_of(folder, lean, settings)
        kept: dict[ProvedStep, None] = {}
        every: dict[ProvedStep, None] = {}
        for proof in proofs:
            removed += int(proof["removed"])
            easy = proof["expansions"] is not None and proof["expansions"] <= settings.easy_expansions
            for state, tactic in proof["steps"]:
                step = ProvedStep(proof["theorem"], state, tactic)
                every[step] = None
                if not easy or _drawn(f"{history[-1].key}/{step}") < settings.easy_share:
                    kept[step] = None
        spared += len(every) - len(kept)
        learnt_from.append((folder.key, len({proof["theorem"] for proof in proofs}), len(every)))
        found.append(kept)
    newest = found[-1] if found else {}
    older = {step: None for kept in found[:-1] for step in kept if step not in newest}
    return Lessons(list(newest), list(older), learnt_from, removed, spared)


def _drawn(text: str) -> float:
    """In [0, 1), from a hash."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def _proofs_of(folder: IterationFolder, lean: LeanSource, settings: LessonSettings) -> list[JsonObject]:
    """The proofs of an iteration's search as plain values: theorem, expansions, steps, removed. Kept in `lessons.json`
    for as long as the search is the same."""
    manifest = read_manifest(folder.trajectories)
    made_of = [manifest.fingerprint if manifest is not None else "", settings.shorten]
    known = read_json(folder.lessons)
    if known is not None and known.get("made_of") == made_of:
        proofs: list[JsonObject] = known["proofs"]
        return proofs
    proofs = _read_proofs(folder, lean, settings)
    write_json(folder.lessons, {"made_of": made_of, "proofs": proofs})
    return proofs


def _read_proofs(folder: IterationFolder, lean: LeanSource, settings: LessonSettings) -> list[JsonObject]:
    from prover.search.shorten import FoundProof, ShortProof, shorten_proofs
    from prover.theorems import Theorem
    from prover.trajectory import read_summaries, read_trajectories
    from prover.trajectory.proofs import ProofPath, proof_paths

    summaries = {row["theorem_name"]: row for row in read_summaries(folder.trajectories.nodes).iter_rows(named=True)}
    paths = proof_paths(read_trajectories([folder.trajectories.nodes]))
    whole = [path for path in paths if path.whole and path.theorem in summaries]
    shorter: dict[ProofPath, ShortProof | None] = {}
    if settings.shorten and whole:
        given = [
            FoundProof(
                Theorem(path.theorem, summaries[path.theorem]["statement"], summaries[path.theorem]["header"]),
                tuple(tactic for _, tactic in path.steps),
            )
            for path in whole
        ]
        with lean.environment() as environment:
            shorter = dict(zip(whole, shorten_proofs(given, environment), strict=True))
    found: list[JsonObject] = []
    for path in paths:
        short = shorter.get(path)
        found.append(
            {
                "theorem": path.theorem,
                "expansions": summaries.get(path.theorem, {}).get("expansions_to_proof"),
                "steps": [list(step) for step in (path.steps if short is None else short.steps)],
                "removed": 0 if short is None else short.removed,
            }
        )
    return found
