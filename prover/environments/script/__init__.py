"""Lean driven by files: the embedded Lean, an installed Lean, a Lake project."""
