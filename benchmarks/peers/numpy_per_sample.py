"""The book's network.py style: NumPy, one sample at a time, float64, column vectors."""

from itertools import pairwise

import numpy as np

LABEL = "NumPy, per sample (the book's style)"


def build(sizes, X, y, rng):
    weights = [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    biases = [np.zeros((b, 1)) for b in sizes[1:]]
    targets = np.eye(sizes[-1])[y]
    data = [(x.reshape(-1, 1), t.reshape(-1, 1)) for x, t in zip(X, targets, strict=True)]
    return weights, biases, data


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def train_epoch(state, batch, eta, order):
    weights, biases, data = state
    for start in range(0, len(order), batch):
        nabla_w = [np.zeros_like(w) for w in weights]
        nabla_b = [np.zeros_like(b) for b in biases]
        rows = order[start : start + batch]
        for i in rows:
            x, y = data[i]
            activations = [x]
            for w, b in zip(weights, biases, strict=True):
                activations.append(sigmoid(w @ activations[-1] + b))
            a = activations[-1]
            delta = (a - y) * a * (1 - a)
            for l in range(len(weights) - 1, -1, -1):
                nabla_b[l] += delta
                nabla_w[l] += delta @ activations[l].T
                if l > 0:
                    a = activations[l]
                    delta = (weights[l].T @ delta) * a * (1 - a)
        for l in range(len(weights)):
            weights[l] -= eta / len(rows) * nabla_w[l]
            biases[l] -= eta / len(rows) * nabla_b[l]


def outputs(state, X):
    a = X.astype(np.float64)
    for w, b in zip(state[0], state[1], strict=True):
        a = sigmoid(a @ w.T + b[:, 0])
    return a
