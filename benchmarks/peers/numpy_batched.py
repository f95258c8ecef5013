"""NumPy over whole mini-batches: float32, row-major samples, updates in place."""

from itertools import pairwise

import numpy as np

LABEL = "NumPy, batched"


def build(sizes, X, y, rng):
    weights = [
        (rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32) for a, b in pairwise(sizes)
    ]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    return weights, biases, X.astype(np.float32), np.eye(sizes[-1], dtype=np.float32)[y]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def train_epoch(state, batch, eta, order):
    weights, biases, X, Y = state
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        activations = [X[rows]]
        for w, b in zip(weights, biases, strict=True):
            activations.append(sigmoid(activations[-1] @ w.T + b))
        a = activations[-1]
        delta = (a - Y[rows]) * (a * (1 - a))
        for l in range(len(weights) - 1, -1, -1):
            before = delta
            if l > 0:
                a = activations[l]
                delta = (delta @ weights[l]) * (a * (1 - a))
            weights[l] -= np.float32(eta / len(rows)) * (before.T @ activations[l])
            biases[l] -= np.float32(eta / len(rows)) * before.sum(axis=0)


def outputs(state, X):
    a = X.astype(np.float32)
    for w, b in zip(state[0], state[1], strict=True):
        a = sigmoid(a @ w.T + b)
    return a
