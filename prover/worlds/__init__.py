"""Worlds to prove theorems in: first-order logic and the arithmetic of natural numbers, generated with their proofs."""
