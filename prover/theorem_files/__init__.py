"""Theorem files: names, the text of one theorem, whole Lean files, and the layouts that people have on disk.

`names` knows Lean's identifiers, `lexer` its comments, strings and brackets, `commands` where a command of a file
begins, `text` reads a theorem, `prover.theorems` makes sets of them.
"""
