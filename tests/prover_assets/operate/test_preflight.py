"""Settings that cannot work stop a run before it has done anything."""

import pytest

from prover_assets.definitions import defs
from prover_assets.defs.configs import BY_ASSET
from prover_assets.operate.preflight import SettingsError, require_known, require_valid
from prover_assets.operate.presets import PRESETS, load_run_config


def ops(**settings: dict) -> dict:
    return {"ops": {name: {"config": values} for name, values in settings.items()}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ops(trajectories={"max_expansions": 0}), r"trajectories\.max_expansions is 0: .*greater than or equal to 1"),
        (ops(ebm_checkpoint={"betas": [0.5, 1.0]}), r"ebm_checkpoint: betas .* 0 \(the policy alone"),
        (ops(ebm_checkpoint={"hard_ratio": 0.9}), r"ebm_checkpoint: hard_ratio, .* add up to 1, .*sum 1\.4"),
        (ops(ebm_checkpoint={"matmul_dtype": "int8"}), r"ebm_checkpoint\.matmul_dtype is 'int8'"),
        (ops(iteration_report={"budgets": []}), r"iteration_report: budgets: give at least one"),
        ({"resources": {"lean": {"config": {"kind": "repl"}}}}, r"lean\.lean_project is ''.*folder of a Lake project"),
        ({"resources": {"lean": {"config": {"kind": "leen"}}}}, r"lean\.kind is 'leen': .*embedded, lean, project"),
        ({"resources": {"policy": {"config": {"path": "/no/model"}}}}, r"policy\.path is ./no/model.: .*no such"),
    ],
)
def test_a_setting_that_cannot_work_is_named(config, words):
    with pytest.raises(SettingsError, match=words):
        require_valid(config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"op": {}}, r"unknown key 'op' in the run configuration \(did you mean 'ops'\?\)"),
        (ops(trajectorie={}), r"unknown key 'trajectorie' in ops \(did you mean 'trajectories'"),
        (ops(trajectories={"n_theorem": 16}), r"'n_theorem' in ops\.trajectories\.config \(did you mean 'n_theorems'"),
        ({"ops": {"theorems": {"train": "x"}}}, r"unknown key 'train' in ops\.theorems \(valid: config"),
        ({"ops": ["theorems"]}, r"ops is \['theorems'\]: it should be a mapping"),
        ({"ops": {"theorems": {"config": 3}}}, r"ops\.theorems\.config is 3: it should be a mapping"),
        ({"resources": {"leen": {}}}, r"unknown key 'leen' in resources \(did you mean 'lean'"),
        ({"resources": {"policy": {"config": {"zzz": 1}}}}, r"'zzz' in resources\.policy\.config \(valid: "),
    ],
)
def test_a_key_that_means_nothing_is_named_with_the_nearest(config, words):
    with pytest.raises(SettingsError, match=words):
        require_known(config)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_known_keys(preset):
    require_known(load_run_config(preset))


def test_all_faults_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        require_valid(ops(trajectories={"n_candidates": 0}, ebm_checkpoint={"lr": -1.0}))
    assert "trajectories.n_candidates" in str(caught.value)
    assert "ebm_checkpoint.lr" in str(caught.value)
    assert "Nothing was done" in str(caught.value)


def test_an_address_with_a_password_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("MY_SERVER", "http://me:pa55word@host:8000/v1#model")
    for path in ("https://pa55word@host/v1#model", {"env": "MY_SERVER"}):
        with pytest.raises(SettingsError, match="PROVER_API_KEY") as caught:
            require_valid({"resources": {"policy": {"config": {"path": path}}}})
        assert "pa55word" not in str(caught.value)


def test_what_works_passes(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PROJECT", str(tmp_path))
    require_valid({})
    require_valid({"ops": {"trajectories": {}}, "resources": {"policy": {"config": {"path": "org/model"}}}})
    require_valid({"resources": {"lean": {"config": {"kind": "project", "lean_project": {"env": "MY_PROJECT"}}}}})
    require_valid({"resources": {"policy": {"config": {"path": "http://127.0.0.1:8000/v1#model"}}}})


def test_every_asset_with_settings_is_looked_at():
    with_settings = {
        definition.key.to_user_string()
        for definition in defs.resolve_all_asset_specs()
        if definition.key.to_user_string() != "champion_ebm"
    }
    assert set(BY_ASSET) == with_settings


def test_a_mistake_in_the_last_step_stops_the_first(project, policy):
    project.config = {"ebm_checkpoint": {"betas": [1.0]}}
    result = project.run(partition="iter_000", raises=False)
    assert not result.success
    assert [e.step_key for e in result.all_events if e.event_type_value == "STEP_SUCCESS"] == []
    assert policy.asked == []
    assert not (project.data / "theorems").exists()


def test_make_run_says_it_and_starts_nothing(tmp_path, monkeypatch, capsys):
    from prover_assets.run import main

    monkeypatch.setenv("PROVER_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.yaml").write_text("ops: {trajectories: {config: {n_theorems: 0}}}\n", encoding="utf-8")
    assert main(["--config", str(tmp_path / "mine.yaml")]) == 1
    assert "trajectories.n_theorems is 0" in capsys.readouterr().err
    (tmp_path / "mine.yaml").write_text("ops: {trajectorie: {config: {n_theorems: 9}}}\n", encoding="utf-8")
    assert main(["--config", str(tmp_path / "mine.yaml")]) == 1
    assert "did you mean 'trajectories'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert main(["--config", "gpu-7b"]) == 1  # its paths are to be filled in
    assert "policy.path is '/path/to/DeepSeek-Prover-V2-7B'" in capsys.readouterr().err


def test_a_run_names_the_faults_of_all_its_assets_before_its_first_step_does_anything(new_project):
    project = new_project(
        config={
            "theorems": {"test_limit": -3},  # of the first step itself, whose settings Dagster reads before its body
            "trajectories": {"max_expansions": 0},
            "ebm_checkpoint": {"lr": -1.0},
        }
    )
    result = project.run(partition="iter_000", raises=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "theorems"
    said = failure.step_failure_data.user_failure_data.description
    for words in ("theorems.test_limit is -3", "trajectories.max_expansions is 0", "ebm_checkpoint.lr is -1.0"):
        assert words in said
    assert said.endswith("change them in the run configuration and launch again")
    assert not (project.data / "theorems").exists()
