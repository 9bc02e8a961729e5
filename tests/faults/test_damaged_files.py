"""Files that a run writes, damaged: right, or refused with their name; never another figure, never a trace."""

from pathlib import Path

import numpy as np
import pytest
import torch
from faults import cuts, flips, try_damage
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from ebm.champion import ChampionError, promote, read_champion
from ebm.checkpoint import (
    CheckpointError,
    load_head,
    read_calibration,
    read_config,
    write_calibration,
    write_checkpoint,
)
from ebm.embeddings import EmbeddingCache, EmbeddingError
from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
from prover.files import write_json_atomic
from prover.search import SearchConfig, search_to_files
from prover.search.guidance import MixingCalibration
from prover.settings import settings_of_file
from prover.storage.commit import COMMIT, Commit, Entry, read_commit
from prover.storage.mirror import RECORD, url_of
from prover.storage.store import StorageError, Store
from prover_assets.operate.presets import PresetError, load_run_config
from prover_assets.steps.history import iterations_before
from prover_assets.store.files import DamagedFile, read_json, write_json
from prover_assets.store.layout import DataFolder

FINGERPRINT = "ab" * 32


def both(data: bytes, seed: int):
    yield from flips(data, seed=seed)
    yield from cuts(data)


def test_json_of_the_data_folder(tmp_path: Path) -> None:
    path = tmp_path / "iterations" / "iter_001" / "report" / "report.json"
    content = {
        "solved": {"4": 0.6173, "16": 0.7071067811865474}, "proved": 41, "promoted": True, "name": "théorème",
        "none": None, "curve": [0.1, 0.25, 1e-5], "budgets": {"16": 1, "4": 2},
    }  # fmt: skip
    write_json(path, {**content, "budgets": {4: 2, 16: 1}})  # numbers as keys become texts, in another order
    assert read_json(path) == content
    tried = try_damage(path, both(path.read_bytes(), 1), lambda: read_json(path), DamagedFile)
    # Read: those whose flip was in the name of the digest itself, or made an E of an e.
    assert all(isinstance(found, dict) and {key: found.get(key) for key in content} == content for found in tried.read)
    assert len(tried.refusals) > 200
    assert all(str(path) in words and "iteration_report of iter_001" in words for words in tried.refusals)


def test_json_without_a_digest_and_json_written_anew_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n  "a": 1\n}\n', encoding="utf-8")
    assert read_json(path) == {"a": 1}
    path.write_text('{"a": 1, "digest": "of another content"}', encoding="utf-8")
    assert read_json(path) == {"a": 1}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = EnergyHeadConfig(d_encoder=6, d_hidden1=5, d_hidden2=4)
    head = EnergyHead(config)
    description = {
        "head": config.to_dict() if hasattr(config, "to_dict") else config.__dict__,
        "encoder": {"fingerprint": "f", "width": 6, "pooling": "mean", "policy_id": "p"},
        "training": {"step": 3, "config": {}},
    }
    write_checkpoint(tmp_path / "ebm", head.state_dict(), description, {})
    write_calibration(tmp_path / "ebm", MixingCalibration(0.1234, 0.567, 0.89, 0.5))
    return tmp_path / "ebm"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_checkpoints(checkpoint: Path, name: str) -> None:
    weights = {key: value.clone() for key, value in load_head(checkpoint).state_dict().items()}
    calibration, path = read_calibration(checkpoint), checkpoint / name

    def read() -> bool:
        head = load_head(checkpoint).state_dict()
        assert all(torch.equal(head[key], value) for key, value in weights.items())
        assert read_calibration(checkpoint) == calibration
        return True

    tried = try_damage(path, both(path.read_bytes(), 2), read, CheckpointError)
    assert all(str(checkpoint) in words for words in tried.refusals)
    assert len(tried.refusals) > 200


def test_the_champion_file(checkpoint: Path, tmp_path: Path) -> None:
    champion = promote(tmp_path, checkpoint, iteration=3, evidence={"area": 0.325})
    path = tmp_path / "champion.json"
    tried = try_damage(path, both(path.read_bytes(), 3), lambda: read_champion(tmp_path), ChampionError)
    assert all(found == champion for found in tried.read)
    assert all(str(path) in words for words in tried.refusals)
    assert read_config(checkpoint)["encoder"]["width"] == 6


@pytest.mark.parametrize("ending", [".npy", ".keys", ".sums"])
def test_embeddings(tmp_path: Path, ending: str) -> None:
    keys = [f"{i:032x}" for i in range(40)]
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    with EmbeddingCache(tmp_path, FINGERPRINT, 8) as cache:
        cache.add(keys, vectors)
    (path,) = cache.folder.glob(f"*{ending}")

    def read() -> bool:
        found = EmbeddingCache(tmp_path, FINGERPRINT, 8)
        assert found.missing(keys) == []
        assert np.array_equal(found.gather(keys), vectors)
        return True

    tried = try_damage(path, both(path.read_bytes(), 4), read, EmbeddingError)
    assert all(cache.folder.name in words and "encoded again" in words for words in tried.refusals)
    assert len(tried.refusals) > 200 if ending != ".sums" else tried.refusals


@pytest.mark.parametrize("ending", [".parquet", ".summary.parquet"])
def test_searches_of_earlier_iterations(tmp_path: Path, ending: str) -> None:
    """What is learnt from, and what the curriculum chooses theorems by."""
    data = DataFolder(tmp_path)
    earlier, now = data.iteration("iter_000"), data.iteration("iter_001")
    config = SearchConfig(n_candidates=5, max_expansions=16)
    search_to_files(theorems(6), earlier.trajectories.nodes, HashWorld(), HashPolicy(), config, scorer=HashScorer())
    path = earlier.trajectories.nodes.with_suffix(ending)
    assert [other.key for other in iterations_before(data, now)] == ["iter_000"]
    tried = try_damage(path, both(path.read_bytes(), 15), lambda: iterations_before(data, now), DamagedFile)
    assert len(tried.refusals) > 240, "but for bits of the digest's own name"
    assert all(words.startswith(str(path)) and "trajectories of iter_000" in words for words in tried.refusals)


def test_the_record_of_a_local_copy(tmp_path: Path) -> None:
    """Of another address, or of none, work in the folder would go to another store, or stay on this machine."""
    path, url = tmp_path / RECORD, "s3://provers/data"
    path.parent.mkdir(parents=True)
    write_json_atomic(path, {"url": url, "folder": str(tmp_path), "commit": "c1", "files": {"a": [3, 1, "d" * 64]}})
    tried = try_damage(path, both(path.read_bytes(), 12), lambda: url_of(tmp_path), StorageError)
    assert set(tried.read) <= {url}
    assert len(tried.refusals) > 200
    assert all(words.startswith(f"{path} is damaged") and "Remove it" in words for words in tried.refusals)


def test_the_commit_of_a_store(tmp_path: Path) -> None:
    files = {f"iterations/iter_000/f{i}": Entry(1000 + i, f"{i:064x}") for i in range(5)}
    store, commit = Store(tmp_path.as_uri()), Commit(files, "c1")
    path = tmp_path / COMMIT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(commit.to_bytes())
    tried = try_damage(path, both(path.read_bytes(), 13), lambda: read_commit(store, COMMIT), StorageError)
    assert all(found == commit for found in tried.read)
    assert len(tried.refusals) > 200
    assert all(COMMIT in words for words in tried.refusals)


def test_embeddings_of_before_checksums_load(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, FINGERPRINT, 2) as cache:
        cache.add(["a"], np.ones((1, 2), dtype=np.float32))
    for sums in cache.folder.glob("*.sums"):
        sums.unlink()
    assert EmbeddingCache(tmp_path, FINGERPRINT, 2).gather(["a"]).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing but a comment\n", "is empty"),
        (b"ops:\n  trajectories: {config: {n_theorems: 1\xff}}\n", "is not UTF-8"),
        ("ops: {}\n".encode("utf-16"), "is not UTF-8"),
        (b"ops:\n  trajectories:\n    config: {n_theorems: 2", "is not YAML"),
        (b"ops:\n  trajectories:\n    config:\n      n_theorems: 2", "does not end with a line break"),
        (b"ops:\n  trajectories:\n    config:\n      n_theorems:\n", "ops.trajectories.config.n_theorems has no value"),
        (b"ops:\n", "ops has no value"),
        (b"\0\0\0\0", "is not YAML"),
        (b"ops: " + b"[" * 5000 + b"\n", "is not YAML"),
    ],
)
def test_a_run_configuration_that_is_empty_cut_or_no_text_is_refused_by_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(PresetError, match=words) as raised:
        load_run_config(str(path))
    assert str(raised.value).startswith(str(path))


def test_a_run_configuration_cut_within_a_line_is_never_taken_for_whole(tmp_path: Path) -> None:
    whole = "ops:\n  trajectories:\n    config:\n      n_theorems: 240\n      max_expansions: 32\n"
    path = tmp_path / "mine.yaml"
    for end in range(len(whole)):
        path.write_text(whole[:end], encoding="utf-8")
        if whole[:end].endswith("240\n"):
            continue  # whole lines are a configuration of their own
        with pytest.raises(PresetError):
            load_run_config(str(path))
    path.write_text(whole, encoding="utf-8")
    assert load_run_config(str(path))["ops"]["trajectories"]["config"] == {"n_theorems": 240, "max_expansions": 32}
    path.write_text('{"ops": {"trajectories": {"config": {"n_theorems": 9}}}}', encoding="utf-8")
    assert load_run_config(str(path))["ops"]


def test_a_damaged_run_configuration_is_refused_by_name_or_still_one(tmp_path: Path) -> None:
    """YAML has no digest: a flipped bit may be another number or name, which the check of settings sees, or nothing."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "ops:\n  theorems: {config: {train: train.jsonl}}\n  trajectories:\n    config:\n      n_theorems: 240\n"
        "      mode: 'policy-mean'  # as it was\n      betas: [0.0, 1.0]\nresources:\n  lean: {config: {workers: 2}}\n",
        encoding="utf-8",
    )
    tried = try_damage(path, both(path.read_bytes(), 11), lambda: load_run_config(str(path)), PresetError)
    assert all(words.startswith(str(path)) and "\n" not in words for words in tried.refusals), tried.refusals
    assert all(isinstance(found, dict) and found for found in tried.read)
    assert len(tried.refusals) > 50


def test_a_damaged_file_of_settings_is_refused_by_name_or_still_one(tmp_path: Path) -> None:
    """Of `prover search --config`, `--ray-config` and `ebm train --config`: JSON that people write."""
    path = tmp_path / "settings.json"
    path.write_text('{"max_expansions": 64, "mode": "calibrated", "probe_tactics": ["intro h"]}\n', encoding="utf-8")
    tried = try_damage(path, both(path.read_bytes(), 14), lambda: settings_of_file(path), ValueError)
    assert all(words.startswith(str(path)) for words in tried.refusals), tried.refusals
    assert all(isinstance(found, dict) and found for found in tried.read)
    assert len(tried.refusals) > 50
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match=str(path)):
        settings_of_file(path)
