"""Dagster's and MLflow's storage in a real Postgres, started for the test on a free port."""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest

from prover_assets.defs.tracking import MlflowResource
from prover_assets.store.layout import DataFolder
from prover_assets.tracking.mlflow import Store

PASSWORD = "s3cret-of-the-test"


def binaries() -> Path | None:
    """Where initdb and pg_ctl are: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


REASON = ""
if binaries() is None:
    REASON = "no Postgres server here (Debian: apt install postgresql)"
elif find_spec("dagster_postgres") is None or find_spec("psycopg2") is None:
    REASON = 'the extra is not installed (pip install -e ".[postgres]")'
elif os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
    REASON = "Postgres does not run as root, and there is no user postgres"

pytestmark = [pytest.mark.ui, pytest.mark.skipif(bool(REASON), reason=REASON or "there is a Postgres")]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory):
    """The port of a fresh server, which is stopped afterwards."""
    from prover_assets.operate.addresses import free_port

    tools, port = binaries(), free_port(55432)
    assert tools is not None
    folder = Path("/tmp" if os.geteuid() == 0 else tmp_path_factory.mktemp("postgres")) / f"pg-{os.getpid()}"
    folder.mkdir()
    secret = folder / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def tool(name: str, *arguments: str) -> None:
        subprocess.run([*prefix, str(tools / name), *arguments], check=True, capture_output=True, cwd=folder)

    tool("initdb", "-D", str(folder / "db"), "-U", "prover", "-A", "scram-sha-256", f"--pwfile={secret}", "-N")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    tool("pg_ctl", "-D", str(folder / "db"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        for database in ("dagster", "mlflow"):
            subprocess.run(
                [str(tools / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "prover", database],
                check=True,
                env={**os.environ, "PGPASSWORD": PASSWORD},
            )
        yield port
    finally:
        tool("pg_ctl", "-D", str(folder / "db"), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def address(port: int, database: str) -> str:
    return f"postgresql+psycopg2://prover:{PASSWORD}@127.0.0.1:{port}/{database}"


def commented_block(text: str) -> str:
    """The Postgres block of dagster.yaml with its comment signs taken away, as its comment says to do."""
    lines = text.splitlines()
    start = lines.index("# storage:")
    block = []
    for line in lines[start:]:
        if not line.startswith("# "):
            break
        block.append(line.removeprefix("# "))
    return "\n".join([*block, *lines[start + len(block) :]])


def test_an_iteration_is_stored_in_postgres(new_project, postgres, monkeypatch, tmp_path):
    root = Path(__file__).resolve().parents[2]
    home = tmp_path / "home"
    home.mkdir()
    text = commented_block((root / "dagster_home" / "dagster.yaml").read_text(encoding="utf-8"))
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PG_URL", address(postgres, "dagster"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(postgres, "mlflow"))
    project = new_project(track=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        project.instance = instance
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert project.run(partition="iter_000").success
        assert instance.get_dynamic_partitions("iteration") == ["iter_000", "iter_001"]
        assert project.metadata("iteration_report", "iter_000")["guided_area"] > 0
        (run,) = instance.get_runs()
        assert all(PASSWORD not in str(record) for record in instance.all_logs(run.run_id))
    store = Store(address(postgres, "mlflow"), "expert-iteration", project.root / "unused" / "artifacts")
    runs = store.client.search_runs([store.experiment_id])
    assert {tracked.info.status for tracked in runs} == {"FINISHED"}
    assert len(runs) == 9, "the row, its seven children, and the run of all iterations"
    for tracked in runs:
        assert PASSWORD not in str(tracked.data)
    for path in (project.root / "data").rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def test_a_plain_address_is_refused_with_what_to_write(tmp_path):
    with pytest.raises(ValueError, match=r"postgresql\+psycopg2://"):
        MlflowResource(tracking_uri="postgresql://user:secret@db/mlflow").resolved_uri(DataFolder(tmp_path))
