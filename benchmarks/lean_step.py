"""How fast the embedded Lean steps tactics: `python benchmarks/lean_step.py [--json]`.

Measured in one run, on the same states and candidates:
- tactics per second of one process, stepping as the product does;
- the same with one `example` per candidate and its error text, and the ratio;
- tactics per second for waves of 10, 50, 100 and 200 theorems (median of the repetitions), and their spread;
- the least time of a wave (one tactic), and the peak resident memory of a process;
- tactics per second with one process per core;
- what a wave of 100 theorems costs per candidate, in parts: Lean's start, the theorems with the tactics before, the
  candidates, the printing of the states that they lead to. Measured by leaving one part after another out of the file.

Other work on the machine slows all of this down: the load average is printed beside the figures, and so are the rates
by processor time of the Lean processes (`cpu`), which other work does not change.
"""

import argparse
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from prover.environments import Progress, ProofState, StepRequest
from prover.environments.script.environment import LeanLimits, LeanScript
from prover.environments.script.process import EmbeddedRunner, RunResult
from prover.environments.script.source import file_head, indented
from prover.theorems import Theorem

STATEMENTS = (
    "(p q r : Prop) (h : p ∧ (q ∨ r)) : (p ∧ q) ∨ (p ∧ r)",
    "(p q r s : Prop) (h : (p → q) ∧ (r → s)) (k : p ∨ r) : q ∨ s",
    "(p q : Prop) (h : ¬(p ∨ q)) : ¬p ∧ ¬q",
    "(p q r : Prop) : (p → q → r) → (p ∧ q → r)",
    "(p q r : Prop) (h : p ↔ q) (k : q ↔ r) : p → r",
)
CANDIDATES = (
    "intro x", "constructor", "left", "right", "cases h", "obtain ⟨a, b⟩ := h", "exact h.1", "apply Or.inl",
    "assumption", "exfalso", "rcases h with ⟨a, b | c⟩", "refine ⟨?_, ?_⟩", "exact ⟨h.1, h.2⟩", "apply h",
    "contradiction", "have x : p := h.1",
)  # fmt: skip


class MeasuredRunner(EmbeddedRunner):
    """Remembers its last file and the peak resident memory of its processes, and adds up their processor seconds."""

    max_rss_kib = 0
    cpu_s = 0.0
    text = ""
    """The last file."""

    def run(self, text: str, *, wall_s: float, fresh: bool = False) -> RunResult:
        result = super().run(text, wall_s=wall_s, fresh=fresh)
        self.max_rss_kib = max(self.max_rss_kib, result.max_rss_kib)
        self.cpu_s += result.cpu_s
        self.text = text
        return result


def states_of(environment: LeanScript, n: int, depth: int) -> list[ProofState]:
    """`n` states of as many theorems, each after `depth` tactics, as the nodes of a search are."""
    theorems = [Theorem(f"t{i}", STATEMENTS[i % len(STATEMENTS)]) for i in range(n)]
    states = [state for state in environment.start(theorems) if isinstance(state, ProofState)]
    for step in range(depth):
        rows = environment.step(
            [StepRequest(state, (f"have f{step} : True ∧ True := ⟨trivial, trivial⟩",)) for state in states]
        )
        states = [outcome.state for (outcome,) in rows if isinstance(outcome, Progress)]
    assert len(states) == n
    return states


def requests_of(states: Sequence[ProofState], n_candidates: int) -> list[StepRequest]:
    return [
        StepRequest(state, tuple(CANDIDATES[(i + j) % len(CANDIDATES)] for j in range(n_candidates)))
        for i, state in enumerate(states)
    ]


def seconds(work: Callable[[], object], repetitions: int, runner: MeasuredRunner | None = None) -> tuple[float, float]:
    """(median wall seconds, median processor seconds of Lean) of the repetitions."""
    walls, processors = [], []
    for _ in range(repetitions):
        before = runner.cpu_s if runner else 0.0
        started = time.perf_counter()
        work()
        walls.append(time.perf_counter() - started)
        processors.append(runner.cpu_s - before if runner else 0.0)
    return statistics.median(walls), statistics.median(processors)


def one_example_each(environment: LeanScript, requests: Sequence[StepRequest]) -> None:
    """The plain way: every candidate in an `example` of its own, with Lean's messages about it."""
    runner = environment._runner
    lines = file_head(runner.preamble, "", environment.limits.max_heartbeats)
    for request in requests:
        for tactic in request.tactics:
            lines.append(f"example {request.state.theorem.statement} := by")
            for line in (*request.state.tactics, tactic, "trace_state", "all_goals sorry"):
                lines += indented(line, 2)
            lines.append("")
    result = runner.run("\n".join(lines), wall_s=600)
    assert result.ended == "exited", result.detail


def parts(runner: MeasuredRunner, text: str, n_candidates: int, repetitions: int) -> dict[str, float]:
    """Processor milliseconds per candidate of the parts of a wave's file."""
    silent = text.replace("\n    trace_state", "\n    skip")
    untried = re.sub(r"  first\n.*?  \| all_goals", "  all_goals", text, flags=re.DOTALL)
    empty = text.partition("\ntheorem ")[0]

    def cost(file: str) -> float:
        _, processor = seconds(lambda: runner.run(file, wall_s=600), repetitions, runner)
        return 1000 * processor / n_candidates

    whole, printed_nothing, tried_nothing, started = map(cost, (text, silent, untried, empty))
    found = {
        "start": started,
        "theorems and the tactics before": tried_nothing - started,
        "candidates": printed_nothing - tried_nothing,
        "printing": whole - printed_nothing,
    }
    return {name: round(value, 3) for name, value in found.items()}


def measure(*, n_candidates: int, depth: int, repetitions: int) -> dict[str, object]:
    figures: dict[str, object] = {
        "candidates": n_candidates,
        "depth": depth,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    runner = MeasuredRunner(1, LeanLimits().process)
    with LeanScript(runner) as environment:
        states = states_of(environment, 200, depth)
        rates, processor_rates = {}, {}
        for n in (10, 50, 100, 200):
            requests = requests_of(states[:n], n_candidates)
            wall, processor = seconds(partial(environment.step, requests), repetitions, runner)
            rates[n], processor_rates[n] = n * n_candidates / wall, n * n_candidates / processor
        requests = requests_of(states[:100], n_candidates)
        ours = seconds(lambda: environment.step(requests), repetitions, runner)
        peak_rss_kib = runner.max_rss_kib
        figures["cpu_ms_per_candidate"] = parts(runner, runner.text, 100 * n_candidates, repetitions)
        plain = seconds(lambda: one_example_each(environment, requests), repetitions, runner)
        single = requests_of(states[:1], 1)
        figures |= {
            "tactics_per_s_by_theorems_in_wave": {n: round(rate) for n, rate in rates.items()},
            "tactics_per_cpu_s_by_theorems_in_wave": {n: round(rate) for n, rate in processor_rates.items()},
            "spread_over_waves": round(max(rates.values()) / min(rates.values()) - 1, 3),
            "spread_over_waves_cpu": round(max(processor_rates.values()) / min(processor_rates.values()) - 1, 3),
            "tactics_per_s_one_process": round(100 * n_candidates / ours[0]),
            "tactics_per_cpu_s_one_process": round(100 * n_candidates / ours[1]),
            "tactics_per_s_one_example_each": round(100 * n_candidates / plain[0]),
            "tactics_per_cpu_s_one_example_each": round(100 * n_candidates / plain[1]),
            "ratio": round(plain[0] / ours[0], 2),
            "ratio_cpu": round(plain[1] / ours[1], 2),
            "wave_of_one_tactic_ms": round(1000 * seconds(lambda: environment.step(single), 5 * repetitions)[0], 1),
            "peak_rss_mib": round(peak_rss_kib / 1024),
        }
    with LeanScript(EmbeddedRunner(os.cpu_count() or 1, LeanLimits().process)) as environment:
        requests = requests_of(states_of(environment, 200, depth), n_candidates)
        wall, _ = seconds(lambda: environment.step(requests), repetitions)
        figures["tactics_per_s_all_cores"] = round(200 * n_candidates / wall)
    figures["load_after"] = round(os.getloadavg()[0], 2)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--candidates", type=int, nargs="+", default=[8, 32], help="tactics tried in each state (default 8, then 32)"
    )
    parser.add_argument("--depth", type=int, default=4, help="tactics replayed before them (default 4)")
    parser.add_argument(
        "--repetitions", type=int, default=5, help="repetitions of each measurement; the median counts (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    options = parser.parse_args()
    for n_candidates in options.candidates:
        figures = measure(n_candidates=n_candidates, depth=options.depth, repetitions=options.repetitions)
        if options.json:
            print(json.dumps(figures), flush=True)
        else:
            print("\n".join(f"{name:38} {value}" for name, value in figures.items()), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
