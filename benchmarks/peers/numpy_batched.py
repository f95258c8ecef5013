"""NumPy over whole mini-batches, updates in place."""

from cbackprop._bench import NumpyTrainer

LABEL = "NumPy"


def build(work, X, y, weights, threads, dtype):
    return NumpyTrainer(work, X, y, weights, dtype)


def run(state, orders, shuffle):
    for order in orders:
        state.epoch(order)


def parameters(state):
    return list(zip(state.w, state.b, strict=True))
