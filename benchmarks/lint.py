"""How many statements per minute the lint reads without Lean: `python benchmarks/lint.py [STATEMENTS]`.

Statements are those of the built-in sets, renamed and repeated. Prints CPU seconds, not wall seconds.
"""

import sys
import time

from prover.lint.signature import read_signature
from prover.lint.text_checks import lint_text
from prover.theorems import BUILTIN_NAMES, Theorem, TheoremSet


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    given = [theorem for name in BUILTIN_NAMES for theorem in TheoremSet.load(name)]
    theorems = [
        Theorem(f"t{number}", f"{given[number % len(given)].statement} ∧ {number} = {number}")
        for number in range(wanted)
    ]
    read_signature.cache_clear()
    began = time.process_time()
    report = lint_text("benchmark", theorems)
    seconds = time.process_time() - began
    print(f"{wanted} statements, {len(report.findings)} findings: {seconds:.2f} s of CPU")
    print(f"{wanted / seconds * 60:,.0f} statements a minute without Lean (target 10,000)")


if __name__ == "__main__":
    main()
