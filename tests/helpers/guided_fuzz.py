"""A target of `fuzz_targets.py` on texts that atheris changes by what they reach: `guided_fuzz.py NAME SECONDS`.

Exit status 0 when the time is up. An error in a target ends it, with the text that made it: Hypothesis prints that.
"""

import sys

import atheris
from hypothesis import HealthCheck, given, settings

with atheris.instrument_imports(include=["prover"]):
    from fuzz_targets import TARGETS


def main() -> None:
    """Fuzz one target for the seconds given. Never returns: libFuzzer ends the process."""
    name, seconds = sys.argv[1:]
    target = TARGETS[name]

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.texts)
    def run(example: object) -> None:
        target.check(example)

    # Of one input no more than 20 s; no file is left but the one of a crash, in the working folder.
    flags = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *flags], run.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
