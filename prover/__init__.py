"""Theorem proving: theorem sets, Lean environments, tactic policies, best-first search, trajectories.

Sign convention, everywhere in this project: ENERGY, lower is better; SCORE = -energy, higher is better;
log-probability (nats), higher is better.
"""

from prover.theorems import Theorem, TheoremSet

__all__ = ["Theorem", "TheoremSet"]
