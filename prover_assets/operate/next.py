"""Which iterations there are, which is next, and what is left to do in it: read from Dagster's instance."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS, TUNING_ASSET
from prover_assets.defs.partitions import ITERATION
from prover_assets.store.iterations import FIRST_ITERATION, following, in_order
from prover_assets.store.layout import DataFolder, IterationFolder

IN_PROGRESS = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class NextIteration:
    """`key`: its partition; `remaining`: its assets that are still to be made, in order (all, for a new one)."""

    key: str
    remaining: tuple[str, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Its assets that are made already, and that the remaining ones go on from."""
        begins = self.remaining[0]
        return ITERATION_ASSETS[: ITERATION_ASSETS.index(begins)] if begins in ITERATION_ASSETS else ()

    def again_from(self, asset: str) -> "NextIteration":
        """The same with a made asset, and whatever follows it, made again."""
        extra = tuple(name for name in self.remaining if name not in ITERATION_ASSETS)
        return NextIteration(self.key, (*ITERATION_ASSETS[ITERATION_ASSETS.index(asset) :], *extra))


def known_iterations(instance: dg.DagsterInstance) -> list[str]:
    """The partitions there are, in order."""
    return in_order(instance.get_dynamic_partitions(ITERATION))


def next_iteration(instance: dg.DagsterInstance, data: DataFolder, *, tune_policy: bool = False) -> NextIteration:
    """The first iteration without a report, and what it lacks; after the last, a new one.

    tune_policy: each iteration ends with fine-tuning the policy. The newest finished one that lacks this is next, as
    long as the one after it has not begun: later, it would change what that one was made with.
    """
    keys = known_iterations(instance)
    finished = _Finished(instance, data)
    tuning = (TUNING_ASSET,) if tune_policy else ()
    before: str | None = None
    for key in keys:
        remaining = () if key in finished else remaining_assets(instance, data, key)
        if remaining:
            begun = data.iteration(key).trajectories.manifest.exists()
            if tune_policy and before is not None and not begun and _untuned(instance, data, before):
                return NextIteration(before, tuning)
            return NextIteration(key, (*remaining, *tuning))
        before = key
    if tune_policy and before is not None and _untuned(instance, data, before):
        return NextIteration(before, tuning)
    return NextIteration(following(keys[-1]) if keys else FIRST_ITERATION, (*ITERATION_ASSETS, *tuning))


def _untuned(instance: dg.DagsterInstance, data: DataFolder, key: str) -> bool:
    """Whether the policy was not tuned, or not to the end, after a finished iteration."""
    event = latest_materialization(instance, TUNING_ASSET, key)
    return event is None or not data.iteration(key).tuning.exists() or _failed(instance, TUNING_ASSET, event.run_id)


def remaining_assets(instance: dg.DagsterInstance, data: DataFolder, key: str) -> tuple[str, ...]:
    """The assets of an iteration from the first one that was not made, lost its files or failed a blocking check.

    What `clean-iterations` has removed of a finished iteration is not lost.
    """
    files = _missed(data, data.iteration(key))
    for index, name in enumerate(ITERATION_ASSETS):
        event = latest_materialization(instance, name, key)
        if event is None or not files[name].exists() or _failed(instance, name, event.run_id):
            return ITERATION_ASSETS[index:]
    return ()


def _missed(data: DataFolder, folder: IterationFolder) -> dict[str, Path]:
    """`_files`; of an iteration that was cleaned, the report stands for all."""
    files = _files(data, folder)
    return dict.fromkeys(files, folder.report_file) if folder.cleaned.exists() else files


def _files(data: DataFolder, folder: IterationFolder) -> dict[str, Path]:
    """The file or folder that shows that an asset of an iteration was made, by asset."""
    return {
        "trajectories": folder.trajectories.manifest,
        "state_embeddings": data.embeddings,
        "ebm_checkpoint": folder.verdict,
        "guided_trajectories": folder.guided.manifest,
        "iteration_report": folder.report_file,
    }


class _Finished:
    """The iterations that certainly lack nothing, told from a few questions for all of them together.

    Asked one by one, each iteration costs some 10 queries, and the start of the next one grows with their number. Those
    that are not certain (a run of theirs has failed at some time) are asked one by one.
    """

    def __init__(self, instance: dg.DagsterInstance, data: DataFolder) -> None:
        self._data = data
        self._made = [set(instance.get_materialized_partitions(dg.AssetKey(name))) for name in ITERATION_ASSETS]
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        self._doubtful = {run.tags.get("dagster/partition") for run in failed}

    def __contains__(self, key: str) -> bool:
        if key in self._doubtful or not all(key in made for made in self._made):
            return False
        return all(path.exists() for path in _missed(self._data, self._data.iteration(key)).values())


def missing_baseline(instance: dg.DagsterInstance, data: DataFolder) -> tuple[str, ...]:
    """The unpartitioned assets that were not made or lost their files, in order, with what depends on them."""
    files = {"theorems": data.theorems("test"), "baseline_trajectories": data.baseline.manifest}
    for index, name in enumerate(BASELINE_ASSETS):
        event = latest_materialization(instance, name)
        if event is None or not files[name].exists() or _failed(instance, name, event.run_id):
            return BASELINE_ASSETS[index:]
    return ()


def _failed(instance: dg.DagsterInstance, name: str, run_id: str) -> bool:
    """Whether a step failed after its asset was materialized: a blocking check did not pass."""
    return any(
        step.step_key == name and step.status is not None and step.status.value == "FAILURE"
        for step in instance.get_run_step_stats(run_id, [name])
    )


def latest_materialization(instance: dg.DagsterInstance, name: str, key: str | None = None) -> dg.EventLogRecord | None:
    """The newest materialization of an asset, of one iteration or of any."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=None if key is None else [key])
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def runs_in_progress(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs of iterations that have not ended, newest first: those with an iteration's partition tag."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS)))
    return [run for run in runs if "dagster/partition" in run.tags]
