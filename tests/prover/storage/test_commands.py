"""The commands with URLs: searched and trained on this machine, and all of it on the store."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from faulty_proxy import Faults

import ebm.cli
import prover.show.cli
import prover.show.live_cli
import prover.traces.cli
from prover import cli
from prover.storage.commit import HIDDEN
from prover.storage.copies import local_copy
from prover.storage.data import data_folder
from prover.storage.mirror import Mirror
from prover.storage.outputs import published
from prover.storage.places import working_folder
from prover.storage.store import StorageError, Store

SEARCH = ("--theorems", "propositional", "--split", "valid", "--no-memo", "--lean-workers", "1", "--candidates", "4")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("PROVER_DATA", str(tmp_path / "data"))
    app = typer.Typer()
    ebm.cli.register(app)
    return app


@pytest.mark.slow
def test_search_and_training_with_everything_on_a_faulty_s3(
    s3: Faults, working: Path, tmp_path: Path, train: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.fail_every, s3.truncate_downloads, s3.delay_s = 10, 2, 0.01

    def run(app: typer.Typer, *arguments: str) -> dict[str, object]:
        assert cli.run(app, [*arguments, "--json"]) == 0, capsys.readouterr().err
        return dict(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))

    rows, head, here = "s3://provers/searches/run.parquet", "s3://provers/heads/first", str(tmp_path / "run.parquet")
    search = ("search", *SEARCH, "--limit", "6", "--budget", "12", "--no-ebm")
    assert run(cli.app, *search, "--output", rows)["output"] == rows
    run(cli.app, *search, "--output", here)
    names = ["run.attempts.parquet", "run.commit.json", "run.parquet", "run.summary.parquet"]
    assert [name for name in Store("s3://provers/searches").find() if not name.startswith(HIDDEN)] == names
    shutil.rmtree(working)  # as on another machine
    there, local = run(cli.app, "summary", rows), run(cli.app, "summary", here)
    for name in ("theorems", "proved", "nodes", "expansions", "ended"):
        assert there[name] == local[name]
    run(train, "train-ebm", "--trajectories", rows, "--steps", "6", "--batch-size", "4", "--output", head)
    assert {"model.safetensors", "config.json"} <= set(Store(head).find())
    shutil.rmtree(working)
    run(cli.app, "search", *SEARCH, "--limit", "2", "--budget", "4", "--ebm-path", head, "--output", rows)
    assert run(cli.app, "summary", rows)["theorems"] == 2, "replaced"
    assert s3.failed > 3


def test_an_output_on_a_store_is_replaced_whole_at_the_end_and_kept_until_then(memory: str) -> None:
    place = f"{memory}/run.parquet"
    with published(place) as output:
        output.path.write_bytes(b"first")
        output.path.with_name("run.summary.parquet").write_bytes(b"first summary")
        output.path.with_name("other.parquet").write_bytes(b"not of this search")
    assert local_copy(place).read_bytes() == b"first"
    assert "other.parquet" not in Store(memory).find()
    with published(place) as output:
        assert not output.path.exists()
        (output.path.parent / "run.parts").mkdir()
        (output.path.parent / "run.parts" / "part-0.parquet").write_bytes(b"part")
        output.publish()
        assert local_copy(place).read_bytes() == b"first"
        output.path.write_bytes(b"second")
        (output.path.parent / "run.parts" / "part-0.parquet").unlink()
    assert local_copy(place).read_bytes() == b"second"
    left = [name for name in Store(memory).find() if not name.startswith(HIDDEN)]
    assert left == ["run.commit.json", "run.parquet"]


def test_a_search_that_was_stopped_goes_on_elsewhere_from_the_parts_on_the_store(memory: str, working: Path) -> None:
    def stopped() -> None:
        with published(f"{memory}/run.parquet") as output:
            (output.path.parent / "run.parts").mkdir(parents=True)
            (output.path.parent / "run.parts" / "part-0.parquet").write_bytes(b"part")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    shutil.rmtree(working)
    with published(f"{memory}/run.parquet", keep=True) as output:
        assert (output.path.parent / "run.parts" / "part-0.parquet").read_bytes() == b"part"
    shutil.rmtree(working)
    with published(f"{memory}/run.parquet") as output:
        assert not (output.path.parent / "run.parts").exists()


def test_two_searches_into_one_place_are_refused(memory: str) -> None:
    with published(f"{memory}/run.parquet"):
        with pytest.raises(StorageError, match="in use by another process"), published(f"{memory}/run.parquet"):
            pass
        with published(f"{memory}/another.parquet") as output:
            output.path.write_bytes(b"beside it")


def test_a_failure_that_cannot_be_published_either_is_the_one_that_is_said(
    memory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with published(f"{memory}/run.parquet") as output:
            output.path.write_bytes(b"half")
            monkeypatch.setattr(Store, "upload", _refuse)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "and was not published: the store is gone" in caplog.text


def _refuse(*values: object) -> None:
    raise StorageError("the store is gone")


def test_inputs_made_elsewhere_are_fetched_by_file_folder_and_pattern(memory: str) -> None:
    store = Store(memory)
    for name in ("a.parquet", "a.summary.parquet", "b.parquet", "notes.txt", "deep/c.parquet"):
        store.write(name, name.encode())
    assert local_copy(f"{memory}/a.parquet").with_name("a.summary.parquet").read_bytes() == b"a.summary.parquet"
    pattern = local_copy(f"{memory}/*.parquet")
    assert {path.name for path in pattern.parent.glob(pattern.name)} == {"a.parquet", "a.summary.parquet", "b.parquet"}
    folder = local_copy(memory)
    assert (folder / "deep/c.parquet").read_bytes() == b"deep/c.parquet"
    store.remove("b.parquet")
    assert not (local_copy(memory) / "b.parquet").exists()
    with pytest.raises(StorageError, match=r"nothing: there is no file; correct the address"):
        local_copy(f"{memory}/nothing")


def test_an_input_within_a_data_folder_is_checked_by_its_digests(memory: str, tmp_path: Path) -> None:
    mirror = Mirror(Store(memory), tmp_path / "a")
    folder = tmp_path / "a/iterations/iter_000/ebm"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"config")
    (folder / "model.safetensors").write_bytes(b"weights")
    mirror.fetch()
    mirror.publish()
    head = f"{memory}/iterations/iter_000/ebm"
    assert (local_copy(head) / "model.safetensors").read_bytes() == b"weights"
    Store(memory).write("iterations/iter_000/ebm/model.safetensors", b"weighty")
    assert (local_copy(head) / "model.safetensors").read_bytes() == b"weights", "the copy here fits its digest"
    shutil.rmtree(working_folder(head))
    with pytest.raises(StorageError, match=r"model\.safetensors is not what was published"):
        local_copy(head)


def test_the_data_folder_of_commands_is_fetched(memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(Store(memory), tmp_path / "a")
    mirror.fetch()
    (tmp_path / "a/champion.json").write_text("{}")
    mirror.publish()
    monkeypatch.setenv("PROVER_DATA", memory)
    assert (data_folder() / "champion.json").read_text() == "{}"
    monkeypatch.setenv("PROVER_DATA", f"file://{tmp_path}/b")
    assert data_folder() == tmp_path / "b"


def test_what_reads_a_search_reads_it_from_a_store(
    memory: str, working: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """show, live, export and import-traces with URLs."""
    proofs = tmp_path / "proofs.jsonl"
    theorem = {"name": "swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p", "proof": "exact ⟨h.2, h.1⟩"}
    proofs.write_text(json.dumps(theorem) + "\n", encoding="utf-8")
    Store(memory).upload(proofs, "proofs.jsonl")
    rows = f"{memory}/rows.parquet"
    app = typer.Typer()
    for commands in (prover.show.cli, prover.show.live_cli, prover.traces.cli):
        commands.register(app)

    def run(*arguments: str) -> str:
        assert cli.run(app, [*arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    run("import-traces", f"{memory}/proofs.jsonl", "--format", "proofs", "--output", rows, "--lean-workers", "1")
    assert {"rows.parquet", "rows.summary.parquet"} <= set(Store(memory).find())
    assert "exact ⟨h.2, h.1⟩" in run("show", rows, "swap")
    assert "swap" in run("live", rows)
    run("export", rows, "--to", "sft", "--output", str(tmp_path / "sft.jsonl"))
    assert "exact" in (tmp_path / "sft.jsonl").read_text(encoding="utf-8")
    assert cli.run(app, ["show", f"{memory}/none.parquet"]) == 1
    assert "there is no file" in capsys.readouterr().err
