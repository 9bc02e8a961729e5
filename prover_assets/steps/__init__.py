"""What each asset does, one module per step. Heavy imports are inside the functions. Knows no Dagster."""
