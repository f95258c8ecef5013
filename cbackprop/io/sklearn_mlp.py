"""Fitted MLPs of scikit-learn, and of `cbackprop.sklearn`; scikit-learn itself is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cbackprop import _validation as check
from cbackprop.exceptions import ModelFileError
from cbackprop.io import layers

if TYPE_CHECKING:
    from cbackprop.network import Network

_OURS = {"logistic": "sigmoid"}


def load(cls: type[Network], mlp: Any, given: dict[str, Any]) -> Network:
    """`Network.from_sklearn`."""
    what = type(mlp).__name__
    check.an_mlp(mlp)
    if not hasattr(mlp, "coefs_"):
        raise ModelFileError(f"{what} is not fitted; call fit first")
    net = getattr(mlp, "network_", None)
    classes = _classes(mlp)
    if net is not None:  # ours: activations and cost of its own
        hidden: Any = net.activations[:-1]
        output, cost = net.activations[-1], net.cost
    else:
        hidden, output = _OURS.get(mlp.activation, mlp.activation), mlp.out_activation_
        output = _OURS.get(output, output)
        if mlp.loss not in ("squared_error", "log_loss", "poisson"):
            raise ModelFileError(
                f"{what}: loss {mlp.loss!r} has no network here; only its own does"
            )
        # The first two are what log_loss means with that output.
        costs = {"softmax": "log_likelihood", "sigmoid": "cross_entropy", "exp": "poisson"}
        cost = costs.get(output, "quadratic")
    return layers.network(
        cls, what, [w.T for w in mlp.coefs_], list(mlp.intercepts_), activation=hidden,
        output=output, cost=cost, classes=classes, **given,
    )  # fmt: skip


def _classes(mlp: Any) -> Any:
    """The label of each output; None for real targets and for several labels at once."""
    labels = getattr(mlp, "classes_", None)
    binarizer = getattr(mlp, "_label_binarizer", None)
    if labels is None or getattr(binarizer, "y_type_", "").startswith("multilabel"):
        return None
    if len(labels) < 2:
        raise ModelFileError(f"{type(mlp).__name__} knows one class only, expected two or more")
    labels = np.asarray(labels)
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)  # 0.0 and 1.0 are the labels 0 and 1
    return labels
