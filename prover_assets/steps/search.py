"""Searches: of the training theorems, and of the held-out ones with and without an energy model."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prover.json_types import JsonObject
from prover.search.config import SearchConfig
from prover.search.curriculum_config import CurriculumSettings
from prover.search.modes import POLICY_ALONE, POLICY_MEAN, RANDOM_ENERGY
from prover.settings import setting
from prover_assets.protocols import LeanSource, PolicySource, Update
from prover_assets.steps.grow import GrowthSettings, training_pool
from prover_assets.steps.history import iterations_before
from prover_assets.steps.theorem_sets import load_written, training_window
from prover_assets.store.champion import starting_champion
from prover_assets.store.files import DamagedFile, digest_of, require_parquet, write_json
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import Manifest, digest_of_theorems, read_manifest, require_complete
from prover_assets.store.policy import PolicyInUse, baseline_files, fitting
from prover_assets.store.verdict import require_passed

if TYPE_CHECKING:
    from prover.search import Searcher, SearchProgress
    from prover.search.curriculum import RoundPlan
    from prover.search.figures import SearchFigures
    from prover.theorems import Theorem


logger = logging.getLogger(__name__)

TRACED_THEOREMS = 6
"""Of a search, whose calls are kept with its manifest, for a trace in MLflow."""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Which of the training theorems an iteration searches."""

    n_theorems: int = setting(240, unit="theorems", ge=1)
    """Training theorems searched per iteration."""
    rotate: bool = True
    """Whether each iteration takes the next `n_theorems` of the training set, from the start again after the last,
    instead of the same ones every time."""


@dataclass(frozen=True, kw_only=True)
class HeldOutSearch(SearchConfig):
    """Search of the held-out theorems with the policy alone: what the guided search is measured against."""

    mode: str = setting(POLICY_MEAN, choices=POLICY_ALONE)
    """Order of the frontier. policy-mean (log-probability per step) is the strongest without an energy."""


_reported_at: ContextVar[float] = ContextVar("reported_at", default=math.inf)


@contextmanager
def keeping_searches_since(moment: float) -> Iterator[None]:
    """Within this, a search that finished after `moment` (Unix seconds) is kept where the same one is asked for again.

    moment: when the step's result was last reported. What finished later belongs to a run that was killed before it
    could report; what was reported is searched anew, as was asked for.
    """
    token = _reported_at.set(moment)
    try:
        yield
    finally:
        _reported_at.reset(token)


def run_search(
    theorems: Sequence["Theorem"],
    files: SearchFiles,
    data: DataFolder,
    lean: LeanSource,
    policy: PolicySource,
    config: SearchConfig,
    *,
    iteration: int,
    update: Update,
    checkpoint: Path | None = None,
    ebm_id: str | None = None,
    remark: str = "",
    plan: "RoundPlan | None" = None,
) -> Manifest:
    """Search and write the files; a search of the same inputs that was cut off is taken up where it stopped.

    checkpoint: the energy model that guides it, None for the policy alone. plan: gives theorems budgets of their own.
    """
    import time

    from prover.search import search_to_files

    with lean.searching(policy, data.root) as place:
        model, environment = place.policy, place.environment
        identity: JsonObject = {
            "theorems": digest_of_theorems(theorems),
            "policy_fingerprint": model.fingerprint,
            "environment_fingerprint": environment.fingerprint,
            "ebm_id": ebm_id,
            "iteration": iteration,
        }
        if plan is not None:
            identity = {**identity, "curriculum": plan.to_dict()}
        before = _manifest_before(files)
        budgets = None if plan is None else sorted((name, *astuple(own)) for name, own in plan.budgets.items())
        fingerprint = digest_of([identity, config.result_settings(), *([] if budgets is None else [budgets])])
        same = before is not None and before.fingerprint == fingerprint
        if before is not None and same and before.complete and _is_whole_and_unreported(files):
            return before
        resume = same and before is not None and not before.complete
        if not resume:
            _remove(files)
        manifest = Manifest(
            **identity,
            settings=config.to_dict(),
            fingerprint=fingerprint,
            complete=False,
            policy_id=model.policy_id,
            policy=policy.where,
            environment=environment.name,
            note=remark,
            seconds=before.seconds if resume and before is not None else 0.0,
        )
        write_json(files.manifest, asdict(manifest))
        began = time.monotonic()
        search = partial(
            search_to_files,
            theorems,
            files.nodes,
            environment,
            model,
            config,
            scorer=None if checkpoint is None else place.open_scorer(checkpoint, data.root),
            memo=place.memo,
            iteration=iteration,
            ebm_id=ebm_id,
            on_progress=lambda progress: update(progress.done, progress.theorems, note(progress)),
            searcher=place.searcher if plan is None else budgeted(place.searcher, plan),
            traced=TRACED_THEOREMS,
        )
        figures, lost = _with_a_second_try(search, files, resume=resume)
        counts = place.memo_counts()
        finished = {
            **asdict(manifest),
            "complete": not lost,
            "lost": lost,
            "seconds": manifest.seconds + time.monotonic() - began,
            "candidates_known": counts.candidate_hits,
            "candidates_asked": counts.candidate_misses,
            "figures": figures,
        }
        write_json(files.manifest, finished)
        return Manifest(**finished)


def _with_a_second_try(
    search: "Callable[..., SearchFigures]", files: SearchFiles, *, resume: bool
) -> "tuple[SearchFigures, str]":
    """Figures of a search, and `lost_to_crashes`. Whatever ended Lean may be over: what it lost is tried once more.

    Figures of a single call, as of the traced theorems, are those of the first.
    """
    from prover.trajectory.summary import SummaryFigures

    figures, lost = search(resume=resume), lost_to_crashes(files)
    if not lost:
        return figures, ""
    logger.warning("the search %s %s: they are searched once more", files.nodes, lost)
    again = search(resume=True)
    whole = {name: value for name, value in again.items() if name in SummaryFigures.__annotations__}
    whole["seconds"] = figures["seconds"] + again["seconds"]
    return cast("SearchFigures", {**figures, **whole}), lost_to_crashes(files)


def is_unreported(last_written: Path) -> bool:
    """Whether a finished result, by its file that was written last, is younger than its step's last report."""
    return last_written.stat().st_mtime > _reported_at.get()


def _is_whole_and_unreported(files: SearchFiles) -> bool:
    if not is_unreported(files.manifest):
        return False
    try:
        for path in (files.nodes, files.attempts, files.summary):
            require_parquet(path)
    except (DamagedFile, FileNotFoundError):
        return False
    return True


def lost_to_crashes(files: SearchFiles) -> str:
    """Why a search is incomplete, to follow its name; "" where it lost no more than a small share to crashes of Lean.

    A crash says nothing of whether a theorem can be proved, so it must not count as a theorem that was not.
    """
    import polars as pl

    from prover.evaluation.budgets import MAX_CRASHED_SHARE

    ended = pl.read_parquet(files.summary, columns=["ended"])["ended"]
    crashed = int((ended == "crashed").sum())
    if crashed <= MAX_CRASHED_SHARE * len(ended):
        return ""
    return (
        f"is incomplete: {crashed} of {len(ended)} theorems were lost to crashes of Lean, which says nothing of "
        "whether they can be proved"
    )


def _manifest_before(files: SearchFiles) -> Manifest | None:
    """Of a search that is made again anyway: one that cannot be read is no reason not to."""
    try:
        return read_manifest(files)
    except DamagedFile:
        return None


def search_training(
    config: SearchConfig,
    window: WindowSettings,
    curriculum: CurriculumSettings,
    growth: GrowthSettings,
    data: DataFolder,
    iteration: IterationFolder,
    lean: LeanSource,
    policy: PolicySource,
    update: Update,
) -> Manifest:
    """The iteration's training theorems, guided by the champion that the iteration starts from, if there is one.

    policy: the iteration's. A champion of another policy's vectors is left out, and the manifest says why.
    """
    everything = load_written(data, "train")
    plan = round_plan(config, window, curriculum, growth, data, iteration)
    if plan is None:
        theorems = training_window(everything, window.n_theorems, iteration.number, rotate=window.rotate)
    else:
        theorems = plan.theorems
    started_from = starting_champion(iteration)
    champion = fitting(data, started_from, policy.load().encoder_fingerprint or None)
    return run_search(
        theorems,
        iteration.trajectories,
        data,
        lean,
        policy,
        config,
        iteration=iteration.number,
        update=update,
        checkpoint=None if champion.checkpoint is None else data.root / champion.checkpoint,
        ebm_id=champion.ebm_id,
        remark=champion.reason if champion != started_from else "",
        plan=plan,
    )


def round_plan(
    config: SearchConfig,
    window: WindowSettings,
    curriculum: CurriculumSettings,
    growth: GrowthSettings,
    data: DataFolder,
    iteration: IterationFolder,
) -> "RoundPlan | None":
    """What the curriculum chooses, from the searches of the iterations before. None where it is switched off, and in
    the first iteration, in which nothing is known: then the next theorems of the set are searched, with one budget.
    """
    if not curriculum.curriculum:
        return None
    from prover.search.budgets import Budget
    from prover.search.curriculum import plan_round, read_records

    records = read_records([other.trajectories.summary for other in iterations_before(data, iteration)])
    if not records:
        return None
    pool = training_pool(growth.new_theorems, window.n_theorems, records, data, iteration)
    base = Budget(config.max_expansions, config.n_candidates)
    plan = plan_round(
        pool.theorems, records, curriculum, n_theorems=window.n_theorems, base=base, iteration=iteration.number
    )
    made = {"theorems": pool.generated, "digest": pool.digest, "note": pool.note}
    return replace(plan, made={name: value for name, value in made.items() if value})


def budgeted(searcher: "Searcher", plan: "RoundPlan") -> "Searcher":
    """The searcher, giving each theorem the plan's budget."""
    from prover.search.budgets import BudgetedSearch

    return BudgetedSearch(searcher, plan.budgets)


def search_baseline(
    config: SearchConfig, data: DataFolder, lean: LeanSource, policy: PolicyInUse, update: Update
) -> Manifest:
    """The held-out theorems, with the policy alone, into the files of that policy's baseline."""
    theorems = list(load_written(data, "test"))
    files = baseline_files(data, policy)
    return run_search(theorems, files, data, lean, policy.resource, config, iteration=0, update=update)


@dataclass(frozen=True, slots=True)
class Present:
    """What a search would be made of now: held-out theorems (digest), policy and Lean (name and fingerprint)."""

    theorems: str
    policy_id: str
    policy_fingerprint: str
    environment: str
    environment_fingerprint: str

    def differs(self, manifest: Manifest, *, held_out: bool = True) -> str:
        """In what a search was made of something else, to follow its name in a sentence; "" where in nothing.

        held_out: whether it is a search of the held-out theorems.
        """
        if held_out and manifest.theorems != self.theorems:
            return "searched other held-out theorems than there are now"
        if manifest.policy_fingerprint != self.policy_fingerprint:
            return f"was searched with the policy {manifest.policy_id}, and the policy is now {self.policy_id}"
        if manifest.environment_fingerprint != self.environment_fingerprint:
            before, now = manifest.environment, self.environment
            if before == now:  # other rules of ours, other limits, or other files of the project
                before = f"{before} as {manifest.environment_fingerprint[:12]}"
                now = f"{now} as {self.environment_fingerprint[:12]}"
            return f"was searched with the Lean {before}, and the Lean is now {now}"
        return ""


def present(data: DataFolder, lean: LeanSource, policy: PolicySource) -> Present:
    """Load the policy and open the Lean to say what there is now. Raises FileNotFoundError without theorems."""
    theorems, model = digest_of_theorems(list(load_written(data, "test"))), policy.load()
    return Present(theorems, model.policy_id, model.fingerprint, *lean.identity())


def require_baseline(data: DataFolder, lean: LeanSource, policy: PolicyInUse, update: Update | None = None) -> Manifest:
    """The baseline of a policy. One of a tuned policy is searched now if it is not there yet, once per policy, Lean and
    theorem set, under the settings of the baseline before it.

    Raises FileNotFoundError where there is no baseline to go by, ValueError where the one there is of other theorems,
    of another policy or of another Lean.
    """
    now = present(data, lean, policy.resource)
    if policy.tuned and update is not None:
        found = read_manifest(baseline_files(data, policy))
        made = found is not None and found.complete
        before = found if made and found is not None else require_complete(data.baseline, "baseline_trajectories")
        if not made or now.differs(before):
            return search_baseline(SearchConfig.from_dict(before.settings), data, lean, policy, update)
    baseline = require_complete(baseline_files(data, policy), "baseline_trajectories")
    difference = now.differs(baseline)
    if difference:
        raise ValueError(f"the baseline {difference}; materialize baseline_trajectories again")
    return baseline


def search_guided(
    data: DataFolder,
    iteration: IterationFolder,
    lean: LeanSource,
    policy: PolicyInUse,
    update: Update,
    *,
    mode: str,
) -> Manifest:
    """The held-out theorems with the iteration's own energy model, under the settings that the baseline was run with.

    mode: `calibrated`, or `random-energy` for the control. Raises RefusedCheckpoint for a model that failed its checks,
    ValueError where theorems, policy or Lean are no longer those of the baseline.
    """
    verdict = require_passed(iteration)
    baseline = require_baseline(data, lean, policy)
    theorems = list(load_written(data, "test"))
    files = iteration.control if mode == RANDOM_ENERGY else iteration.guided
    config = SearchConfig.from_dict({**baseline.settings, "mode": mode})
    return run_search(
        theorems,
        files,
        data,
        lean,
        policy.resource,
        config,
        iteration=iteration.number,
        update=update,
        checkpoint=iteration.checkpoint,
        ebm_id=verdict.ebm_id,
    )


def note(progress: "SearchProgress") -> str:
    """How a search is going, in a few words."""
    rate = progress.expansions / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    return f"{progress.proved} proved, {rate:.0f} expansions/s"


def _remove(files: SearchFiles) -> None:
    import shutil

    for path in files.all():
        path.unlink(missing_ok=True)
    shutil.rmtree(files.parts, ignore_errors=True)
