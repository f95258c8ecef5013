"""What scikit-learn's classes do after each epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbackprop import Network
    from cbackprop._mlp import MLP


class Loop:
    """What is asked after each epoch: the loss, whether it still improves, the rate."""

    def __init__(self, mlp: MLP, held: tuple[Any, Any, Any], n: int, total: float, k: int) -> None:
        self.mlp, self.n, self.total, self.k = mlp, n, total, k
        self.X, self.y, self.weights = held
        self.squares = mlp._squares()
        self.converged = False

    def after(self, history: Any) -> float:
        """The rate of the epoch that follows, as a schedule of `cbackprop.schedules` says it."""
        return float(self.mlp._rate)

    def on_epoch_end(self, net: Network, history: Any) -> bool:
        """Whether to stop; the book-keeping of scikit-learn's ``fit``."""
        mlp = self.mlp
        self.count(history.cost[-1])
        improved = self._score(net) if mlp.early_stopping else self._fall()
        mlp._no_improvement_count = 0 if improved else mlp._no_improvement_count + 1
        if mlp.learning_rate == "invscaling" and mlp.solver == "sgd":
            self._slow(net, mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t)
        if mlp._no_improvement_count <= mlp.n_iter_no_change:
            return False
        what = "Validation score" if mlp.early_stopping else "Training loss"
        text = f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} "
        text += "consecutive epochs."
        adaptive = mlp.learning_rate == "adaptive" and mlp.solver == "sgd"
        if adaptive and mlp._rate > 1e-6:
            self._slow(net, mlp._rate / 5)
            mlp._no_improvement_count = 0
            self._say(f"{text} Setting learning rate to {mlp._rate:f}")
            return False
        self._say(f"{text} Learning rate too small. Stopping." if adaptive else f"{text} Stopping.")
        self.converged = True
        return True

    def count(self, cost: float) -> None:
        """An epoch more, of that mean cost."""
        mlp, k = self.mlp, self.k
        mlp.n_iter_ += 1
        mlp.t_ += self.n
        # Of each mini-batch the penalty is that of the weights before its step: on a straight
        # line from the epoch's first to its last, (k - 1) / 2k of the way in the mean.
        first, self.squares = self.squares, mlp._squares()
        squares = first + (self.squares - first) * (k - 1) / (2 * k)
        mlp.loss_ = mlp._loss(cost) + 0.5 * mlp.alpha * squares * k / self.total
        mlp.loss_curve_.append(mlp.loss_)
        self._say(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")

    def diverged(self) -> None:
        """An epoch that left the finite numbers; scikit-learn's scores are NaN from there on."""
        self.count(math.nan)
        self.mlp.validation_scores_.append(math.nan)

    def _say(self, text: str) -> None:
        if self.mlp.verbose:
            print(text)

    def _slow(self, net: Network, rate: float) -> None:
        """The rate from now on. scikit-learn's velocity has the rates of its steps in it,
        PyTorch's the next one, so what has been gathered changes with the rate."""
        state, mlp = net._position.optimizer, self.mlp
        if state is not None and state.planes and mlp.solver == "sgd":
            for l in range(1, len(net.sizes)):
                state.panels(0, l)[...] *= mlp._rate / rate
        mlp._rate = rate

    def _fall(self) -> bool:
        mlp = self.mlp
        improved = not mlp.loss_ > mlp.best_loss_ - mlp.tol
        if mlp.loss_ < mlp.best_loss_:
            mlp.best_loss_ = mlp.loss_
        return improved

    def _score(self, net: Network) -> bool:
        mlp = self.mlp
        score = mlp._score_of(mlp._predicted(net.predict(self.X)), self.y, self.weights)
        mlp.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        improved = not score < mlp.best_validation_score_ + mlp.tol
        if score > mlp.best_validation_score_:
            mlp.best_validation_score_ = score
            mlp._best = (net.weights, net.biases)
        return improved


class End:
    """SciPy's result, from which scikit-learn makes its warning."""

    result: Any = None

    def on_epoch_end(self, net: Network, history: Any) -> bool:
        return False

    def on_lbfgs_end(self, result: Any) -> None:
        self.result = result
