"""Writes the golden proof states again: `python tests/helpers/lean_golden.py`.

Each entry of the file is a theorem, a script, and the exact text of the state before every tactic. Look at the
difference before you keep it: a changed text means that Lean, the prelude or the stepping changed.
"""

import json
from pathlib import Path
from typing import Any

from prover.environments import Complete, Progress, ProofEnvironment, ProofState, StepRequest, open_environment
from prover.theorems import Theorem

GOLDEN = Path(__file__).parents[1] / "data" / "lean_golden" / "scripts.json"


def states_of(environment: ProofEnvironment, entries: list[dict[str, Any]]) -> list[list[str]]:
    """State texts of every script, stepped tactic by tactic, all scripts in one wave. "" ends a script that is done.

    A tactic that is not accepted ends its script with the name of the outcome and its message.
    """
    theorems = [Theorem(entry["name"], entry["statement"]) for entry in entries]
    texts: list[list[str]] = [[] for _ in entries]
    current: list[ProofState | None] = []
    for root, seen in zip(environment.start(theorems), texts, strict=True):
        current.append(root if isinstance(root, ProofState) else None)
        seen.append(root.text if isinstance(root, ProofState) else f"{type(root).__name__}: {root.message}")
    for depth in range(max(len(entry["tactics"]) for entry in entries)):
        rows = [i for i, state in enumerate(current) if state is not None and depth < len(entries[i]["tactics"])]
        requests = [StepRequest(current[i], (entries[i]["tactics"][depth],)) for i in rows]  # type: ignore[arg-type]
        for i, (outcome,) in zip(rows, environment.step(requests), strict=True):
            current[i] = outcome.state if isinstance(outcome, Progress) else None
            match outcome:
                case Progress(state=state):
                    texts[i].append(state.text)
                case Complete():
                    texts[i].append("")
                case _:
                    texts[i].append(f"{type(outcome).__name__}: {outcome.message}")
    return texts


def main() -> None:
    entries = json.loads(GOLDEN.read_text("utf-8"))
    with open_environment() as environment:
        for entry, states in zip(entries, states_of(environment, entries), strict=True):
            entry["states"] = states
    GOLDEN.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
