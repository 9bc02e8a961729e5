"""How much of a guided search is the luck of a seed: further heads on the same data, and the same search with each."""

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prover.json_types import JsonObject
from prover.settings import setting
from prover_assets.protocols import LeanSource, Update
from prover_assets.steps.embed import open_cache
from prover_assets.steps.search import is_unreported, require_baseline, run_search
from prover_assets.steps.theorem_sets import load_written
from prover_assets.steps.train import torch_threads
from prover_assets.store.files import DamagedFile, digest_of, file_digest, read_json, write_json
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import Manifest, read_manifest
from prover_assets.store.policy import PolicyInUse

if TYPE_CHECKING:
    import polars as pl

    from prover.policy.base import FingerprintedPolicy
    from prover.search.guidance import MixingCalibration


@dataclass(frozen=True, slots=True)
class GuidedSettings:
    """What is searched besides the energy model's own search. Budget, candidates and limits are the baseline's."""

    random_control: bool = True
    """Whether to search once more with a random energy in the same formula: the noise floor."""
    head_seeds: int = setting(2, unit="count", ge=1, le=20)
    """Energy models measured in all, alike but for the seed: the report shows the spread."""


@dataclass(frozen=True, slots=True)
class HeadFiles:
    """A further head, by the number that is added to the seed of the first."""

    offset: int
    iteration: IterationFolder

    @property
    def checkpoint(self) -> Path:
        """Folder of the head."""
        return self.iteration.heads / f"seed-{self.offset}"

    @property
    def made_from(self) -> Path:
        """Says what the head was made from; written when it is finished."""
        return self.iteration.heads / f"{self.prefix}made-from.json"

    @property
    def prefix(self) -> str:
        """How the names of its files begin."""
        return f"guided-{self.offset}."

    @property
    def search(self) -> SearchFiles:
        """Files of the search with it."""
        return SearchFiles(self.iteration.heads / f"{self.prefix}parquet")


def further_heads(iteration: IterationFolder) -> list[HeadFiles]:
    """The heads whose search was finished with the checkpoint that the iteration has now."""
    found = []
    guided = read_manifest(iteration.guided)
    for offset in range(1, 100):
        head = HeadFiles(offset, iteration)
        manifest = read_manifest(head.search)
        if manifest is None:
            break
        if manifest.complete and guided is not None and manifest.policy_fingerprint == guided.policy_fingerprint:
            found.append(head)
    return found


def search_with_further_heads(
    count: int,
    data: DataFolder,
    iteration: IterationFolder,
    history: Sequence[IterationFolder],
    lean: LeanSource,
    policy: PolicyInUse,
    update: Update,
) -> list[Manifest]:
    """Train `count` more heads as the iteration's was, but for the seed, and search the held-out theorems with each.

    A head has scales of its own, and the order and weight that validation chose for the first: choosing them again for
    each would cost a search of the validation theorems per candidate. Heads and searches that a killed run finished are
    kept where their inputs are the same; whatever else an earlier run left is removed first.
    """
    from ebm.checkpoint import checkpoint_id, read_calibration
    from prover.search import SearchConfig
    from prover.search.modes import CALIBRATED
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    mixing = read_calibration(iteration.checkpoint)
    if count == 0 or mixing is None or not mixing.reads_energy:  # no energy is read: all heads search alike
        shutil.rmtree(iteration.heads, ignore_errors=True)
        return []
    model = policy.resource.load()
    recipe = Recipe.of(iteration, history, mixing, model.fingerprint)
    heads = [HeadFiles(offset, iteration) for offset in range(1, count + 1)]
    kept = {head for head in heads if _is_kept(head, recipe)}
    _remove_all_but(kept, iteration)
    baseline = require_baseline(data, lean, policy)
    rows = merge_labels(read_trajectories(recipe.same_policy)) if len(kept) < len(heads) else None
    found = []
    for head in heads:
        if head not in kept and rows is not None:
            name = f"head {head.offset + 1} of {count + 1}, training"
            _train(head, recipe, rows, data, model, lambda step, total, name=name: update(step, total, name))  # type: ignore[misc]
            _say_finished(head, recipe)
        found.append(
            run_search(
                list(load_written(data, "test")),
                head.search,
                data,
                lean,
                policy.resource,
                SearchConfig.from_dict({**baseline.settings, "mode": CALIBRATED}),
                iteration=iteration.number,
                update=update,
                checkpoint=head.checkpoint,
                ebm_id=checkpoint_id(head.checkpoint),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Recipe:
    """What further heads are made from, but for the seed."""

    first: JsonObject
    """Configuration of the iteration's checkpoint, as `ebm.checkpoint.read_config` gives it."""
    files: list[Path]
    """Trajectories to train on."""
    same_policy: list[Path]
    """Those of them that were searched with the iteration's policy: log-probabilities of others have another scale."""
    mixing: "MixingCalibration"
    policy_fingerprint: str
    digests: tuple[str, ...]
    """Of `files`."""

    @classmethod
    def of(
        cls, iteration: IterationFolder, history: Sequence[IterationFolder], mixing: "MixingCalibration", policy: str
    ) -> Self:
        """Of an iteration whose checkpoint is trained and calibrated. policy: fingerprint of the present one."""
        from ebm.checkpoint import read_config

        first = read_config(iteration.checkpoint)
        folders = list(history)[-len(first["data"]["trajectories"]) :]
        own = read_manifest(iteration.trajectories)
        assert own is not None, "the first head was trained on these trajectories"
        manifests = [(folder, read_manifest(folder.trajectories)) for folder in folders]
        return cls(
            first=first,
            files=[folder.trajectories.nodes for folder in folders],
            same_policy=[
                folder.trajectories.nodes
                for folder, manifest in manifests
                if manifest is not None and manifest.policy_fingerprint == own.policy_fingerprint
            ],
            mixing=mixing,
            policy_fingerprint=policy,
            digests=tuple(file_digest(folder.trajectories.nodes) for folder in folders),
        )

    def settings(self, offset: int) -> JsonObject:
        """Training settings of a further head."""
        config = self.first["training"]["config"]
        return {**config, "seed": config["seed"] + offset}

    def valid_fraction(self) -> float:
        """The share of the eligible theorems that the first head held out."""
        summary = self.first["data"]["summary"]
        return float(summary["valid_theorems"] / max(1, summary["eligible_theorems"]))

    def digest(self, offset: int) -> str:
        """Of everything that decides a further head's weights and calibration."""
        read = [self.files.index(path) for path in self.same_policy]
        mixing = [self.mixing.beta, self.mixing.order]
        made = [self.settings(offset), self.first["head"], self.valid_fraction(), self.digests, read, mixing]
        return digest_of([*made, self.policy_fingerprint])


def _say_finished(head: HeadFiles, recipe: Recipe) -> None:
    from ebm.checkpoint import MODEL_FILE, checkpoint_id

    made = {
        "inputs": recipe.digest(head.offset),
        "ebm_id": checkpoint_id(head.checkpoint),
        "weights": file_digest(head.checkpoint / MODEL_FILE),
    }
    write_json(head.made_from, made)


def _is_kept(head: HeadFiles, recipe: Recipe) -> bool:
    """Whether a killed run has finished the head, from the same inputs."""
    from ebm.checkpoint import MODEL_FILE, CheckpointError, checkpoint_id, read_calibration

    try:
        made = read_json(head.made_from)
        if made is None or made["inputs"] != recipe.digest(head.offset) or not is_unreported(head.made_from):
            return False
        calibrated = read_calibration(head.checkpoint) is not None
        weights = file_digest(head.checkpoint / MODEL_FILE)
        return calibrated and (checkpoint_id(head.checkpoint), weights) == (made["ebm_id"], made["weights"])
    except (DamagedFile, CheckpointError, FileNotFoundError, KeyError):
        return False  # then it is made again


def _remove_all_but(kept: Collection[HeadFiles], iteration: IterationFolder) -> None:
    """Remove what belongs to no head that is kept."""
    if not iteration.heads.is_dir():
        return
    for path in iteration.heads.iterdir():
        if any(path.name == head.checkpoint.name or path.name.startswith(head.prefix) for head in kept):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _train(
    head: HeadFiles,
    recipe: Recipe,
    rows: "pl.DataFrame",
    data: DataFolder,
    model: "FingerprintedPolicy",
    update: Callable[[int, int], None],
) -> None:
    """Train a further head, and store its scales with the order and weight of the first.

    rows: the searches of `recipe.same_policy` with labels merged; the scales are measured on them.
    """
    from ebm.calibration import fit_scales
    from ebm.checkpoint import write_calibration
    from ebm.head_config import EnergyHeadConfig
    from ebm.inference import load_scorer
    from ebm.training.config import EBMTrainingConfig
    from ebm.training.from_files import train_from_files

    config = EBMTrainingConfig.from_dict(recipe.settings(head.offset))
    with open_cache(data, model) as cache, torch_threads(1):
        train_from_files(
            recipe.files,
            model,
            head.checkpoint,
            config,
            head_config=EnergyHeadConfig(**recipe.first["head"]),
            cache=cache,
            valid_fraction=recipe.valid_fraction(),
            on_metrics=lambda step, metrics: update(step, config.total_steps),
        )
    scales = fit_scales(rows, load_scorer(head.checkpoint, model, data.root))
    mixing = recipe.mixing
    evidence = {
        "criterion": "the order and weight that validation chose for the first head",
        "chosen": mixing.beta,
        "order": mixing.order,
    }
    write_calibration(head.checkpoint, replace(scales, beta=mixing.beta, order=mixing.order), evidence)
