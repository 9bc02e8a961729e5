"""A REPL over the embedded Lean: the protocol of the Lean REPL, with a real Lean behind every reply.

Takes the place of `lake env .../repl`. It has no `import Mathlib` and no incremental states (each tactic replays its
prefix), but statements, states, error messages and axioms are Lean's own.
"""

import json
import re
import sys

from prover.environments.base import Complete, Progress, ProofState, Rejected, StepRequest
from prover.environments.script.environment import LeanLimits, LeanScript
from prover.environments.script.process import EmbeddedRunner
from prover.theorems import Theorem

OPENED = re.compile(r"\Atheorem (\S+)\s+(.*) := by sorry\Z", re.DOTALL)


class Repl:
    def __init__(self) -> None:
        limits = LeanLimits()
        self.runner = EmbeddedRunner(1, limits.process)
        self.lean = LeanScript(self.runner, limits)
        self.states: list[ProofState] = []
        self.env = -1

    def answer(self, request: dict) -> dict:
        if "tactic" in request:
            if request["proofState"] >= len(self.states):
                return {"message": "Unknown proof state."}
            return self.step(self.states[request["proofState"]], request["tactic"])
        self.env += 1
        opened = OPENED.match(request["cmd"])
        return self.open(Theorem(opened[1], opened[2])) if opened else self.file(request["cmd"])

    def open(self, theorem: Theorem) -> dict:
        (root,) = self.lean.start([theorem])
        if isinstance(root, ProofState):
            return {"sorries": [{"proofState": self.number(root), "goal": root.text}], "env": self.env}
        return {
            "messages": [{"severity": "error", "pos": {"line": 1, "column": 0}, "data": root.message}],
            "env": self.env,
        }

    def step(self, state: ProofState, tactic: str) -> dict:
        (outcome,) = self.lean.step([StepRequest(state, (tactic,))])[0]
        match outcome:
            case Progress():
                goals = outcome.state.text.split("\n\n")
                status = "Incomplete: open goals remain"
                return {"proofState": self.number(outcome.state), "goals": goals, "proofStatus": status}
            case Complete():
                return {"proofState": len(self.states), "goals": [], "proofStatus": "Completed"}
            case Rejected():
                return {"message": f"Lean error:\n{outcome.message}"}
        raise SystemExit(f"the embedded Lean failed: {outcome}")

    def file(self, text: str) -> dict:
        run = self.runner.run(self.runner.preamble + text, wall_s=60, fresh=True)
        messages = []
        for message in run.messages:
            severity = "info" if message["severity"] == "information" else message["severity"]
            messages.append({"severity": severity, "pos": message["pos"], "data": message["data"]})
        return {"messages": messages, "env": self.env}

    def number(self, state: ProofState) -> int:
        self.states.append(state)
        return len(self.states) - 1


def main() -> None:
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    repl = Repl()
    for line in sys.stdin:
        if line.strip():
            print(json.dumps(repl.answer(json.loads(line)), ensure_ascii=False) + "\n", flush=True)
    repl.lean.close()


if __name__ == "__main__":
    main()
