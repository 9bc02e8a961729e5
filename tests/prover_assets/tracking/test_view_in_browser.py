"""The saved view of all iterations, as MLflow's own page opens it from the link that `make ui` prints."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from browser import Page, browsing, missing

from prover_assets.operate.addresses import HOST, free_port
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.view import SECTIONS
from prover_assets.ui import charts_of, commands

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]

READY_S = 300


@pytest.fixture(scope="module")
def mlflow(finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of MLflow's UI over a project of two iterations."""
    port = free_port(5700)
    command = commands(DataFolder(finished.data), 0, port, 0)["MLflow"]
    log = tmp_path_factory.mktemp("mlflow") / "log"
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(f"http://{HOST}:{port}/health", server, log)
        yield f"http://{HOST}:{port}"
    finally:
        server.terminate()
        server.wait(timeout=READY_S)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"MLflow did not answer at {address}: {log.read_text()}")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browsing() as found:
        yield found


def test_the_printed_link_opens_curves_over_the_iterations(finished, mlflow: str, page: Page):
    page.open(charts_of(DataFolder(finished.data), mlflow))
    page.wait_text("progress", "iter_000", "iter_001")
    section, charts = SECTIONS[0]
    _, metrics, _ = charts[0]
    page.wait_text(section, " vs ".join(metrics))  # how MLflow names a chart of several metrics
    # The first chart has a line per search, each with a point for both iterations.
    lines = page.until("the curves", lambda: page.script(CURVES))
    assert max(len(line) for line in lines) >= 2
    assert "GenAI" not in page.driver.title


CURVES = """
return [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.data)
  .flatMap(plot => plot.data).map(line => [...(line.x || [])]).filter(points => points.length >= 2)
"""
"""The x values of every line of the page's charts that has two points or more."""
