"""The small parts: promotion, the data folder, pictures, tables, theorem windows."""

import math
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.theorems import Theorem, TheoremSet
from prover_assets.report.facts import INLINE, inline_table, markdown_table, preview, read
from prover_assets.report.page import Section, render
from prover_assets.report.plots import (
    TREE_WIDTH,
    Picture,
    TreeNode,
    _layout,
    _short,
    grouped_bars,
    histograms,
    lines,
    search_tree,
    solve_curves,
)
from prover_assets.steps.promote import decide
from prover_assets.steps.theorem_sets import training_window
from prover_assets.store.champion import POLICY_ALONE, ChampionRecord, Evidence, read_champion_of, write_champion
from prover_assets.store.files import DamagedFile, digest_of, read_json, require_parquet, write_json
from prover_assets.store.layout import DataFolder, DataFolderError
from prover_assets.store.verdict import RefusedCheckpoint, Verdict, require_passed, write_verdict
from prover_assets.ui import free_port


def evidence(area: float, policy_area: float = 0.5, *, beta: float = 1.0, conditions: str = "same") -> Evidence:
    return Evidence("ebm-new", beta, area, policy_area, conditions)


CHAMPION = ChampionRecord("ebm-old", "champions/ebm-old", "iter_000", "", evidence(0.6))


@pytest.mark.parametrize(
    ("new", "champion", "promoted", "words"),
    [
        (evidence(0.56), POLICY_ALONE, True, "gain of +0.060"),
        (evidence(0.505), POLICY_ALONE, False, "below the least that counts"),
        (evidence(0.5, beta=0.0), POLICY_ALONE, False, "beta = 0"),
        (evidence(0.56), CHAMPION, False, "champion of iter_000 stays"),
        (evidence(0.61), CHAMPION, True, "gain of +0.110"),
        (evidence(0.56, conditions="other theorems"), CHAMPION, True, "gain of +0.060"),
    ],
)
def test_promotion_follows_validation(new, champion, promoted, words):
    decision = decide(new, champion, minimum_gain=0.01)
    assert decision.promoted is promoted
    assert words in decision.reason


def test_promotion_can_be_switched_off():
    assert not decide(evidence(0.9), POLICY_ALONE, minimum_gain=0.01, promote=False).promoted


def test_a_champion_record_survives_being_written_down(tmp_path):
    iteration = DataFolder(tmp_path).iteration("iter_004")
    write_champion(iteration, CHAMPION)
    assert read_champion_of(iteration) == CHAMPION
    assert read_champion_of(DataFolder(tmp_path).iteration("iter_005")) is None
    write_json(iteration.champion, {"ebm_id": "ebm-old"})
    with pytest.raises(DamagedFile, match=r"no record of a champion .*materialize iteration_report of iter_003 again"):
        read_champion_of(iteration)


def test_a_verdict_that_did_not_pass_is_refused_with_its_reason(tmp_path):
    iteration = DataFolder(tmp_path).iteration("iter_000")
    with pytest.raises(RefusedCheckpoint, match="no verdict"):
        require_passed(iteration)
    write_verdict(iteration.verdict, Verdict(False, "ebm-1", ("energy_gap: it is -0.1",), ()))
    with pytest.raises(RefusedCheckpoint, match=r"it is -0\.1"):
        require_passed(iteration)
    write_verdict(iteration.verdict, Verdict(True, "ebm-1", (), ("healthy: flat",)))
    assert require_passed(iteration).warnings == ("healthy: flat",)


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


@given(st.integers(1, 60), st.integers(0, 8), st.integers(1, 40))
def test_windows_of_training_theorems_go_round(n, iteration, size):
    theorems = TheoremSet("t", tuple(Theorem(f"t{i}", ": p") for i in range(size)))
    window = [theorem.name for theorem in training_window(theorems, n, iteration, rotate=True)]
    assert len(window) == len(set(window)) == min(n, size)
    if n < size:
        assert window[0] == f"t{iteration * n % size}"
    assert training_window(theorems, n, iteration, rotate=False) == list(theorems)[:n]


def test_table_cells_cannot_break_a_table():
    table = markdown_table(["a", "b"], [["p ∧ q | r", "x\ny"], [None, 0.12345]])
    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| p ∧ q \\| r | x<br>y |", "|  | 0.123 |"]


def test_a_preview_is_short_enough_to_be_shown_at_once():
    rows = [(f"name{i}", "p ∧ q → " * 40) for i in range(50)]
    table = inline_table(["name", "statement"], rows).value
    assert 800 < len(table) < INLINE
    assert "name0" in table
    assert "…" in table


def test_a_preview_leaves_out_a_column_with_nothing_in_it():
    frame = pl.DataFrame({"tactic": ["", "intro h"], "score": [None, None], "label": ["positive", None]})
    table = preview(frame, ("tactic", "score", "label")).value
    assert table.splitlines()[0] == "| tactic | label |"
    assert preview(frame.with_columns(score=0.5), ("tactic", "score")).value.startswith("| tactic | score |")


def node(id: int, parent: int | None, *, proved: bool = False) -> TreeNode:
    return TreeNode(id, parent, "intro h", proved, complete=proved and id == 3, expanded=True, energy=0.5)


def test_a_tree_is_laid_out_without_two_nodes_in_one_place():
    children = {None: [0], 0: [1, 2, 5], 1: [3, 4], 2: [6]}
    place = _layout(children)
    assert len(set(place.values())) == len(place) == 7
    assert place[0] == (0, 0.0)
    assert place[1] == (1, 0.0)  # the first child lies level with its parent
    assert {place[n][0] for n in (3, 4, 6)} == {2}


LONGEST = "rcases hypothesis with ⟨left, right⟩ | other"


def a_search(depth: int, others: int) -> list[TreeNode]:
    """A proof of `depth` tactics, and `others` nodes off it, up to two steps away."""
    tree = [TreeNode(0, None, "", True, False, True, 1.5)]
    tree += [TreeNode(i, i - 1, LONGEST, True, i == depth, True, -12.25) for i in range(1, depth + 1)]
    for i in range(depth + 1, depth + 1 + others):
        parent = (7 * i) % depth if i % 3 else i - 1
        tree.append(TreeNode(i, parent, LONGEST, False, False, i % 2 == 0, 12.25))
    return tree


@pytest.mark.parametrize(("depth", "others"), [(1, 0), (4, 6), (8, 20), (12, 110), (64, 56)])
def test_a_tree_fits_the_page_and_its_proof_can_be_read(depth, others):
    figure = search_tree.__wrapped__(a_search(depth, others), title="a_theorem, guided")
    figure.canvas.draw()
    assert figure.get_size_inches()[0] <= TREE_WIDTH
    (axes,) = figure.axes
    page = figure.bbox
    shown = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    for text, box in shown:
        assert axes.bbox.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    tactics = [box for text, box in shown if text == _short(LONGEST)]
    energies = [box for text, box in shown if text == "-12.25"]
    assert len(tactics) == len(energies) == depth
    beside_the_proof = [*tactics, *energies]
    for i, box in enumerate(beside_the_proof):
        assert not any(box.overlaps(other) for other in beside_the_proof[i + 1 :])


def test_the_band_of_a_solve_curve_is_the_wilson_interval():
    figure = solve_curves.__wrapped__({"policy": [2] * 3 + [None] * 7, "nothing": []}, highest=4, title="t")
    (band,) = figure.axes[0].collections
    corners = {(round(float(x), 6), round(float(y), 3)) for x, y in band.get_paths()[0].vertices}
    assert {(1.0, 0.0), (1.0, 0.278), (4.0, 0.108), (4.0, 0.603)} <= corners  # of 0 and of 3 in 10


def test_pictures_are_png():
    tree = [node(0, None, proved=True), node(1, 0, proved=True), node(2, 0), node(3, 1, proved=True)]
    pictures = [
        search_tree(tree, title="t"),
        search_tree([node(0, None), *(node(i, 0) for i in range(1, 300))], title="large", most=50),
        search_tree([], title="empty"),
        solve_curves({"policy": [1, None, 4], "guided": []}, highest=64, title="t"),
        histograms({"positive": [1.0, 2.0], "negative": []}, xlabel="energy", title="t"),
        histograms({"positive": [1.0, 1.0]}, xlabel="energy", title="all the same"),
        grouped_bars({"all": {"policy": (0.5, 0.4, 0.6)}}, ylabel="y", title="t"),
        lines({"loss": ([1, 2], [0.5, 0.4])}, xlabel="step", title="t"),
        lines({}, xlabel="step", title="nothing"),
    ]
    for picture in pictures:
        assert isinstance(picture, Picture)
        assert picture.png.startswith(b"\x89PNG")
        assert picture.data_uri.startswith("data:image/png;base64,")


def test_what_comes_from_data_cannot_change_the_page():
    page = render(
        "Report",
        "<script>alert(1)</script>",
        False,
        [Section("A", text="<b>", tables=[(["<i>"], [["<u>", 0.5]])], code="p → <q>")],
        {"policy": "<img>"},
    )
    for tag in ("<script>", "<b>", "<i>", "<u>", "<q>", "<img>"):
        assert tag not in page


def test_a_port_that_is_taken_is_passed_over():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100


def test_the_makefile_finds_no_old_python(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["make", "-C", str(root), "setup", f"VENV={tmp_path / 'venv'}", "PYTHON="],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "no Python >= 3.11 found" in done.stderr
    assert "PYTHON=/path/to/python3.11" in done.stderr
