"""What the page of the theorem sets says of how they were read."""

from pathlib import Path

from prover.theorems import TheoremSet
from prover_assets.defs.metadata import how_read

SAMPLES = Path(__file__).parents[2] / "data/theorem_layouts"


def test_the_page_says_which_sets_were_made_from_states_and_what_was_left_out():
    sets = {
        "train": TheoremSet.load(SAMPLES / "leandojo.jsonl", skip_invalid=True),
        "valid": TheoremSet.load(SAMPLES / "lean-github.jsonl"),
        "test": TheoremSet.load("textbook"),
    }
    said = how_read(sets)
    assert set(said) == {"train_from_states", "train_left_out", "valid_from_states"}
    assert "printed proof states" in str(said["valid_from_states"].value)
    assert "1 left out" in str(said["train_left_out"].value)
