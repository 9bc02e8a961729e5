"""Lean driven through the Lean REPL, which keeps a heavy import loaded."""
