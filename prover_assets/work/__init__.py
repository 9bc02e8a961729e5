"""The calls that assets make into `prover` and `ebm`, one module a concern. Heavy imports are inside the functions."""
