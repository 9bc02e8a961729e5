"""The energy model: a small head over a frozen policy's vectors that says how far a proof state is from a proof.

ENERGY, lower is better; SCORE = -energy, higher is better. Names are imported when they are first used: `import ebm`
loads neither torch nor numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebm.inference import EBMScorer
    from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
    from ebm.model.spectral_norm import SpectralNormLinear, SpectralNormLinearConfig
    from ebm.training.config import EBMTrainingConfig
    from ebm.training.data import ContrastiveSampler

__all__ = [
    "ContrastiveSampler",
    "EBMScorer",
    "EBMTrainingConfig",
    "EnergyHead",
    "EnergyHeadConfig",
    "SpectralNormLinear",
    "SpectralNormLinearConfig",
]

_MODULE_OF = {
    "ContrastiveSampler": "ebm.training.data",
    "EBMScorer": "ebm.inference",
    "EBMTrainingConfig": "ebm.training.config",
    "EnergyHead": "ebm.model.energy_head",
    "EnergyHeadConfig": "ebm.model.energy_head",
    "SpectralNormLinear": "ebm.model.spectral_norm",
    "SpectralNormLinearConfig": "ebm.model.spectral_norm",
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
