"""`prover compare` and `prover clean-iterations`."""

import json
import re
import shutil

import pytest
import typer
from typer.testing import CliRunner

from prover_assets.cli import register
from prover_assets.operate.housekeeping import plan
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder

runner = CliRunner()
app = typer.Typer()
register(app)


@pytest.fixture
def prover(monkeypatch):
    """Runs the command line in a data folder."""

    def run(data, *arguments: str):
        monkeypatch.setenv("PROVER_DATA", str(data))
        return runner.invoke(app, list(arguments))

    return run


def test_compare_prints_the_report_and_the_pairing(finished, prover):
    done = prover(finished.data, "compare", "iter_000", "iter_001", "--json")
    assert done.exit_code == 0, done.output
    assert "held-out theorems proved within a budget" in done.output
    assert "iter_001 against iter_000" in done.output
    assert "training theorems: 24, 8 of them in both in iter_000" in done.output
    content = json.loads(done.output.splitlines()[-1])
    report = read_json(DataFolder(finished.data).iteration("iter_000").report_file)
    assert content["runs"]["iter_000"] == report
    paired = content["against_first"]["iter_001"]["paired"]
    assert paired["faster"] + paired["slower"] + paired["tied"] == 12


def test_compare_names_settings_and_what_differs_in_sets_of_theorems_but_no_digest(finished, prover):
    from prover_assets.report.compare_runs import differing_settings, find_side

    sides = [find_side(DataFolder(finished.data), key) for key in ("iter_000", "iter_001")]
    found = {name: (first, second) for name, first, second in differing_settings(*sides)}
    assert found["training theorems"] == ("24, 8 of them in both", "24, 8 of them in both")
    assert "held-out theorems" not in found
    for values in found.values():
        assert not any(re.fullmatch("[0-9a-f]{16,}", str(value)) for value in values)


def test_compare_takes_the_id_of_an_mlflow_run(finished, prover):
    report = read_json(DataFolder(finished.data).iteration("iter_001").report_file)
    done = prover(finished.data, "compare", report["mlflow_run"])
    assert done.exit_code == 0
    assert "iter_001:" in done.output


def test_compare_names_what_there_is(finished, prover):
    done = prover(finished.data, "compare", "iter_007")
    assert done.exit_code == 2
    assert "iter_007 has no report" in done.output
    assert "iter_000, iter_001" in done.output


def test_cleaning_keeps_the_champion_the_reports_and_what_is_learnt_from(finished, prover, tmp_path):
    shutil.copytree(finished.data, tmp_path / "data")
    data = DataFolder(tmp_path / "data")
    orphan = data.champions / "ebm-forgotten"
    orphan.mkdir()
    write_json(orphan / "config.json", {})
    dry = prover(data.root, "clean-iterations", "--keep", "1")
    assert "would be removed" in dry.output
    assert orphan.exists()
    done = prover(data.root, "clean-iterations", "--keep", "1", "--yes")
    assert done.exit_code == 0, done.output
    first, second = data.iteration("iter_000"), data.iteration("iter_001")
    assert not orphan.exists()
    assert not first.guided.nodes.exists()
    assert not first.trajectories.attempts.exists()
    assert first.trajectories.nodes.exists()
    assert first.report_file.exists()
    assert second.guided.nodes.exists()
    champion = read_json(data.root / "champion.json")
    assert (data.root / champion["checkpoint"] / "model.safetensors").exists()
    assert plan(data, keep=1) == []
    assert all(path.exists() for path, _ in plan(data, keep=1, trajectories=True))
    assert "can still be read on its own" in prover(data.root, "compare", "iter_000", "iter_001").output
