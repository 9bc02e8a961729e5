"""A data folder that was moved or copied: MLflow writes absolute artifact locations into its database, so that a copy's
runs would keep their artifacts in the original. Plain SQL, and only on the database that lies in the data folder."""

import sqlite3
from contextlib import closing
from pathlib import Path

from prover_assets.store.layout import DataFolderError
from prover_assets.tracking.database import described

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps locations of artifacts (table, column)."""
OURS = "file:///%/mlflow/artifacts"
"""Locations that a data folder gives to its experiments; another store's are left alone."""


def relocate(folder: Path) -> str:
    """Let the artifact locations of `data/mlflow` point into it, also those of earlier runs.

    Returns the location they pointed to, "" where there was nothing to do. Raises DataFolderError for a database that
    is not as MLflow makes it.
    """
    database, here = folder / "mlflow.db", (folder / "artifacts").resolve().as_uri()
    if not database.exists():
        return ""
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone() is None:
                return ""  # a database that MLflow is yet to fill
            query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?"
            elsewhere = [location for (location,) in connection.execute(query, (OURS,)) if location != here]
            if not elsewhere:
                return ""
            with connection:
                for before in elsewhere:
                    for table, column in COLUMNS:
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                            (here, len(before) + 1, before, len(before) + 1, f"{before}/"),
                        )
    except sqlite3.Error as error:
        raise DataFolderError(str(described(database, error))) from error
    return elsewhere[0]
