"""The certified proofs in trajectory rows, as paths of states and tactics."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True, order=True)
class ProofPath:
    """One certified proof."""

    theorem: str
    steps: tuple[tuple[str, str], ...]
    """(text of the state, tactic), in the order of the proof."""
    whole: bool
    """Whether it begins at the root: a file that was cut may lack the beginning."""


def proof_paths(nodes: pl.DataFrame) -> list[ProofPath]:
    """Every certified proof, alternatives of a theorem included, in order of theorem and steps.

    A proof is the path from the root to a node with `is_proof_complete`, by `parent_state_id`.
    """
    columns = ("theorem_name", "state_id", "state_pp", "tactic_applied", "parent_state_id", "is_proof_complete")
    rows = nodes.select(columns).rows()
    by_id = {(row[0], row[1]): row for row in rows}
    found = []
    for row in rows:
        if not row[5]:
            continue
        path: list[tuple[str, str]] = []
        node, seen = row, set()
        while node[4] is not None and node[1] not in seen:
            seen.add(node[1])
            parent = by_id.get((row[0], node[4]))
            if parent is None:
                break
            path.append((parent[2], node[3]))
            node = parent
        if path:
            found.append(ProofPath(row[0], tuple(reversed(path)), node[4] is None))
    return sorted(found)
