"""Trouble with MLflow's own database, in one sentence: locked, made by another version, damaged, or out of room."""

import functools
import importlib.util
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from prover.sqlite_faults import SqliteFault, fault_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
T = TypeVar("T")


class TrackingError(RuntimeError):
    """Runs cannot be tracked. The message names the database, what is wrong and what to do."""


def tracking_errors() -> tuple[type[Exception], ...]:
    """What MLflow and the database below it raise. Imports both."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (TrackingError, MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


def described(database: Path, error: BaseException) -> TrackingError:
    """An error of the tracking database in words."""
    fault = fault_of(error, database)
    first_line = str(error).strip().partition("\n")[0][:200]
    if "_alembic_tmp_" in first_line:
        return TrackingError(
            f"the tracking database {database} was left half made: a process was killed while MLflow made or upgraded "
            f"its tables ({first_line}). Restore it from a copy; where nothing was recorded yet, delete it"
        )
    return TrackingError(f"the tracking database {database} {fault} ({first_line}). {REMEDIES[fault]}")


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Turn what MLflow and the database below it raise into a TrackingError of one sentence."""
    try:
        yield
    except tracking_errors() as error:
        if isinstance(error, TrackingError):
            raise
        if uri.startswith("sqlite:///"):
            raise described(Path(uri.removeprefix("sqlite:///")), error) from error
        first_line = str(error).strip().partition("\n")[0][:300]
        raise TrackingError(
            f"MLflow did not do what it was asked ({first_line}). Look at its server or database, and run this again"
        ) from error


class _ClientInWords:
    """MLflow's client, whose errors are ours."""

    def __init__(self, client: "MlflowClient", uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> object:
        found = getattr(self._client, name)
        return self._worded(found) if callable(found) else found

    def _worded(self, method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def call(*arguments: P.args, **named: P.kwargs) -> T:
            with in_words(self._uri):
                return method(*arguments, **named)

        return call


def client_in_words(client: "MlflowClient", uri: str) -> "MlflowClient":
    """The same client; what its methods raise is a TrackingError of one sentence, in place of a database's trace."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs the trace of what it also raises
    return cast("MlflowClient", _ClientInWords(client, uri))


REMEDIES = {
    SqliteFault.LOCKED: "Stop what holds it (another run, `make ui`, a database browser) and run this again",
    SqliteFault.FULL: "Make room on that disk and run this again; what was finished is kept",
    SqliteFault.READ_ONLY: "Make its folder writable, or set MLFLOW_TRACKING_URI to another store",
    SqliteFault.DAMAGED: "Restore it from a copy; without one, move its folder away to begin with an empty one",
    SqliteFault.UNREADABLE: "Look at the disk, and run this again",
    SqliteFault.OTHER: "Set MLFLOW_TRACKING_URI to another store, or switch tracking off (`mlflow: {enabled: false}`)",
}


def make_whole(database: Path) -> None:
    """Make a tracking database where there is none, whole or not at all. For who holds the lock on its folder.

    MLflow makes its tables in some sixty steps, and cannot go on where a kill has ended them.
    """
    if database.exists():
        return
    from mlflow import MlflowClient

    for left in database.parent.glob(f".{database.name}.*.tmp*"):
        left.unlink()
    # A name of its own each time: MLflow remembers within a process which databases have their tables.
    temporary = database.with_name(f".{database.name}.{secrets.token_hex(4)}.tmp")
    MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
    os.replace(temporary, database)


def require_known_version(database: Path) -> None:
    """Refuse a database whose tables are of a version of MLflow that is not installed. Raises TrackingError.

    MLflow itself says of a newer one that it is out of date and should be upgraded, which cannot be done.
    """
    if not database.exists():
        return
    known = _known_revisions()
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
                return
            found = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    except sqlite3.Error as error:
        raise described(database, error) from error
    unknown = [revision for revision in found if known and revision not in known]
    if unknown:
        raise TrackingError(
            f"the tracking database {database} was made by a newer version of MLflow (schema {unknown[0]}): install "
            "that version (`make setup` installs the one in constraints.txt), or set MLFLOW_TRACKING_URI to another "
            "store"
        )


def _known_revisions() -> frozenset[str]:
    """Schema revisions that the installed MLflow knows, from the names of its migration scripts; empty if not found."""
    spec = importlib.util.find_spec("mlflow")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        scripts = (Path(folder) / "store" / "db_migrations" / "versions").glob("*_*.py")
        revisions = frozenset(script.name.partition("_")[0] for script in scripts)
        if revisions:
            return revisions
    return frozenset()
