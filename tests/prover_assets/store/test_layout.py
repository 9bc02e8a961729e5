"""The data folder: whether it can be written to, and who holds it."""

import os
import subprocess
import sys

import pytest

from prover_assets.store.layout import DataFolder, DataFolderError


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderError, match="PROVER_DATA"):
        DataFolder(tmp_path / "data").prepare()


def test_a_file_where_the_data_folder_should_be_is_refused(tmp_path):
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    for folder in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(DataFolderError, match=r"data is a file, and should be a folder; set PROVER_DATA"):
            DataFolder(folder).prepare()


def test_a_full_disk_is_said_before_work_starts(tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with pytest.raises(DataFolderError, match="10 MB free"):
        DataFolder(tmp_path).prepare()


def test_a_lock_is_held_against_other_processes_and_given_back(tmp_path):
    data = DataFolder(tmp_path)
    script = (
        "import sys; from pathlib import Path; from prover_assets.store.layout import DataFolder\n"
        "with DataFolder(Path(sys.argv[1])).held('iter_000'): print('held')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with data.held("iter_000"):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"process {os.getpid()}" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"
