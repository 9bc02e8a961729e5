"""Propositional logic for making theorems and judging labels: formulas, a decision procedure, scripts, a generator.

Nothing here proves anything to the product: a proof counts only when Lean certifies it.
"""
