"""The book's ``mnist_loader.py``, from IDX files: `cbackprop.datasets.load_mnist` says where
they are looked for. Nothing is unpickled. Pixels are x / 256, as in the book's file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.book.network2 import vectorized_result
from cbackprop.datasets import load_mnist

Array = NDArray[Any]
Part = tuple[Array, Array]

__all__ = ["load_data", "load_data_wrapper", "vectorized_result"]


def load_data() -> tuple[Part, Part, Part]:
    """Training, validation and test data: (images (n, 784) float32, labels (n,)); 50,000,
    10,000 and 10,000 of them."""
    data = load_mnist()
    images = data.X_train.astype(np.float32) / 256
    labels = np.asarray(data.y_train)
    test = data.X_test.astype(np.float32) / 256, np.asarray(data.y_test)
    return (images[:50000], labels[:50000]), (images[50000:], labels[50000:]), test


def load_data_wrapper() -> tuple[list[Any], list[Any], list[Any]]:
    """Lists of pairs: (x, y) of columns to train on; (x, label) to validate and test."""
    training, validation, test = load_data()

    def columns(part: Part) -> list[Array]:
        return [x.reshape(-1, 1) for x in part[0]]

    return (
        list(zip(columns(training), map(vectorized_result, training[1]), strict=True)),
        list(zip(columns(validation), validation[1], strict=True)),
        list(zip(columns(test), test[1], strict=True)),
    )
