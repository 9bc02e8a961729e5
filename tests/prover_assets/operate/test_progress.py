"""What is said of a step while it goes."""

import logging
import time

import pytest

from prover_assets.operate import progress
from prover_assets.operate.progress import (
    STAGES,
    LogReporter,
    Pace,
    TerminalReporter,
    in_words,
    place_of,
    reporter_for,
    stages_of,
    using,
)


class Clock:
    """Stands in for the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_done_total_rate_and_time_left_are_said(clock: Clock):
    pace = Pace()
    assert str(pace) == "no news yet"
    pace.update(0, 60, "")
    assert str(pace) == "0/60"
    clock.now = 30.0
    pace.update(15, 60, "9 proved")
    assert str(pace) == "15/60, 0.5/s, 1 min 30 s left, 9 proved"
    clock.now = 120.0
    pace.update(60, 60, "")
    assert str(pace) == "60/60, 0.5/s"


def test_what_was_there_before_the_first_news_is_no_work_of_this_run(clock: Clock):
    pace = Pace()
    clock.now = 100.0  # loading
    pace.update(40, 60, "")  # resumed
    assert str(pace) == "40/60"
    clock.now = 110.0
    pace.update(50, 60, "")
    assert str(pace) == "50/60, 1/s, 10 s left"


def test_a_count_that_falls_is_another_part_with_a_rate_of_its_own(clock: Clock):
    pace = Pace()
    pace.update(0, 1000, "training")
    clock.now = 10.0
    pace.update(1000, 1000, "training")
    pace.update(0, 60, "")
    clock.now = 20.0
    pace.update(20, 60, "")
    assert str(pace) == "20/60, 2/s, 20 s left"


def test_durations_are_said_as_people_say_them():
    assert [in_words(seconds) for seconds in (0.4, 59, 200, 7500)] == ["0 s", "59 s", "3 min 20 s", "2 h 5 min"]


def test_a_stage_says_its_place_in_the_iteration():
    tuning = "tune the policy on proofs"
    assert [place_of(title) for title in (STAGES[0], STAGES[-1], tuning)] == ["1/9", "9/9", ""]
    assert [place_of(title, stages_of(tuning=True)) for title in (STAGES[0], tuning)] == ["1/11", "10/11"]


def test_the_log_goes_on_without_news(caplog):
    log = logging.getLogger("test of progress")
    with caplog.at_level(logging.INFO), LogReporter(log, every_s=0.01).stage("embed states"):
        while sum("so far" in record.message for record in caplog.records) < 2:
            time.sleep(0.01)
    assert caplog.messages[0] == "step 3 of 9, embed states: started"
    assert "no news yet" in caplog.messages[1]


def test_where_output_is_no_terminal_a_long_step_is_told_now_and_then(capsys):
    shown = TerminalReporter(stages_of(tuning=True), every_s=0.01)
    with shown.stage("embed states") as update:
        update(3, 7, "states encoded")
        while (said := capsys.readouterr().out) == "":
            time.sleep(0.01)
    assert "3/11 embed states: 3/7, states encoded" in " ".join(said.split())
    assert " ".join(capsys.readouterr().out.split("\n")[-2].split()).startswith("✓ 3/11 embed states")


def test_what_a_terminal_shows_is_in_the_log_too(caplog, capsys):
    log = logging.getLogger("test of progress")
    with caplog.at_level(logging.INFO), using(TerminalReporter()), reporter_for(log, STAGES).stage(STAGES[0]) as update:
        update(60, 60, "28 proved")
    assert caplog.messages[-1].startswith("step 1 of 9, search held-out theorems, policy: 60/60, 28 proved")
    assert "28 proved" in capsys.readouterr().out
