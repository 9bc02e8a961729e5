"""A search written to files: what the command line and the assets call."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prover.environments.base import ProofEnvironment
from prover.policy.base import TacticGenerator
from prover.policy.complete import as_policy
from prover.search.best_first import Call, Ended, TheoremResult
from prover.search.config import SearchConfig
from prover.search.engine import search
from prover.search.glimpse import Glimpses, shown_while_watched
from prover.search.guidance import Guidance, MixingCalibration, ValueScorer, as_scorer, own_calibration
from prover.search.memo import SearchMemo
from prover.search.rows import SearchIdentity, rows_of
from prover.search.searcher import Searcher, SearchProgress
from prover.theorems import Theorem
from prover.trajectory.labels import count_rules, label_search
from prover.trajectory.reader import read_summaries
from prover.trajectory.schema import SUMMARY_SCHEMA, TheoremRows, parts_folder
from prover.trajectory.summary import summarize_frame
from prover.trajectory.writer import TrajectoryWriter

logger = logging.getLogger(__name__)

_BYTES_A_TACTIC = 60
"""Rough disk use of one tried tactic in all three files, compressed."""


@dataclass(frozen=True, slots=True)
class FoundRows:
    """A finished theorem as rows, and how many nodes each rule has labelled."""

    rows: TheoremRows
    rules: Counter[str]
    started: float
    """Unix time, seconds."""
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class RowsMaker:
    """Labels a result and turns it into rows. It can travel to where a search runs, so that trees need not."""

    identity: SearchIdentity
    config: SearchConfig

    def __call__(self, result: TheoremResult) -> FoundRows:
        labels = label_search(result)
        return FoundRows(
            rows_of(result, labels, self.identity, self.config),
            Counter(count_rules(labels)),
            result.started_ms / 1000,
            tuple(result.meter.calls),
        )


def search_to_files(
    theorems: Iterable[Theorem],
    output: str | Path,
    environment: ProofEnvironment,
    policy: TacticGenerator,
    config: SearchConfig,
    *,
    scorer: ValueScorer | None = None,
    calibration: MixingCalibration | None = None,
    memo: SearchMemo | None = None,
    iteration: int = 0,
    resume: bool = False,
    ebm_id: str | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    searcher: Searcher = search,
    traced: int = 0,
) -> dict[str, Any]:
    """Search the theorems, write `output` (`X.parquet`) and its companions, and return the figures.

    ebm_id: written to the rows; by default the scorer's own. resume: keep the theorems that an earlier run of the same
    search finished, if name, header and statement are the same; those that crashed are searched again. stop: polled;
    once true, what is finished is written and `interrupted` is true in the figures. iteration: of expert iteration;
    written to the rows and part of the search's identity. searcher: what searches. traced: theorems, the first ones to
    end, whose calls are among the figures (`calls`: theorem -> started, seconds, ended, expansions, and each call as
    `prover.search.best_first.Call`).

    Figures: those of `prover.trajectory.summary.summarize_frame` over all theorems in the output (theorems, proved,
    claimed, expansions, tactics, ended, solved_by_budget, ...), and: seconds (wall time of this call), output,
    search_id, mode, note, resumed (theorems taken over), searched, labels (rule -> nodes, of the theorems searched
    now), interrupted, waited_seconds, own_seconds, policy_counts (what happened to the policy's inputs and outputs in
    this call: `prover.policy.PolicyCounters`; empty for a policy that does not count), policy_warnings (sentences about
    what was lost in more than 1% of the cases, which are logged too).
    Raises `OutputError` before the search starts if the output cannot be written, and `SearchConfigError`.
    """
    began = time.perf_counter()
    counters = as_policy(policy).counters
    counted_before = counters.copy() if counters is not None else None

    def counted() -> dict[str, int]:
        """What this call has counted so far."""
        return {} if counters is None or counted_before is None else counters.since(counted_before).to_dict()

    theorems = list(theorems)
    names = [theorem.name for theorem in theorems]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"theorem {repeated[0]} is given more than once; names must be distinct within a search")
    if calibration is None:
        calibration = own_calibration(scorer)
    guidance = Guidance.resolve(config, has_scorer=scorer is not None, calibration=calibration)
    if not guidance.needs_scores:
        scorer, ebm_id = None, None
    elif ebm_id is None and scorer is not None:
        ebm_id = as_scorer(scorer).ebm_id
    identity = SearchIdentity.of(environment, policy, config, guidance, ebm_id=ebm_id, iteration=iteration)

    expected = len(theorems) * config.max_expansions * config.n_candidates * _BYTES_A_TACTIC
    rules: Counter[str] = Counter()
    calls: dict[str, dict[str, Any]] = {}
    with (
        shown_while_watched(output),
        TrajectoryWriter(
            output,
            search_id=identity.search_id,
            order=names,
            statements={theorem.name: (theorem.header, theorem.statement) for theorem in theorems},
            metadata={"config": config.to_dict(), "iteration": iteration, "mode": guidance.mode},
            counted=counted if counters is not None else None,
            resume=resume,
            expected_bytes=expected,
        ) as writer,
    ):
        left = [theorem for theorem in theorems if theorem.name not in writer.finished]
        glimpses = Glimpses(writer.output, taken_over=len(theorems) - len(left))

        def keep(found: FoundRows) -> None:
            summary = found.rows.summary
            if summary.ended in (Ended.INVALID, Ended.CRASHED):
                logger.warning("%s: %s: %s", summary.theorem_name, summary.ended, summary.reason)
            rules.update(found.rules)
            if len(calls) < traced:
                calls[summary.theorem_name] = _traced(found)
            writer.add(found.rows)

        def look_up(progress: SearchProgress) -> None:
            """Several times a second, also while one long theorem is all that is left."""
            writer.flush_if_due()
            glimpses.write_if_watched(progress)
            if on_progress is not None:
                on_progress(progress)

        report = searcher(
            left,
            environment,
            policy,
            config,
            scorer=scorer,
            calibration=calibration,
            memo=memo,
            on_result=keep,
            reduce=RowsMaker(identity, config),
            on_progress=look_up,
            stop=stop,
            keep_results=False,
        )
        resumed = len(theorems) - len(left)
        if report.interrupted:
            writer.close()
            finished = parts_folder(writer.output)
        else:
            finished = writer.finish()
        kept = writer.finished
        summaries = _latest(read_summaries(finished), kept) if kept else _no_summaries()
    figures = summarize_frame(summaries)
    lost = counters.since(counted_before) if counters is not None and counted_before is not None else None
    losses = lost.warnings() if lost is not None else []
    for sentence in losses:
        logger.warning("%s", sentence)
    figures.update(
        seconds=round(time.perf_counter() - began, 3),
        output=str(writer.output),
        search_id=identity.search_id,
        mode=guidance.mode,
        note=guidance.note,
        resumed=resumed,
        searched=report.progress.done,
        labels=dict(sorted(rules.items())),
        interrupted=report.interrupted,
        waited_seconds=round(report.waited_s, 3),
        own_seconds=round(report.own_s, 3),
        policy_counts=lost.to_dict() if lost is not None else {},
        policy_warnings=losses,
        **({"calls": calls} if traced else {}),
    )
    return figures


def _traced(found: FoundRows) -> dict[str, Any]:
    """Plain values, with times as short as they mean anything."""
    summary = found.rows.summary
    return {
        "started": round(found.started, 3),
        "seconds": round(summary.wall_ms / 1000, 3),
        "ended": str(summary.ended),
        "expansions": summary.expansions,
        "calls": [(c.kind, round(c.started, 4), round(c.seconds, 4), c.theorems) for c in found.calls],
    }


def _latest(summaries: pl.DataFrame, kept: set[str]) -> pl.DataFrame:
    """A row per theorem that counts: parts may also hold earlier ones, of a crash or of another statement."""
    return summaries.filter(pl.col("theorem_name").is_in(kept)).unique("theorem_name", keep="last", maintain_order=True)


def _no_summaries() -> pl.DataFrame:
    frame = pl.from_arrow(SUMMARY_SCHEMA.empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame
