"""The policy's half of an iteration: what is adopted, what follows, and that nothing of another policy is mixed in.

Over the maze. The optimisation itself is replaced: tuning writes down a policy that is better, no better, or better
with ruined vectors. What the library does is tested in tests/prover/policy/test_finetune.py, on a real model.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebm.champion import policy_of_checkpoint, promote
from prover.evaluation.gate import GateVerdict, Measured, pass_gate
from prover.policy.finetune import FineTuneResult
from prover.policy.separation import Separation, separation_warnings
from prover_assets.defs.jobs import ITERATION_ASSETS, TUNING_ASSET
from prover_assets.operate.housekeeping import carry_out, plan
from prover_assets.operate.next import next_iteration
from prover_assets.steps.judge_policy import TuningSettings
from prover_assets.steps.promote import decide_policy, keep_checkpoint
from prover_assets.store.champion import starting_champion
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import read_manifest
from prover_assets.store.policy import baseline_files, fitting, policy_of, read_policy, record_in_force, write_policy


def data_of(project) -> DataFolder:
    return DataFolder(project.data)


def step_error(result) -> str:
    """Everything that the failed steps of a run said."""
    found = []
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error is not None:
            found.append(error.message)
            error = error.cause
    return "\n".join(found)


ASKED_OF_THE_OLD = "asked_of_the_old_policy.json"
"""In a project of two iterations: the states that the second one gave to the policy of the first."""
APART = Separation(1.0, 0.8, 50, 50)
ALIKE = Separation(0.2, 0.55, 50, 50)


@pytest.fixture
def tuning(monkeypatch):
    """Replaces the optimisation; `tuning(wrong_turn, after)` says what comes of it from then on."""
    settings: dict[str, Any] = {"wrong_turn": 4.0, "after": APART, "given": [], "n_before": 0}

    def fine_tune(steps, policy, output, config, *, probe, name, on_metrics, replay, **options: Any) -> FineTuneResult:
        settings["given"].append((list(steps), policy))
        settings["replay"] = list(replay)
        Path(output).mkdir(parents=True, exist_ok=True)  # one tuned before is replaced
        n = settings["n_before"] + len(settings["given"])
        found = {
            "policy_id": f"{name}:{n:08d}-tun",
            "fingerprint": f"{n:08d}-tuned",
            "encoder_fingerprint": str(n) * 64,
            "wrong_turn": settings["wrong_turn"],
        }
        (Path(output) / "maze.json").write_text(json.dumps(found), encoding="utf-8")
        for step in (0, 20, 40):
            on_metrics(step, {"loss": 1.0 - step / 100, "divergence": step / 1000, "held_out_loss": 1.1 - step / 100})
        return FineTuneResult(
            output=Path(output),
            method="full",
            n_steps=41,
            n_examples=len(steps),
            n_given=len(steps),
            n_held_out=3,
            n_replay=0,
            n_theorems=7,
            loss_before=1.0,
            loss_after=0.6,
            held_out_before=1.1,
            held_out_after=0.7,
            fingerprint_before="before",
            fingerprint_after=found["fingerprint"],
            separation_before=APART,
            separation_after=settings["after"],
            warnings=tuple(separation_warnings(APART, settings["after"])),
            seconds=1.5,
        )

    monkeypatch.setattr("prover.policy.finetune.fine_tune", fine_tune)
    return settings


def tune_first(folder: Path, templates, secret: str) -> None:
    """Fills `folder` with a project whose first iteration is done, and the policy tuned and adopted at its end."""
    shutil.copytree(templates.one_iteration(secret), folder, dirs_exist_ok=True)
    with templates.opened(folder, track=True) as project:
        assert project.run(TUNING_ASSET, partition="iter_000").success


def tune_and_go_on(folder: Path, templates, secret: str) -> None:
    """Fills `folder` with a project whose second iteration is done too, with the adopted policy."""
    shutil.copytree(
        templates.made("tuned", lambda folder: tune_first(folder, templates, secret)), folder, dirs_exist_ok=True
    )
    with templates.opened(folder, track=True) as project:
        configured = project.policy().load()
        configured.asked.clear()
        configured.encoded.clear()
        assert project.run(*ITERATION_ASSETS, partition="iter_001").success
    write_json(folder / ASKED_OF_THE_OLD, {"candidates": configured.asked, "vectors": configured.encoded})


@pytest.fixture
def twice_iterated(tmp_path, templates, secret, tuning):
    template = templates.made("tuned_twice", lambda folder: tune_and_go_on(folder, templates, secret))
    tuning["given"].clear()
    tuning["n_before"] = 1
    with templates.copies(template, tmp_path) as make:
        yield make(track=True)


@pytest.fixture
def iterated(tmp_path, templates, secret, tuning):
    template = templates.made("tuned", lambda folder: tune_first(folder, templates, secret))
    tuning["given"].clear()
    tuning["n_before"] = 1
    with templates.copies(template, tmp_path) as make:
        yield make(track=True)


def test_a_policy_that_searches_better_is_adopted_and_the_page_says_why(made, tuning):
    iterated = made
    assert iterated.run(TUNING_ASSET, partition="iter_000").success
    data = data_of(iterated)
    metadata = iterated.metadata(TUNING_ASSET, "iter_000")
    assert metadata["decision"].startswith("adopted: gain of +")
    assert "chance that it is no better 0.0%" in metadata["decision"]
    assert metadata["chance_of_wrong_adoption"] < 0.01
    assert metadata["area_after"] > metadata["area_before"]
    assert metadata["faster"] > metadata["slower"]
    assert metadata["accepted_share_before"] > 0
    for name in ("validation", "before_and_after", "learnt_from", "curves", "solve_curve"):
        assert metadata[name]
    assert "| iter_000 |" in metadata["learnt_from"]
    # It learnt the certified proofs of the training theorems, each tactic with its state, and nothing else.
    steps, _ = tuning["given"][0]
    assert {step.theorem.rstrip("0123456789") for step in steps} == {"train"}
    proved = pl.read_parquet(data.iteration(0).trajectories.summary).filter("proved")
    on_proofs = {(row["theorem_name"], tactic) for row in proved.iter_rows(named=True) for tactic in row["proof"]}
    assert {(step.theorem, step.tactic) for step in steps} <= on_proofs
    assert len(steps) + metadata["easy_steps_left_out"] == proved["proof"].list.len().sum()
    assert metadata["needless_steps_removed"] == 0
    # The next iteration has it, under a name of its own, where nothing writes to it again.
    record = read_policy(data.iteration(1))
    assert record is not None
    assert record.policy == metadata["policy_of_the_next_iteration"] == "policies/iter_000-00000001"
    assert (data.root / record.policy / "maze.json").is_file()
    assert not data.iteration(0).tuned_policy.exists()
    event = iterated.latest("champion_ebm", "iter_001")
    assert event.metadata["policy"].value == record.policy
    assert event.tags["dagster/data_version"].endswith(record.policy)


def test_what_a_killed_validation_leaves_is_removed_when_its_step_starts_again(made, tuning, monkeypatch):
    """A process that is killed removes nothing: a copy of its folder of temporary files stands for that."""
    left: list[Path] = []

    def killed(policies: object, files: dict[str, Path], *_: object) -> None:
        folder = next(iter(files.values())).parent
        left.append(folder.with_name(folder.name.replace(".tmp", "-killed.tmp")))
        left[0].mkdir()
        (left[0] / "before.parquet").write_bytes(b"rows")
        raise ValueError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("prover_assets.steps.judge_policy._search_all", killed)
        assert not made.run(TUNING_ASSET, partition="iter_000", raises=False).success
    assert left[0].exists()
    assert made.run(TUNING_ASSET, partition="iter_000").success
    assert [path for path in data_of(made).root.rglob(".*") if "validation" in path.name] == []


def test_the_curves_are_those_of_an_mlflow_child_run(iterated):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{iterated.data / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("expert-iteration")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`prover.asset` = '{TUNING_ASSET}'")
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [
        (0, 1.0),
        (20, 0.8),
        (40, 0.6),
    ]
    assert run.data.metrics["area_after"] > run.data.metrics["area_before"]
    assert run.data.tags["prover.policy_adopted"] == "True"
    assert run.info.status == "FINISHED"


@pytest.mark.long
def test_the_next_iteration_is_all_of_the_adopted_policy(twice_iterated, policy, configured):
    iterated, data = twice_iterated, data_of(twice_iterated)
    old_champion = starting_champion(data.iteration(1))
    assert old_champion.ebm_id is not None, "the first iteration promoted its energy model"
    # The old policy was asked for no candidate and no vector.
    assert read_json(iterated.root / ASKED_OF_THE_OLD) == {"candidates": [], "vectors": []}
    tuned = policy_of(data, data.iteration(1), configured).resource.load()
    manifests = {
        name: read_manifest(files)
        for name, files in {
            "training": data.iteration(1).trajectories,
            "guided": data.iteration(1).guided,
            "baseline": baseline_files(data, policy_of(data, data.iteration(1), configured)),
        }.items()
    }
    for name, manifest in manifests.items():
        assert manifest is not None, name
        assert manifest.policy_fingerprint == tuned.fingerprint != policy.fingerprint, name
    # The champion of the other policy is left out, and the page says so.
    rows = pl.read_parquet(data.iteration(1).trajectories.nodes)
    assert rows["ebm_id"].unique().to_list() == [None]
    note = iterated.metadata("trajectories", "iter_001")["left_out"]
    assert f"the champion {old_champion.ebm_id} of iter_000 is left out" in note
    assert "encoder eeeeeeeeeeee" in note
    # The new energy model learnt from both iterations, on vectors of the new encoder.
    encoder = read_json(data.iteration(1).checkpoint / "config.json")["encoder"]
    assert encoder["fingerprint"] == tuned.encoder_fingerprint
    rows_learnt = [iterated.metadata("ebm_checkpoint", key)["trained_on_rows"] for key in ("iter_000", "iter_001")]
    assert rows_learnt[1] > rows_learnt[0]
    assert iterated.metadata("state_embeddings", "iter_001")["cached"] == 0
    # The report compares with the tuned policy alone; the old baseline is as it was.
    assert read_manifest(data.baseline).policy_fingerprint == policy.fingerprint
    report = read_json(data.iteration(1).report_file)
    assert (
        report["comparison"]["modes"]["policy"]["area"]
        > iterated.metadata("iteration_report", "iter_000")["policy_area"]
    )


@pytest.mark.slow
def test_an_iteration_without_tuning_keeps_the_adopted_policy_and_its_baseline(twice_iterated, configured):
    data = data_of(twice_iterated)
    files = baseline_files(data, policy_of(data, data.iteration(1), configured))
    before = files.nodes.stat().st_mtime_ns
    twice_iterated.run(*ITERATION_ASSETS, partition="iter_002")
    assert record_in_force(data, data.iteration(2)) == read_policy(data.iteration(1))
    assert files.nodes.stat().st_mtime_ns == before, "once per policy and theorem set"
    champion = starting_champion(data.iteration(2))
    if champion.ebm_id is not None and champion.decided_by == "iter_001":  # it fits: it is used
        assert read_manifest(data.iteration(2).trajectories).ebm_id == champion.ebm_id


@pytest.mark.slow
def test_the_baseline_of_an_adopted_policy_follows_the_lean(twice_iterated, configured):
    data = data_of(twice_iterated)
    files = baseline_files(data, policy_of(data, data.iteration(1), configured))
    assert read_manifest(files).environment_fingerprint == twice_iterated.lean().identity()[1]
    twice_iterated.restart()
    twice_iterated.shares = {"uncertified": 1e-9}
    twice_iterated.run("guided_trajectories", "iteration_report", partition="iter_001")
    assert read_manifest(files).environment_fingerprint == twice_iterated.lean().identity()[1]


def test_a_policy_that_is_no_better_is_not_adopted(made, tuning, configured, policy):
    tuning["wrong_turn"] = 0.8
    made.run(TUNING_ASSET, partition="iter_000")
    data = data_of(made)
    metadata = made.metadata(TUNING_ASSET, "iter_000")
    assert metadata["decision"].startswith("not adopted: a gain above 0 has probability 50%, below 80%")
    assert read_policy(data.iteration(1)).policy is None
    assert policy_of(data, data.iteration(1), configured).resource.load().fingerprint == policy.fingerprint
    assert (data.iteration(0).tuned_policy / "maze.json").is_file(), "to be looked at"
    made.run("trajectories", partition="iter_001")
    assert (
        read_manifest(data.iteration(1).trajectories).ebm_id == starting_champion(data.iteration(1)).ebm_id is not None
    )


@pytest.mark.slow  # the rule itself: tests/prover_assets/steps/test_promote.py, tests/prover/evaluation/test_gate.py
def test_an_adoption_that_later_rounds_find_wrong_is_taken_back(iterated, configured):
    """The adopted policy had luck with the theorems that it was judged on: on the next ones it goes astray."""
    data = data_of(iterated)
    adopted = data.root / read_policy(data.iteration(1)).policy
    maze = read_json(adopted / "maze.json")
    write_json(adopted / "maze.json", {**maze, "wrong_turn": 0.05, "fingerprint": "00000001-bad"})
    record = read_json(data.iteration(0).tuning)
    record["gate"]["measured"] |= {"gain": 0.02, "error": 0.3, "on": "theorems of another round"}
    write_json(data.iteration(0).tuning, record)
    iterated.config[TUNING_ASSET] = {"prior_spread": 0.5}  # eight theorems say little against a sceptical prior
    iterated.run(*ITERATION_ASSETS, TUNING_ASSET, partition="iter_001")
    found = read_json(data.iteration(1).tuning)
    assert found["measured_again"]["measured"]["gain"] < -0.1
    assert found["gave_up"] == f"policies/{adopted.name}"
    following = read_policy(data.iteration(2))
    assert following.gave_up == found["gave_up"]
    assert f"{adopted.name} is given up: measured 2 times" in following.reason
    assert following.policy != found["gave_up"]
    assert policy_of(data, data.iteration(2), configured).resource.load().fingerprint != "00000001-bad"


@pytest.mark.long
def test_vectors_that_became_alike_are_warned_of_and_turn_a_better_policy_down(made, tuning):
    tuning["after"] = ALIKE
    result = made.run(TUNING_ASSET, partition="iter_000")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    separation = checks["vectors_keep_apart"]
    assert not separation.passed
    assert "fell from 1.000 to 0.200" in separation.description
    assert separation.metadata["probe_auc_after"].value == pytest.approx(0.55)
    assert "tuning cost half" in made.metadata(TUNING_ASSET, "iter_000")["decision"]
    assert read_policy(data_of(made).iteration(1)).policy is None
    made.config = {TUNING_ASSET: {"keep_separation": False}}
    made.run(TUNING_ASSET, partition="iter_000")
    assert read_policy(data_of(made).iteration(1)).policy is not None


@pytest.mark.long
def test_tuning_may_go_on_from_the_policy_in_use_with_earlier_proofs_as_replay(twice_iterated, tuning, monkeypatch):
    """`start: current`: the adopted policy learns the latest proofs, and those of the iterations before are replay."""
    monkeypatch.setattr("prover.policy.weights.resolve", lambda where: where)  # no model folders here
    twice_iterated.run(TUNING_ASSET, partition="iter_001")
    everything, configured = tuning["given"][0]
    assert (configured, tuning["replay"]) == (None, [])
    twice_iterated.config[TUNING_ASSET] = {"start": "current", "replay_share": 0.5}
    twice_iterated.run(TUNING_ASSET, partition="iter_001")
    latest, current = tuning["given"][1]
    data = data_of(twice_iterated)
    assert Path(current) == data.root / read_policy(data.iteration(1)).policy
    assert latest, "the second iteration has proofs"
    assert tuning["replay"], "and so has the first"
    assert sorted(map(repr, [*latest, *tuning["replay"]])) == sorted(map(repr, everything))


@pytest.mark.long
def test_tuning_after_the_next_iteration_has_begun_marks_it_and_is_not_mixed_in(twice_iterated, tuning):
    data = data_of(twice_iterated)
    twice_iterated.run(TUNING_ASSET, partition="iter_000")  # again: another policy is adopted for iter_001
    assert read_policy(data.iteration(1)).policy == "policies/iter_000-00000002"
    result = twice_iterated.run("ebm_checkpoint", partition="iter_001", raises=False)
    assert not result.success
    assert "iter_001 was searched with the policy iter_000-tuned:00000001" in step_error(result)
    assert "materialize trajectories of iter_001 again" in step_error(result)
    result = twice_iterated.run(TUNING_ASSET, partition="iter_001", raises=False)
    assert "materialize trajectories of iter_001 again" in step_error(result)


def test_another_configured_policy_is_meant_and_an_adopted_one_of_the_old_is_not_used(iterated, configured):
    data = data_of(iterated)
    record = read_policy(data.iteration(1))
    write_policy(data.iteration(1), replace(record, configured="another model"))
    found = policy_of(data, data.iteration(1), configured)
    assert not found.tuned
    assert "was tuned from another policy" in found.note


def test_an_adopted_policy_that_is_gone_is_said(iterated):
    data = data_of(iterated)
    shutil.rmtree(data.policies)
    result = iterated.run("trajectories", partition="iter_001", raises=False)
    assert "which is gone: restore it, or delete" in step_error(result)
    assert str(data.iteration(1).policy_record) in step_error(result)


def test_the_tuning_is_the_last_of_an_iteration(project):
    upcoming = next_iteration(project.instance, data_of(project), tune_policy=True)
    assert upcoming.remaining == (*ITERATION_ASSETS, TUNING_ASSET)


@pytest.mark.long
def test_the_next_to_do_is_the_tuning_until_it_is_done_or_comes_too_late(made, tuning):
    project, data = made, data_of(made)
    upcoming = next_iteration(project.instance, data, tune_policy=True)
    assert (upcoming.key, upcoming.remaining) == ("iter_000", (TUNING_ASSET,))
    assert next_iteration(project.instance, data).key == "iter_001"
    project.run("trajectories", partition="iter_001")  # now it would change what this was made with
    upcoming = next_iteration(project.instance, data, tune_policy=True)
    assert (upcoming.key, upcoming.remaining) == ("iter_001", (*ITERATION_ASSETS[1:], TUNING_ASSET))


def test_a_champion_without_a_fingerprint_is_trusted_and_one_of_another_encoder_is_not(iterated, policy):
    data = data_of(iterated)
    champion = starting_champion(data.iteration(1))
    assert fitting(data, champion, policy.encoder_fingerprint) == champion
    left_out = fitting(data, champion, "f" * 64)
    assert (left_out.ebm_id, left_out.checkpoint) == (None, None)
    assert "trained on the hidden vectors of maze-policy" in left_out.reason


def test_a_policy_behind_a_server_is_not_tuned_and_the_page_says_why(made, monkeypatch, tuning, configured):
    monkeypatch.setattr(type(configured), "where", property(lambda self: "http://127.0.0.1:8000/v1#m"))
    assert made.run(TUNING_ASSET, partition="iter_000").success, "the loop goes on"
    metadata = made.metadata(TUNING_ASSET, "iter_000")
    assert metadata["decision"].startswith("not tuned: the policy is served at http://127.0.0.1:8000/v1#m")
    assert "its weights are not here to be tuned" in metadata["decision"]
    assert tuning["given"] == []
    assert read_json(data_of(made).iteration(0).tuning)["adopted"] is False
    assert read_policy(data_of(made).iteration(1)) is None


@pytest.mark.long
def test_the_policy_of_an_energy_model_is_found_by_what_was_trained(twice_iterated):
    data = data_of(twice_iterated)
    tuned = data.root / read_policy(data.iteration(1)).policy
    assert policy_of_checkpoint(data.iteration(1).checkpoint, data.root) == tuned
    assert policy_of_checkpoint(data.iteration(0).checkpoint, data.root) is None, "it reads the policy as configured"
    tuned.rename(data.root / "elsewhere")
    assert policy_of_checkpoint(data.iteration(1).checkpoint, data.root) is None


@pytest.mark.long
def test_cleaning_keeps_the_policies_that_are_searched_with_and_those_that_champions_read(
    twice_iterated, tuning, configured
):
    data = data_of(twice_iterated)
    in_force = read_policy(data.iteration(1)).policy
    first_baseline = baseline_files(data, policy_of(data, data.iteration(1), configured)).nodes
    assert first_baseline.exists()
    tuning["wrong_turn"] = 0.8  # no better than what there is: not adopted
    twice_iterated.run(TUNING_ASSET, partition="iter_001")
    assert data.iteration(1).tuned_policy.is_dir()
    forgotten = data.policies / "iter_000-99999999"
    shutil.copytree(data.root / in_force, forgotten)
    left_over = data.policies / "iter_002-88888888"  # of an iteration that is still open
    shutil.copytree(data.root / in_force, left_over)

    gone = {path.relative_to(data.root).as_posix() for path, _ in plan(data, keep=1)}
    assert "policies/iter_000-99999999" in gone
    assert not {in_force, "policies/iter_002-88888888", "iterations/iter_001/tuned_policy"} & gone
    assert "iterations/iter_000/heads" in gone
    assert "iterations/iter_001/heads" not in gone

    # Another policy is adopted for what comes next: the first one stays as long as a champion reads its vectors.
    write_policy(data.iteration(2), replace(read_policy(data.iteration(2)), policy="policies/iter_002-88888888"))
    for name in ("iter_002", "iter_003"):
        write_json(data.iteration(name).report_file, {})
    promoted = keep_checkpoint(data, data.iteration(1), "ebm-of-the-tuned-policy")
    promote(data.root, promoted)
    gone = {path.relative_to(data.root).as_posix() for path, _ in plan(data, keep=1)}
    assert in_force not in gone
    assert "iterations/iter_001/tuned_policy" in gone
    (data.root / "champion.json").unlink()
    for folder in data.iterations():
        folder.champion.unlink(missing_ok=True)
    chosen = plan(data, keep=1)
    gone = {path.relative_to(data.root).as_posix() for path, _ in chosen}
    assert {in_force, f"baseline/{Path(in_force).name}", "champions/ebm-of-the-tuned-policy"} <= gone
    carry_out(data, chosen)
    assert sorted(path.name for path in data.policies.iterdir()) == [left_over.name]
    assert not first_baseline.exists()
    assert data.baseline.nodes.exists()


def verdict(gain: float, error: float = 0.02, **settings: Any) -> GateVerdict:
    return pass_gate(Measured(gain, error, 120, "here"), (), TuningSettings(**settings))


@pytest.mark.parametrize(
    ("gain", "changes", "adopted", "words"),
    [
        (0.06, {}, True, r"gain of \+0.060 on validation .*chance that it is no better 0.3%.* 20 theorems in fewer"),
        (0.01, {}, False, "a gain above 0 has probability 68%, below 80%"),
        (-0.06, {}, False, "significantly worse"),
        (0.06, {"collapsed": True}, False, "cost half"),
        (0.06, {"adopt": False}, False, "switched off"),
    ],
)
def test_adoption_follows_validation(gain, changes, adopted, words):
    decision = decide_policy(
        verdict(gain), TuningSettings(), **{"faster": 20, "slower": 4, "collapsed": False, **changes}
    )
    assert decision.adopted is adopted
    assert re.search(words, decision.reason), decision.reason
    assert decision.gate is not None
    assert decision.chance_wrong == decision.gate["chance_wrong"]
