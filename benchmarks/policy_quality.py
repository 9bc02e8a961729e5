"""How good a policy is on theorems that it has not seen: tactics that Lean accepts, theorems solved.

    python benchmarks/policy_quality.py [--policy DIR] [--theorems propositional] [--split test] [--budget 64]

Best-first search in policy-mean order, every proof certified. Prints one table, and with --json one object.
"""

import argparse
import json
import time
from collections import Counter
from typing import Any

from policy_premises import out_of_reach

from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, SearchReport, search
from prover.theorems import TheoremSet

BUDGETS = (1, 2, 4, 8, 16, 32, 64, 128)
_ACCEPTED = ("progress", "complete")


def figures(report: SearchReport, budget: int) -> dict[str, Any]:
    """All figures of one search."""
    results = report.results
    attempts = [attempt for result in results for attempt in result.tree.attempts]
    outcomes = Counter(str(attempt.outcome) for attempt in attempts)
    verbs = Counter(attempt.tactic.split(" ")[0] for attempt in attempts)
    accepted = Counter(a.tactic.split(" ")[0] for a in attempts if str(a.outcome) in _ACCEPTED)
    by_rank: dict[int, list[bool]] = {}
    for attempt in attempts:
        by_rank.setdefault(attempt.rank, []).append(str(attempt.outcome) in _ACCEPTED)
    by_difficulty: dict[int, list[bool]] = {}
    for result in results:
        if result.theorem.difficulty is not None:
            by_difficulty.setdefault(result.theorem.difficulty, []).append(result.proved)
    return {
        "theorems": len(results),
        "solved": {
            str(b): sum(1 for r in results if r.expansions_to_proof is not None and r.expansions_to_proof <= b)
            for b in BUDGETS
            if b <= budget
        },
        "ended": dict(Counter(str(result.ended) for result in results)),
        "expansions": report.progress.expansions,
        "tactics": len(attempts),
        "accepted_share": sum(outcomes[name] for name in _ACCEPTED) / len(attempts),
        "new_state_share": sum(attempt.new_node for attempt in attempts) / len(attempts),
        "out_of_reach_share": sum(
            out_of_reach(result.theorem.header, [attempt.tactic for attempt in result.tree.attempts])
            for result in results
        )
        / len(attempts),
        "accepted_share_by_rank": {str(rank): sum(v) / len(v) for rank, v in sorted(by_rank.items())},
        "tactics_by_verb": {verb: [n, accepted[verb] / n] for verb, n in verbs.most_common(12)},
        "solved_share_by_difficulty": {str(d): sum(v) / len(v) for d, v in sorted(by_difficulty.items())},
        "claims_not_certified": sum(len(result.uncertified) for result in results),
    }


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default=None, help="folder of a policy (default: the shipped one)")
    parser.add_argument(
        "--widen",
        type=int,
        default=4,
        help="ask again at expanded nodes, for up to this many times as many candidates",
    )
    parser.add_argument("--theorems", default="propositional", help="name of a shipped set, or a file")
    parser.add_argument("--split", default="test", help="split of the set; '' for all of it")
    parser.add_argument("--budget", type=int, default=64, help="expansions per theorem")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    theorems = TheoremSet.load(options.theorems, split=options.split or None, limit=options.limit)
    policy = load_policy(options.policy, threads=1)
    config = SearchConfig(
        mode="policy-mean",
        max_expansions=options.budget,
        n_candidates=options.candidates,
        widen=options.widen,
        time_limit_s=None,
    )
    started = time.perf_counter()
    with open_environment() as environment:
        report = search(theorems, environment, policy, config)
    seconds = time.perf_counter() - started
    found = figures(report, options.budget)
    if options.json:
        print(json.dumps({"policy": policy.policy_id, "seconds": seconds, **found}))
        return
    n = found["theorems"]
    print(
        f"{policy.policy_id} on {n} theorems of {options.theorems}/{options.split or 'all'}, k = {options.candidates}"
    )
    print("solved    " + "  ".join(f"@{b} {count / n:.3f}" for b, count in found["solved"].items()))
    print("ended     " + "  ".join(f"{name} {count}" for name, count in sorted(found["ended"].items())))
    new_states = found["new_state_share"]
    print(f"accepted  {found['accepted_share']:.3f} of {found['tactics']} tactics; new states {new_states:.3f}")
    print(f"premises  {found['out_of_reach_share']:.3f} of the tactics name a lemma that the theorem may not use")
    print("by rank   " + "  ".join(f"{share:.2f}" for share in found["accepted_share_by_rank"].values()))
    print("by verb   " + "  ".join(f"{v} {c} ({s:.2f})" for v, (c, s) in found["tactics_by_verb"].items()))
    if found["solved_share_by_difficulty"]:
        print("by steps  " + "  ".join(f"{d}: {s:.2f}" for d, s in found["solved_share_by_difficulty"].items()))
    print(
        f"claims that certification turned down: {found['claims_not_certified']}; {seconds:.0f} s, of which model "
        f"{report.progress.model_s:.0f} s, waiting for Lean {report.waited_s:.0f} s, own {report.own_s:.0f} s"
    )


if __name__ == "__main__":
    main()
