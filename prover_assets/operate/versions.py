"""Code versions of assets: a digest of the sources that a step runs, so that a change marks what depends on it.

Which sources those are follows from what the step imports (`prover_assets.operate.imports`), minus the exemptions that
are named here with their reasons, plus the files that code reads or starts without importing them.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from prover_assets.operate.imports import ROOT, path_of, reached_from

CONTENT = frozenset({".py", ".lean", ".json", ".jsonl", ".safetensors"})
"""Kinds of files that a result can depend on: code, Lean's prelude, theorem sets, the shipped policy."""

LEAN, POLICY, SCORER = "prover.environments", "prover.policy", "ebm.inference"
"""What resources lend to a step, which therefore does not import it."""
ROOTS: Mapping[str, tuple[str, ...]] = {
    "theorems": ("prover_assets.steps.theorem_sets",),
    "baseline_trajectories": ("prover_assets.steps.search", LEAN, POLICY),
    "trajectories": ("prover_assets.steps.search", LEAN, POLICY, SCORER),
    "state_embeddings": ("prover_assets.steps.embed", POLICY),
    "ebm_checkpoint": ("prover_assets.steps.train", "prover_assets.store.verdict", LEAN, POLICY, SCORER),
    "guided_trajectories": ("prover_assets.steps.search", "prover_assets.steps.head_seeds", LEAN, POLICY, SCORER),
    "policy_checkpoint": ("prover_assets.steps.tune_policy", LEAN, POLICY),
    "iteration_report": (
        "prover_assets.steps.compare",
        "prover_assets.steps.promote",
        "prover_assets.report.write",
        "prover.lint.text_checks",
    ),
}
"""The modules that an asset's body calls, and what it is lent."""

_TRAINING = ("ebm.training", "ebm.calibration")
EVERYWHERE = "every asset"
EXEMPT: Mapping[str, Mapping[str, str]] = {
    EVERYWHERE: {
        "ebm.champion": "says where checkpoints lie; what was chosen is in the data version",
        "ebm.files": "writes files whole or not at all",
        "prover.files": "writes files whole or not at all",
        "prover.scale": "where a search runs, not what it finds",
        "prover.parquet": "checks files for damage",
        "prover.storage": "where files lie, not what is in them",
        "prover.settings": "declares and checks settings; their values are in the data version",
        "prover.sqlite_faults": "says what is wrong with a database",
        "prover_assets.protocols": "types alone",
        "prover_assets.store.files": "writes files whole or not at all",
        "prover_assets.store.iterations": "names of folders",
        "prover_assets.store.layout": "places of files",
        "prover_assets.store.manifest": "the form of a record",
    },
    "theorems": {},
    "baseline_trajectories": {
        "prover.logic": "measures label noise, which no search reads",
        "prover.lint": "the theorems are judged by the asset theorems",
        "prover.theorems": "the theorems come from the asset theorems",
        "prover_assets.store.champion": "the policy searches alone",
        "prover_assets.store.verdict": "the policy searches alone",
    },
    "trajectories": {
        "ebm.training": "nothing is trained",
        "prover.logic": "measures label noise, which no search reads",
        "prover.lint": "the theorems are judged by the asset theorems",
        "prover.theorems": "the theorems come from the asset theorems",
        "prover_assets.store.champion": "the champion is an asset of its own",
        "prover_assets.store.verdict": "the champion has passed",
    },
    "state_embeddings": {
        "ebm.embeddings_ray": "where states are encoded, not how",
        "prover.logic": "measures label noise, which no vector depends on",
        "prover.policy.base": "types of candidates",
        "prover.policy.beam": "encoding decodes nothing",
        "prover.policy.decoder": "encoding decodes nothing",
        "prover.policy.server": "a server lends no vectors",
        "prover.trajectory.schema": "the form of what is read",
        "prover.trajectory.reader": "the form of what is read",
    },
    "ebm_checkpoint": {
        "prover.logic": "measures label noise, which no training reads",
        "prover.lint": "the theorems are judged by the asset theorems",
        "prover.theorems": "the theorems come from the asset theorems",
        "prover_assets.steps.embed": "the vectors come from the asset state_embeddings",
        "prover_assets.store.champion": "the form of a record",
    },
    "guided_trajectories": {
        "prover.logic": "measures label noise, which no search reads",
        "prover.lint": "the theorems are judged by the asset theorems",
        "prover.theorems": "the theorems come from the asset theorems",
        "prover_assets.steps.embed": "the vectors come from the asset state_embeddings",
        "prover_assets.store.champion": "the new model searches, not the champion",
    },
    "policy_checkpoint": {
        **dict.fromkeys(_TRAINING, "no energy model is trained"),
        "ebm.embeddings": "the policy alone is judged, without an energy",
        "ebm.inference": "the policy alone is judged, without an energy",
        "ebm.model": "the policy alone is judged, without an energy",
        "prover.logic": "measures label noise, which no tuning reads",
        "prover.lint": "the theorems are judged by the asset theorems",
        "prover.theorems": "the theorems come from the asset theorems",
        "prover_assets.steps.embed": "no vectors are kept",
        "prover_assets.steps.train": "only asked whether the policy is still the one that searched",
        "prover_assets.store.champion": "the policy alone is judged, without an energy",
        "prover_assets.store.verdict": "the policy alone is judged, without an energy",
    },
    "iteration_report": {
        "ebm.training": "nothing is trained",
        "prover.environments": "nothing is searched",
        "prover.policy": "states come with their energies from the checkpoint's own encoder",
        "prover.search": "nothing is searched",
        "prover.states": "nothing is searched",
        "prover.theorem_text": "nothing is searched",
        "prover.theorems": "nothing is searched",
        "prover.trajectory.reader": "the form of what is read",
        "prover.trajectory.schema": "the form of what is read",
        "prover.trajectory.summary": "nothing is searched",
        "prover.trajectory.writer": "nothing is searched",
        "prover_assets.steps.embed": "nothing is trained",
        "prover_assets.steps.search": "nothing is searched",
        "prover_assets.steps.theorem_sets": "nothing is searched",
        "prover_assets.steps.train": "nothing is trained",
    },
}
"""By asset: modules and packages that a step imports and that decide nothing of its content, each with the reason."""

BESIDE: Mapping[str, tuple[str, ...]] = {
    "prover.environments.recheck.check": ("prover/environments/recheck/kernel_host.py",),
    "prover.environments.isolation.sandbox": ("prover/environments/isolation/sandbox_exec.py",),
    "prover.environments.repl.setup": ("prover/environments/repl/launch.py",),
    "prover.environments.script.embedded": (
        "prover/environments/minilib",
        "prover/environments/script/embedded_host.py",
    ),
    "prover.policy.weights": ("prover/policy/tiny/checkpoint", "prover/policy/tiny/worlds"),
    "prover.theorems": ("prover/theorem_sets",),
}
"""By module: the files and folders that it reads or starts as programs, without importing them."""


@cache
def sources(asset: str) -> tuple[Path, ...]:
    """The files that decide an asset's content, in order."""
    exempt = {**EXEMPT[EVERYWHERE], **EXEMPT[asset]}
    modules = reached_from(ROOTS[asset], lambda module: any(_within(module, name) for name in exempt))
    found = {path for module in modules if (path := path_of(module)) is not None}
    for module in modules:
        for place in BESIDE.get(module, ()):
            found |= set(files_at(place))
    return tuple(sorted(found))


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@cache
def files_at(place: str) -> tuple[Path, ...]:
    """The files at a path from the root of the tree that a result can depend on. Raises FileNotFoundError if none."""
    path = ROOT / place
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in CONTENT)
    if not files:
        raise FileNotFoundError(f"no source files at {place}: it is named in a code version, and has been moved")
    return tuple(files)


@cache
def _digest(file: Path) -> bytes:
    hasher = hashlib.blake2b(f"{file.relative_to(ROOT).as_posix()}\0".encode(), digest_size=16)
    hasher.update(file.read_bytes())
    return hasher.digest()


def code_version(files: tuple[Path, ...]) -> str:
    """Twelve hex digits over the content of files and their places in the tree."""
    hasher = hashlib.blake2b(digest_size=16)
    for file in files:
        hasher.update(_digest(file))
    return hasher.hexdigest()[:12]


def step_version(asset: str) -> str:
    """The code version of an asset: of its `sources`, and of the policy where it is lent one."""
    version = code_version(sources(asset))
    return f"{version}-{policy_version()}" if POLICY in ROOTS[asset] else version


def policy_version() -> str:
    """What stands for the policy in a code version: PROVER_POLICY's files by size and time, or `shipped`.

    Weights of gigabytes are not read at import; the policy's own fingerprint, over every byte, is in the data version.
    """
    named = os.environ.get("PROVER_POLICY")
    if not named:
        return "shipped"
    hasher = hashlib.blake2b(named.encode(), digest_size=16)
    for file in sorted(Path(named).glob("*")):
        stat = file.stat()
        hasher.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\0".encode())
    return hasher.hexdigest()[:12]
