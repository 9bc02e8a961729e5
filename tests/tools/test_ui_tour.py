"""docs/ui-tour.md says nothing that no test looks at, and its pictures are those that the browser tests make."""

from PIL import Image
from tour import ROOT, called_with, pictures, sentences

ELSEWHERE = {
    "`make ui` starts three servers and prints their addresses:": "tests/helpers/server.py",  # reads what is printed
    "While a step runs, its asset has an observation now and then, with a table of how far it is.": (
        "tests/prover_assets/defs/test_observe.py"
    ),
    "The nightly schedule and the chaining sensor run with the settings of the last iteration, or of the preset that "
    "`PROVER_PRESET` names.": "tests/prover_assets/defs/test_automation.py",
    "A step that is made again attaches to its iteration, and what it replaced has the tag `superseded_by`.": (
        "tests/prover_assets/tracking/test_tracking.py"
    ),
    "The setting `traces` of the resource `mlflow` turns this off.": "tests/prover_assets/tracking",
    "`prover live` shows the same in a terminal.": "tests/prover/show/test_live.py",
    "`prover compare iter_001 iter_002` prints the comparison in a terminal, and pairs the theorems.": (
        "tests/prover_assets/test_cli.py"
    ),
}
"""Sentence -> the test that sees it without a browser."""
NO_CLAIMS = {
    "Dagster, which makes things, MLflow, which compares them, and the reports, with the searches as they run.",
    "Browser tests take this tour: each sentence below is a step of theirs, over a project on the real Lean, and they "
    "make the pictures:",
    "The pictures show small projects of two and three iterations.",
    "By default it is",
}
"""What introduces something."""
MOST_BYTES = 250_000


def test_each_sentence_of_the_tour_is_seen_by_a_test():
    seen = called_with("tour") | set(ELSEWHERE) | NO_CLAIMS
    assert [sentence for sentence in sentences() if sentence not in seen] == []
    assert [sentence for sentence in (*ELSEWHERE, *NO_CLAIMS) if sentence not in sentences()] == []
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []


def test_each_picture_of_the_tour_is_made_by_a_browser_test_and_small():
    assert pictures() <= called_with("shot")
    for name in pictures():
        file = ROOT / "docs" / "images" / f"{name}.png"
        assert file.stat().st_size < MOST_BYTES
        with Image.open(file) as image:
            assert image.width >= 1000
