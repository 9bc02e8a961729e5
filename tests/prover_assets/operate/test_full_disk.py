"""`make run` on a disk that fills up, or that cannot be written: one sentence each."""

import logging
import shutil
from pathlib import Path

import pytest
from faults import fill, make_read_only, small_disk

from prover_assets.operate.versions import ROOT
from prover_assets.store import layout


@pytest.fixture
def disk(make_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk of 40 MiB that holds data folder and Dagster's home of a project."""
    monkeypatch.setattr(layout, "LEAST_FREE_BYTES", 0)
    monkeypatch.setattr("prover.trajectory.writer.MIN_FREE_BYTES", 0)
    with small_disk(tmp_path / "disk", kib=40 * 1024) as folder:
        shutil.copytree(make_run.project.data, folder / "data")
        (folder / "home").mkdir()
        shutil.copy(ROOT / "dagster_home" / "dagster.yaml", folder / "home")  # telemetry is off in it
        make_run.patch = Elsewhere(
            monkeypatch, {"PROVER_DATA": str(folder / "data"), "DAGSTER_HOME": str(folder / "home")}
        )
        yield folder


class Elsewhere:
    """A MonkeyPatch that sets some variables to other values than it is told."""

    def __init__(self, patch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
        self.setattr, self._patch, self._values = patch.setattr, patch, values

    def setenv(self, name: str, value: str) -> None:
        self._patch.setenv(name, self._values.get(name, value))


def one_sentence(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    assert "Traceback" not in said, said
    assert "[SQL" not in said, said
    assert len(lines) <= 4, said
    return said


@pytest.mark.parametrize("when", ["start", "search"])
def test_a_full_disk_is_said_in_a_sentence(
    make_run, disk: Path, policy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], when: str
) -> None:
    make_run.project.track = True
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # what a command line of another test has left there
    if when == "start":
        fill(disk)
    else:
        generate = policy.generate

        def fill_and_generate(*arguments):
            if not (disk / "ballast").exists():
                fill(disk)
            return generate(*arguments)

        monkeypatch.setattr(policy, "generate", fill_and_generate)
    assert make_run() == 1
    said = one_sentence(capfd.readouterr().err)
    assert "error: " in said
    assert "disk" in said or "space" in said
    assert "room" in said or "free some space" in said
    assert "--memo" not in said or "Make room" in said


def test_a_read_only_disk_is_said_in_a_sentence(make_run, disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_read_only(disk)
    assert make_run() == 1
    said = one_sentence(capfd.readouterr().err)
    assert "cannot write to the data folder" in said
