"""JSON files, damaged files and digests."""

import math

import pytest

from prover_assets.report.facts import read
from prover_assets.store.files import DamagedFile, digest_of, read_json, require_parquet, write_json


def test_json_never_holds_what_json_has_no_word_for(tmp_path):
    write_json(tmp_path / "a.json", {"x": math.nan, "y": [math.inf, 1.5], "z": {"w": "∧"}})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [None, 1.5], "z": {"w": "∧"}}
    assert read_json(tmp_path / "b.json") is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("path", "asset"),
    [
        ("theorems/test.jsonl", "theorems"),
        ("baseline/iter_000-0123/trajectories.summary.parquet", "baseline_trajectories"),
        ("champion.json", "iteration_report of the newest iteration"),
        ("iterations/iter_002/champion.json", "iteration_report of iter_001"),
        ("iterations/iter_002/policy.json", "policy_checkpoint of iter_001"),
        ("iterations/iter_002/policy_tuning.json", "policy_checkpoint of iter_002"),
        ("iterations/iter_002/trajectories.manifest.json", "trajectories of iter_002"),
        ("iterations/iter_002/ebm/verdict.json", "ebm_checkpoint of iter_002"),
        ("iterations/iter_002/control.parquet", "guided_trajectories of iter_002"),
        ("iterations/iter_002/heads/guided-1.parquet", "guided_trajectories of iter_002"),
        ("iterations/iter_1002/report/report.json", "iteration_report of iter_1002"),
        ("other/file", "the asset that writes it"),
    ],
)
def test_a_damaged_file_says_what_to_make_again(tmp_path, path, asset):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{", encoding="utf-8")
    for look in (read_json, require_parquet, read):
        if look is read_json or file.suffix == ".parquet":
            with pytest.raises(DamagedFile) as caught:
                look(file)
            assert str(caught.value).startswith(f"{file} is damaged: it should ")
            assert str(caught.value).endswith(f"; materialize {asset} again")


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_a_file_that_was_deleted_is_missing_and_not_damaged(tmp_path):
    path = tmp_path / "iterations" / "iter_002" / "guided.parquet"
    with pytest.raises(FileNotFoundError, match=r"is missing; materialize guided_trajectories of iter_002 again"):
        require_parquet(path)
