"""Lists and arrays to tensors and back."""

import numpy as np
import pytest
import torch

from ebm.model import embedding_to_tensor, embeddings_to_tensor, tensor_to_float, tensor_to_list


def test_round_trip():
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32).tolist()
    assert tensor_to_list(embeddings_to_tensor(vectors, "cpu")) == vectors
    assert tensor_to_list(embedding_to_tensor(vectors[0], "cpu")[0]) == vectors[0]


def test_shape():
    tensor = embeddings_to_tensor([[0.5] * 64] * 4)
    assert tensor.shape == (4, 64)
    assert tensor.dtype == torch.float32
    assert embedding_to_tensor(np.zeros(64)).shape == (1, 64)


def test_empty_batch():
    assert embeddings_to_tensor([], width=64).shape == (0, 64)
    assert embeddings_to_tensor([]).shape == (0, 0)
    assert embeddings_to_tensor(np.empty((0, 64))).shape == (0, 64)


def test_the_tensor_is_a_copy():
    table = np.ones((2, 3), dtype=np.float32)
    tensor = embeddings_to_tensor(table)
    table[0] = 7
    assert tensor.max() == 1


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([[1.0, 2.0], [1.0]], "row 0 has 2 numbers, row 1 has 1"),
        ([["a", "b"]], "real numbers"),
        ([[1.0, None]], "numbers"),
        (["ab", "cd"], "vector of numbers, got str"),
        ([1.0, 2.0], "got float at row 0"),
        ([[[1.0]]], "shape"),
        (np.zeros(3), "shape"),
        (np.array([["x"]]), "real numbers"),
        (np.array([[1j]]), "real numbers"),
    ],
)
def test_bad_input_is_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        embeddings_to_tensor(embeddings)


def test_expected_width():
    with pytest.raises(ValueError, match="width 3, expected 4"):
        embeddings_to_tensor([[1.0, 2.0, 3.0]], width=4)


def test_tensor_to_float():
    assert tensor_to_float(torch.tensor([2.5])) == 2.5
    assert tensor_to_float(torch.tensor(2.5, requires_grad=True)) == 2.5
    with pytest.raises(ValueError, match="one entry"):
        tensor_to_float(torch.zeros(2))
    with pytest.raises(ValueError, match="tensor_to_float"):
        tensor_to_list(torch.tensor(1.0))
