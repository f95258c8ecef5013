"""L-BFGS by SciPy: the whole of the data, the mean cost and its gradient, no learning rate."""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _extras, _run, _threads, _training
from cbackprop import _validation as check
from cbackprop._monitors import warn_of_layers
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History
from cbackprop.optimizers import LBFGS

if TYPE_CHECKING:
    from cbackprop.network import Gradients, Network

Array = NDArray[Any]

CHUNK = 4096  # rows of a pass; their sums are added in float64 in this order


class _Stop(Exception):
    """Somebody between two iterations has said so."""


def refuse(given: dict[str, Any], callbacks: Any) -> None:
    """Arguments that are of mini-batches, or make the cost rough: only their defaults."""
    for name, value in given.items():
        if value is not None and (not isinstance(value, float | int) or value != 0):
            raise ValueError(f"{name} = {value!r} does not go with optimizer 'lbfgs'; leave it out")
    if any(hasattr(callback, "on_batch_end") for callback in callbacks):
        raise ValueError("callbacks: optimizer 'lbfgs' has no mini-batches for on_batch_end")


class _Objective:
    """theta -> cost with penalty and its gradient, for the rows of a call."""

    def __init__(self, net: Network, call: _run.Call) -> None:
        self.net, self.call = net, call
        rows = np.arange(len(call.X)) if call.chosen is None else call.chosen
        weights = call.weights
        if weights is not None:
            rows = rows[weights[rows] > 0]  # the others are absent, from every sum
        self.chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
        # The choice that training makes by timing is made here by the work of a chunk.
        few = _threads.worthwhile(net.sizes, min(len(rows), CHUNK), 6)
        self.threads = few if call.guess else call.threads
        self.mass = float(len(rows) if weights is None else math.fsum(weights[rows]))

    def unpacked(self) -> Array:
        """theta (P,): w^1 row by row, b^1, w^2, and so on; float64."""
        pairs = self.net._unpacked()
        return np.concatenate([p.ravel() for pair in pairs for p in pair]).astype(np.float64)

    def assign(self, theta: Array) -> None:
        """The network's parameters from theta."""
        at, net = 0, self.net
        for l, panels in enumerate(net._panels(), start=1):
            n_in, n_out = net.sizes[l - 1 : l + 1]
            w = theta[at : at + n_in * n_out].reshape(n_out, n_in)
            at += n_in * n_out
            _engine.pack(w, theta[at : at + n_out], panels)
            at += n_out

    def __call__(self, theta: Array) -> tuple[float, Array]:
        net, call = self.net, self.call
        cost, gradient = 0.0, np.zeros_like(theta)
        with net._again:
            with np.errstate(over="ignore"):
                self.assign(theta)
            for rows in self.chunks:
                if net._engine.brake is not None and net._engine.brake.pulled:
                    raise KeyboardInterrupt
                weights = None if call.weights is None else call.weights[rows]
                mass = float(len(rows) if weights is None else math.fsum(weights))
                g = self.derived(rows, weights)
                parts = [p.ravel() for pair in zip(g.nabla_w, g.nabla_b, strict=True) for p in pair]
                cost += mass / self.mass * g.cost
                gradient += mass / self.mass * np.concatenate(parts)
        return self.penalised(theta, cost, gradient), gradient

    def derived(self, rows: Array, weights: Array | None) -> Gradients:
        """BP1 to BP4 for some rows."""
        X, y = self.call.X[rows], np.ascontiguousarray(self.call.target.array[rows])
        source, target = _engine.Rows(X, self.net._engine), _engine.Targets(y)
        return self.net._derived(X, source, target, False, weights, self.threads)

    def penalised(self, theta: Array, cost: float, gradient: Array | None = None) -> float:
        """cost + lambda/2n ||w||^2; its part of the gradient is added there."""
        at, factor = 0, self.call.l2 / self.call.n
        for n_in, n_out in itertools.pairwise(self.net.sizes) if factor else ():
            w = theta[at : at + n_in * n_out]
            cost += factor / 2 * float(w @ w)
            if gradient is not None:
                gradient[at : at + n_in * n_out] += factor * w
            at += (n_in + 1) * n_out
        return cost

    def record(self, theta: Array, value: float, seconds: float, histories: Any) -> None:
        """An entry of the history, with the weights as they are."""
        net, call = self.net, self.call
        rows = np.concatenate(self.chunks)
        a, kind = np.empty((len(rows), net.sizes[-1]), net.dtype), call.target.score
        X = call.X[rows]
        source = _engine.Rows(X, net._engine)
        net._engine.survey(source, None, 0, a, self.threads)
        weights = np.ones(len(rows)) if call.weights is None else call.weights[rows]
        y = check.dense_targets(call.target, net.sizes[-1])[rows]
        share, (_, variance) = (
            weights / self.mass,
            _run.score_terms(call.target, call.chosen, call.weights),
        )
        if kind == check.SQUARED_ERROR:
            means = share @ (a.astype(np.float64) - y) ** 2
        elif kind == check.ARGMAX:
            means = np.array([share @ (a.argmax(axis=1) == y.argmax(axis=1))])
        else:
            threshold = 0.5 if kind == check.SUBSET else 0.0
            means = np.array([share @ ((a >= threshold) == (y >= 0.5)).all(axis=1)])
        some = rows[:128]
        g = self.derived(some, None if call.weights is None else call.weights[some])
        squares = [np.square(delta, dtype=np.float64).sum(axis=0) for delta in g.delta]
        norms, dead = _training.norms_of(net._engine, np.concatenate([*squares, [len(some)]]))
        for curves in histories:
            curves.score_name = histories[0].score_name
            curves.cost.append(value - self.penalised(theta, 0.0))
            curves.score.append(_training.mean_score(means, variance))
            curves.delta_norms.append(norms)
            curves.dead_units.append(dead)
            curves.learning_rate.append(math.nan)
            curves.seconds.append(seconds)
            if call.validation is not None:
                curves.validation_cost.append(math.nan)
                curves.validation_score.append(math.nan)


def run(net: Network, call: _run.Call, rule: LBFGS) -> History:
    """Up to ``call.epochs`` iterations; an entry of the history each."""
    minimize = _extras.need("scipy.optimize", "optimizer 'lbfgs'", "SciPy", "lbfgs").minimize
    name, _ = _run.score_terms(call.target, call.chosen, call.weights)
    history = History(name)
    between = _run.Between(net, call, history)
    check.refuse_nonfinite("X", call.X, net.dtype)
    objective = _Objective(net, call)
    with net._alone:
        _run.refuse_inside(net)
        good = objective.unpacked()
        net._position.batch, net._position.optimizer = 0, None
        if call.target.classes is not None:
            net.classes = call.target.classes
    if not math.isfinite(objective(good)[0]):
        raise DivergenceError(
            "the cost is not finite where lbfgs begins; try smaller initial weights",
            net._position.epoch, history,
        )  # fmt: skip
    began = time.perf_counter()

    def after(intermediate_result: Any) -> None:
        nonlocal good, began
        good = intermediate_result.x.copy()
        with net._again:
            objective.assign(good)
            net._position.epoch += 1
            net._position.steps += 1
            value, seconds = float(intermediate_result.fun), time.perf_counter() - began
            objective.record(good, value, seconds, (history, net.history))
            between.validate()
        if between.after_epoch():
            raise _Stop
        began = time.perf_counter()

    try:
        minimize(
            objective, good, jac=True, method="L-BFGS-B", callback=after,
            options={
                "maxiter": call.epochs, "maxcor": rule.memory, "gtol": rule.tolerance,
                "ftol": 64 * float(np.finfo(net.dtype).eps),
                "maxfun": rule.evaluations or 20 * call.epochs,
            },
        )  # fmt: skip
    except _Stop:
        pass
    finally:
        with net._again:
            objective.assign(good)
    between.end()
    if history.cost:
        warn_of_layers(history)
    return history
