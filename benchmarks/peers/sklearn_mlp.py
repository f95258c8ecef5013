"""scikit-learn's MLPClassifier and MLPRegressor, plain SGD or Adam, by partial_fit."""

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

LABEL = "scikit-learn"
# Not expressible: a sigmoid output with quadratic cost (book).


def build(work, X, y, weights, threads, dtype):
    warnings.simplefilter("ignore")
    kind = MLPRegressor if work.cost == "quadratic" else MLPClassifier
    model = kind(
        hidden_layer_sizes=work.sizes[1:-1], solver=work.optimizer, alpha=0.0, momentum=0.0,
        activation={"sigmoid": "logistic"}.get(work.activation, work.activation),
        nesterovs_momentum=False, batch_size=work.batch, learning_rate_init=work.learning_rate,
        tol=0.0, n_iter_no_change=10**9, shuffle=False,
    )  # fmt: skip
    target = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    few = {"classes": np.arange(max(2, work.sizes[-1]))} if kind is MLPClassifier else {}
    first = slice(0, work.batch)
    model.partial_fit(X[first], target[first], **few)
    for own, (w, _) in zip(model.coefs_, weights, strict=True):
        own[...] = w.T
    for own, (_, b) in zip(model.intercepts_, weights, strict=True):
        own[...] = b
    if work.optimizer == "adam":
        for moment in (*model._optimizer.ms, *model._optimizer.vs):
            moment[...] = 0
        model._optimizer.t = 0
    return model, X, target


def run(state, orders, shuffle):
    model, X, y = state
    model.shuffle = shuffle
    for _ in orders:
        model.partial_fit(X, y)


def parameters(state):
    model = state[0]
    return [(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
