"""Stores to test on; every test's local copies lie in its own folder."""

import pytest
from store_fixtures import memory, s3, s3_server, working

__all__ = ["memory", "s3", "s3_server", "working"]


@pytest.fixture(autouse=True)
def own_copies(working: object) -> None:
    """For every test here."""
