"""Search one theorem, print the tree of proof states that was searched, and the proof.

    python examples/proof_tree.py
    python examples/proof_tree.py --theorem Textbook.or_comm --budget 64
    python examples/proof_tree.py --statement "(p q : Prop) (h : p ∧ q) : q ∧ p"

Each line of the tree is one state: the tactic that led to it, the sum of the policy's log-probabilities on the way
(higher is better) and the goal. `>` marks the states of the proof. A number in brackets is the order of expansion.
"""

import argparse
from collections import defaultdict

from prover.environments import open_environment
from prover.policy import load_policy
from prover.search import SearchConfig, TheoremResult, search
from prover.theorems import Theorem, TheoremSet


def chosen_theorem(arguments: argparse.Namespace) -> Theorem:
    """The theorem that the command line asks for."""
    if arguments.statement:
        return Theorem("example_theorem", arguments.statement)
    by_name = {theorem.name: theorem for theorem in TheoremSet.load("textbook")}
    if arguments.theorem not in by_name:
        raise SystemExit(f"error: no theorem {arguments.theorem}; there are {', '.join(sorted(by_name))}")
    return by_name[arguments.theorem]


def goal_of(text: str) -> str:
    """The goals of a state without their hypotheses, on one line."""
    goals = [line.removeprefix("⊢ ") for line in text.splitlines() if line.startswith("⊢ ")]
    return " and ".join(goals) or "no goals left"


def print_tree(result: TheoremResult) -> None:
    """The searched states, children below their parent, best path first."""
    nodes = result.tree.nodes
    children = defaultdict(list)
    for node in nodes:
        if node.parent is not None:
            children[node.parent].append(node)
    on_path = set()
    node = next((node for node in nodes if node.complete), None)
    while node is not None:
        on_path.add(node.index)
        node = None if node.parent is None else nodes[node.parent]

    def show(index: int, indent: str) -> None:
        node = nodes[index]
        mark = ">" if index in on_path else " "
        order = f"[{node.expansion}] " if node.expansion is not None else ""
        words = node.tactic or "start"
        print(f"{mark} {indent}{order}{words}   {node.log_prob:.2f}   ⊢ {goal_of(node.state.text)}")
        for child in sorted(children[index], key=lambda child: (child.index not in on_path, child.index)):
            show(child.index, indent + "  ")

    show(0, "")


def main() -> None:
    """Search, print the tree, print the proof as a Lean file."""
    parser = argparse.ArgumentParser(description="Search one theorem and print its proof tree.")
    parser.add_argument("--theorem", default="Textbook.and_comm", help="a theorem of the built-in set `textbook`")
    parser.add_argument("--statement", help="a statement of your own instead, as it stands after the theorem's name")
    parser.add_argument("--budget", type=int, default=32, help="expansions")
    arguments = parser.parse_args()

    theorem = chosen_theorem(arguments)
    config = SearchConfig(max_expansions=arguments.budget, mode="policy-mean")
    with open_environment() as lean:
        (result,) = search([theorem], lean, load_policy(), config).results

    print(theorem.declaration)
    print_tree(result)
    if result.proof is None:
        print(f"\nno proof within {result.expansions} expansions: {result.ended} {result.reason}")
        return
    print(f"\nproved at expansion {result.expansions_to_proof}; a fresh Lean accepted the whole script:\n")
    print(f"{theorem.declaration} := by")
    for tactic in result.proof:
        print(f"  {tactic}")


if __name__ == "__main__":
    main()
