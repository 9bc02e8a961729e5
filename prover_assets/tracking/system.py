"""CPU, memory, disk, network and GPU of the machine while a step runs, as MLflow's system metrics."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

EVERY_S = 10


@contextmanager
def watching_the_machine(run_id: str, uri: str, *, enabled: bool) -> Iterator[None]:
    """Log the machine's load on a run, a point every `EVERY_S` seconds, until the block ends. uri: of the store."""
    if not enabled:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # It says on the terminal when it starts and stops, in the middle of our own lines.
    logging.getLogger("mlflow.system_metrics.system_metrics_monitor").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, sampling_interval=EVERY_S, resume_logging=False, tracking_uri=uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
