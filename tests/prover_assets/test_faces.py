"""The commands that people start: `make ui`, `make setup`."""

import subprocess
from dataclasses import asdict
from pathlib import Path

from prover_assets.operate.addresses import free_port
from prover_assets.store.files import write_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import Manifest
from prover_assets.ui import with_policy


def test_a_port_that_is_taken_is_passed_over():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100


def test_the_makefile_finds_no_old_python(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["make", "-C", str(root), "setup", f"VENV={tmp_path / 'venv'}", "PYTHON="],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "no Python >= 3.11 found" in done.stderr
    assert "PYTHON=/path/to/python3.11" in done.stderr


def test_what_is_launched_from_the_ui_uses_the_policy_of_the_baseline(tmp_path: Path):
    """`make run` uses the policy of its preset; a click in the UI has no preset."""
    data = DataFolder(tmp_path)
    assert with_policy({"A": "1"}, data) == {"A": "1"}
    write_json(data.baseline.manifest, asdict(manifest("worlds")))
    assert with_policy({"A": "1"}, data) == {"A": "1", "PROVER_POLICY": "worlds"}
    assert with_policy({"PROVER_POLICY": "/my/model"}, data) == {"PROVER_POLICY": "/my/model"}
    data.baseline.manifest.write_text("{", encoding="utf-8")
    assert with_policy({}, data) == {}


def manifest(policy: str) -> Manifest:
    return Manifest(
        fingerprint="f",
        complete=True,
        iteration=0,
        settings={},
        theorems="t",
        policy_id="p",
        policy_fingerprint="f",
        environment="e",
        environment_fingerprint="f",
        ebm_id=None,
        seconds=1.0,
        policy=policy,
    )
