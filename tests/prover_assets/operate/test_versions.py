"""Code versions: which assets a change of a file marks."""

import ast
from pathlib import Path

import pytest

from prover_assets.definitions import defs
from prover_assets.operate import imports
from prover_assets.operate.imports import PACKAGES, ROOT, path_of, reached_from
from prover_assets.operate.versions import (
    BESIDE,
    CONTENT,
    EVERYWHERE,
    EXEMPT,
    ROOTS,
    code_version,
    files_at,
    sources,
    step_version,
)

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
        ("prover/policy/tiny/checkpoint/model.safetensors", SEARCHES | {"state_embeddings"}),
        ("prover/policy/beam.py", SEARCHES),
        ("prover/policy/pooling.py", SEARCHES | {"state_embeddings"}),
        ("prover/policy/naming.py", SEARCHES | {"state_embeddings"}),
        ("prover/theorem_sets/propositional.jsonl", {"theorems"}),
        ("prover/policy/tiny/train.py", set()),
        ("ebm/training/trainer.py", {"ebm_checkpoint", "guided_trajectories"}),
        ("ebm/calibration.py", {"ebm_checkpoint", "guided_trajectories", "iteration_report"}),
        ("ebm/evaluation.py", {"iteration_report"}),
        ("prover/evaluation/comparison.py", {"iteration_report", "policy_checkpoint"}),
        ("prover/policy/finetune_config.py", {"policy_checkpoint"}),
        ("prover/policy/finetune_loop.py", {"policy_checkpoint"}),
        ("prover/logic/g4ip.py", {"iteration_report"}),
        ("ebm/cli.py", set()),
        ("prover/environments/script/embedded_host.py", SEARCHES),
        ("prover/environments/repl/launch.py", SEARCHES),
        ("prover/environments/isolation/sandbox_exec.py", SEARCHES),
        ("prover_assets/store/champion.py", {"iteration_report"}),
        ("prover_assets/store/verdict.py", {"ebm_checkpoint", "guided_trajectories"}),
        (
            "prover_assets/store/policy.py",
            SEARCHES | {"ebm_checkpoint", "policy_checkpoint", "iteration_report"},
        ),
        ("prover_assets/steps/promote.py", {"iteration_report", "policy_checkpoint"}),
        ("prover_assets/steps/tune_policy.py", {"policy_checkpoint"}),
        ("prover_assets/steps/embed.py", {"state_embeddings"}),
        ("prover_assets/report/tables.py", {"iteration_report"}),
        ("prover_assets/tracking/mlflow.py", set()),
        ("prover_assets/operate/next.py", set()),
        ("prover_assets/defs/assets/searches.py", set()),
        ("prover_assets/ui.py", set()),
    ],
)
def test_a_change_of_code_marks_the_steps_that_run_it(path, assets):
    assert (ROOT / path).is_file()
    assert {asset for asset in ROOTS if ROOT / path in sources(asset)} == assets


def test_a_version_follows_the_content_of_its_files(tmp_path, monkeypatch):
    import prover_assets.operate.versions as versions

    monkeypatch.setattr(versions, "ROOT", tmp_path)
    file = tmp_path / "a.py"
    file.write_text("x = 1\n", encoding="utf-8")
    before = code_version((file,))
    assert code_version((file,)) == before
    file.write_text("x = 2\n", encoding="utf-8")
    versions._digest.cache_clear()
    assert code_version((file,)) != before


def test_every_asset_has_a_version_of_its_own():
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.executable_asset_keys} == set(ROOTS)
    assert len({step_version(asset) for asset in ROOTS}) == len(ROOTS)


@pytest.mark.parametrize("asset", ROOTS)
def test_every_exemption_is_needed_and_has_a_reason(asset):
    reached = reached_from(ROOTS[asset], lambda module: False)
    for name, reason in EXEMPT[asset].items():
        assert any(module == name or module.startswith(f"{name}.") for module in reached), name
        assert reason


def test_what_is_exempt_everywhere_is_there():
    for name in EXEMPT[EVERYWHERE]:
        assert path_of(name) is not None, name


def test_files_that_are_read_or_started_are_named():
    """Every file of content in the packages that is no module belongs to one that is named in `BESIDE`."""
    named = {file for places in BESIDE.values() for place in places for file in files_at(place)}
    for module in BESIDE:
        assert path_of(module) is not None, module
    others = {
        file
        for package in ("prover", "ebm")
        for file in (ROOT / package).rglob("*")
        if file.suffix in CONTENT - {".py"} and "__pycache__" not in file.parts
    }
    assert others - named == set()
    programs = {
        file
        for file in (ROOT / "prover").rglob("*.py")
        if "Run as a script in a bare interpreter" in file.read_text(encoding="utf-8")[:400]
    }
    assert programs
    assert programs - named == set()
    with pytest.raises(FileNotFoundError, match="has been moved"):
        files_at("prover/no_such_folder")


def parsed(path: Path, *, for_typing: bool) -> set[str]:
    """The project's modules that a file names in import statements, by Python's own parser."""
    found: set[str] = set()

    def look(node: ast.AST, typing: bool) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.body:
                look(child, True)
            for child in node.orelse:
                look(child, typing)
            return
        if typing is for_typing:
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found.update(name.name for name in node.names)
        for child in ast.iter_child_nodes(node):
            look(child, typing)

    look(ast.parse(path.read_text(encoding="utf-8")), False)
    return {name for name in found if name.split(".")[0] in PACKAGES}


@pytest.mark.long
def test_the_scan_finds_the_imports_that_pythons_parser_finds():
    compared = 0
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for for_typing in (False, True):
                scanned = {name for name, _ in imports._statements(module, for_typing=for_typing)}
                assert scanned == parsed(path, for_typing=for_typing), (module, for_typing)
                compared += 1
    assert compared > 200
