"""Where things lie in the data folder."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prover.storage import data_root
from prover_assets.store.iterations import in_order, iteration_key, iteration_number

LEAST_FREE_BYTES = 200 * 1024 * 1024


class DataFolderError(RuntimeError):
    """The data folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SearchFiles:
    """The files of one search: nodes, attempts, a summary row per theorem, and a manifest of what made them."""

    nodes: Path

    @property
    def attempts(self) -> Path:
        """Every tactic tried."""
        return self.nodes.with_suffix(".attempts.parquet")

    @property
    def summary(self) -> Path:
        """One row per theorem."""
        return self.nodes.with_suffix(".summary.parquet")

    @property
    def parts(self) -> Path:
        """Folder of finished theorems while the search runs."""
        return self.nodes.with_suffix(".parts")

    @property
    def manifest(self) -> Path:
        """What the search was made from."""
        return self.nodes.with_suffix(".manifest.json")

    def all(self) -> tuple[Path, ...]:
        """All files of the search."""
        return (self.nodes, self.attempts, self.summary, self.manifest)


@dataclass(frozen=True, slots=True)
class IterationFolder:
    """`data/iterations/iter_000/`."""

    root: Path

    @property
    def key(self) -> str:
        """Partition key, e.g. `iter_003`."""
        return self.root.name

    @property
    def number(self) -> int:
        """From 0."""
        return iteration_number(self.root.name)

    @property
    def champion(self) -> Path:
        """The champion that this iteration searches with, as the report of the iteration before decided it."""
        return self.root / "champion.json"

    @property
    def policy_record(self) -> Path:
        """The policy that this iteration searches with, where the tuning of the one before decided it."""
        return self.root / "policy.json"

    @property
    def tuned_policy(self) -> Path:
        """The policy that this iteration tuned; moved to `policies/` when it is adopted."""
        return self.root / "tuned_policy"

    @property
    def tuning(self) -> Path:
        """What tuning the policy came to: numbers and decision; there once it has ended."""
        return self.root / "policy_tuning.json"

    @property
    def cleaned(self) -> Path:
        """What `clean-iterations` has removed of this iteration: files that are missed on purpose."""
        return self.root / "cleaned.json"

    @property
    def following(self) -> "IterationFolder":
        """The next iteration's folder."""
        return IterationFolder(self.root.parent / iteration_key(self.number + 1))

    @property
    def trajectories(self) -> SearchFiles:
        """Search of the training theorems."""
        return SearchFiles(self.root / "trajectories.parquet")

    @property
    def guided(self) -> SearchFiles:
        """Search of the held-out theorems with the energy."""
        return SearchFiles(self.root / "guided.parquet")

    @property
    def control(self) -> SearchFiles:
        """The held-out theorems searched with a random energy in the same formula."""
        return SearchFiles(self.root / "control.parquet")

    @property
    def checkpoint(self) -> Path:
        """Folder of the energy model."""
        return self.root / "ebm"

    @property
    def verdict(self) -> Path:
        """What the checks said of the energy model."""
        return self.checkpoint / "verdict.json"

    @property
    def evidence(self) -> Path:
        """What validation said of the checkpoint."""
        return self.checkpoint / "validation.json"

    @property
    def new_theorems(self) -> Path:
        """Training theorems that were made for this iteration, where the training set was exhausted."""
        return self.root / "new_theorems.jsonl"

    @property
    def lessons(self) -> Path:
        """The certified proofs of the iteration's search, shortened."""
        return self.root / "lessons.json"

    @property
    def heads(self) -> Path:
        """Further heads, alike but for the seed, with their searches of the held-out theorems."""
        return self.root / "heads"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.root / "report"

    @property
    def report_file(self) -> Path:
        """The report's numbers; there once the iteration is finished."""
        return self.report / "report.json"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder that a project's runs write to: `./data`, or what PROVER_DATA names."""

    root: Path

    @classmethod
    def default(cls) -> "DataFolder":
        """What `PROVER_DATA` names, or `data` in the working folder."""
        return cls.at("")

    @classmethod
    def at(cls, given: str) -> "DataFolder":
        """The folder at a path or URL; "" is the default. Of a URL (`s3://...`), the local copy's place."""
        return cls(data_root(given or None).resolve())

    @property
    def memo(self) -> Path:
        """File of remembered answers."""
        return self.root / "memo.sqlite"

    @property
    def embeddings(self) -> Path:
        """Folder of the embedding cache."""
        return self.root / "embeddings"

    @property
    def baseline(self) -> SearchFiles:
        """Search of the held-out theorems with the policy alone."""
        return SearchFiles(self.root / "baseline" / "trajectories.parquet")

    @property
    def champions(self) -> Path:
        """Promoted checkpoints, copied here by their id: what a champion is does not change under it."""
        return self.root / "champions"

    @property
    def policies(self) -> Path:
        """Adopted policies, by name: what a policy is does not change under those who use it."""
        return self.root / "policies"

    @property
    def mlflow(self) -> Path:
        """Folder of MLflow's database and artifacts."""
        return self.root / "mlflow"

    def theorems(self, split: str) -> Path:
        """File of a split of the theorems."""
        return self.root / "theorems" / f"{split}.jsonl"

    def iteration(self, key_or_number: str | int) -> IterationFolder:
        """Folder of an iteration, by number or key."""
        key = key_or_number if isinstance(key_or_number, str) else iteration_key(key_or_number)
        iteration_number(key)
        return IterationFolder(self.root / "iterations" / key)

    def iterations(self) -> list[IterationFolder]:
        """The iterations that have a folder, in order."""
        folder = self.root / "iterations"
        names = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
        return [self.iteration(name) for name in in_order(names)]

    def prepare(self) -> None:
        """Make the folder and prove that it can be written to. Raises DataFolderError, before any work is done."""
        remedy = "free some space, or set PROVER_DATA to a folder that can be written to"
        try:
            for path in (self.root, *self.root.parents):
                if path.exists() and not path.is_dir():
                    raise DataFolderError(
                        f"the data folder {self.root} cannot be made: {path} is a file, and should be a folder; set "
                        "PROVER_DATA to a folder, or move the file away"
                    )
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".write-test-") as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            raise DataFolderError(f"cannot write to the data folder {self.root}: {error.strerror}; {remedy}") from error
        free = shutil.disk_usage(self.root).free
        if free < LEAST_FREE_BYTES:
            raise DataFolderError(
                f"the data folder {self.root} has {free / 1e6:.0f} MB free; a run wants at least "
                f"{LEAST_FREE_BYTES / 1e6:.0f} MB; {remedy}"
            )

    def lock_file(self, what: str) -> Path:
        """The file that `held` locks."""
        return self.root / ".locks" / f"{what.replace(' ', '-')}.lock"

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold `what` (e.g. `iter_000`) against other processes. Refuses at once when another one holds it."""
        path = self.lock_file(what)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                raise DataFolderError(
                    f"another process ({handle.read().strip() or 'unknown'}) is writing {what} in {self.root}; "
                    "wait for it to end, or stop it, and run this again"
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()}")
            handle.flush()
            yield
