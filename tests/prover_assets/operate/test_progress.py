"""What is said of a step while it goes."""

import logging
import time

from prover_assets.operate.progress import STAGES, LogReporter, how_far, in_words, place_of


def test_done_total_rate_and_time_left_are_said():
    assert how_far(15, 60, "9 proved", 30.0) == "15/60, 0.5/s, 1 min 30 s left, 9 proved"
    assert how_far(60, 60, "", 30.0) == "60/60, 2/s"
    assert how_far(0, 60, "", 3.0) == "0/60"
    assert how_far(0, 0, "", 3.0) == "no news yet"
    assert how_far(3, 0, "", 0.0) == "3"


def test_durations_are_said_as_people_say_them():
    assert [in_words(seconds) for seconds in (0.4, 59, 200, 7500)] == ["0 s", "59 s", "3 min 20 s", "2 h 5 min"]


def test_a_stage_says_its_place_in_the_iteration():
    assert [place_of(title) for title in (STAGES[0], STAGES[-1], "tune the policy on proofs")] == ["1/9", "9/9", ""]


def test_the_log_goes_on_without_news(caplog):
    log = logging.getLogger("test of progress")
    with caplog.at_level(logging.INFO), LogReporter(log, every_s=0.01).stage("embed states"):
        while sum("so far" in record.message for record in caplog.records) < 2:
            time.sleep(0.01)
    assert caplog.messages[0] == "step 3 of 9, embed states: started"
    assert "no news yet" in caplog.messages[1]
