"""A search written to files: what the command line and the assets call."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from prover.environments.base import ProofEnvironment
from prover.policy.base import PolicyCounters, TacticGenerator
from prover.policy.complete import as_policy
from prover.search.best_first import Call, Ended, TheoremResult
from prover.search.config import SearchConfig
from prover.search.engine import search
from prover.search.figures import SearchFigures, TracedCalls
from prover.search.glimpse import Glimpses, shown_while_watched
from prover.search.guidance import Guidance, MixingCalibration, ValueScorer, as_scorer, own_calibration
from prover.search.memo import SearchMemo
from prover.search.rows import SearchIdentity, rows_of
from prover.search.searcher import Searcher, SearchProgress, SearchReport
from prover.theorems import Theorem
from prover.trajectory.labels import count_rules, label_search
from prover.trajectory.reader import read_summaries
from prover.trajectory.schema import SUMMARY_SCHEMA, TheoremRows, no_rows, parts_folder
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
) -> SearchFigures:
    """Search the theorems, write `output` (`X.parquet`) and its companions, and return the figures.

    The `seconds` of the figures are the wall time of this call.

    ebm_id: written to the rows; by default the scorer's own. resume: keep the theorems that an earlier run of the same
    search finished, if name, header and statement are the same; those that crashed are searched again. stop: polled;
    once true, what is finished is written and `interrupted` is true in the figures. iteration: of expert iteration;
    written to the rows and part of the search's identity. searcher: what searches. traced: theorems, the first ones to
    end, whose `calls` are among the figures.
    Raises `OutputError` before the search starts if the output cannot be written, and `SearchConfigError`.
    """
    began = time.perf_counter()
    counted = _Counted.from_now(policy)
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

    with (
        shown_while_watched(output),
        TrajectoryWriter(
            output,
            search_id=identity.search_id,
            order=names,
            statements={theorem.name: (theorem.header, theorem.statement) for theorem in theorems},
            metadata={"config": config.to_dict(), "iteration": iteration, "mode": guidance.mode},
            counted=None if counted is None else counted.so_far,
            resume=resume,
            expected_bytes=len(theorems) * config.max_expansions * config.n_candidates * _BYTES_A_TACTIC,
        ) as writer,
    ):
        left = [theorem for theorem in theorems if theorem.name not in writer.finished]
        glimpses = Glimpses(writer.output, taken_over=len(theorems) - len(left))
        keep = _Keeper(writer, traced)

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
        summaries = _close(writer, report)
    losses = [] if counted is None else counted.losses()
    for sentence in losses:
        logger.warning("%s", sentence)
    figures: SearchFigures = {
        **summarize_frame(summaries),
        "seconds": round(time.perf_counter() - began, 3),
        "output": str(writer.output),
        "search_id": identity.search_id,
        "mode": guidance.mode,
        "note": guidance.note,
        "resumed": len(theorems) - len(left),
        "searched": report.progress.done,
        "labels": dict(sorted(keep.rules.items())),
        "interrupted": report.interrupted,
        "waited_seconds": round(report.waited_s, 3),
        "own_seconds": round(report.own_s, 3),
        "policy_counts": {} if counted is None else counted.so_far(),
        "policy_warnings": losses,
    }
    if traced:
        figures["calls"] = keep.calls
    return figures


@dataclass(frozen=True, slots=True)
class _Counted:
    """What a policy has counted since a moment."""

    counters: PolicyCounters
    before: PolicyCounters

    @classmethod
    def from_now(cls, policy: TacticGenerator) -> Self | None:
        """None for a policy that does not count."""
        counters = as_policy(policy).counters
        return None if counters is None else cls(counters, counters.copy())

    def so_far(self) -> dict[str, int]:
        return self.counters.since(self.before).to_dict()

    def losses(self) -> list[str]:
        return self.counters.since(self.before).warnings()


class _Keeper:
    """Writes each theorem that has ended, counts its labels, and keeps the calls of the first `traced`."""

    def __init__(self, writer: TrajectoryWriter, traced: int) -> None:
        self._writer, self._traced = writer, traced
        self.rules: Counter[str] = Counter()
        self.calls: dict[str, TracedCalls] = {}

    def __call__(self, found: FoundRows) -> None:
        summary = found.rows.summary
        if summary.ended in (Ended.INVALID, Ended.CRASHED):
            logger.warning("%s: %s: %s", summary.theorem_name, summary.ended, summary.reason)
        self.rules.update(found.rules)
        if len(self.calls) < self._traced:
            self.calls[summary.theorem_name] = _traced(found)
        self._writer.add(found.rows)


def _traced(found: FoundRows) -> TracedCalls:
    """Plain values, with times as short as they mean anything."""
    summary = found.rows.summary
    return {
        "started": round(found.started, 3),
        "seconds": round(summary.wall_ms / 1000, 3),
        "ended": str(summary.ended),
        "expansions": summary.expansions,
        "calls": [(c.kind, round(c.started, 4), round(c.seconds, 4), c.theorems) for c in found.calls],
    }


def _close(writer: TrajectoryWriter, report: SearchReport) -> pl.DataFrame:
    """Finish the output, or leave it to be resumed after an interruption. Returns the summary rows that count."""
    if report.interrupted:
        writer.close()
        finished = parts_folder(writer.output)
    else:
        finished = writer.finish()
    kept = writer.finished
    return _latest(read_summaries(finished), kept) if kept else _no_summaries()


def _latest(summaries: pl.DataFrame, kept: set[str]) -> pl.DataFrame:
    """A row per theorem that counts: parts may also hold earlier ones, of a crash or of another statement."""
    return summaries.filter(pl.col("theorem_name").is_in(kept)).unique("theorem_name", keep="last", maintain_order=True)


def _no_summaries() -> pl.DataFrame:
    frame = pl.from_arrow(no_rows(SUMMARY_SCHEMA))
    assert isinstance(frame, pl.DataFrame)
    return frame
