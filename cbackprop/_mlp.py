"""What scikit-learn's two classes have in common: the parameters and the fitting."""

from __future__ import annotations

import copy
import itertools
import math
import numbers
import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras

_extras.need("sklearn", "cbackprop.sklearn", "scikit-learn", "sklearn")

from sklearn.base import BaseEstimator, RegressorMixin, is_classifier  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.utils import check_random_state, column_or_1d  # noqa: E402
from sklearn.utils._param_validation import Interval, Options, StrOptions  # noqa: E402
from sklearn.utils.class_weight import compute_sample_weight  # noqa: E402
from sklearn.utils.optimize import _check_optimize_result  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from cbackprop import DivergenceError, Network, activations, optimizers  # noqa: E402
from cbackprop._mlp_epochs import End, Loop  # noqa: E402
from cbackprop._mlp_weights import Weights  # noqa: E402

Array = NDArray[Any]

# scikit-learn's names, where they differ.
_ACTIVATIONS = {"logistic": "sigmoid"}
_FTOL = 2.220446049250313e-09  # SciPy's default, which scikit-learn takes

_COUNT = Interval(numbers.Integral, 1, None, closed="left")


def _real(low: float, high: float | None, closed: str) -> list[Any]:
    return [Interval(numbers.Real, low, high, closed=closed)]


class MLP(Weights, BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor have in common."""

    # In scikit-learn's own words; names of activations and solvers are this package's to refuse.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", _COUNT],
        "alpha": _real(0, None, "left"),
        "batch_size": [StrOptions({"auto"}), _COUNT],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": _real(0, None, "neither"),
        "power_t": _real(0, None, "left"),
        "max_iter": [_COUNT],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": _real(0, None, "left"),
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": _real(0, 1, "left"),
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": _real(0, 1, "left"),
        "beta_1": _real(0, 1, "left"),
        "beta_2": _real(0, 1, "left"),
        "epsilon": _real(0, None, "neither"),
        "n_iter_no_change": [_COUNT, Options(numbers.Real, {math.inf})],
        "max_fun": [_COUNT],
    }

    # ---- what the subclasses say -------------------------------------------------------

    def _targets(self, y: Array, incremental: bool) -> Array:
        """y as an array (n, n_outputs); the first time, what is known of it from then on."""
        raise NotImplementedError

    def _output(self) -> tuple[str, str, str]:
        """scikit-learn's name of the output activation, ours, and the cost."""
        raise NotImplementedError

    def _predicted(self, a: Array) -> Array:
        raise NotImplementedError

    def _score_of(self, predicted: Array, y: Array, weights: Any) -> float:
        raise NotImplementedError

    def _loss(self, cost: float) -> float:
        """Our mean cost of an epoch as scikit-learn counts it, without the penalty."""
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

    @property
    def _by_lbfgs(self) -> bool:
        return self.solver == "lbfgs" or isinstance(self.solver, optimizers.LBFGS)

    def _partial_fit_is_there(self) -> bool:
        if self._by_lbfgs:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Any:
        hidden = self._check_parameters()
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
            self._begin(hidden, X, Y, random)
        elif Y.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {Y.shape[1]} outputs, expected {self.n_outputs_}")
        net = self._current()
        net._warns = False  # scikit-learn's warnings and no others
        try:
            if self._by_lbfgs:
                self._fit_lbfgs(net, X, Y, sample_weight)
            else:
                self._fit_stochastic(net, X, Y, sample_weight, incremental, random)
        except DivergenceError as error:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed. ({error})"
            ) from error
        finally:
            self._shown = None
        return self

    def _begin(self, hidden: list[int], X: Array, Y: Array, random: Any) -> None:
        sizes = [X.shape[1], *hidden, Y.shape[1]]
        self.n_outputs_, self.n_layers_ = Y.shape[1], len(sizes)
        self.out_activation_, output, cost = self._output()
        names = self._names(len(hidden))
        weights, biases = [], []
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            sigma = names[min(i, len(names) - 1)]
            # Glorot and Bengio 2010, a third of it for the logistic function, as scikit-learn
            bound = math.sqrt((2 if sigma in ("logistic", "sigmoid") else 6) / (n_in + n_out))
            weights.append(random.uniform(-bound, bound, (n_in, n_out)).T)
            biases.append(random.uniform(-bound, bound, n_out))
        # A copy: what else is drawn, such as the rows held out, is then drawn as there.
        key = int(copy.deepcopy(random).randint(2**31 - 1))
        self._net = Network(
            sizes, activation=[_ACTIVATIONS.get(s, s) if isinstance(s, str) else s for s in names]
            if hidden else "identity",
            output=output, cost=self.cost if self.cost is not None else cost, init="zeros",
            dtype=X.dtype, rng=key,
        )  # fmt: skip
        self._net.weights, self._net.biases = weights, biases
        self._shown = None
        self.n_iter_ = self.t_ = 0
        if not self._by_lbfgs:
            self._begin_curves()

    def _begin_curves(self) -> None:
        self._best = (self._net.weights, self._net.biases)
        self._no_improvement_count = 0
        self.loss_curve_: list[float] = []
        self.best_loss_: Any = None if self.early_stopping else math.inf
        self.validation_scores_: Any = [] if self.early_stopping else None
        self.best_validation_score_: Any = -math.inf if self.early_stopping else None

    def _fit_stochastic(
        self, net: Network, X: Array, Y: Array, weights: Any, incremental: bool, random: Any
    ) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not hasattr(self, "loss_curve_"):
            self._begin_curves()  # lbfgs came before
        held: tuple[Any, Any, Any] = (None, None, None)
        if self.early_stopping:
            X, Y, weights, held = self._hold_out(X, Y, weights, random)
        n = len(X)
        batch = min(200, n) if self.batch_size == "auto" else self.batch_size
        if batch > n:
            _warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                UserWarning,
            )
            batch = n
        total = n if weights is None else float(weights.sum())
        # The mean weight of a mini-batch stands for the sum that scikit-learn divides by.
        mass = batch * total / n
        if not incremental:
            net._position.optimizer = None  # what it remembers does not outlive a fit
        if not incremental or not hasattr(self, "_rate"):
            self._rate = self.learning_rate_init
        self.n_iter_ = 0
        self._prepare_loss(Y, weights)
        loop = Loop(self, held, n, total or math.inf, -(-n // batch))
        try:
            net.train(
                X, self._as_seen(Y), epochs=1 if incremental else self.max_iter,
                batch_size=batch, optimizer=self._rule(), learning_rate=loop,
                l2=self.alpha * n / mass if mass else 0.0, dropout=self.dropout,
                sample_weight=weights, shuffle=bool(self.shuffle), callbacks=[loop],
                n_threads=self.n_threads,
            )  # fmt: skip
            if not incremental and self.n_iter_ == self.max_iter and not loop.converged:
                _warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                )
        except KeyboardInterrupt:
            _warn("Training interrupted by user.", UserWarning)
        except DivergenceError as error:
            if not self.early_stopping:
                raise
            loop.diverged()
            _warn(f"Training ended: {error}", ConvergenceWarning)
        if self.early_stopping:
            net.weights, net.biases = self._best

    def _hold_out(self, X: Array, Y: Array, weights: Any, random: Any) -> Any:
        """The rows to train on, and (X, y, weights) of those that are scored."""
        split: Any = train_test_split(
            np.arange(len(X)), random_state=random, test_size=self.validation_fraction,
            stratify=Y if is_classifier(self) and self.n_outputs_ == 1 else None,
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

    def _fit_lbfgs(self, net: Network, X: Array, Y: Array, weights: Any) -> None:
        rule = self.solver
        if isinstance(rule, str):
            rule = optimizers.LBFGS(tolerance=self.tol, change=_FTOL, evaluations=self.max_fun)
        total = len(X) if weights is None else float(weights.sum())
        self._prepare_loss(Y, weights)
        end = End()
        history = net.train(
            X, self._as_seen(Y), callbacks=[end], epochs=self.max_iter, optimizer=rule,
            l2=self.alpha * len(X) / total if total else 0.0, sample_weight=weights,
            dropout=self.dropout, n_threads=self.n_threads,
        )  # fmt: skip
        self.n_iter_ = len(history)
        _check_optimize_result("lbfgs", end.result, self.max_iter)
        penalty = 0.5 * self.alpha * self._squares() / (total or math.inf)
        self.loss_ = self._loss(float(end.result.fun) - penalty) + penalty

    def _as_seen(self, Y: Array) -> Array:
        """Targets as `Network.train` takes them: labels where one class is right."""
        if self.out_activation_ == "softmax" and self.cost is None:
            labels: Array = Y.argmax(axis=1)
            return labels
        return Y.astype(self._net.dtype)

    def _prepare_loss(self, Y: Array, weights: Any) -> None:
        """What the loss of scikit-learn has besides our cost, of these targets."""

    def _squares(self) -> float:
        return sum(float(np.vdot(w, w)) for w in self._net.weights)

    def _rule(self) -> Any:
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
        a: Array = self._current().predict(_dense(X), n_threads=self.n_threads)
        return a

    def predict(self, X: Any) -> Array:
        """Labels, or real values, of the rows of X (n_samples, n_features)."""
        return self._predicted(self._outputs(X))

    def __sklearn_is_fitted__(self) -> bool:
        return "_net" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- parameters --------------------------------------------------------------------

    def _check_parameters(self) -> list[int]:
        """The hidden layers' sizes; a parameter that is refused raises scikit-learn's error."""
        self._validate_params()
        hidden: list[int] = np.atleast_1d(self.hidden_layer_sizes).tolist()
        if any(not isinstance(n, int) or n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        for name in self._names(len(hidden)):
            activations.get(_ACTIVATIONS.get(name, name) if isinstance(name, str) else name)
        if not self._by_lbfgs:
            optimizers.get(self.solver)
        return hidden

    def _names(self, hidden: int) -> list[Any]:
        """The activation of each hidden layer; the one name, where there is none."""
        if isinstance(self.activation, str) or not np.iterable(self.activation):
            return [self.activation] * max(1, hidden)
        return list(self.activation) or ["identity"]


def _warn(text: str, kind: type[Warning]) -> None:
    warnings.warn(text, kind, stacklevel=5)  # where the user calls fit


def _dense(X: Any) -> Array:
    dense: Array = X.toarray() if hasattr(X, "toarray") else X
    return dense
