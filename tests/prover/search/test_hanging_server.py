"""`prover search` against a server that hangs: one Ctrl-C ends it, and what was finished stays."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stand_in_server import Reply, StandIn, answer

from tests.helpers.search_fakes import chance

SEARCH = textwrap.dedent(
    """
    import sys
    import prover.environments
    from prover import cli
    from search_fakes import HashWorld
    prover.environments.open_environment = lambda kind, **options: HashWorld(states=100_000, complete=0.05)
    sys.argv = ["prover", *sys.argv[1:]]
    sys.exit(cli.run(cli.app))
    """
)


def tactics(body: dict[str, Any]) -> Reply:
    """Three tactics, by the prompt alone."""
    names = sorted({f"t{int(chance(body['prompt'], i) * 12)}" for i in range(3)})
    return 200, answer(*((f"  {name}", -1.0 - i) for i, name in enumerate(names)))


@pytest.mark.long
def test_one_interrupt_ends_a_search_whose_server_hangs(tmp_path: Path) -> None:
    lines = [json.dumps({"name": f"t{i}", "statement": f"statement {i}"}) for i in range(30)]
    (tmp_path / "set.jsonl").write_text("\n".join(lines))
    (tmp_path / "c.json").write_text('{"wave_size": 2, "cohorts": 1, "max_expansions": 6, "n_candidates": 3}')
    hanging, over = threading.Event(), threading.Event()

    def reply(body: dict[str, Any]) -> Reply:
        if len(server.bodies) < 60:
            return tactics(body)
        hanging.set()
        over.wait(120)  # longer than the test takes, and than the request's own limit
        return tactics(body)

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with StandIn() as server:
        server.pages["/v1/models"] = (200, {"data": [{"id": "m"}]})
        server.reply = reply
        server.start()
        command = [sys.executable, "-c", SEARCH, "search", "--theorems", "set.jsonl", "--output", "x.parquet"]
        command += ["--config", "c.json", "--mode", "policy-mean", "--json", "--llm-path", f"{server.url}#m"]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        try:
            while not hanging.wait(0.2):
                assert process.poll() is None, process.communicate()[1]
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=40)  # less than the minute after which a request is given up
        finally:
            process.kill()
            over.set()
            server.shutdown()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    figures = json.loads(out.splitlines()[-1])
    assert figures["interrupted"]
    kept = pl.concat(pl.read_parquet(file) for file in (tmp_path / "x.parts").glob("*.summary.parquet"))
    assert 2 <= figures["theorems"] == len(kept) < 30
    assert "--resume" in err
