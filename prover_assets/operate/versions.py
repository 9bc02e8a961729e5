"""Code versions of assets: a digest of the sources that a step runs, so that a change marks what depends on it."""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONTENT = frozenset({".py", ".lean", ".json", ".jsonl", ".safetensors"})
"""Kinds of files that a result can depend on: code, Lean's prelude, theorem sets, the shipped policy."""

_LEAN = ("prover/environments", "prover/states.py", "prover/theorem_text.py")
_ENCODER = tuple(
    f"prover/policy/{name}" for name in ("huggingface.py", "naming.py", "pooling.py", "prompts.py", "weights.py")
)
_POLICY = (
    *_ENCODER,
    *(f"prover/policy/{name}" for name in ("__init__.py", "base.py", "beam.py", "decoder.py", "server.py")),
    *("prover/policy/tiny/architecture.py", "prover/policy/tiny/checkpoint"),
)
_SEARCH = (*_LEAN, *_POLICY, "prover/search", "prover/trajectory", "prover_assets/steps/search.py")
_SCORER = ("ebm/inference.py", "ebm/embeddings.py", "ebm/checkpoint.py", "ebm/model")

_LINT = tuple(f"prover/lint/{name}.py" for name in ("findings", "signature", "text_checks"))

SOURCES: Mapping[str, tuple[str, ...]] = {
    "theorems": (
        *("prover/theorems.py", "prover/theorem_text.py", "prover/theorem_sets"),
        *_LINT,
        "prover_assets/steps/theorem_sets.py",
    ),
    "baseline_trajectories": _SEARCH,
    "trajectories": (*_SEARCH, *_SCORER),
    "state_embeddings": (
        *_ENCODER,
        *("prover/states.py", "prover/trajectory/labels.py", "ebm/embeddings.py", "prover_assets/steps/embed.py"),
    ),
    "ebm_checkpoint": (
        *_SEARCH,
        *_SCORER,
        *("ebm/training", "ebm/calibration.py", "prover/evaluation/statistics.py"),
        *("prover_assets/steps/train.py", "prover_assets/store/verdict.py"),
    ),
    "guided_trajectories": (
        *_SEARCH,
        *_SCORER,
        *("ebm/training", "ebm/calibration.py", "prover/evaluation/statistics.py"),
        "prover_assets/steps/head_seeds.py",  # which trains the further heads
    ),
    "policy_checkpoint": (
        *_SEARCH,
        *(f"prover/policy/{name}.py" for name in ("finetune", "finetune_config", "finetune_loop", "separation")),
        *(
            "ebm/evaluation.py",
            "prover/evaluation/statistics.py",
            "prover_assets/store/policy.py",
            "prover_assets/steps/tune_policy.py",
        ),
    ),
    "iteration_report": (
        *_SCORER,
        *("ebm/evaluation.py", "prover/evaluation/statistics.py", "ebm/ranking.py", "ebm/calibration.py"),
        *("prover/trajectory/labels.py", *(f"prover/logic/{name}.py" for name in ("arena", "formulas", "g4ip"))),
        *("prover_assets/store/champion.py", "prover_assets/report/plots.py", "prover_assets/report/page.py"),
        *("prover_assets/report/tables.py", "prover_assets/report/facts.py"),
        *(f"prover_assets/steps/{name}.py" for name in ("promote", "compare", "head_seeds")),
        *("prover_assets/report/write.py", *_LINT),
    ),
}
"""The files and packages (paths from the root of the tree) that decide an asset's content, by asset."""


def step_version(asset: str) -> str:
    """The code version of an asset: of its `SOURCES`, and of the policy where it has any of the policy's."""
    sources = SOURCES[asset]
    version = code_version(*sources)
    return f"{version}-{policy_version()}" if _ENCODER[0] in sources else version


@cache
def files_of(source: str) -> tuple[Path, ...]:
    """The files of a source that a result can depend on, in order. Raises FileNotFoundError where there are none."""
    path = ROOT / source
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in CONTENT)
    if not files:
        raise FileNotFoundError(f"no source files at {source}: it is named in a code version, and has been moved")
    return tuple(files)


@cache
def _digest(source: str) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    for file in files_of(source):
        hasher.update(f"{file.relative_to(ROOT).as_posix()}\0".encode())
        hasher.update(file.read_bytes())
    return hasher.digest()


def code_version(*sources: str) -> str:
    """Twelve hex digits over the named source files and packages (paths from the root of the tree)."""
    hasher = hashlib.blake2b(digest_size=16)
    for source in sources:
        hasher.update(_digest(source))
    return hasher.hexdigest()[:12]


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
