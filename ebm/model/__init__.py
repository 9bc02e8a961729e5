"""The energy head and what stands between it and the frozen encoder."""

from ebm.model.bridge import embedding_to_tensor, embeddings_to_tensor, tensor_to_float, tensor_to_list
from ebm.model.encoder import EncoderBackend
from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
from ebm.model.spectral_norm import SpectralNormLinear, SpectralNormLinearConfig

__all__ = [
    "EncoderBackend",
    "EnergyHead",
    "EnergyHeadConfig",
    "SpectralNormLinear",
    "SpectralNormLinearConfig",
    "embedding_to_tensor",
    "embeddings_to_tensor",
    "tensor_to_float",
    "tensor_to_list",
]
