"""The commands that people start: `make ui`, `make setup`."""

import subprocess
from pathlib import Path

from prover_assets.operate.addresses import free_port


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
