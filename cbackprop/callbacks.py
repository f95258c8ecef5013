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
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cbackprop import _validation as check
from cbackprop._names import unknown
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop.network import Network

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


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `Network.train` writes down how far it is: ``checkpoint=Checkpoint(path,
    every_batches=1000)``, and ``resume=True`` to go on from there.

    Each one replaces the one before when it is whole and on disk. It is a model file as well:
    `cbackprop.load` reads the network as it was.

    Parameters
    ----------
    path : str or path
        Used as it is; no suffix is added.
    every_epochs : int, optional
        After so many epochs of the call.
    every_batches : int, optional
        After so many mini-batches.
    every_seconds : float, optional
        After the mini-batch in which so many seconds have passed.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or more than one of the last three is given; without any, it
        is every epoch.

    Examples
    --------
    >>> from cbackprop import Checkpoint, Network
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> def run():
    ...     net = Network([1, 4, 2], output="softmax", rng=0)
    ...     return net.train(X, y, epochs=5, checkpoint=Checkpoint("run.ckpt"), resume=True)
    >>> history = run()
    >>> history == run()  # it is complete: read, not trained again
    True
    """

    path: str | os.PathLike[str]
    every_epochs: int | None = None
    every_batches: int | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        check.path("path", self.path)
        given = [n for n in ("every_epochs", "every_batches", "every_seconds") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: give one of them")
        if self.every_batches is not None:
            check.integer("every_batches", self.every_batches, 1)
        elif self.every_seconds is not None:
            check.real("every_seconds", self.every_seconds, 0)
        elif self.every_epochs is None:
            object.__setattr__(self, "every_epochs", 1)
        else:
            check.integer("every_epochs", self.every_epochs, 1)


class TensorBoard:
    """A callback that writes the curves for TensorBoard: ``pip install "cbackprop[tensorboard]"``.

    Cost, score and learning rate, ||delta^l|| and the share of dead neurons of each layer, and
    what ``monitor`` asked for; the step is the epoch over the network's life. tensorboardX
    writes in the background: an epoch is on disk some seconds after its end, all are after
    `close`, at the end of the ``with`` block or that of Python.

    Parameters
    ----------
    folder : str or path
        Where TensorBoard looks: ``tensorboard --logdir folder``.
    histograms : bool
        Weights and biases of each layer as well.

    Raises
    ------
    ImportError
        tensorboardX is not installed.
    ValueError, TypeError
        An argument is out of range.
    OSError
        The folder cannot be made.

    Examples
    --------
    >>> import pytest; _ = pytest.importorskip("tensorboardX")
    >>> from cbackprop import Network
    >>> from cbackprop.callbacks import TensorBoard
    >>> with TensorBoard("runs/first") as board:
    ...     history = Network([1, 1], rng=0).train([[0.0], [1.0]], [0, 1], callbacks=[board])
    >>> len(os.listdir("runs/first"))
    1
    """

    def __init__(self, folder: str | os.PathLike[str], *, histograms: bool = False) -> None:
        from cbackprop import _extras

        # Before hours of training, not after their first epoch.
        _extras.need("tensorboardX", "callbacks.TensorBoard", "tensorboardX", "tensorboard")
        self.folder = check.path("folder", folder)
        self.histograms = check.flag("histograms", histograms)
        os.makedirs(self.folder, exist_ok=True)
        self._writer: Any = None  # opened by the first epoch: until then this object pickles

    def on_epoch_end(self, net: Network, history: History) -> None:
        """Write the last epoch."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(self.folder, flush_secs=2)
        step = len(net.history)
        for tag, value in self._values(history).items():
            self._writer.add_scalar(tag, value, step)
        if self.histograms:
            for l, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
                self._writer.add_histogram(f"weights/layer_{l}", w, step)
                self._writer.add_histogram(f"biases/layer_{l}", b, step)

    @staticmethod
    def _values(history: History) -> dict[str, float]:
        found = {
            "cost/training": history.cost[-1],
            f"{history.score_name}/training": history.score[-1],
            "learning_rate": history.learning_rate[-1],
        }
        if history.validation_cost:
            found["cost/validation"] = history.validation_cost[-1]
            found[f"{history.score_name}/validation"] = history.validation_score[-1]
        for name, layers in (("delta", history.delta_norms), ("dead", history.dead_units)):
            found |= {f"{name}/layer_{l}": value for l, value in enumerate(layers[-1], start=1)}
        return found | {f"monitor/{name}": curve[-1] for name, curve in history.monitored.items()}

    def close(self) -> None:
        """Close the file. A later training opens another in the same folder."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
