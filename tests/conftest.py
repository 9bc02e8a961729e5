"""What all tests share: options, and Hypothesis settings that do not depend on how busy the machine is."""

import functools
import gc
import os
from collections.abc import Callable, Collection, Generator

import hypothesis
import pytest

hypothesis.settings.register_profile("project", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long: the whole suite")
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--ui", action="store_true", help="also run the tests marked ui: servers, browser, Postgres")
    parser.addoption(
        "--screenshots", metavar="FOLDER", help="a larger project for the browser tests, and pictures of it in FOLDER"
    )
    parser.addoption(
        "--project",
        metavar="FOLDER",
        help="with --screenshots: the data and dagster_home there, instead of a new project",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: tests wait for Lean, servers and time limits a quarter of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Spare the garbage collector what importing made: torch and Dagster are millions of objects that stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name in ("long", "slow", "ui"):
            if name in item.keywords and not config.getoption(f"--{name}"):
                item.add_marker(pytest.mark.skip(reason=f"{name}; run with --{name}"))


@pytest.fixture(scope="session")
def known_forms() -> Callable[..., set[str]]:
    """`prover.worlds.generate.other_forms`, which takes seconds, read once for each choice of shipped sets."""
    from prover.worlds.generate import other_forms

    @functools.cache
    def read(but: frozenset[str]) -> set[str]:
        return other_forms(but)

    def known(but: Collection[str] = ()) -> set[str]:
        return set(read(frozenset(but)))

    return known
