"""Propositional logic for making theorems and judging labels: formulas, a decision procedure, scripts, a generator.

What this package finds provable is not a proof. A proof counts only when Lean certifies it.
"""
