"""A head meets the vectors that it was trained on: its pooling, and behind a server its encoder."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_fakes import HashWorld
from stand_in_server import StandIn, answer

from ebm.checkpoint import CheckpointError, read_encoder
from ebm.inference import EBMScorer, EncoderMismatchError, load_scorer
from ebm.training import EBMTrainingConfig, train_from_files
from prover import cli
from prover.cli_open import load_models
from prover.cli_output import BAD_INPUT, UsageProblem
from prover.cli_policy import PolicyOptions
from prover.cli_search import search
from prover.policy import load_policy, open_policy
from prover.policy.huggingface import HuggingFacePolicy
from prover.policy.weights import TINY_CHECKPOINT
from prover.trajectory import read_trajectories

STATES = ["p q : Prop\nh : p ∧ q\n⊢ q", "n : Nat\n⊢ n = n"]
SHORT = EBMTrainingConfig(total_steps=5, batch_size=4, log_interval=5, valid_fraction=0.0)


@pytest.fixture(scope="module")
def tiny() -> HuggingFacePolicy:
    return load_policy(threads=1)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        stand_in.pages["/v1/models"] = (200, {"data": [{"id": "m"}]})
        stand_in.reply = lambda body: (200, answer(("  simp", -1.0), ("  intro h", -2.0), ("  exact h.2", -0.5)))
        yield stand_in.start()
        stand_in.shutdown()


@pytest.fixture
def file(tmp_path: Path, records: Any, write: Any) -> Path:
    write(tmp_path / "a.parquet", records)
    return tmp_path / "a.parquet"


def head_of(file: Path, policy: Any, name: str) -> Path:
    train_from_files(file, policy, file.parent / name, SHORT)
    return file.parent / name


def scores(scorer: Any) -> np.ndarray:
    return np.asarray(scorer.score_states(STATES))


@pytest.mark.parametrize("pooling", ["mean", "last+early"])
def test_a_policy_pools_as_the_head_was_trained(
    pooling: str, file: Path, tiny: HuggingFacePolicy, tmp_path: Path
) -> None:
    view = tiny.with_pooling(pooling)
    head = head_of(file, view, "ebm")
    expected = scores(EBMScorer.load(head, view))
    scorer = load_scorer(head, tiny, tmp_path)
    assert scorer.encoder.hidden_dim == view.encoding_width != tiny.encoding_width
    np.testing.assert_allclose(scores(scorer), expected, atol=1e-5)
    assert tiny.pooling == "mean+max+early/1"  # the policy itself is left as it was


def test_another_model_is_refused_whatever_its_pooling(file: Path, tiny: HuggingFacePolicy, tmp_path: Path) -> None:
    head = head_of(file, tiny.with_pooling("mean"), "ebm")
    config = json.loads((head / "config.json").read_text())
    config.pop("digest", None)
    config["encoder"]["fingerprint"] = "e" * 64
    (head / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderMismatchError, match="trained on vectors of encoder eeee"):
        load_scorer(head, tiny, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "kind", "message"),
    [
        ("pooling", "mean/2", EncoderMismatchError, "another pooling: pooling 'mean/2' has version 2"),
        ("pooling", "median", EncoderMismatchError, "unknown pooling 'median'"),
        ("pooling", 7, CheckpointError, "`pooling`"),
        ("source", ["x"], CheckpointError, "`source`"),
    ],
)
def test_a_checkpoint_with_another_word_for_its_pooling(
    key: str, value: object, kind: type[Exception], message: str, file: Path, tiny: HuggingFacePolicy, tmp_path: Path
) -> None:
    head = head_of(file, tiny, "ebm")
    config = json.loads((head / "config.json").read_text())
    config.pop("digest", None)
    config["encoder"][key] = value
    (head / "config.json").write_text(json.dumps(config))
    with pytest.raises(kind, match=message):
        load_scorer(head, tiny, tmp_path)


def test_training_goes_on_with_the_pooling_that_it_began_with(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ["train-ebm", "--trajectories", str(file), "--steps", "5", "--batch-size", "4", "--valid-fraction", "0"]
    app = _app()
    assert cli.run(app, [*train, "--output", "one", "--pooling", "last"]) == 0
    assert cli.run(app, [*train, "--output", "two", "--init-from", "one"]) == 0
    assert read_encoder("two").pooling == "last/1"
    assert cli.run(app, [*train, "--output", "three", "--init-from", "one", "--pooling", "mean+max"]) == BAD_INPUT


def _app() -> Any:
    import typer

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("search")(search)
    cli.load_plugins(app)
    return app


# -- servers --------------------------------------------------------------------------------------------------------


def test_a_server_borrows_the_encoder_that_the_head_names(
    file: Path, tmp_path: Path, server: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the folder lies elsewhere than where the command was given, and is named by a relative path."""
    encoder = tmp_path / "encoder"
    shutil.copytree(TINY_CHECKPOINT, encoder)
    trained_with = open_policy(f"{server.url}#m", encoder=encoder, pooling="mean", start=False)
    head = head_of(file, trained_with, "ebm")
    assert read_encoder(head).source == str(encoder)
    expected = scores(EBMScorer.load(head, trained_with))

    options = PolicyOptions(f"{server.url}#m", threads=1)
    policy, scorer = load_models(options, str(head))
    assert policy.pooling == "mean/1"
    assert f"encoder: {encoder}" in caplog.text
    np.testing.assert_allclose(scores(scorer), expected, atol=1e-5)

    given = PolicyOptions(f"{server.url}#m", encoder=str(TINY_CHECKPOINT), threads=1)
    policy, scorer = load_models(given, str(head))  # the same weights elsewhere, pooled as the head wants it
    np.testing.assert_allclose(scores(scorer), expected, atol=1e-5)


def test_a_head_cannot_send_states_or_the_key_elsewhere(
    file: Path, tmp_path: Path, server: StandIn, tiny: HuggingFacePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may come from anywhere: an address that it names is shown, and not asked."""
    monkeypatch.setenv("PROVER_API_KEY", "secret")
    head = head_of(file, tiny, "ebm")
    with StandIn() as elsewhere:
        elsewhere.pages["/v1/models"] = (200, {"data": [{"id": "x"}]})
        elsewhere.start()
        asked: list[str] = []
        for name in ("do_GET", "do_POST"):
            monkeypatch.setattr(elsewhere.RequestHandlerClass, name, lambda self: asked.append(self.path), raising=True)
        config = json.loads((head / "config.json").read_text())
        config.pop("digest", None)
        config["encoder"]["source"] = f"{elsewhere.url}#x"
        (head / "config.json").write_text(json.dumps(config))
        with pytest.raises(UsageProblem, match=r"add --encoder FOLDER.*was trained with http") as caught:
            load_models(PolicyOptions(f"{server.url}#m", threads=1), str(head))
        elsewhere.shutdown()
    assert asked == []
    assert "secret" not in str(caught.value)


def test_a_server_without_an_encoder_is_told_what_to_add(
    file: Path, tmp_path: Path, server: StandIn, tiny: HuggingFacePolicy
) -> None:
    head = head_of(file, tiny, "ebm")
    options = PolicyOptions(f"{server.url}#m", threads=1)
    for path in (head, tmp_path / "nowhere"):
        with pytest.raises(UsageProblem, match="add --encoder FOLDER"):
            load_models(options, str(path))
    assert server.bodies == []


def test_a_guided_search_with_a_server_and_an_encoder(
    file: Path, tmp_path: Path, server: StandIn, tiny: HuggingFacePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command: tactics over HTTP, scores from the local model pooled as the head was trained."""
    monkeypatch.chdir(tmp_path)
    view = tiny.with_pooling("last")
    head = head_of(file, view, "ebm")
    monkeypatch.setattr("prover.environments.open_environment", lambda kind, **options: HashWorld(complete=0.05))
    Path("set.jsonl").write_text("\n".join(json.dumps({"name": f"t{i}", "statement": f"s {i}"}) for i in range(4)))
    search = ("search", "--theorems", "set.jsonl", "--output", "x.parquet", "--llm-path", f"{server.url}#m")
    guided = ("--encoder", str(TINY_CHECKPOINT), "--ebm-path", str(head), "--mode", "energy-only", "--budget", "4")
    assert cli.run(_app(), [*search, *guided, "--candidates", "3"]) == 0
    rows = read_trajectories("x.parquet").drop_nulls("ebm_score")
    assert rows["state_pp"].n_unique() > 2
    expected = EBMScorer.load(head, view).score_states(rows["state_pp"].to_list())
    np.testing.assert_allclose(rows["ebm_score"].to_numpy(), expected, rtol=0, atol=1e-3)
    assert {body["model"] for body in server.bodies} == {"m"}
