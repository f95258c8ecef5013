"""scikit-learn's multilayer perceptrons, trained by this package: change one import.

``MLPClassifier`` and ``MLPRegressor`` take the parameters and have the attributes and methods of
``sklearn.neural_network``'s, with the same meaning; then some of their own. Needs scikit-learn
1.6 or later: ``pip install "cbackprop[sklearn]"``.
"""

from __future__ import annotations

import itertools
import math
import numbers
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
except ImportError:
    raise ImportError(
        'cbackprop.sklearn needs scikit-learn: pip install "cbackprop[sklearn]"'
    ) from None
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cbackprop import DivergenceError, Network, optimizers

Array = NDArray[Any]

__all__ = ["MLPClassifier", "MLPRegressor"]

# scikit-learn's names, where they differ.
_ACTIVATIONS = {"logistic": "sigmoid"}
_OUTPUTS = {"softmax": "softmax", "logistic": "sigmoid", "identity": "identity"}


class _Loop:
    """What is asked after each epoch: the loss, whether it still improves, the rate."""

    def __init__(self, mlp: _MLP, X: Any, y: Any, weights: Any, n: int, mass: float) -> None:
        self.mlp, self.X, self.y, self.weights, self.n, self.mass = mlp, X, y, weights, n, mass
        self.rate = mlp.learning_rate_init
        self.best: list[Array] | None = None
        self.waited = mlp._waited

    def after(self, history: Any) -> float:
        """The rate of the epoch that follows, as a schedule of `cbackprop.schedules` says it."""
        return float(self.rate)

    def on_epoch_end(self, net: Network, history: Any) -> bool:
        """Whether to stop; the book-keeping of scikit-learn's ``fit``."""
        mlp = self.mlp
        mlp.n_iter_ += 1
        mlp.t_ += self.n
        mlp.loss_ = mlp._loss(history.cost[-1], self.mass)
        mlp.loss_curve_.append(mlp.loss_)
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
        improved = self._score() if mlp.early_stopping else self._fall()
        self.waited = 0 if improved else self.waited + 1
        mlp._waited = self.waited
        if mlp.learning_rate == "invscaling" and mlp.solver == "sgd":
            self.rate = mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t
        if self.waited <= mlp.n_iter_no_change:
            return False
        what = "Validation score" if mlp.early_stopping else "Training loss"
        text = f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} "
        text += "consecutive epochs."
        if mlp.learning_rate == "adaptive" and mlp.solver == "sgd" and self.rate > 1e-6:
            self.rate /= 5
            self.waited = mlp._waited = 0
            if mlp.verbose:
                print(f"{text} Setting learning rate to {self.rate:f}")
            return False
        if mlp.verbose:
            print(f"{text} Stopping.")
        self.converged = True
        return True

    converged = False

    def _fall(self) -> bool:
        mlp = self.mlp
        improved = mlp.loss_ <= mlp.best_loss_ - mlp.tol
        mlp.best_loss_ = min(mlp.best_loss_, mlp.loss_)
        return bool(improved)

    def _score(self) -> bool:
        mlp, net = self.mlp, self.mlp._net
        score = mlp._score_of(mlp._predicted(net.predict(self.X)), self.y, self.weights)
        mlp.validation_scores_.append(score)
        if mlp.verbose:
            print(f"Validation score: {score:f}")
        improved = score >= mlp.best_validation_score_ + mlp.tol
        if score > mlp.best_validation_score_:
            mlp.best_validation_score_ = score
            self.best = [*net.weights, *net.biases]
        return bool(improved)


class _MLP(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor have in common."""

    # ---- what the subclasses say -------------------------------------------------------

    def _targets(self, y: Array, incremental: bool) -> Array:
        """y as an array (n, n_outputs); the first time, what is known of it from then on."""
        raise NotImplementedError

    def _output(self) -> tuple[str, Any]:
        """scikit-learn's name of the output activation, and the cost."""
        raise NotImplementedError

    def _predicted(self, a: Array) -> Array:
        raise NotImplementedError

    def _score_of(self, predicted: Array, y: Array, weights: Any) -> float:
        raise NotImplementedError

    # ---- fitting -----------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on X (n_samples, n_features), dense or sparse, and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, X or y is refused, or training left the finite numbers.
        """
        return self._fit(X, y, sample_weight, False)

    def _partial_fit_is_there(self) -> bool:
        if self.solver == "lbfgs" or isinstance(self.solver, optimizers.LBFGS):
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Any:
        self._check_parameters()
        first = not hasattr(self, "_net") or (not self.warm_start and not incremental)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            y_numeric=isinstance(self, RegressorMixin), dtype=(np.float64, np.float32),
            reset=first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        X, labels = _dense(X), y
        Y = self._targets(y, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        class_weight = getattr(self, "class_weight", None)
        if class_weight is not None:
            by_class = compute_sample_weight(class_weight, labels)
            sample_weight = by_class if sample_weight is None else sample_weight * by_class
        random = check_random_state(self.random_state)
        if first:
            self._begin(X, Y, random)
        elif Y.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {Y.shape[1]} outputs, expected {self.n_outputs_}")
        if self.solver == "lbfgs" or isinstance(self.solver, optimizers.LBFGS):
            self._fit_lbfgs(X, Y, sample_weight)
        else:
            self._fit_stochastic(X, Y, sample_weight, incremental, random)
        return self

    def _begin(self, X: Array, Y: Array, random: Any) -> None:
        hidden = np.atleast_1d(self.hidden_layer_sizes).tolist()
        if any(not isinstance(n, int) or n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        sizes = [X.shape[1], *hidden, Y.shape[1]]
        self.n_outputs_, self.n_layers_ = Y.shape[1], len(sizes)
        self.out_activation_, cost = self._output()
        one = isinstance(self.activation, str)
        names = [self.activation] * len(hidden) if one else list(self.activation)
        activations = [_ACTIVATIONS.get(s, s) if isinstance(s, str) else s for s in names]
        weights, biases = [], []
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            sigma = names[min(i, len(names) - 1)] if names else "identity"
            # Glorot and Bengio 2010, a third of it for the logistic function, as scikit-learn
            bound = math.sqrt((2 if sigma in ("logistic", "sigmoid") else 6) / (n_in + n_out))
            weights.append(random.uniform(-bound, bound, (n_in, n_out)).T)
            biases.append(random.uniform(-bound, bound, n_out))
        key = int(random.randint(2**31 - 1))
        self._net = Network(
            sizes, activation=activations or "identity", output=_OUTPUTS[self.out_activation_],
            cost=self.cost if self.cost is not None else cost, init="zeros", dtype=X.dtype,
            rng=key,
        )  # fmt: skip
        self._net.weights, self._net.biases = weights, biases
        self.n_iter_ = self.t_ = self._waited = 0
        self.loss_curve_: list[float] = []
        self.best_loss_: Any = None if self.early_stopping else math.inf
        self.validation_scores_: Any = [] if self.early_stopping else None
        self.best_validation_score_: Any = -math.inf if self.early_stopping else None

    def _fit_stochastic(
        self, X: Array, Y: Array, sample_weight: Any, incremental: bool, random: Any
    ) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        held: tuple[Any, Any, Any] = (None, None, None)
        if self.early_stopping:
            X, Y, sample_weight, held = self._hold_out(X, Y, sample_weight, random)
        n = len(X)
        batch = min(200, n) if self.batch_size == "auto" else self.batch_size
        if batch > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                UserWarning,
                stacklevel=4,
            )
            batch = n
        # The mean weight of a mini-batch stands for the sum that scikit-learn divides by.
        mass = batch if sample_weight is None else batch * float(sample_weight.sum()) / n
        net = self._net
        if not incremental:
            self.n_iter_ = 0
            net._position.optimizer = None  # what it remembers does not outlive a fit
        else:
            self.n_iter_ = 0
        loop = _Loop(self, *held, n, mass)
        try:
            net.train(
                X, self._as_seen(Y), epochs=1 if incremental else self.max_iter,
                batch_size=batch, optimizer=self._optimizer(), learning_rate=loop,
                l2=self.alpha * n / mass if mass else 0.0, dropout=self.dropout,
                sample_weight=sample_weight, shuffle=bool(self.shuffle), callbacks=[loop],
                n_threads=self.n_threads,
            )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=4)
        except DivergenceError as error:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed. ({error})"
            ) from error
        if not incremental and self.n_iter_ == self.max_iter and not loop.converged:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if loop.best is not None:
            L = self.n_layers_ - 1
            net.weights, net.biases = loop.best[:L], loop.best[L:]

    def _hold_out(self, X: Array, Y: Array, weights: Any, random: Any) -> Any:
        """The rows to train on, and (X, y, weights) of those that are scored."""
        one = isinstance(self, ClassifierMixin) and self.out_activation_ != "identity"
        one = one and type_of_target(Y) != "multilabel-indicator"
        split: Any = train_test_split(
            np.arange(len(X)), random_state=random, test_size=self.validation_fraction,
            stratify=Y if one else None,
        )  # fmt: skip
        rows, held = np.sort(split[0]), np.sort(split[1])
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        y = self._predicted(Y[held].astype(X.dtype))
        parts = (None, None) if weights is None else (weights[rows], weights[held])
        return X[rows], Y[rows], parts[0], (X[held], y, parts[1])

    def _fit_lbfgs(self, X: Array, Y: Array, sample_weight: Any) -> None:
        rule = self.solver
        if isinstance(rule, str):
            rule = optimizers.LBFGS(tolerance=self.tol, evaluations=self.max_fun)
        n = len(X)
        mass = n if sample_weight is None else float(sample_weight.sum())
        before = len(self._net.history)
        history = self._net.train(
            X, self._as_seen(Y), epochs=self.max_iter, optimizer=rule,
            l2=self.alpha * n / mass if mass else 0.0, sample_weight=sample_weight,
            n_threads=self.n_threads,
        )  # fmt: skip
        self.n_iter_ = len(self._net.history) - before
        for cost in history.cost[-1:]:
            self.loss_ = self._loss(cost, mass)
        if self.n_iter_ >= self.max_iter:
            warnings.warn(
                f"lbfgs failed to converge after {self.n_iter_} iteration(s): increase the number "
                "of iterations (max_iter) or scale the data",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _as_seen(self, Y: Array) -> Array:
        """Targets as `Network.train` takes them: labels where one class is right."""
        if self.out_activation_ == "softmax" and self.cost is None:
            Y = Y.argmax(axis=1)
            return Y
        return Y.astype(self._net.dtype)

    def _loss(self, cost: float, mass: float) -> float:
        """The mean cost as scikit-learn counts it, and half of alpha ||w||^2 a mini-batch."""
        if self.out_activation_ == "identity" and self.cost is None:
            cost /= self.n_outputs_
        squares = sum(float(np.vdot(w, w)) for w in self._net.weights)
        return cost + 0.5 * self.alpha * squares / mass if mass else cost

    def _optimizer(self) -> Any:
        if self.solver == "adam":
            return optimizers.Adam(beta1=self.beta_1, beta2=self.beta_2, eps=self.epsilon)
        if self.solver == "sgd":
            if self.momentum == 0:
                return optimizers.SGD()
            kind = optimizers.Nesterov if self.nesterovs_momentum else optimizers.Momentum
            return kind(momentum=self.momentum)
        return self.solver

    # ---- use ---------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self, "_net")
        X = validate_data(
            self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False
        )
        a: Array = self._net.predict(_dense(X), n_threads=self.n_threads)
        return a

    def predict(self, X: Any) -> Array:
        """Labels, or real values, of the rows of X (n_samples, n_features)."""
        return self._predicted(self._outputs(X))

    @property
    def coefs_(self) -> list[Array]:
        """Weights into each layer (n_in, n_out): copies; assign the list to replace them."""
        return [w.T.copy() for w in self._fitted().weights]

    @coefs_.setter
    def coefs_(self, values: list[Array]) -> None:
        self._fitted().weights = [np.asarray(w).T for w in values]

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer (n_out,): copies; assign the list to replace them."""
        return [b.copy() for b in self._fitted().biases]

    @intercepts_.setter
    def intercepts_(self, values: list[Array]) -> None:
        self._fitted().biases = values

    @property
    def network_(self) -> Network:
        """The `cbackprop.Network` underneath."""
        return self._fitted()

    def _fitted(self) -> Network:
        try:
            net: Network = self.__dict__["_net"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} is not fitted yet") from None
        return net

    def __sklearn_is_fitted__(self) -> bool:
        return "_net" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_parameters(self) -> None:
        for name, (kind, good, expected) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool | np.bool_) or not (isinstance(value, kind) and good(value)):
                self._refuse(name, value, expected)
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                self._refuse(name, getattr(self, name), "a bool")
        rates = ("constant", "invscaling", "adaptive")
        if self.learning_rate not in rates:
            self._refuse("learning_rate", self.learning_rate, f"one of {', '.join(rates)}")
        if self.batch_size != "auto" and not _is_count(self.batch_size):
            self._refuse("batch_size", self.batch_size, "'auto' or an int >= 1")
        if not (self.n_iter_no_change == math.inf or _is_count(self.n_iter_no_change)):
            self._refuse("n_iter_no_change", self.n_iter_no_change, "an int >= 1 or infinity")
        if self.solver != "lbfgs" and not isinstance(self.solver, optimizers.LBFGS):
            optimizers.get(self.solver)

    def _refuse(self, name: str, value: Any, expected: str) -> None:
        raise ValueError(
            f"The {name!r} parameter of {type(self).__name__} must be {expected}. "
            f"Got {value!r} instead."
        )


def _is_count(value: Any) -> bool:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and int(value) >= 1


def _dense(X: Any) -> Array:
    dense: Array = X.toarray() if hasattr(X, "toarray") else X
    return dense


_REAL, _WHOLE = numbers.Real, numbers.Integral
_RANGES: dict[str, tuple[Any, Any, str]] = {
    "alpha": (_REAL, lambda x: 0 <= x < math.inf, "a float >= 0"),
    "learning_rate_init": (_REAL, lambda x: 0 < x < math.inf, "a float > 0"),
    "power_t": (_REAL, lambda x: 0 <= x < math.inf, "a float >= 0"),
    "max_iter": (_WHOLE, lambda x: x >= 1, "an int >= 1"),
    "max_fun": (_WHOLE, lambda x: x >= 1, "an int >= 1"),
    "tol": (_REAL, lambda x: 0 <= x < math.inf, "a float >= 0"),
    "momentum": (_REAL, lambda x: 0 <= x < 1, "a float in the range [0, 1)"),
    "validation_fraction": (_REAL, lambda x: 0 <= x < 1, "a float in the range [0, 1)"),
    "beta_1": (_REAL, lambda x: 0 <= x < 1, "a float in the range [0, 1)"),
    "beta_2": (_REAL, lambda x: 0 <= x < 1, "a float in the range [0, 1)"),
    "epsilon": (_REAL, lambda x: 0 < x < math.inf, "a float > 0"),
}


class MLPClassifier(ClassifierMixin, _MLP):  # type: ignore[misc]
    """A multilayer perceptron for one label or several, as scikit-learn's.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        Neurons of each hidden layer.
    activation : str or Activation, or a list with one for each hidden layer
        identity, logistic, tanh, relu, or any other of this package's.
    solver : str or Optimizer
        adam, sgd, lbfgs, or any other of this package's optimisers, by name or object.
    alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As scikit-learn's. The initial weights are the same for the same ``random_state``; the
        order of the samples is not.
    dropout : float or sequence
        As of `cbackprop.Network.train`.
    class_weight : dict or "balanced", optional
        Weights of the labels, on top of sample_weight.
    cost : str or Cost, optional
        Instead of the cross-entropy (softmax: log-likelihood).
    n_threads : int, optional
        Default: as many as turn out fastest. Results do not depend on it.

    Attributes
    ----------
    coefs_, intercepts_ : list of arrays (n_in, n_out), (n_out,)
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The loss of each epoch, penalty included.
    n_iter_, n_layers_, n_outputs_, t_, n_features_in_ : int
    out_activation_ : str
    validation_scores_ : list of float or None
    best_validation_score_ : float or None
    network_ : cbackprop.Network
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.class_weight = class_weight
        self.cost = cost
        self.n_threads = n_threads

    def _targets(self, y: Array, incremental: bool) -> Array:
        known = hasattr(self, "classes_")
        if not known or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and not incremental and set(classes) != set(self.classes_):
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

    def _output(self) -> tuple[str, Any]:
        if self._label_binarizer.y_type_ == "multiclass":
            return "softmax", None
        return "logistic", "cross_entropy"

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


class MLPRegressor(RegressorMixin, _MLP):  # type: ignore[misc]
    """A multilayer perceptron for one real target or several, as scikit-learn's.

    Parameters
    ----------
    loss : str
        squared_error. scikit-learn's "poisson", with its exponential output, is not here yet;
        ``cost`` takes this package's.
    hidden_layer_sizes : sequence of int
        Neurons of each hidden layer.
    activation : str or Activation, or a list with one for each hidden layer
        identity, logistic, tanh, relu, or any other of this package's.
    solver : str or Optimizer
        adam, sgd, lbfgs, or any other of this package's optimisers, by name or object.
    alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As scikit-learn's. The initial weights are the same for the same ``random_state``; the
        order of the samples is not.
    dropout : float or sequence
        As of `cbackprop.Network.train`.
    cost : str or Cost, optional
        Instead of half the squared error.
    n_threads : int, optional
        Default: as many as turn out fastest. Results do not depend on it.

    Attributes
    ----------
    coefs_, intercepts_ : list of arrays (n_in, n_out), (n_out,)
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The loss of each epoch, penalty included.
    n_iter_, n_layers_, n_outputs_, t_, n_features_in_ : int
    out_activation_ : str
    validation_scores_ : list of float or None
    best_validation_score_ : float or None
    network_ : cbackprop.Network

    Examples
    --------
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> mlp = MLPRegressor(hidden_layer_sizes=(20,), solver="lbfgs", random_state=0)
    >>> mlp.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99
    True
    """

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
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.cost = cost
        self.n_threads = n_threads

    def _targets(self, y: Array, incremental: bool) -> Array:
        return y.reshape(len(y), -1)

    def _output(self) -> tuple[str, Any]:
        if self.loss != "squared_error":
            self._refuse("loss", self.loss, "'squared_error'")
        return "identity", "quadratic"

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
