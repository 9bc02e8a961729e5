"""Finished searches that an iteration would go on from, and that are of another policy, Lean or theorems than there
are now: after an upgrade, or with another model. What is measured against each other has to be of the same."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import dagster as dg

from prover_assets.defs.resources import LeanResource, PolicyResource
from prover_assets.steps.search import Present, present
from prover_assets.store.files import DamagedFile
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import read_manifest
from prover_assets.store.policy import baseline_files, policy_of

Resource = TypeVar("Resource", bound=dg.ConfigurableResource[object])


def as_configured(resource: Resource, settings: Mapping[str, object]) -> Resource:
    """A resource with settings of a run configuration put in place of its own."""
    own = {name: getattr(resource, name) for name in type(resource).model_fields}
    return type(resource)(**{**own, **settings})


def outdated(
    data: DataFolder, iteration: IterationFolder, lean: LeanResource, configured: PolicyResource, made: Collection[str]
) -> dict[str, str]:
    """Of the assets in `made`, those whose search has to be made again, each with the reason as a sentence's end.

    configured: the policy as configured; the iteration's may be another one. The baseline of a tuned policy is left
    out: the guided search makes it when it needs it. Raises what loading the policy and opening the Lean raise.
    """
    policy = policy_of(data, iteration, configured)
    searches = {
        "baseline_trajectories": data.baseline,
        "trajectories": iteration.trajectories,
        "guided_trajectories": iteration.guided,
    }
    if policy.tuned:
        del searches["baseline_trajectories"]
    chosen = {name: files for name, files in searches.items() if name in made}
    if not chosen:
        return {}
    now = present(data, lean, policy.resource)
    reasons = {name: _reason(files, now, held_out=name != "trajectories") for name, files in chosen.items()}
    if "guided_trajectories" in made and not any(reasons.values()):
        guided, baseline = read_manifest(iteration.guided), read_manifest(baseline_files(data, policy))
        if guided and baseline and guided.settings["max_expansions"] != baseline.settings["max_expansions"]:
            reasons["guided_trajectories"] = "had another budget than the baseline has now"
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(files: SearchFiles, now: Present, *, held_out: bool) -> str:
    try:
        manifest = read_manifest(files)
    except DamagedFile:
        return "cannot be read"
    if manifest is None or not manifest.complete:
        return manifest.lost if manifest is not None and manifest.lost else "was not finished"
    return now.differs(manifest, held_out=held_out)
