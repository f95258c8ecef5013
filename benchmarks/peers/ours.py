"""cbackprop's Network.train, its checks included; n_threads as the default chooses."""

from itertools import pairwise

import numpy as np

import cbackprop

LABEL = "cbackprop"


def build(sizes, X, y, rng):
    net = cbackprop.Network(sizes, rng=0)
    net.weights = [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return net, X.astype(np.float32), y


def train_epoch(state, batch, eta, order):
    net, X, y = state
    net.train(X, y, epochs=1, batch_size=batch, learning_rate=eta)


def outputs(state, X):
    return state[0].predict(X)
