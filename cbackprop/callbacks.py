"""What may look on while a network trains, and stop it.

A callback is any object with one of these methods, or both. ``on_epoch_end(net, history)`` is
called after each epoch, when the network may be used in any way; history is that of the running
call. ``on_batch_end(net, epoch, batch)``, both counted from 0, is called after each mini-batch,
when the network may be used, saved and given other weights, but not trained; it costs some
microseconds. Returning True stops training. What it raises goes through ``train`` to the caller;
the network stands after that epoch or mini-batch, and the next call goes on from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cbackprop import _validation as check
from cbackprop._names import unknown
from cbackprop.history import History

CURVES = ("validation_cost", "validation_score", "cost", "score")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a curve has not improved for a while; keep the best weights.

    Parameters
    ----------
    monitor : str
        validation_cost, validation_score, cost or score: costs should fall, scores rise.
    patience : int
        Epochs without improvement before training stops.
    min_delta : float
        What counts as improvement.
    restore_best : bool
        Put the weights of the best epoch of this call back at its end.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range.

    Examples
    --------
    >>> from cbackprop import Network
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]
    >>> net = Network([1, 1], output="identity", rng=0)
    >>> stopping = EarlyStopping("cost", patience=5, min_delta=1e-3)
    >>> history = net.train(X, y, epochs=10_000, learning_rate=0.1, early_stopping=stopping)
    >>> len(history) < 1000
    True
    """

    monitor: str = "validation_cost"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.monitor not in CURVES:
            raise unknown("monitor", self.monitor, CURVES)
        check.integer("patience", self.patience, 1)
        check.real("min_delta", self.min_delta, 0)
        check.flag("restore_best", self.restore_best)

    def best(self, history: History) -> int:
        """The epoch of this history from which nothing has improved since."""
        best, value, sign = 0, math.inf, -1 if self.monitor.endswith("score") else 1
        for epoch, found in enumerate(getattr(history, self.monitor)):
            if sign * found < value - (self.min_delta if epoch else 0):
                best, value = epoch, sign * found
        return best
