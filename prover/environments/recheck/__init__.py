"""A second opinion on a proof: its declarations as `lean4export` text, checked by a program that elaborates nothing.

`olean` reads what Lean compiled, `export_text` writes the declarations that a theorem rests on, `kernel_host` is the
checker of our own (Lean's kernel in a process that starts empty), and `check` runs it or another one.
"""
