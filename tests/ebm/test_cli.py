"""`prover train-ebm`: what it prints, and errors and exit codes that a script can rely on."""

import json
import os
import shlex
import signal
from dataclasses import replace

import polars as pl
import pytest
import typer

import ebm.cli
import prover.policy
from ebm.champion import promote
from ebm.checkpoint import checkpoint_id, read_config, step_folders
from prover.cli import run

FAST = ["--steps", "60", "--lr", "0.001", "--batch-size", "8"]


@pytest.fixture
def files(tmp_path, new_records, write):
    write(tmp_path / "a.parquet", new_records(8))
    write(tmp_path / "b.parquet", new_records(12)[60:])
    return f"{tmp_path / 'a.parquet'},{tmp_path / 'b.parquet'}"


@pytest.fixture
def prover_command(tmp_path, policy, monkeypatch, capfd):
    """Runs the command line with a fake policy; gives exit code, standard output and standard error."""
    monkeypatch.setenv("PROVER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(prover.policy, "load_policy", lambda *args, **settings: policy)
    app = typer.Typer()
    ebm.cli.register(app)
    app.callback()(lambda: None)  # so that train-ebm is a subcommand, as in the real command line

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["prover", *map(str, arguments)])
        code = run(app, [str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


def test_train_ebm(tmp_path, files, prover_command):
    code, out, err = prover_command("train-ebm", "--trajectories", files, "--output", tmp_path / "ebm", *FAST)
    assert code == 0, err
    assert "240 records in 2 file(s): 60 positive and 120 negative states" in err
    assert "12 theorems" in err
    assert "180/180 states encoded" in err
    assert "60/60 steps loss=" in err
    assert "training, last       loss=" in out
    assert checkpoint_id(tmp_path / "ebm") in out
    config = read_config(tmp_path / "ebm")["training"]["config"]
    assert (config["total_steps"], config["lr"], config["batch_size"]) == (60, 0.001, 8)


def test_vectors_are_kept_in_the_data_folder(tmp_path, files, prover_command, policy):
    arguments = ["train-ebm", "--trajectories", files, *FAST]
    assert prover_command(*arguments, "--output", tmp_path / "one")[0] == 0
    policy.encoded.clear()
    assert prover_command(*arguments, "--output", tmp_path / "two")[0] == 0
    assert policy.encoded == []
    assert (tmp_path / "data" / "embeddings").is_dir()


def test_json(tmp_path, files, prover_command):
    code, out, _ = prover_command("train-ebm", "--trajectories", files, "--output", tmp_path / "ebm", "--json", *FAST)
    assert code == 0
    figures = json.loads(out.splitlines()[-1])
    assert out.count("\n") == 1, "nothing else on standard output"
    assert figures["status"] == "finished"
    assert figures["step"] == 60
    assert figures["summary"]["positives"] == 60
    assert figures["ebm_id"] == checkpoint_id(tmp_path / "ebm")
    assert set(figures["metrics"]) >= {"loss", "energy_gap", "rank_accuracy", "energy_std"}


def test_settings_from_a_file_and_options_before_it(tmp_path, files, prover_command):
    (tmp_path / "settings.json").write_text('{"total_steps": 10, "seed": 7}')
    code, _, err = prover_command(
        "train-ebm",
        "--trajectories",
        files,
        "--output",
        tmp_path / "ebm",
        "--config",
        tmp_path / "settings.json",
        *FAST,
    )
    assert code == 0, err
    config = read_config(tmp_path / "ebm")["training"]["config"]
    assert (config["total_steps"], config["seed"]) == (60, 7)


@pytest.fixture
def interrupt_at(monkeypatch):
    """Sends Ctrl-C once, when that many steps have been reported."""

    def arrange(steps: int) -> None:
        sent = []
        shown = ebm.cli._TrainingView.metrics

        def metrics(view, step, metrics):
            shown(view, step, metrics)
            if step >= steps and not sent:
                sent.append(step)
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(ebm.cli._TrainingView, "metrics", metrics)

    return arrange


@pytest.mark.long
def test_an_interrupted_run_is_resumed(tmp_path, files, prover_command, interrupt_at):
    arguments = ["train-ebm", "--trajectories", files, "--lr", "0.001", "--batch-size", "8", "--steps", "120"]
    output = tmp_path / "ebm"
    interrupt_at(50)
    code, _, err = prover_command(*arguments, "--output", output)
    assert code == 130
    assert "Interrupted at step 50" in err
    assert f"--resume-from {output}" in err
    assert [folder.name for folder in step_folders(output)] == ["step-00000050"]

    code, _, err = prover_command(*arguments, "--output", output)
    assert code == 2
    assert "holds an unfinished run" in err
    code, _, err = prover_command("train-ebm", "--trajectories", files, "--output", output, "--resume-from", output)
    assert code == 0, err
    config = read_config(output)["training"]
    assert config["steps_taken"] == 120
    assert config["config"]["lr"] == 0.001, "settings are those of the run resumed from"
    whole = tmp_path / "whole"
    assert prover_command(*arguments, "--output", whole)[0] == 0
    assert checkpoint_id(whole) == checkpoint_id(output), "bit for bit"


def test_resuming_something_else_is_refused(tmp_path, files, prover_command, interrupt_at):
    """Other data, other settings, or a run that has finished: said, with the other option, and nothing is written."""
    output, first = tmp_path / "ebm", files.split(",")[0]
    base = ["train-ebm", "--output", output, "--resume-from", output]
    interrupt_at(50)
    assert prover_command("train-ebm", "--trajectories", files, "--output", output, "--steps", "120")[0] == 130
    code, _, err = prover_command(*base, "--trajectories", first)
    assert code == 2
    assert "other trajectories: not among them: b.parquet" in err
    assert f"--init-from {output}" in err
    code, _, err = prover_command(*base, "--trajectories", files, "--steps", "20")
    assert code == 2
    assert "total_steps is 120 there and 20 here" in err
    assert prover_command(*base, "--trajectories", files)[0] == 0
    config = (output / "config.json").read_bytes()
    code, _, err = prover_command(*base, "--trajectories", first)
    assert code == 2
    assert "finished after 120 steps" in err
    assert f"--init-from {output}" in err
    assert (output / "config.json").read_bytes() == config


def test_warm_start(tmp_path, files, prover_command, interrupt_at):
    first, second = tmp_path / "one", tmp_path / "two"
    assert prover_command("train-ebm", "--trajectories", files.split(",")[0], "--output", first, *FAST)[0] == 0
    arguments = ["train-ebm", "--trajectories", files, "--output", second, "--init-from", first, *FAST]
    code, _, err = prover_command(*arguments, "--resume-from", first)
    assert (code, "give one of them" in err) == (2, True)
    code, _, err = prover_command(*arguments)
    assert code == 0, err
    stored = read_config(second)
    assert stored["start"]["ebm_id"] == checkpoint_id(first)
    assert [entry["name"] for entry in stored["data"]["trajectories"]] == ["a.parquet", "b.parquet"]
    assert checkpoint_id(second) != checkpoint_id(first)

    (tmp_path / "data").mkdir(exist_ok=True)
    promote(tmp_path / "data", second)
    third = [*arguments[:4], tmp_path / "three", "--init-from", "champion", *FAST]
    assert prover_command(*third)[0] == 0
    assert read_config(tmp_path / "three")["start"]["ebm_id"] == checkpoint_id(second)
    code, _, err = prover_command(*arguments[:4], tmp_path / "four", "--init-from", tmp_path / "nowhere", *FAST)
    assert code == 2
    assert "nowhere" in err


@pytest.mark.long
def test_an_interrupted_warm_start_says_how_to_resume(tmp_path, files, prover_command, interrupt_at):
    """The weights it began with are in its own checkpoint by then: the command names that alone."""
    first, second = tmp_path / "one", tmp_path / "two"
    assert prover_command("train-ebm", "--trajectories", files, "--output", first, *FAST)[0] == 0
    interrupt_at(50)
    arguments = ["train-ebm", "--trajectories", files, "--output", second, "--steps", "120", f"--init-from={first}"]
    code, _, err = prover_command(*arguments)
    assert code == 130
    command = shlex.split(err.strip().splitlines()[-1])
    assert command == ["prover", *map(str, arguments[:-1]), "--resume-from", str(second)]
    assert prover_command(*command[1:])[0] == 0
    assert read_config(second)["start"]["kind"] == "warm"


def no_positives(path, records, write):
    write(path, [replace(record, label="negative", remaining_depth=-1) for record in records])


def no_label(path, records, write):
    write(path, records)
    pl.read_parquet(path).drop("label").write_parquet(path)


def wrong_type(path, records, write):
    write(path, records, extra={"remaining_depth": pl.Series(["near"] * len(records))})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_positives, "0 of 60 states are positive: prove at least one theorem first, e.g."),
        (no_label, "column 'label' is missing"),
        (wrong_type, "column 'remaining_depth'"),
        (lambda path, records, write: None, "there is no trajectory file"),
        (lambda path, records, write: path.write_bytes(b"PAR1"), "too few for a Parquet file"),
        (lambda path, records, write: path.write_bytes(b"no table " * 100), "does not begin and end as a Parquet file"),
    ],
)
def test_bad_trajectories(tmp_path, prover_command, records, write, policy, spoil, message):
    spoil(tmp_path / "a.parquet", records, write)
    code, out, err = prover_command(
        "train-ebm", "--trajectories", tmp_path / "a.parquet", "--output", tmp_path / "ebm", *FAST
    )
    assert code == 2
    assert message in err
    assert str(tmp_path / "a.parquet") in err or "states are positive" in err
    assert "Traceback" not in err
    assert out == ""
    assert policy.encoded == []


def test_bad_settings(tmp_path, files, prover_command):
    base = ["train-ebm", "--trajectories", files, "--output", tmp_path / "ebm"]
    (tmp_path / "settings.json").write_text('{"batchsize": 10}')
    code, _, err = prover_command(*base, "--config", tmp_path / "settings.json")
    assert (code, "did you mean 'batch_size'" in err) == (2, True)
    code, _, err = prover_command(*base, "--lr", "-1")
    assert (code, "lr must be positive" in err) == (2, True)
    code, _, err = prover_command(*base, "--steps", "0")
    assert code == 2
    code, _, err = prover_command("train-ebm", "--output", tmp_path / "ebm")
    assert code == 2
    for text, words in (
        ('{"total_steps": "10"}', "'total_steps' is '10'; expected a whole number"),
        ('{"lr": true}', "'lr' is True; expected a number"),
        ('{"hard_ratio": 0.9}', "hard_ratio, medium_ratio and easy_ratio must not be negative and add up to 1"),
    ):
        (tmp_path / "settings.json").write_text(text)
        code, _, err = prover_command(*base, "--config", tmp_path / "settings.json")
        assert (code, words in err) == (2, True)
    for device in ("gpu", "cuda:x", "cuda:99"):
        code, _, err = prover_command(*base, "--device", device)
        assert (code, f"device '{device}' cannot be used" in err) == (2, True)
    code, _, err = prover_command(*base, "--resume-from", tmp_path / "nowhere")
    assert (code, "nothing to resume from" in err) == (2, True)


def test_unwritable_output_is_said_first(tmp_path, files, prover_command, policy):
    (tmp_path / "file").write_text("")
    code, _, err = prover_command("train-ebm", "--trajectories", files, "--output", tmp_path / "file")
    assert (code, "is a file; give a folder" in err) == (2, True)
    code, _, err = prover_command("train-ebm", "--trajectories", files, "--output", tmp_path / "file" / "below")
    assert (code, "give another --output" in err) == (2, True)
    assert policy.encoded == []


def test_width_mismatch(tmp_path, files, prover_command, policy):
    assert prover_command("train-ebm", "--trajectories", files, "--output", tmp_path / "ebm", *FAST)[0] == 0
    policy.encoding_width = policy.hidden_size = 32
    policy.encoder_fingerprint = "e" * 64
    code, _, err = prover_command(
        "train-ebm", "--trajectories", files, "--output", tmp_path / "ebm", "--resume-from", tmp_path / "ebm"
    )
    assert code == 2
    assert "width 64, the encoder's have width 32" in err


def test_divergence_is_trouble(tmp_path, files, prover_command):
    code, _, err = prover_command(
        "train-ebm", "--trajectories", files, "--output", tmp_path / "ebm", "--steps", "50", "--lr", "1e30"
    )
    assert code == 1
    assert "the loss is not finite at step" in err
    assert "Traceback" not in err


def test_importing_the_command_loads_no_torch():
    import subprocess
    import sys

    script = "import sys, ebm.cli, ebm.champion, ebm.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
