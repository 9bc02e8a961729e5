"""A Lean host that is killed while it starts is started again; the signal is named, and what it may mean."""

import logging
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from prover.environments.isolation.sandbox import ProcessLimits
from prover.environments.script import endings, host_process, process
from prover.environments.script.embedded import LeanUnavailable
from prover.environments.script.host_process import HostReply
from prover.environments.script.process import EmbeddedRunner, describe_end

PROBE = "#check Prop\n"


@pytest.fixture
def killed_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder; for each file in it one start of a host ends by SIGKILL, before Lean says that it is ready."""
    folder = tmp_path / "kills"
    folder.mkdir()
    real = host_process._host_command()
    shell = f'for f in {folder}/*; do if [ -e "$f" ]; then rm "$f"; kill -KILL $$; fi; done; exec "$@"'
    monkeypatch.setattr(host_process, "_host_command", lambda: ["/bin/sh", "-c", shell, "sh", *real])
    monkeypatch.setattr(process, "_START_AGAIN_S", (0.01, 0.01, 0.01))
    return folder


def test_a_host_that_is_killed_while_it_starts_is_started_again(
    killed_starts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(3):
        (killed_starts / str(i)).touch()
    runner = EmbeddedRunner(1, ProcessLimits())
    with caplog.at_level(logging.WARNING):
        result = runner.run(runner.preamble + PROBE, wall_s=30)
    runner.close()
    assert result.ended == "exited"
    assert any(message["data"] == "Prop : Type" for message in result.messages)
    assert len(re.findall("was ended by SIGKILL.*started again", caplog.text)) == 3


def test_a_host_that_is_killed_again_and_again_ends_with_the_signal_and_the_remedy(killed_starts: Path) -> None:
    for i in range(4):
        (killed_starts / str(i)).touch()
    runner = EmbeddedRunner(1, ProcessLimits())
    with pytest.raises(LeanUnavailable, match=r"4 tries.*SIGKILL.*memory.*fewer workers") as raised:
        runner.run(runner.preamble + PROBE, wall_s=30)
    assert "Traceback" not in str(raised.value)
    assert runner.run(runner.preamble + PROBE, wall_s=30).ended == "exited"  # its place in the pool is not lost
    runner.close()


def test_a_host_that_dies_in_work_and_whose_replacement_is_killed_too_costs_nothing(killed_starts: Path) -> None:
    runner = EmbeddedRunner(1, ProcessLimits())
    assert runner.run(runner.preamble + PROBE, wall_s=30).ended == "exited"
    (host,) = runner._all
    os.kill(host._process.pid, signal.SIGKILL)
    (killed_starts / "replacement").touch()
    result = runner.run(runner.preamble + PROBE, wall_s=30)
    runner.close()
    assert any(message["data"] == "Prop : Type" for message in result.messages)
    assert not list(killed_starts.iterdir())


def test_what_a_host_printed_before_it_died_is_not_printed_twice() -> None:
    """Else each tactic of the wave has two states, and counts as crashed."""
    runner = EmbeddedRunner(1, ProcessLimits())
    assert runner.run(runner.preamble + PROBE, wall_s=30).ended == "exited"
    (host,) = runner._all
    killed = threading.Event()
    asked = host.run

    def killed_while_it_works(arguments: list[str], folder: Path, wall_s: float, stdout: int, stderr: int) -> HostReply:
        def kill() -> None:
            while not os.fstat(stdout).st_size:
                time.sleep(0.001)
            os.kill(host._process.pid, signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill).start()
        return asked(arguments, folder, wall_s, stdout, stderr)

    host.run = killed_while_it_works  # type: ignore[method-assign]
    result = runner.run(runner.preamble + 1000 * PROBE, wall_s=60)
    runner.close()
    assert killed.is_set()
    assert len(result.messages) == 1000


def test_the_out_of_memory_killer_is_told_from_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    monkeypatch.setattr(endings, "_OOM_COUNTERS", (counter, tmp_path / "missing"))
    counter.write_text("low 0\noom 3\noom_kill 2\n")
    before = endings.oom_kills()
    assert before == 2
    assert "if nobody sent it" in endings.describe_exit(-signal.SIGKILL, before)
    counter.write_text("low 0\noom 4\noom_kill 3\n")
    assert "out-of-memory killer was at work" in endings.describe_exit(-signal.SIGKILL, before)
    assert endings.describe_exit(-signal.SIGTERM, before) == "was ended by SIGTERM"
    assert endings.describe_exit(3, before) == "ended with status 3"
    assert describe_end(signal.SIGKILL, False, "")[1].startswith("Lean was ended by SIGKILL; if nobody sent it")
