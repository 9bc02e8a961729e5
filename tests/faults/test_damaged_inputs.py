"""Files that a run reads, damaged: theorem sets, models, compiled modules. Refused by name, or as they were."""

import gzip
import json
import logging
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import SIZES, cuts, damaged_copies, flips, try_damage

from prover.environments.recheck.olean import Olean, OleanError
from prover.environments.script import embedded
from prover.environments.script.embedded import embedded_lean, is_whole
from prover.policy import load_policy
from prover.policy.base import PolicyError, TacticCandidate
from prover.theorems import TheoremFileError, TheoremSet

CHECKPOINT = Path(embedded.__file__).parents[2] / "policy" / "tiny" / "checkpoint"
STATE = "p q : Prop\nh : p ∧ q\n⊢ q ∧ p"
ENTRIES = [
    {"name": f"t{i}", "statement": f"(p q : Prop) (h : p ∧ q) : q ∧ p ∨ p{i}", "split": "train"} for i in range(8)
]


def write_theorems(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(ENTRIES, ensure_ascii=False, indent=1), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(entry) + "\n" for entry in ENTRIES), encoding="utf-8")
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress("".join(json.dumps(entry) + "\n" for entry in ENTRIES).encode(), mtime=0))
    else:
        pq.write_table(pa.Table.from_pylist(ENTRIES), path)


@pytest.mark.parametrize("name", ["set.json", "set.jsonl", "set.jsonl.gz", "set.parquet"])
def test_theorem_sets(tmp_path: Path, name: str) -> None:
    """They are made elsewhere and have no digest: a changed letter is another theorem. Anything else is refused."""
    path = tmp_path / name
    write_theorems(path)

    def read() -> list[str]:
        return [f"{theorem.name} {theorem.statement}" for theorem in TheoremSet.load(path)]

    whole = read()
    data = path.read_bytes()
    tried = try_damage(path, flips(data, seed=5), read, TheoremFileError)
    assert all(name in words for words in tried.refusals)
    cut = try_damage(path, cuts(data), read, TheoremFileError)
    assert all(name in words for words in cut.refusals)
    # Whole lines are a set of their own; half a line is none.
    assert all(found == whole[: len(found)] for found in cut.read)
    assert not cut.read or name.endswith(".jsonl")


@pytest.mark.parametrize("name", ["set.json", "set.jsonl", "set.jsonl.gz"])
def test_a_theorem_set_that_is_not_utf8_is_said_to_be_that(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_theorems(path)
    compressed = name.endswith(".gz")
    text = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    changed = text.replace(b"(p q : Prop)", b"(\xff q : Prop)", 1)
    path.write_bytes(gzip.compress(changed) if compressed else changed)
    with pytest.raises(TheoremFileError, match="UTF-8") as raised:
        TheoremSet.load(path)
    assert name in str(raised.value)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
)
def test_model_folders(tmp_path: Path, name: str, n: int) -> None:
    """They have no digest of their own: a changed weight is another model. What differs in what it answers differs in
    its fingerprint too, so that nothing of it is taken for the other's."""
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINT, folder)
    path = folder / name
    data = path.read_bytes()
    head = int.from_bytes(data[:8], "little") + 8 if name.endswith(".safetensors") else 0

    def read() -> tuple[str, str, list[TacticCandidate], bytes]:
        policy = load_policy(folder)
        (candidates,), (vector,) = policy.generate([STATE], 4), policy.encode_only([STATE])
        return policy.fingerprint, policy.encoder_fingerprint, candidates, vector.tobytes()

    generator, encoder, candidates, vector = read()
    logging.disable(logging.WARNING)  # of transformers, about each
    try:
        tried = try_damage(path, damaged_copies(data, seed=6, n=n, head=head), read, PolicyError)
    finally:
        logging.disable(logging.NOTSET)
    assert all(str(folder) in words and "\n" not in words for words in tried.refusals), tried.refusals
    assert tried.refusals or name == "generation_config.json", "of that one nothing is used"
    assert [found for found in tried.read if found[0] == generator and found[2] != candidates] == []
    assert [found for found in tried.read if found[1] == encoder and found[3] != vector] == []


@pytest.fixture(scope="module")
def prelude(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of our own, with the modules that `embedded_lean` has compiled, and one snapshot: a user's cache may have
    those of other modules and of other environments."""
    cache = tmp_path_factory.mktemp("cache")
    compiled = embedded_lean().lib_path
    no_snapshots = shutil.ignore_patterns("*.snap", "*.snap.deps")
    shutil.copytree(compiled, cache / compiled.parent.name / compiled.name, ignore=no_snapshots)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        embedded_lean()
    return cache


def test_compiled_modules(prelude: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(prelude))
    lean = embedded_lean()
    made = lean.lib_path / "version"
    module = lean.lib_path / "Prover" / "Logic.olean"
    data = module.read_bytes()
    tried = try_damage(module, (*flips(data, seed=8), *cuts(data)), lambda: is_whole(made), ())
    assert tried.read == [False] * len(tried.read)
    assert is_whole(made)


@pytest.mark.parametrize(
    "name",
    [
        "*.snap",
        pytest.param("Prover/Logic.olean", marks=pytest.mark.slow),
        pytest.param("version.sums", marks=pytest.mark.slow),
    ],
)
def test_damaged_modules_are_compiled_again(
    prelude: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(prelude))
    lean = embedded_lean()
    module = (lean.lib_path / "Prover" / "Logic.olean").read_bytes()
    (path,) = lean.lib_path.glob(name)
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 4
    path.write_bytes(bytes(changed))
    assert embedded_lean() == lean
    assert "was damaged since it was made: it is made again" in caplog.text
    assert (lean.lib_path / "Prover" / "Logic.olean").read_bytes() == module


def test_olean_files_that_are_read_here(prelude: Path) -> None:
    path = next(prelude.rglob("Reserved.olean"))
    data = path.read_bytes()

    def read() -> int:
        module = Olean(path.read_bytes())
        return sum(1 for name in module if module.constant(name))

    whole = read()
    tried = try_damage(path, (*flips(data, seed=9), *cuts(data)), read, OleanError)
    assert whole > 0
    assert tried.refusals
