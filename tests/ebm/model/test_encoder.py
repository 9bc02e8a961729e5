"""Any tactic generator as an encoder."""

import numpy as np
import pytest

from ebm.model import EncoderBackend


def test_encode_and_encode_batch(policy):
    encoder = EncoderBackend(policy)
    batch = encoder.encode_batch(["⊢ good", "⊢ bad"])
    assert batch.shape == (2, 64)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode("⊢ bad"), batch[1])
    assert encoder.encode_batch([]).shape == (0, 64)


def test_hidden_dim_is_the_width_of_the_encoding(policy):
    assert EncoderBackend(policy).hidden_dim == 64
    policy.encoding_width = 192
    assert EncoderBackend(policy).hidden_dim == 192
    del policy.encoding_width
    assert EncoderBackend(policy).hidden_dim == 64


def test_a_wrong_shape_is_refused(policy):
    policy.encoding_width = 65
    with pytest.raises(ValueError, match=r"\(1, 64\), expected \(1, 65\)"):
        EncoderBackend(policy).encode("⊢ p")
