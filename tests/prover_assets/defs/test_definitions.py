"""What Dagster loads: quickly, without model libraries, and complete."""

import ast
import json
import subprocess
import sys
from datetime import timedelta

import dagster as dg
import pytest
from pydantic import ValidationError

from ebm.training.config import EBMTrainingConfig
from prover.policy.finetune_config import FineTuneConfig
from prover.search.config import SearchConfig
from prover.settings import settings_of
from prover_assets.definitions import defs
from prover_assets.defs import configs
from prover_assets.defs.executors import iteration_executor
from prover_assets.defs.launchpad import launchpad, settings_from
from prover_assets.operate.imports import ROOT
from prover_assets.operate.presets import PRESETS, PresetError, load_run_config
from prover_assets.store.layout import DataFolder
from prover_assets.ui import commands

SEVEN = {
    "theorems",
    "baseline_trajectories",
    "trajectories",
    "state_embeddings",
    "ebm_checkpoint",
    "guided_trajectories",
    "iteration_report",
}
EIGHT = SEVEN | {"policy_checkpoint"}
"""With the one that is optional."""
EDGES = {
    ("theorems", "trajectories"),
    ("champion_ebm", "trajectories"),
    ("trajectories", "state_embeddings"),
    ("state_embeddings", "ebm_checkpoint"),
    ("ebm_checkpoint", "guided_trajectories"),
    ("guided_trajectories", "iteration_report"),
    ("theorems", "baseline_trajectories"),
    ("baseline_trajectories", "iteration_report"),
}


def test_loading_imports_no_model_library():
    script = "import sys, json; import prover_assets.definitions; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)
    heavy = {"torch", "transformers", "mlflow", "matplotlib", "polars", "pandas", "sklearn", "scipy"}
    assert heavy.isdisjoint(modules)


def test_the_graph_is_the_one_of_the_design():
    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names == EIGHT | {"champion_ebm"}
    assert {key.to_user_string() for key in graph.executable_asset_keys} == EIGHT
    edges = {
        (parent.to_user_string(), key.to_user_string())
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
    }
    assert edges >= EDGES
    for name in EIGHT - {"theorems", "baseline_trajectories"} | {"champion_ebm"}:
        partitions = graph.get(dg.AssetKey(name)).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == "iteration"


def test_every_asset_says_what_it_is_who_owns_it_and_which_code_made_it():
    graph = defs.resolve_asset_graph()
    for name in EIGHT:
        node = graph.get(dg.AssetKey(name))
        assert len(node.description or "") > 80, name
        assert node.owners, name
        assert node.kinds, name
        assert node.tags["cost"] in ("seconds", "minutes"), name
        assert node.group_name == "expert_iteration"
        assert node.code_version, name
    for name in ("trajectories", "baseline_trajectories", "guided_trajectories"):
        assert graph.get(dg.AssetKey(name)).pools == {"lean"}
    for name in ("state_embeddings", "ebm_checkpoint", "policy_checkpoint"):
        assert graph.get(dg.AssetKey(name)).pools == {"gpu"}


def test_a_report_that_is_late_is_warned_of_and_then_fails():
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("iteration_report"))
    assert spec.freshness_policy.warn_window.to_timedelta() == timedelta(days=2)
    assert spec.freshness_policy.fail_window.to_timedelta() == timedelta(days=3)


def test_the_servers_answer_this_machine_alone(tmp_path):
    started = commands(DataFolder(tmp_path), 3000, 5000, 3080)
    assert "--host" not in started.pop("Reports")  # it knows no other
    for command in started.values():
        assert command[command.index("--host") + 1] == "127.0.0.1"


def test_the_blocking_checks_are_those_that_would_waste_or_corrupt():
    graph = defs.resolve_asset_graph()
    blocking = {
        (key.asset_key.to_user_string(), key.name)
        for key in graph.asset_check_keys
        if graph.get_check_spec(key).blocking
    }
    assert blocking == {
        ("trajectories", "both_labels"),
        ("trajectories", "proofs_certified"),
        ("baseline_trajectories", "proofs_certified"),
        ("guided_trajectories", "proofs_certified"),
        ("state_embeddings", "vectors_sound"),
        ("ebm_checkpoint", "loss_finite"),
        ("ebm_checkpoint", "energy_gap"),
    }


CONFIGS = [value for value in vars(configs).values() if isinstance(value, type) and issubclass(value, dg.Config)]


@pytest.mark.parametrize("config", [c for c in CONFIGS if c is not dg.Config], ids=lambda c: c.__name__)
def test_every_field_has_a_default_and_a_description(config):
    config()  # the Launchpad opens ready to run
    for name, field in config.model_fields.items():
        assert len(field.description or "") > 15, name
        if field.annotation in (int, float) and name != "seed":
            assert "(" in field.description, f"{name} should say its unit"
    assert config.__doc__


def test_values_out_of_bounds_and_unknown_keys_are_refused_before_a_run():
    with pytest.raises(ValidationError, match="max_expansions"):
        configs.TrajectoriesConfig(max_expansions=0)
    job = defs.resolve_job_def("iteration")
    for config, words in (
        ({"max_expansion": 8}, "max_expansion"),
        ({"mode": "callibrated"}, "callibrated"),
        ({"n_candidates": "many"}, "n_candidates"),
    ):
        with pytest.raises(dg.DagsterInvalidConfigError, match=words):
            dg.validate_run_config(job, {"ops": {"trajectories": {"config": config}}})


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fit_the_job(preset):
    dg.validate_run_config(defs.resolve_job_def("first_policy_iteration"), load_run_config(preset))


def test_the_demonstration_has_values_of_its_own_in_its_preset_alone():
    demo = {name: entry["config"] for name, entry in load_run_config("demo")["ops"].items()}
    for name, config in demo.items():
        configs.BY_ASSET[name](**config)
    assert demo["ebm_checkpoint"]["lr"] == 1e-3
    assert EBMTrainingConfig().lr == configs.TrainingConfig().lr == 1e-4
    assert demo["policy_checkpoint"]["steps"] == 600
    assert FineTuneConfig().steps == configs.PolicyTuningConfig().steps == 300
    assert SearchConfig().time_limit_s == configs.TrajectoriesConfig().time_limit_s == 600


@pytest.mark.parametrize("asset", configs.OWNERS)
def test_every_setting_of_an_asset_is_the_one_that_its_owner_declares(asset):
    shown = configs.BY_ASSET[asset].model_fields
    declared = {name: found for owner in configs.OWNERS[asset] for name, found in settings_of(owner).items()}
    assert set(shown) == set(declared) - configs.NOT_SHOWN.get(asset, frozenset())
    for name, field in shown.items():
        default = declared[name].default
        assert field.default == (list(default) if isinstance(default, tuple) else default)
        assert field.description == declared[name].described()
    for owner in configs.OWNERS[asset]:
        assert settings_from(configs.BY_ASSET[asset](), owner) is not None


def test_a_setting_that_two_owners_declare_is_refused():
    with pytest.raises(ValueError, match="max_expansions is declared twice"):
        launchpad(SearchConfig, SearchConfig)


def test_a_preset_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PresetError, match="presets are demo, propositional, laptop, gpu-7b"):
        load_run_config("demmo")
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(PresetError, match="should hold a mapping"):
        load_run_config(str(tmp_path / "list.yaml"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"in_process": {}}),
        ({"kind": "spawn"}, {"multiprocess": {"max_concurrent": 1, "start_method": {"spawn": {}}}}),
        (
            {"kind": "forkserver", "max_concurrent": 2},
            {"multiprocess": {"max_concurrent": 2, "start_method": {"forkserver": {}}}},
        ),
    ],
)
def test_the_executor_is_in_process_by_default_and_never_forks(settings, expected):
    from dagster._config import process_config

    resolved = process_config(iteration_executor.config_schema.config_type, settings)
    assert resolved.success
    ((kind, mapped),) = iteration_executor.apply_config_mapping({"config": resolved.value}).value["config"].items()
    mapped.pop("retries")
    assert {kind: mapped} == expected
    assert not process_config(iteration_executor.config_schema.config_type, {"kind": "fork"}).success


def asset_bodies() -> dict[str, int]:
    """Lines of the body of each asset function, without its docstring."""
    found = {}
    for path in (ROOT / "prover_assets" / "defs" / "assets").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name in configs.BY_ASSET:
                assert ast.get_docstring(node), f"{node.name} has no docstring"
                found[node.name] = (node.end_lineno or 0) - node.body[1].lineno + 1
    return found


def test_the_body_of_an_asset_is_short():
    bodies = asset_bodies()
    assert set(bodies) == set(configs.BY_ASSET)
    assert {name: lines for name, lines in bodies.items() if lines >= 40} == {}
