"""What users import first: the names of `prover` and `ebm`, that they come when used, and that their types ship."""

import importlib
import subprocess
import sys
from importlib.resources import files

import pytest

HEAVY = ("torch", "transformers", "numpy", "polars", "pyarrow", "dagster", "mlflow")


@pytest.mark.parametrize("package", ["prover", "ebm"])
def test_each_name_is_what_its_own_module_defines(package: str):
    face = importlib.import_module(package)
    assert set(face.__all__) == set(face._MODULE_OF)
    for name in face.__all__:
        assert getattr(face, name).__name__ == name


@pytest.mark.parametrize("package", ["prover", "ebm"])
def test_importing_a_package_loads_nothing_heavy(package: str):
    script = f"import sys, {package}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["prover", "ebm"])
def test_a_name_that_is_not_there_is_an_attribute_error(package: str):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(package).no_such_name


def test_the_first_specification_finds_its_names():
    from ebm import (
        ContrastiveSampler,
        EBMScorer,
        EBMTrainingConfig,
        EnergyHead,
        EnergyHeadConfig,
        SpectralNormLinear,
        SpectralNormLinearConfig,
    )

    for found, module in (
        (ContrastiveSampler, "ebm.training.data"),
        (EBMScorer, "ebm.inference"),
        (EBMTrainingConfig, "ebm.training.config"),
        (EnergyHead, "ebm.model.energy_head"),
        (EnergyHeadConfig, "ebm.head_config"),
        (SpectralNormLinear, "ebm.model.spectral_norm"),
        (SpectralNormLinearConfig, "ebm.model.spectral_norm"),
    ):
        assert found.__module__ == module


@pytest.mark.parametrize("package", ["prover", "ebm", "prover_assets"])
def test_types_ship_with_the_package(package: str):
    assert (files(package) / "py.typed").is_file()
