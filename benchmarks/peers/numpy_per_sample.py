"""The book's style: one sample at a time, float64, gradients summed and then applied."""

import numpy as np

LABEL = "NumPy, per sample"


def build(work, X, y, weights, threads, dtype):
    columns = [x.reshape(-1, 1).astype(np.float64) for x in X]
    targets = [t.reshape(-1, 1).astype(np.float64) for t in y]
    w = [w.astype(np.float64) for w, _ in weights]
    b = [b.astype(np.float64).reshape(-1, 1) for _, b in weights]
    return work, columns, targets, w, b


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gradients(w, b, x, y):
    activations, zs = [x], []
    for weight, bias in zip(w, b, strict=True):
        zs.append(weight @ activations[-1] + bias)
        activations.append(sigmoid(zs[-1]))
    nabla_w, nabla_b = [None] * len(w), [None] * len(b)
    delta = (activations[-1] - y) * sigmoid(zs[-1]) * (1 - sigmoid(zs[-1]))
    for l in range(len(w) - 1, -1, -1):
        nabla_w[l], nabla_b[l] = delta @ activations[l].T, delta
        if l > 0:
            slope = sigmoid(zs[l - 1]) * (1 - sigmoid(zs[l - 1]))
            delta = (w[l].T @ delta) * slope
    return nabla_w, nabla_b


def run(state, orders, shuffle):
    work, X, Y, w, b = state
    for order in orders:
        for start in range(0, len(order), work.batch):
            rows = order[start : start + work.batch]
            sum_w, sum_b = [np.zeros_like(p) for p in w], [np.zeros_like(p) for p in b]
            for i in rows:
                nabla_w, nabla_b = gradients(w, b, X[i], Y[i])
                sum_w = [s + g for s, g in zip(sum_w, nabla_w, strict=True)]
                sum_b = [s + g for s, g in zip(sum_b, nabla_b, strict=True)]
            rate = work.learning_rate / len(rows)
            for l in range(len(w)):
                w[l] -= rate * sum_w[l]
                b[l] -= rate * sum_b[l]


def parameters(state):
    return [(w, b[:, 0]) for w, b in zip(state[3], state[4], strict=True)]
