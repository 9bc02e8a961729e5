"""`prover doctor`: Dagster and MLflow, and whether their web interfaces answer."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from prover.doctor.checks import Check, Subject, version_of

DEFAULT_UIS = {
    "Dagster": ("PROVER_DAGSTER_UI", "http://127.0.0.1:3000", "/server_info"),
    "MLflow": ("PROVER_MLFLOW_UI", "http://127.0.0.1:5000", "/health"),
}
"""Interface -> (environment variable with its address, address without one, path that answers)."""


def _reachable(name: str) -> tuple[bool, str]:
    """(whether the web interface answers, its address)."""
    variable, default, path = DEFAULT_UIS[name]
    address = (os.environ.get(variable) or default).rstrip("/")
    return _answers(address + path), address


def _answers(url: str) -> bool:
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def check_dagster(subject: Subject) -> Check:
    """Dagster, and whether its web interface answers."""
    version = version_of("dagster")
    if version is None:
        return Check("Dagster", "fail", "not installed", "run `make setup`")
    up, address = _reachable("Dagster")
    home = os.environ.get("DAGSTER_HOME")
    detail = f"{version}; {'answers' if up else 'nothing answers'} at {address}"
    if home and not Path(home).is_dir():
        return Check("Dagster", "fail", f"{detail}; DAGSTER_HOME={home} is no folder", "create it, or use `make ui`")
    return Check("Dagster", "ok", detail, "" if up else "`make ui` starts it; commands and `make run` work without")


def check_mlflow(subject: Subject) -> Check:
    """MLflow: its tracking store, and whether its web interface answers."""
    version = version_of("mlflow")
    if version is None:
        return Check("MLflow", "fail", "not installed", "run `make setup`")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and uri.startswith(("http://", "https://")):
        if not _answers(uri.rstrip("/") + "/health"):
            return Check(
                "MLflow", "fail", f"{version}; MLFLOW_TRACKING_URI={uri} does not answer", "start it or unset it"
            )
        return Check("MLflow", "ok", f"{version}; tracking server {uri} answers")
    up, address = _reachable("MLflow")
    store = uri or "a SQLite file in the data folder"
    detail = f"{version}; tracked in {store}; interface {'answers' if up else 'does not answer'} at {address}"
    return Check("MLflow", "ok", detail, "" if up else "`make ui` starts it")
