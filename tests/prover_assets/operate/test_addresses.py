"""Links on pages that were made earlier go on leading somewhere: `make ui` keeps its ports."""

import os
import socket
from pathlib import Path

import pytest

from prover_assets.defs.tracking import mlflow_ui, report_link
from prover_assets.operate.addresses import (
    DEFAULT_PORTS,
    HOST,
    VARIABLES,
    choose_ports,
    free_port,
    last_ports,
    link_to_last_ports,
    ports_file,
)
from prover_assets.store.layout import DataFolder

NOTHING_ASKED = dict.fromkeys(DEFAULT_PORTS)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, "")  # so that it is as before afterwards
        monkeypatch.delenv(variable)
    return DataFolder(tmp_path)


def asked(first: int) -> dict[str, int | None]:
    """Three free ports, by name."""
    found: dict[str, int | None] = {}
    for name in DEFAULT_PORTS:
        found[name] = first = free_port(first)
        first += 1
    return found


def test_the_ports_of_the_last_time_are_used_again(data: DataFolder):
    assert last_ports(data) == {}
    wanted = asked(21_000)
    assert choose_ports(data, wanted) == (wanted, [])
    assert choose_ports(data, NOTHING_ASKED) == (wanted, [])


def test_a_port_that_another_program_has_taken_is_said(data: DataFolder):
    before, _ = choose_ports(data, asked(22_000))
    with socket.create_server((HOST, before["MLflow"])):
        ports, news = choose_ports(data, NOTHING_ASKED)
    assert ports["MLflow"] != before["MLflow"]
    assert ports["Dagster"] == before["Dagster"]
    (said,) = news
    assert f"MLflow was at http://127.0.0.1:{before['MLflow']} before" in said
    assert f"--mlflow-port {before['MLflow']}" in said


def test_make_run_links_to_where_the_pages_were_last(data: DataFolder):
    ports, _ = choose_ports(data, asked(23_000))
    os.environ["PROVER_REPORT_UI"] = "https://reports.example"
    link_to_last_ports(data)
    assert mlflow_ui() == f"http://127.0.0.1:{ports['MLflow']}"
    assert report_link("iter_000") == "https://reports.example/iter_000/"  # what a person has set stays


def test_a_damaged_record_of_ports_is_as_none(data: DataFolder):
    choose_ports(data, asked(24_000))
    ports_file(data).write_text("{", encoding="utf-8")
    assert last_ports(data) == {}
