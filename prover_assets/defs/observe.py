"""How far a long step is, on the page of its run and of its asset: a small table and numbers that Dagster plots."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from prover_assets.operate.progress import LOG_EVERY_S, STAGES, Pace, Reporter, in_words, place_of
from prover_assets.protocols import Update

ROWS = 12
"""Of the table: the latest ones."""
FIRST_S = 1.0
"""A step that is over before that is not observed."""
LATER = 20
"""A step that has run for long is looked at less often: once in this part of its time so far."""


class Observed:
    """A reporter that also records asset observations, while the step goes: with its first news, and then now and then.

    stages: of the run, see `stages_of`.
    """

    def __init__(self, reporter: Reporter, context: dg.AssetExecutionContext, stages: Sequence[str] = STAGES) -> None:
        self._reporter, self._context, self._stages = reporter, context, stages

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`."""
        began, pace = time.monotonic(), Pace()
        last: float | None = None
        rows: list[dg.TableRecord] = []
        with self._reporter.stage(title) as report:

            def update(done: int, total: int, note: str) -> None:
                nonlocal last
                report(done, total, note)
                pace.update(done, total, note)
                now = time.monotonic()
                if now - began < FIRST_S:  # it may be over before anybody has looked
                    return
                if last is None or now - last >= max(LOG_EVERY_S, (now - began) / LATER):
                    last = now
                    rows.append(_row(pace, now - began))
                    self._tell(title, pace, rows[-ROWS:])

            yield update

    def _tell(self, title: str, pace: Pace, rows: list[dg.TableRecord]) -> None:
        context, place = self._context, place_of(title, self._stages)
        observation = dg.AssetObservation(
            context.asset_key,
            partition=context.partition_key if context.has_partition_key else None,
            description=f"{' '.join(filter(None, (place, title)))}: {pace.done} of {pace.total}",
            metadata={
                "progress": dg.MetadataValue.table(rows, _SCHEMA),
                "done": pace.done,
                "total": pace.total,
                "per_second": round(pace.per_second, 3),
            },
        )
        # Not `context.log_event`, which keeps events until the step has ended.
        event = dg.DagsterEvent.asset_observation(context.get_step_execution_context(), observation)
        context.instance.report_dagster_event(event, run_id=context.run.run_id)


_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("after", "string", description="time since the step began"),
        dg.TableColumn("done", "string", description="done / total"),
        dg.TableColumn(
            "per_second", "string", description="mean rate since the first news; empty where there was one only"
        ),
        dg.TableColumn("left", "string", description="time left, at that rate"),
        dg.TableColumn("note", "string", description="the step's own words"),
    ]
)


def _row(pace: Pace, seconds: float) -> dg.TableRecord:
    rate, left = pace.per_second, pace.left_s
    return dg.TableRecord(
        {
            "after": in_words(seconds),
            "done": f"{pace.done}/{pace.total}" if pace.total else str(pace.done),
            "per_second": f"{rate:.3g}" if rate else "",
            "left": "" if left is None else in_words(left),
            "note": pace.note,
        }
    )
