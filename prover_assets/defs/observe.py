"""How far a long step is, on the page of its run and of its asset: a small table and numbers that Dagster plots."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from prover_assets.operate.progress import LOG_EVERY_S, Reporter, in_words, place_of
from prover_assets.protocols import Update

ROWS = 12
"""Of the table: the latest ones."""
LATER = 20
"""A step that has run for long is looked at less often: once in this part of its time so far."""


class Observed:
    """A reporter that also records asset observations, while the step goes."""

    def __init__(self, reporter: Reporter, context: dg.AssetExecutionContext) -> None:
        self._reporter, self._context = reporter, context

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """See `Reporter.stage`."""
        began = last = time.monotonic()
        rows: list[dg.TableRecord] = []
        with self._reporter.stage(title) as report:

            def update(done: int, total: int, note: str) -> None:
                nonlocal last
                report(done, total, note)
                now = time.monotonic()
                if now - last >= max(LOG_EVERY_S, (now - began) / LATER):
                    last = now
                    rows.append(_row(done, total, note, now - began))
                    self._tell(title, done, total, now - began, rows[-ROWS:])

            yield update

    def _tell(self, title: str, done: int, total: int, seconds: float, rows: list[dg.TableRecord]) -> None:
        context = self._context
        observation = dg.AssetObservation(
            context.asset_key,
            partition=context.partition_key if context.has_partition_key else None,
            description=f"{' '.join(filter(None, (place_of(title), title)))}: {done} of {total}",
            metadata={
                "progress": dg.MetadataValue.table(rows, _SCHEMA),
                "done": done,
                "total": total,
                "per_second": round(done / seconds, 3) if seconds else 0.0,
            },
        )
        # Not `context.log_event`, which keeps events until the step has ended.
        event = dg.DagsterEvent.asset_observation(context.get_step_execution_context(), observation)
        context.instance.report_dagster_event(event, run_id=context.run.run_id)


_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("after", "string", description="time since the step began"),
        dg.TableColumn("done", "string", description="done / total"),
        dg.TableColumn("per_second", "string", description="mean rate since the step began"),
        dg.TableColumn("left", "string", description="time left, at that rate"),
        dg.TableColumn("note", "string", description="the step's own words"),
    ]
)


def _row(done: int, total: int, note: str, seconds: float) -> dg.TableRecord:
    rate = done / seconds if seconds else 0.0
    return dg.TableRecord(
        {
            "after": in_words(seconds),
            "done": f"{done}/{total}" if total else str(done),
            "per_second": f"{rate:.3g}",
            "left": in_words((total - done) / rate) if rate and total else "",
            "note": note,
        }
    )
