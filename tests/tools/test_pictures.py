"""The pictures that scripts make: the loop is the one that Dagster runs, the recording shows what was printed."""

import sys
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import loop_picture
import record_run


def test_the_loop_is_the_one_that_dagster_runs():
    from prover_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {box.name for box in loop_picture.BOXES} == names - {"policy_checkpoint"}  # the optional one is left out
    edges = {
        (parent.to_user_string(), key.to_user_string())
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
    }
    assert set(loop_picture.ARROWS) <= edges
    assert loop_picture.LOOP[1] in edges
    assert (loop_picture.ROOT / "docs" / "images" / "loop.svg").read_text(encoding="utf-8") == loop_picture.svg()
    assert dg.AssetKey("champion_ebm") not in graph.executable_asset_keys


def test_a_recording_has_a_frame_for_what_came_after_a_pause(tmp_path: Path):
    lines = [(1.0, "iter_000"), (2.0, "✓ search"), (2.001, "  9 proved"), (3.0, "ebm promoted")]
    picture = tmp_path / "ui.png"
    Image.new("RGB", (1360, 943), "#ffffff").save(picture)
    frames, durations = record_run.frames_of(lines, [picture])
    assert len(frames) == len(durations) == 1 + 3 + 1  # the prompt, three times of printing, the picture
    output = tmp_path / "run.gif"
    record_run.save(frames, durations, output)
    with Image.open(output) as made:
        assert made.n_frames == len(frames)
        assert made.size == record_run.SIZE


def test_a_run_that_fails_is_not_recorded():
    with pytest.raises(RuntimeError, match="exit code 3"):
        record_run.record([sys.executable, "-c", "print('x'); raise SystemExit(3)"], {})


def test_what_is_recorded_is_what_was_printed():
    lines = record_run.record([sys.executable, "-c", "print('first'); print('  second')"], {})
    assert [text for _, text in lines] == ["first", "  second"]
    assert lines[0][0] <= lines[1][0]


def test_a_saved_run_is_shown_at_the_times_that_its_steps_printed():
    text = "iter_000\n✓ 1/9 search, policy     34.9 s  28 proved, 108 expansions/s\n  a table\n✓ 2/9 embed 3.0 s\nend\n"
    assert [round(when, 1) for when, _ in record_run.read_log(text)] == [0.0, 34.9, 34.9, 37.9, 37.9]


def test_a_line_that_is_too_long_is_wrapped():
    line = "x" * (record_run.COLUMNS + 1)
    assert record_run.terminal([line]).tobytes() != record_run.terminal([line[:-1]]).tobytes()
