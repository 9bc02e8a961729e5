"""The energy model of an iteration: training on the trajectories so far, calibration on validation theorems."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from ebm.calibration_config import CalibrationConfig
from ebm.training.config import EBMTrainingConfig
from prover.evaluation.gate import measure
from prover.json_types import JsonObject
from prover.settings import setting
from prover_assets.protocols import LeanSource, PolicySource, Update
from prover_assets.steps.embed import open_cache
from prover_assets.steps.theorem_sets import load_written, training_window
from prover_assets.store.champion import Evidence, starting_champion
from prover_assets.store.files import digest_of
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.manifest import Manifest, digest_of_theorems, read_manifest
from prover_assets.store.policy import fitting

if TYPE_CHECKING:
    import polars as pl

    from prover.evaluation.statistics import Expansions
    from prover.policy.base import FingerprintedPolicy
    from prover.search import SearchConfig
    from prover.search.place import SearchPlace
    from prover.search.searcher import SearchProgress
    from prover.theorems import Theorem


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Which iterations an energy model learns from, and what it begins with."""

    history: int = setting(0, unit="iterations", ge=0)
    """Train on this many of the latest iterations; 0 means on all so far."""
    start: Literal["fresh", "champion"] = setting("fresh", choices=("fresh", "champion"))
    """Begin with new weights, or with those and the feature statistics of the champion that this iteration searched
    with (a warm start). Without a champion, or with one that reads another policy's vectors, weights are new."""


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """Which validation theorems choose the order of guided search and the weight of the energy."""

    calibration_theorems: int = setting(0, unit="theorems", ge=0)
    """Most validation theorems per round: the next ones each round, from the start again after the last. 0 = all."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained head: its last metrics, its curves, and how long it took."""

    ebm_id: str
    metrics: Mapping[str, float | None]
    history: "pl.DataFrame"
    warnings: tuple[str, ...]
    steps: int
    best_step: int | None
    seconds: float
    data: JsonObject
    """Counts of what it was trained on: rows, positives, negatives, theorems."""
    start: str = "fresh"
    """What it began with, for people: `fresh`, or the champion by name."""


def train_head(
    config: EBMTrainingConfig,
    head: JsonObject,
    data: DataFolder,
    iteration: IterationFolder,
    history: Sequence[IterationFolder],
    policy: PolicySource,
    update: Update,
    *,
    start: Literal["fresh", "champion"] = "fresh",
) -> Trained:
    """Train on the trajectories of `history`, into the iteration's checkpoint folder.

    head: settings of `EnergyHeadConfig` by name; the width of its input is the policy's.
    """
    from ebm.checkpoint import checkpoint_id
    from ebm.head_config import EnergyHeadConfig
    from ebm.training.from_files import train_from_files
    from ebm.training.machine import threads_for

    iteration.verdict.unlink(missing_ok=True)  # until it is judged again, nothing may use what is written now
    model = policy.load()
    require_same_policy(iteration, model)
    champion = fitting(data, starting_champion(iteration), model.encoder_fingerprint or None)
    init_from, begun = None, "fresh"
    if start == "champion" and champion.checkpoint is not None:
        init_from, begun = data.root / champion.checkpoint, f"the champion {champion.ebm_id}"
    elif start == "champion":
        begun = f"fresh: {champion.reason}"
    with open_cache(data, model) as cache, torch_threads(threads_for(model.encoding_width)):
        result = train_from_files(
            [folder.trajectories.nodes for folder in history],
            model,
            iteration.checkpoint,
            config,
            head_config=EnergyHeadConfig(model.encoding_width, **head),
            cache=cache,
            init_from=init_from,
            on_metrics=lambda step, metrics: update(step, config.total_steps, metrics.display()),
        )
    if result.status == "interrupted":
        raise KeyboardInterrupt
    last = {} if result.metrics is None else asdict(result.metrics)
    return Trained(
        ebm_id=checkpoint_id(iteration.checkpoint),
        metrics={name: value for name, value in last.items() if isinstance(value, int | float)},
        history=result.history.to_frame(),
        warnings=tuple(result.warnings),
        steps=result.step,
        best_step=result.best_step,
        seconds=result.train_seconds,
        data=result.summary.to_dict(),
        start=begun,
    )


def require_same_policy(iteration: IterationFolder, model: "FingerprintedPolicy") -> None:
    """Raises ValueError where the iteration was searched with another policy than it has now."""
    manifest = read_manifest(iteration.trajectories)
    if manifest is not None and manifest.policy_fingerprint != model.fingerprint:
        raise ValueError(
            f"{iteration.key} was searched with the policy {manifest.policy_id}, and its policy is now "
            f"{model.policy_id}; materialize trajectories of {iteration.key} again"
        )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch `count` threads for a while. A step of a small head is too short to share between threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def calibrate_head(
    config: CalibrationConfig,
    window: ValidationSettings,
    data: DataFolder,
    iteration: IterationFolder,
    history: Sequence[IterationFolder],
    lean: LeanSource,
    policy: PolicySource,
    update: Update,
) -> tuple[Evidence, dict[str, object]]:
    """Choose order and weight of the energy on validation theorems; store them in the checkpoint with the evidence."""
    from ebm.calibration import calibrate
    from ebm.checkpoint import checkpoint_id, write_calibration
    from prover.search import SearchConfig
    from prover.search.modes import CALIBRATED
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    manifest = read_manifest(iteration.trajectories)
    assert manifest is not None, "training has read these trajectories"
    everything = load_written(data, "valid")
    count = window.calibration_theorems or len(everything)
    theorems = training_window(everything, count, iteration.number, rotate=True)
    settings = {**manifest.settings, "max_expansions": config.calibration_expansions, "mode": CALIBRATED}
    names: list[str] = []

    def progress(name: str, state: "SearchProgress") -> None:
        if name not in names:
            names.append(name)
        done = (len(names) - 1) * state.theorems + state.done
        most = max(len(config.betas) + len(config.orders), len(names)) * state.theorems
        update(done, most, f"{name}: {state.proved} proved")

    with lean.searching(policy, data.root) as place:
        search = SearchConfig.from_dict(settings)
        found = calibrate(
            place.open_scorer(iteration.checkpoint, data.root),
            merge_labels(read_trajectories([folder.trajectories.nodes for folder in _of_policy(history, manifest)])),
            theorems,
            place.environment,
            place.policy,
            search,
            memo=place.memo,
            searcher=place.searcher,
            betas=config.betas,
            widen=config.widen,
            orders=config.orders,
            on_progress=progress,
        )
        conditions = digest_of(
            [digest_of_theorems(theorems), settings, place.policy.fingerprint, place.environment.fingerprint, LOWEST]
        )
        of_champion = _search_with_champion(search, data, iteration, theorems, place, progress)
    facts = found.evidence()
    write_calibration(iteration.checkpoint, found.mixing, facts)
    alone = found.mixes[0].expansions
    gain_over = partial(_gain, lowest=found.lowest_budget, highest=max(found.max_expansions, found.lowest_budget + 1))
    evidence = Evidence(
        ebm_id=checkpoint_id(iteration.checkpoint),
        beta=found.mixing.beta,
        area=found.chosen.area,
        policy_area=found.areas[0],
        conditions=conditions,
        order=found.mixing.order,
        gain=gain_over(alone, found.chosen.expansions),
        over_champion=None if of_champion is None else gain_over(of_champion, found.chosen.expansions),
        champion_gain=None if of_champion is None else gain_over(alone, of_champion),
    )
    return evidence, facts


def _gain(first: "Expansions", second: "Expansions", *, lowest: int, highest: int) -> dict[str, object]:
    return measure(first, second, lowest=lowest, highest=highest).to_dict()


def _search_with_champion(
    config: "SearchConfig",
    data: DataFolder,
    iteration: IterationFolder,
    theorems: Sequence["Theorem"],
    place: "SearchPlace",
    progress: "Callable[[str, SearchProgress], None]",
) -> "Expansions | None":
    """Expansions to proof with the champion that the iteration searched with, at its own weight; None without one.

    The champion is measured beside the new model, on the same theorems: so it is compared fairly, and found out if it
    was promoted by luck.
    """
    champion = fitting(data, starting_champion(iteration), place.policy.encoder_fingerprint or None)
    if champion.checkpoint is None:
        return None
    report = place.searcher(
        theorems,
        place.environment,
        place.policy,
        config,
        scorer=place.open_scorer(data.root / champion.checkpoint, data.root),
        memo=place.memo,
        on_progress=partial(progress, "champion"),
    )
    return {result.theorem.name: result.expansions_to_proof for result in report.results}


def _of_policy(history: Sequence[IterationFolder], manifest: Manifest) -> list[IterationFolder]:
    """The iterations searched with the policy of `manifest`: log-probabilities of another one have another scale."""
    manifests = [(folder, read_manifest(folder.trajectories)) for folder in history]
    return [
        folder
        for folder, other in manifests
        if other is not None and other.policy_fingerprint == manifest.policy_fingerprint
    ]


LOWEST = "area from 4 expansions"
"""Part of the conditions under which two areas may be compared."""
