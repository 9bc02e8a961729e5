"""What "unsynced" means: exactly what was made from something that has changed since."""

import ast
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from prover_assets.definitions import defs
from prover_assets.defs.jobs import BASELINE_ASSETS, ITERATION_ASSETS
from prover_assets.operate.versions import ROOT, SOURCES, files_of

EVERYTHING = (*BASELINE_ASSETS, *ITERATION_ASSETS)


def unsynced(project, partition: str = "iter_000") -> set[str]:
    """The assets that the UI marks as unsynced."""
    graph = project.job.asset_layer.asset_graph
    resolver = CachingStaleStatusResolver(project.instance, graph, LoadingContextForTest(project.instance))
    found = set()
    for name in EVERYTHING:
        key = dg.AssetKey(name)
        status = resolver.get_status(key, partition if graph.get(key).is_partitioned else None)
        if status == StaleStatus.STALE:
            found.add(name)
    return found


def test_what_was_just_made_is_in_sync(made):
    assert unsynced(made) == set()


def test_an_asset_made_again_without_a_change_marks_nothing(made):
    made.run("trajectories", "state_embeddings", partition="iter_000")
    assert unsynced(made) == set()


def test_other_search_settings_mark_what_was_made_from_the_old_search_step_by_step(made):
    made.config = {"trajectories": {"max_expansions": 12}}
    made.run("trajectories", partition="iter_000")
    assert unsynced(made) == {"state_embeddings", "ebm_checkpoint"}
    made.run("state_embeddings", "ebm_checkpoint", partition="iter_000")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}


def test_other_theorems_mark_whatever_reads_them(made):
    path = made.root / "test.jsonl"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    made.run("theorems")
    assert unsynced(made) == {"baseline_trajectories", "trajectories", "ebm_checkpoint", "guided_trajectories"}


def test_another_baseline_marks_what_is_measured_against_it(made):
    made.config = {"baseline_trajectories": {"max_expansions": 8}}
    made.run("baseline_trajectories")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}


def test_another_training_marks_what_uses_the_model(made):
    made.config = {"ebm_checkpoint": {"seed": 1}}
    made.run("ebm_checkpoint", partition="iter_000")
    assert unsynced(made) == {"guided_trajectories", "iteration_report"}


SEARCHES = {
    "baseline_trajectories",
    "trajectories",
    "guided_trajectories",
    "ebm_checkpoint",
    "policy_checkpoint",
}  # calibration searches too, and so does the judgement on a tuned policy


@pytest.mark.parametrize(
    ("path", "assets"),
    [
        ("prover/search/engine.py", SEARCHES),
        ("prover/environments/minilib/Prover.lean", SEARCHES),
        ("prover/policy/tiny/checkpoint/model.safetensors", SEARCHES),
        ("prover/policy/beam.py", SEARCHES),
        ("prover/policy/pooling.py", SEARCHES | {"state_embeddings"}),
        ("prover/policy/naming.py", SEARCHES | {"state_embeddings"}),
        ("prover/theorem_sets/propositional.jsonl", {"theorems"}),
        ("prover/policy/tiny/train.py", set()),
        ("ebm/training/trainer.py", {"ebm_checkpoint", "guided_trajectories"}),
        ("ebm/calibration.py", {"ebm_checkpoint", "guided_trajectories", "iteration_report"}),
        ("ebm/evaluation.py", {"iteration_report", "policy_checkpoint"}),
        ("prover/policy/finetune_config.py", {"policy_checkpoint"}),
        ("prover/policy/finetune_loop.py", {"policy_checkpoint"}),
        ("prover/logic/g4ip.py", {"iteration_report"}),
        ("ebm/cli.py", set()),
        ("prover_assets/store/champion.py", {"iteration_report"}),
        ("prover_assets/ui.py", set()),
    ],
)
def test_a_change_of_code_marks_the_steps_that_run_it(path, assets):
    assert (ROOT / path).is_file()
    found = {name for name, sources in SOURCES.items() if any(ROOT / path in files_of(source) for source in sources)}
    assert found == assets


WITHOUT_SAY = frozenset(
    {
        *("ebm/champion.py", "ebm/files.py", "prover/files.py"),  # where and how files are written
        *("prover/theorems.py", "prover/trajectory/schema.py"),  # the form of what is read
        *("prover/policy/base.py", "prover/policy/beam.py", "prover/policy/decoder.py"),  # encoding decodes nothing
        *(
            "prover/environments/base.py",
            "prover/states.py",
            "prover/search/guidance.py",
        ),  # the report searches nothing
        *("prover/search/best_first.py", "prover/logic/g4ip.py"),  # labels name them, and run neither
        *("ebm/inference.py", "ebm/ranking.py", "ebm/calibration.py"),  # the policy alone is judged without an energy
        *("ebm/training/config.py", "ebm/training/features.py", "ebm/training/from_files.py"),  # of the further heads
    }
)
"""Modules that what an asset runs imports, and that do not decide its content although not all assets name them."""


def imported_by(path: Path) -> set[str]:
    """The modules of `prover` and `ebm` that a file names, as paths from the root of the tree."""
    found = set()
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and statement.module:
            names = [statement.module, *(f"{statement.module}.{name.name}" for name in statement.names)]
            found |= {f"{name.replace('.', '/')}.py" for name in names if name.split(".")[0] in ("prover", "ebm")}
    return {name for name in found if (ROOT / name).is_file()}


@pytest.mark.parametrize("asset", SOURCES)
def test_what_the_code_of_a_step_imports_is_part_of_its_version(asset):
    files = {file for source in SOURCES[asset] for file in files_of(source)}
    named = {file.relative_to(ROOT).as_posix() for file in files}
    imported = {name for file in files if file.suffix == ".py" for name in imported_by(file)}
    assert imported - named - WITHOUT_SAY == set()


def test_every_asset_names_its_sources():
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.executable_asset_keys} == set(SOURCES)
