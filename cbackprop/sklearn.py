"""scikit-learn's multilayer perceptrons, trained by this package: change one import.

``MLPClassifier`` and ``MLPRegressor`` take the parameters and have the attributes and methods of
``sklearn.neural_network``'s, with the same meaning; then some of their own. Needs scikit-learn
1.6 or later: ``pip install "cbackprop[sklearn]"``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

import numpy as np

from cbackprop._mlp import MLP, Array  # first: it names the extra

# isort: split
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

__all__ = ["MLPClassifier", "MLPRegressor"]

_Class = TypeVar("_Class", bound=type[Any])


# What the docstrings of both classes say.
_TEXTS = {
    "parameters": """hidden_layer_sizes : sequence of int
        Neurons of each hidden layer.
    activation : str or Activation, or a list with one for each hidden layer
        identity, logistic, tanh, relu, or any other of this package's.
    solver : str or Optimizer
        adam, sgd, lbfgs, or any other of this package's optimisers, by name or object.
    alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As scikit-learn's. The initial weights and the rows held out are the same for the same
        ``random_state``; the order of the samples is not.
    dropout : float or sequence
        As of `cbackprop.Network.train`.
    n_threads : int, optional
        Default: as many as turn out fastest. Results do not depend on it.""",
    "attributes": """coefs_, intercepts_ : list of arrays (n_in, n_out), (n_out,)
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The loss of each epoch, penalty included; not of lbfgs.
    n_iter_, n_layers_, n_outputs_, t_, n_features_in_ : int
    feature_names_in_ : array of str
        Where X had names.
    out_activation_ : str
    validation_scores_ : list of float or None
    best_validation_score_ : float or None
    network_ : cbackprop.Network""",
}


def _documented(cls: _Class) -> _Class:
    """The class with what it shares with its sister in its docstring."""
    if cls.__doc__ is not None:  # python -OO has none
        for name, text in _TEXTS.items():
            cls.__doc__ = cls.__doc__.replace(f"{{{name}}}", text)
    return cls


def _keep(estimator: MLP, given: dict[str, Any]) -> None:
    """The arguments of a constructor as attributes, and nothing else: scikit-learn's rule."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


@_documented
class MLPClassifier(ClassifierMixin, MLP):  # type: ignore[misc]
    """A multilayer perceptron for one label or several, as scikit-learn's.

    Parameters
    ----------
    {parameters}
    cost : str or Cost, optional
        Instead of the cross-entropy (softmax: log-likelihood).
    class_weight : dict or "balanced", optional
        Weights of the labels, on top of sample_weight; "balanced" is of `fit` alone.

    Attributes
    ----------
    {attributes}
    classes_ : array (n_classes,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier((10,), max_iter=500, solver="lbfgs", random_state=0).fit(X, y)
    >>> mlp.score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        class_weight: Any = None,
        cost: Any = None,
        n_threads: int | None = None,
    ) -> None:
        _keep(self, locals())

    def _targets(self, y: Array, incremental: bool) -> Array:
        known = hasattr(self, "classes_")
        if not known or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
            if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    "`y` has classes not in `self.classes_`. `self.classes_` has "
                    f"{self.classes_}. 'y' has {classes}."
                )
        Y: Array = self._label_binarizer.transform(y)
        return Y.astype(bool)

    def _output(self) -> tuple[str, str, str]:
        if self._label_binarizer.y_type_ == "multiclass":
            return "softmax", "softmax", "log_likelihood"
        return "logistic", "sigmoid", "cross_entropy"

    def _loss(self, cost: float) -> float:
        return cost

    def _predicted(self, a: Array) -> Array:
        a = a.ravel() if self.n_outputs_ == 1 else a
        labels: Array = self._label_binarizer.inverse_transform(a)
        return labels

    def _score_of(self, predicted: Array, y: Array, weights: Any) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weights))

    @available_if(lambda self: self._partial_fit_is_there())  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """One epoch over the given data.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_classes)
        sample_weight : array-like (n_samples,), optional
        classes : array-like
            All labels that will ever come; needed in the first call.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all "
                "of the data; pass the weights of the classes as a dict"
            )
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            self.classes_ = unique_labels(classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        fitted: MLPClassifier = self._fit(X, y, sample_weight, True)
        return fitted

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n_samples, n_classes), classes in the order of ``classes_``."""
        a = self._outputs(X)
        return np.hstack([1 - a, a]) if self.n_outputs_ == 1 else a

    def predict_log_proba(self, X: Any) -> Array:
        """log of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@_documented
class MLPRegressor(RegressorMixin, MLP):  # type: ignore[misc]
    """A multilayer perceptron for one real target or several, as scikit-learn's.

    Parameters
    ----------
    loss : str
        "squared_error", or "poisson": exponential outputs, for targets that are counts.
    {parameters}
    cost : str or Cost, optional
        Instead of the loss's.

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> mlp = MLPRegressor(hidden_layer_sizes=(20,), solver="lbfgs", random_state=0)
    >>> mlp.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        cost: Any = None,
        n_threads: int | None = None,
    ) -> None:
        _keep(self, locals())

    def _targets(self, y: Array, incremental: bool) -> Array:
        return y.reshape(len(y), -1)

    def _output(self) -> tuple[str, str, str]:
        if self.loss == "poisson":
            return "exp", "exp", "poisson"
        return "identity", "identity", "quadratic"

    def _prepare_loss(self, Y: Array, weights: Any) -> None:
        # Of the Poisson deviance, what no weight changes: the mean of y ln y - y.
        self._constant: float = 0.0
        if self.loss == "poisson" and self.cost is None:
            y = Y.astype(np.float64)
            terms = y * np.log(np.where(y > 0, y, 1)) - y
            self._constant = float(np.average(terms, weights=weights, axis=0).sum())

    def _loss(self, cost: float) -> float:
        if self.loss == "squared_error" and self.cost is None:
            return cost / float(
                self.n_outputs_
            )  # scikit-learn's is a mean over the targets as well
        return cost + float(self._constant)

    def _predicted(self, a: Array) -> Array:
        return a.ravel() if a.shape[1] == 1 else a

    def _score_of(self, predicted: Array, y: Array, weights: Any) -> float:
        if not np.isfinite(predicted).all():
            return math.nan
        return float(r2_score(y, predicted, sample_weight=weights))

    @available_if(lambda self: self._partial_fit_is_there())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over the given data.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like (n_samples,), optional
        """
        fitted: MLPRegressor = self._fit(X, y, sample_weight, True)
        return fitted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
