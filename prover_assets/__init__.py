"""Dagster around `prover` and `ebm`: assets, checks, schedule, sensors, MLflow.

Importing this package loads neither torch, transformers nor mlflow: what is heavy is imported inside the functions that
use it, so that a code location starts in about a second.
"""

import os

# Set before any library reads them. Models come from local folders; set HF_HUB_OFFLINE=0 to allow ids of a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
