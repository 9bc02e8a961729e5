"""A disk that is full at ten points of a search: a sentence, and with room the search goes on to the same end."""

import subprocess
from pathlib import Path

import pytest
from faults import small_disk
from search_fakes import HashPolicy, HashScorer, HashWorld, theorems

from prover.search import MemoError, SearchConfig, SearchMemo, search_to_files
from prover.trajectory import OutputError, read_summaries, read_trajectories

CONFIG = SearchConfig(n_candidates=6, max_expansions=24)
COUNTS = ["theorem_name", "proved", "nodes", "expansions", "ended"]


def search(folder: Path, *, resume: bool = False) -> None:
    with SearchMemo(folder / "memo.sqlite") as memo:
        search_to_files(
            theorems(60),
            folder / "x.parquet",
            HashWorld(complete=0.02),
            HashPolicy(),
            CONFIG,
            scorer=HashScorer(),
            memo=memo,
            resume=resume,
        )


def refusal_of(folder: Path) -> str:
    """What a search into `folder` says of its failure; "" where it comes to its end."""
    try:
        search(folder)
    except (OutputError, MemoError) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    search(folder)
    return folder


@pytest.mark.parametrize("points", [(3, 7, 10), pytest.param(tuple(range(1, 11)), marks=pytest.mark.slow)], ids=len)
def test_sizes_of_disk(
    points: tuple[int, ...], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prover.trajectory.writer.MIN_FREE_BYTES", 0)
    needed = sum(path.stat().st_size for path in undisturbed.iterdir() if path.is_file()) // 1024
    wanted = read_summaries(undisturbed / "x.parquet").select(COUNTS)
    refused = 0
    for point in points:
        with small_disk(tmp_path / str(point), kib=max(8, needed * point // 10)) as folder:
            said = refusal_of(folder)
            if said:
                refused += 1
                assert str(folder) in said
                assert "\n" not in said
                assert any(word in said for word in ("space", "room", "free")), said
            subprocess.run(["mount", "-o", f"remount,size={8 * needed + 4096}k", str(folder)], check=True)
            search(folder, resume=True)
            assert read_summaries(folder / "x.parquet").select(COUNTS).equals(wanted)
            assert read_trajectories(folder / "x.parquet").select("theorem_name", "state_id").is_duplicated().sum() == 0
            assert not (folder / "x.parts").exists()
            assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
    assert refused >= len(points) // 2
