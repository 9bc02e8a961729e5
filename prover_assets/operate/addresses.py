"""The ports of `make ui`: the same each time, so that links on pages that were made earlier go on leading somewhere."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from prover_assets.store.files import DamagedFile, read_json, write_json
from prover_assets.store.layout import DataFolder

HOST = "127.0.0.1"
DEFAULT_PORTS = {"Dagster": 3000, "MLflow": 5000, "Reports": 3080}
VARIABLES = {"Dagster": "PROVER_DAGSTER_UI", "MLflow": "PROVER_MLFLOW_UI", "Reports": "PROVER_REPORT_UI"}
"""Environment variables that say, to whatever makes a link, where the pages are."""


def free_port(wanted: int) -> int:
    """`wanted` if nothing listens there, else the next port that is free. Raises OSError where there is none."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(
        f"no free port between {wanted} and {wanted + 99} on {HOST}; name one with --dagster-port, --mlflow-port or "
        "--report-port"
    )


def address(port: int) -> str:
    """Of a server on this machine."""
    return f"http://{HOST}:{port}"


def ports_file(data: DataFolder) -> Path:
    """Where the ports are kept, beside the logs of the servers."""
    return data.root / "logs" / "ports.json"


def last_ports(data: DataFolder) -> dict[str, int]:
    """The ports that `make ui` last used for this data folder, by name; empty before its first time."""
    try:
        found = read_json(ports_file(data)) or {}
    except DamagedFile:  # only links depend on it, and the next start writes it anew
        return {}
    return {name: port for name in DEFAULT_PORTS if isinstance(port := found.get(name), int)}


def choose_ports(data: DataFolder, asked: Mapping[str, int | None]) -> tuple[dict[str, int], list[str]]:
    """The ports to use, kept for the next time, and a sentence for each server whose old links lead nowhere now.

    asked: ports that a person named; None: that of the last time, or the default one. The next free one if taken.
    """
    before = last_ports(data)
    ports, news = {}, []
    for name, default in DEFAULT_PORTS.items():
        ports[name] = free_port(asked.get(name) or before.get(name) or default)
        if name in before and ports[name] != before[name]:
            option = f"--{name.lower().rstrip('s')}-port {before[name]}"
            news.append(
                f"{name} was at {address(before[name])} before, and links on pages made then still lead there: for "
                f'them, free that port and start `make ui ARGS="{option}"`'
            )
    ports_file(data).parent.mkdir(parents=True, exist_ok=True)
    write_json(ports_file(data), ports)
    return ports, news


def link_to_last_ports(data: DataFolder) -> None:
    """Have this process make links to where `make ui` was last; an environment variable that is set stays."""
    for name, port in last_ports(data).items():
        os.environ.setdefault(VARIABLES[name], address(port))
