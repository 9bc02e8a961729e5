"""Readers of text that others write, on text made to break them. Seconds per target: PROVER_FUZZ_S (else 50 examples).

`make fuzz` gives each 20 seconds, as CI does; `make fuzz FUZZ_S=600` is for before a release. Half of them go to texts
drawn at random, half to texts that atheris changes until they reach more of the code.
"""

import importlib.util
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, seed, settings

SECONDS = float(os.environ.get("PROVER_FUZZ_S", "0")) / 2
GUIDED = Path(__file__).parents[1] / "helpers" / "guided_fuzz.py"


@pytest.mark.parametrize("name", TARGETS)
def test_any_text_is_read_or_refused(name: str) -> None:
    until = time.monotonic() + SECONDS
    target = TARGETS[name]
    for number in count():

        @seed(number)
        @settings(max_examples=50, suppress_health_check=list(HealthCheck))
        @given(target.texts)
        def run(example: object) -> None:
            target.check(example)

        run()
        if time.monotonic() >= until:
            break


@pytest.mark.skipif(not SECONDS, reason="make fuzz runs it: it needs seconds per target (PROVER_FUZZ_S)")
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: the extra `fuzz`")
@pytest.mark.parametrize("name", TARGETS)
def test_texts_that_reach_more_of_the_code(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(GUIDED), name, str(max(1, round(SECONDS)))],
        cwd=tmp_path, capture_output=True, text=True, timeout=600 + 10 * SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert "DONE" in done.stderr, "it ended before its time"
    print(name, done.stderr.strip().splitlines()[-1])
