"""Proofs and traces of others: read into trajectory files, replayed by Lean, mined for negatives, written out again.

A *trace* is a proof as (state, tactic, next state) steps. Traces of others are material to learn from, not proofs: only
what our own Lean has certified counts as proved.

`imports.import_traces`, `negatives.generate_negatives` and `export.export_trajectories` are the way in; they are not
loaded here, so that `prover --help` stays quick.
"""
