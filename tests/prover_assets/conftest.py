"""A small world to run the whole asset graph in: theorems are corridors with a right turn at every step.

Everything is decided by hashes, so runs repeat. The policy likes wrong turns about as much as right ones, and its
hidden vectors tell corridor from dead end, so that an energy model has something to learn and something to gain.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.defs_state.base import set_defs_state_storage
from filelock import FileLock
from matplotlib.figure import Figure
from pydantic import Field
from search_fakes import HashWorld, chance
from sqlalchemy import event
from sqlalchemy.engine import Engine

from prover.environments.base import Complete, Failure, Outcome, Progress, ProofState, Rejected
from prover.policy.base import TacticCandidate
from prover.theorems import Theorem
from prover_assets.defs.resources import LeanResource, PolicyResource

WIDTH = 16


@event.listens_for(Engine, "connect")
def _without_flushing(connection: Any, record: Any) -> None:
    """Spare the databases of Dagster and MLflow the flush to disk at each commit: no test outlives a power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


class MazeWorld(HashWorld):
    """`⊢ NAME good I` leads on with the right tactic, to `⊢ NAME bad I N` with others; dead ends lead to dead ends."""

    name = "maze"

    def __init__(self, **shares: float) -> None:
        super().__init__(**shares)
        self.fingerprint = f"maze-{sorted(shares.items())}"

    @staticmethod
    def _root(theorem: Theorem) -> ProofState | Failure:
        if "bad" in theorem.statement:
            return Rejected("unknown identifier 'bad'", 1.0)
        return ProofState(theorem, (), f"⊢ {theorem.name} good 0")

    def _outcome(self, state: ProofState, tactic: str) -> Outcome:
        name, kind, place = state.text.removeprefix("⊢ ").split(" ")[:3]
        path = (*state.tactics, tactic)
        if kind == "good" and tactic == right_turn(name, place):
            if int(place) + 1 == corridor(name):
                return Complete(path, 1.0)
            return Progress(ProofState(state.theorem, path, f"⊢ {name} good {int(place) + 1}"), 1.0)
        if tactic == "t4" or (kind == "bad" and chance("stuck", state.text, tactic) < 0.5):
            return Rejected(f"{tactic} does not apply", 1.0)
        return Progress(ProofState(state.theorem, path, f"⊢ {name} bad {int(place) + 1} {len(path)}{tactic}"), 1.0)


def corridor(name: str) -> int:
    """Length of a theorem's proof, 2 to 6 tactics."""
    return 2 + int(5 * chance("length", name))


def right_turn(name: str, place: str) -> str:
    return f"t{int(4 * chance('turn', name, place))}"


class MazePolicy:
    """Proposes t0 ... t4, the right turn a little likelier than others; its vectors tell good states from bad."""

    hidden_size = WIDTH
    encoding_width = WIDTH
    policy_id = "maze-policy"
    fingerprint = "maze-policy-1"
    encoder_fingerprint = "e" * 64
    pooling = "mean/1"

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.asked: list[str] = []

    wrong_turn = 0.8
    """What a wrong turn costs in log-probability (nats), besides chance."""

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        self.asked += states
        found = []
        for state in states:
            name, kind, place = state.removeprefix("⊢ ").split(" ")[:3]
            hint = right_turn(name, place) if kind == "good" else ""
            drawn = sorted(
                (
                    (-3 * chance("lp", state, i) - (0.05 if f"t{i}" == hint else self.wrong_turn), f"t{i}")
                    for i in range(5)
                ),
                reverse=True,
            )
            found.append([TacticCandidate(tactic, log_prob, 1) for log_prob, tactic in drawn[:n_candidates]])
        return found

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        self.encoded += states
        return np.stack([self._vector(state) for state in states])

    @staticmethod
    def _vector(state: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(state.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(seed).normal(0.0, 0.5, WIDTH)
        vector[0 if " good " in state else 1] += 1.0
        return vector.astype(np.float32)


class MazeLean(LeanResource):
    """Lends the maze instead of a Lean. `shares`: of crashes, time limits and claims that do not certify."""

    shares: dict[str, float] = Field(default_factory=dict)

    @contextmanager
    def environment(self):
        yield MazeWorld(**self.shares)


_POLICY = MazePolicy()


class MazePolicyResource(PolicyResource):
    """With a path: the policy whose settings are in that folder's `maze.json`, as tests of tuning write it."""

    def load(self) -> Any:
        if not self.path:
            return _POLICY
        tuned = MazePolicy()
        for name, value in json.loads((Path(self.path) / "maze.json").read_text(encoding="utf-8")).items():
            setattr(tuned, name, value)
        return tuned

    def identity(self) -> str:
        return "maze"


@dataclass
class Project:
    """A project over the maze: data folder, Dagster instance, and a way to materialize assets."""

    root: Path
    instance: dg.DagsterInstance
    shares: dict[str, float] = field(default_factory=dict)
    track: bool = False
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Changes to the run configuration, by asset."""
    resources: dict[str, Any] = field(default_factory=dict)
    """Run configuration of resources."""
    url: str = ""
    """Where the data folder lies instead of `data`: `s3://...`."""
    real: bool = False
    """The installed Lean and the shipped policy instead of the maze."""

    @property
    def data(self) -> Path:
        return self.root / "data"

    @cached_property
    def job(self) -> dg.JobDefinition:
        from prover_assets.definitions import definitions_with
        from prover_assets.defs.resources import DataResource
        from prover_assets.defs.tracking import MlflowResource

        project = definitions_with(
            data=DataResource(root=str(self.data)),
            lean=LeanResource() if self.real else self.lean(),
            policy=PolicyResource() if self.real else self.policy(),
            mlflow=MlflowResource(enabled=self.track),
        )
        return project.resolve_job_def("first_policy_iteration")

    def restart(self) -> None:
        """As after a restart of Dagster: the definitions are made anew, from the settings of now."""
        self.__dict__.pop("job", None)

    def lean(self) -> MazeLean:
        """The Lean that the project runs with, where it is no real one."""
        return MazeLean(shares=self.shares)

    @staticmethod
    def policy() -> MazePolicyResource:
        """The policy that the project runs with, where it is no real one."""
        return MazePolicyResource()

    def run_config(self, selection: Sequence[str]) -> dict[str, Any]:
        ops: dict[str, dict[str, Any]] = {
            "theorems": {split: str(self.root / f"{split}.jsonl") for split in ("train", "valid", "test")},
            "baseline_trajectories": {"max_expansions": 16, "n_candidates": 5},
            "trajectories": {"n_theorems": 24, "max_expansions": 24, "n_candidates": 5},
            "ebm_checkpoint": {
                "total_steps": 120,
                "lr": 1e-3,
                "batch_size": 32,
                "warmup_steps": 10,
                "d_hidden1": 16,
                "d_hidden2": 8,
                "calibration_expansions": 16,
                "betas": [0.0, 1.0],
            },
            "iteration_report": {"budgets": [4, 8, 16]},
        }
        for name, changes in self.config.items():
            ops[name] = {**ops.get(name, {}), **changes}
        return {"ops": {name: {"config": values} for name, values in ops.items() if name in selection}}

    def run(self, *selection: str, partition: str | None = None, raises: bool = True) -> dg.ExecuteInProcessResult:
        """Materialize assets by name (all seven where none is named)."""
        from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS

        chosen = selection or (*BASELINE_ASSETS, *ITERATION_ASSETS)
        if partition is not None:
            self.instance.add_dynamic_partitions("iteration", [partition])
        return self.job.execute_in_process(
            instance=self.instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey(name) for name in chosen],
            run_config={
                **self.run_config(chosen),
                **({"resources": self.resources} if self.resources else {}),
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=raises,
        )

    def latest(self, asset: str, partition: str | None = None) -> dg.AssetMaterialization:
        """The latest materialization of an asset."""
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=[partition] if partition is not None else None
        )
        found = self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        assert found is not None
        return found

    def metadata(self, asset: str, partition: str | None = None) -> Mapping[str, Any]:
        return {name: value.value for name, value in self.latest(asset, partition).metadata.items()}


def write_theorems(folder: Path, counts: Mapping[str, int]) -> None:
    for split, count in counts.items():
        lines = [json.dumps({"name": f"{split}{i}", "statement": f": statement {split} {i}"}) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


ITERATED = ("finished", "iterated", "twice_iterated")
"""Fixtures of whole iterations, each made from another: their tests run in one worker process, so that none waits for
what another makes."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if set(ITERATED) & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("iterated"))


@pytest.fixture(autouse=True)
def pictures_left_blank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not rendered, which takes a third of an iteration's time.

    The iterations that many tests share have their pictures, and so have slow tests and those marked `rendered`.
    """
    if not any(request.node.get_closest_marker(name) for name in ("rendered", "slow", "ui")):

        def savefig(figure: Figure, file: Any, **_: Any) -> None:
            file.write(BLANK_PNG)

        monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(scope="session", autouse=True)
def loaded_definitions() -> dg.Definitions:
    """The project's definitions, resolved before any test's Dagster instance is open."""
    from prover_assets.definitions import defs

    defs.get_repository_def()
    return defs


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """Alembic runs the files of all migrations whenever a database is made or looked at, and Dagster makes one per run:
    a sixth of the time of these tests. The files do not change, so they are read once."""
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def read_once(config: Config) -> ScriptDirectory:
        where = config.get_main_option("script_location")
        if where not in known:
            known[where] = read(config)
        return known[where]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", read_once)
        yield


SAVEFIG = Figure.savefig


def save_coarsely(figure: Figure, file: Any, **options: Any) -> None:
    """A real picture of few pixels, which costs little."""
    SAVEFIG(figure, file, **{**options, "dpi": 30})


BLANK_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f0001010100b138f6140000"
    "000049454e44ae426082"
)
"""One pixel."""


class Templates:
    """Projects made once for all tests and all worker processes, and copied by the tests that start from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of a project, which `make` fills when nobody has done so."""
        folder = self.folder / name
        with FileLock(self.folder / f"{name}.lock"):
            if not folder.exists():
                unfinished = self.folder / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(Figure, "savefig", save_coarsely)
                    make(unfinished)
                unfinished.rename(folder)
        return folder

    def empty(self) -> Path:
        """Theorems, an MLflow database with its tables and nothing in them, no Dagster run."""

        def make(folder: Path) -> None:
            from prover_assets.tracking.mlflow import Store

            write_theorems(folder, {"train": 40, "valid": 8, "test": 12})
            (folder / "dagster").mkdir()
            (folder / "data" / "mlflow").mkdir(parents=True)
            Store(f"sqlite:///{folder / 'data' / 'mlflow' / 'mlflow.db'}", "unused", folder / "unused")

        return self.made("empty", make)

    def one_iteration(self, secret: str) -> Path:
        """Tracked, and its first iteration is done, with `secret` in the environment."""

        def make(folder: Path) -> None:
            shutil.copytree(self.empty(), folder, dirs_exist_ok=True)
            with pytest.MonkeyPatch.context() as patch, self.opened(folder, track=True) as project:
                patch.setenv("HF_TOKEN", secret)
                patch.setenv("PROVER_API_KEY", secret)
                assert project.run(partition="iter_000").success

        return self.made("one_iteration", make)

    @staticmethod
    @contextmanager
    def opened(folder: Path, **settings: Any) -> Iterator[Project]:
        """The project in `folder`, with its Dagster instance open.

        Dagster asks the instance that was opened last for the state of definitions, also where a test has let it go. We
        have no such state, so none is asked.
        """
        with dg.instance_for_test(temp_dir=str(folder / "dagster")) as instance, set_defs_state_storage(None):
            yield Project(folder, instance, **settings)

    @contextmanager
    def copies(self, template: Path, folder: Path) -> Iterator[Callable[..., Project]]:
        """Makes one project in `folder`, as the template is."""
        with ExitStack() as stack:

            def make(**settings: Any) -> Project:
                shutil.copytree(template, folder, dirs_exist_ok=True)
                return stack.enter_context(self.opened(folder, **settings))

            yield make


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Shared by the worker processes of pytest-xdist, whose temporary folders lie side by side."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "templates"
    folder.mkdir(exist_ok=True)
    return Templates(folder)


@pytest.fixture
def new_project(tmp_path: Path, templates: Templates):
    """Makes a project."""
    with templates.copies(templates.empty(), tmp_path) as make:
        yield make


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project()


@pytest.fixture
def made(tmp_path: Path, templates: Templates, secret: str):
    """An untracked project whose first iteration is done, in one Dagster run."""
    with templates.copies(templates.one_iteration(secret), tmp_path) as make:
        yield make()


@pytest.fixture
def tracked(tmp_path: Path, templates: Templates, secret: str):
    """A tracked project whose first iteration is done, in one Dagster run."""
    with templates.copies(templates.one_iteration(secret), tmp_path) as make:
        yield make(track=True)


@dataclass
class MakeRun:
    """`make run` in a project, in this process; calling it gives the exit code."""

    project: Project
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: str) -> int:
        import yaml

        import prover_assets.definitions as definitions
        from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS
        from prover_assets.defs.tracking import MlflowResource
        from prover_assets.run import main

        project = self.project
        self.patch.setenv("PROVER_DATA", project.url or str(project.data))
        self.patch.setenv("DAGSTER_HOME", project.instance.root_directory)
        maze = definitions.definitions_with(
            lean=project.lean(),
            policy=MazePolicyResource(),
            mlflow=MlflowResource(enabled=project.track),
        )
        self.patch.setattr(definitions, "defs", maze)
        config = project.root / "config.yaml"
        config.write_text(yaml.safe_dump(project.run_config((*BASELINE_ASSETS, *ITERATION_ASSETS))), encoding="utf-8")
        return main(["--config", str(config), *arguments])


@pytest.fixture
def make_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    return MakeRun(project, monkeypatch)


@pytest.fixture
def make_next_run(made: Project, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """`make run` where the first iteration is done."""
    return MakeRun(made, monkeypatch)


@pytest.fixture(scope="session")
def secret() -> str:
    return "hf_SECRETtoken0123456789"


@pytest.fixture(scope="session")
def two_iterations(templates: Templates, secret: str) -> Path:
    """The template of a tracked project whose first two iterations are done, in one Dagster run each."""
    from prover_assets.defs.jobs import ITERATION_ASSETS

    def make(folder: Path) -> None:
        shutil.copytree(templates.one_iteration(secret), folder, dirs_exist_ok=True)
        with pytest.MonkeyPatch.context() as patch, templates.opened(folder, track=True) as project:
            patch.setenv("HF_TOKEN", secret)
            patch.setenv("PROVER_API_KEY", secret)
            assert project.run(*ITERATION_ASSETS, partition="iter_001").success

    return templates.made("two_iterations", make)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, templates: Templates, two_iterations: Path):
    """A tracked project of two iterations, for all tests that only read it."""
    with templates.copies(two_iterations, tmp_path_factory.mktemp("project")) as copy:
        yield copy(track=True)


@pytest.fixture
def finished_copy(tmp_path: Path, templates: Templates, two_iterations: Path):
    """A tracked project of two iterations, for one test, which may change it."""
    with templates.copies(two_iterations, tmp_path) as copy:
        yield copy(track=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config):
    """The servers of `make ui` over a project of a few theorems on the real Lean. For tests marked ui."""
    from server import SMALL, TOUR, serving

    settings = TOUR if pytestconfig.getoption("--screenshots") else SMALL
    project = pytestconfig.getoption("--project")
    with serving(tmp_path_factory.mktemp("server"), settings, Path(project) if project else None) as found:
        yield found


@pytest.fixture(scope="session")
def first(server, pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """The runs of the first iteration: "Materialize all" from nothing, as a newcomer clicks it."""
    from server import ALL

    if pytestconfig.getoption("--project"):
        return []
    server.add_partition("iter_000")
    return server.backfill(["iter_000"], ALL)


@pytest.fixture(scope="session")
def second(server, first, pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """The run of the second iteration; for pictures also that of a third."""
    if pytestconfig.getoption("--project"):
        return []
    keys = ("iter_001", "iter_002") if pytestconfig.getoption("--screenshots") else ("iter_001",)
    runs = server.iterate(*keys)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    return runs


@pytest.fixture(scope="session")
def failed_and_retried(server, second) -> tuple[dict[str, Any], dict[str, Any]]:
    """An iteration whose baseline was not there when it was needed, and its re-execution from failure."""
    from server import ALL

    from prover_assets.store.layout import DataFolder

    server.add_partition("iter_002")
    manifest = DataFolder(server.data).baseline.manifest
    content = manifest.read_text(encoding="utf-8")
    manifest.unlink()
    try:
        failed = server.wait(server.launch("iteration", "iter_002", *ALL[2:]))
    finally:
        manifest.write_text(content, encoding="utf-8")
    return failed, server.wait(server.reexecute_from_failure(failed["runId"]))


@pytest.fixture
def configured() -> MazePolicyResource:
    """The policy as projects configure it."""
    return MazePolicyResource()


@pytest.fixture
def policy() -> MazePolicy:
    """The policy that projects run with, its counters emptied."""
    _POLICY.encoded.clear()
    _POLICY.asked.clear()
    return _POLICY
