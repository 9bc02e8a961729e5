"""How much of a guided search is the luck of a seed: further heads on the same data, and the same search with each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prover.settings import setting
from prover_assets.protocols import LeanSource, Update
from prover_assets.steps.embed import open_cache
from prover_assets.steps.search import require_baseline, run_search
from prover_assets.steps.theorem_sets import load_written
from prover_assets.steps.train import torch_threads
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import Manifest, read_manifest
from prover_assets.store.policy import PolicyInUse


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
    def search(self) -> SearchFiles:
        """Files of the search with it."""
        return SearchFiles(self.iteration.heads / f"guided-{self.offset}.parquet")


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
    each would cost a search of the validation theorems per candidate. What an earlier run left is removed first.
    """
    import shutil

    from ebm.calibration import fit_scales
    from ebm.checkpoint import checkpoint_id, read_calibration, read_config, write_calibration
    from ebm.inference import load_scorer
    from ebm.model.energy_head import EnergyHeadConfig
    from ebm.training.config import EBMTrainingConfig
    from ebm.training.from_files import train_from_files
    from prover.search import SearchConfig
    from prover.search.modes import CALIBRATED
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    shutil.rmtree(iteration.heads, ignore_errors=True)
    first, mixing = read_config(iteration.checkpoint), read_calibration(iteration.checkpoint)
    if count == 0 or mixing is None or not mixing.reads_energy:  # no energy is read: all heads search alike
        return []
    folders = list(history)[-len(first["data"]["trajectories"]) :]
    files = [folder.trajectories.nodes for folder in folders]
    own = read_manifest(iteration.trajectories)
    assert own is not None, "the first head was trained on these trajectories"
    manifests = [(folder, read_manifest(folder.trajectories)) for folder in folders]
    same_policy = [f.trajectories.nodes for f, m in manifests if m and m.policy_fingerprint == own.policy_fingerprint]
    rows = merge_labels(read_trajectories(same_policy))
    baseline, model = require_baseline(data, lean, policy), policy.resource.load()
    summary = first["data"]["summary"]
    share = summary["valid_theorems"] / max(1, summary["eligible_theorems"])
    found = []
    for offset in range(1, count + 1):
        head = HeadFiles(offset, iteration)
        settings = {**first["training"]["config"], "seed": first["training"]["config"]["seed"] + offset}
        total = settings["total_steps"]
        with open_cache(data, model) as cache, torch_threads(1):
            train_from_files(
                files,
                model,
                head.checkpoint,
                EBMTrainingConfig.from_dict(settings),
                head_config=EnergyHeadConfig(**first["head"]),
                cache=cache,
                valid_fraction=share,
                on_metrics=lambda step, metrics, offset=offset, total=total: update(
                    step, total, f"head {offset + 1} of {count + 1}, training"
                ),  # type: ignore[misc]
            )
        scales = fit_scales(rows, load_scorer(head.checkpoint, model, data.root))
        write_calibration(
            head.checkpoint,
            replace(scales, beta=mixing.beta, order=mixing.order),
            {
                "criterion": "the order and weight that validation chose for the first head",
                "chosen": mixing.beta,
                "order": mixing.order,
            },
        )
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
