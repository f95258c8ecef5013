"""A running `train` call as a file, and back: the network as `model_file` writes it, and with it
what the call was asked for and how far it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.callbacks import Checkpoint
from cbackprop.exceptions import ModelFileError
from cbackprop.history import History
from cbackprop.io import atomic, model_file

if TYPE_CHECKING:
    from cbackprop._run import Between, Call
    from cbackprop.network import Network

Array = NDArray[Any]

BEFORE = ("epochs trained before", "steps before")  # the call
SAMPLE = 1024  # rows of X that tell one data set from another


class OfRanks(Checkpoint):
    """Of a training with comm=: any number of ranks may go on from it."""


class Keeper:
    """Writes the checkpoints of one call, and finds where an earlier run of it stopped.

    Parameters
    ----------
    plan : Checkpoint
    resume : bool
        Whether a file that is there is to be continued.

    Raises
    ------
    ModelFileError
        The file is no checkpoint, or damaged.
    """

    def __init__(self, plan: Checkpoint, resume: bool) -> None:
        self.plan, self.resume = plan, resume
        self.call: dict[str, Any] = {}
        self.more: dict[str, Any] = {}  # settings that the call's data do not show
        self.last = time.monotonic()
        self.batches = 0
        self.complete = False
        self.found: tuple[Network, dict[str, Any], list[Array]] | None = None
        if resume and Path(plan.path).exists():
            self.found = load(plan.path)

    @contextlib.contextmanager
    def seed(self, net: Network) -> Iterator[None]:
        """As a context: the network has the seed of the call that goes on, for what is drawn from
        it before training."""
        own = net._key
        if self.found is not None:
            net._key = self.found[0]._key
        try:
            yield
        finally:
            net._key = own

    def begin(self, net: Network, call: Call, epochs: int) -> tuple[History, int, list[Any]] | None:
        """Describes the call; continues the one in the file, if it is to be and is there.

        Returns
        -------
        (History, int, list) or None
            Of the call that goes on: what it has of its history, how many epochs it has in all,
            and the best weights so far. The network is as it was then.

        Raises
        ------
        ValueError
            The file is of another call: names the first difference.
        """
        lengths = {n: len(c) for n, c in vars(net.history).items() if isinstance(c, list)}
        lengths |= {f"monitored {n}": len(c) for n, c in net.history.monitored.items()}
        texts = {name: _text(value) for name, value in self.more.items()}
        self.call = {
            "settings": {**_settings(net, call), **_data(net, call, self.plan), **texts},
            "epochs": epochs, "lengths": lengths, "complete": False,
        }  # fmt: skip
        if self.found is None:
            return None
        found, about, best = self.found
        # A network that Ctrl-C broke off in this very call is further than where it began.
        broken = not about["complete"] and found._key == net._key
        for name, value in self.call["settings"].items():
            if name in BEFORE and broken:
                continue
            if about["settings"].get(name) != value:
                raise ValueError(
                    f"checkpoint {os.fspath(self.plan.path)!r} is of another training: {name} was "
                    f"{about['settings'].get(name)}, now {value}; give the same, another path, or "
                    "resume=False to begin anew"
                )
        adopt(net, found)
        self.call = about
        self.complete = about["complete"]
        return _part(net.history, about["lengths"]), about["epochs"], best

    def after_batch(self, net: Network, between: Between) -> None:
        """A checkpoint, where one is due between two mini-batches."""
        plan = self.plan
        self.batches += 1
        due = plan.every_batches is not None and self.batches % plan.every_batches == 0
        if due or (plan.every_seconds is not None and self._waited(plan.every_seconds)):
            self.write(net, between)

    def after_epoch(self, net: Network, between: Between) -> None:
        """A checkpoint, where one is due after an epoch."""
        every = self.plan.every_epochs
        if every is not None and len(between.history) % every == 0:
            self.write(net, between)

    def end(self, net: Network, between: Between) -> None:
        """The last one, which says that the call is over."""
        self.call["complete"] = self.complete = True
        between.best = []
        self.write(net, between)

    def write(self, net: Network, between: Between) -> None:
        """Write it, old or new whatever happens."""
        data = model_file.dumps(net, self.call, between.best)
        atomic.write(self.plan.path, data)
        self.last = time.monotonic()

    def _waited(self, seconds: float) -> bool:
        return time.monotonic() - self.last >= seconds


def load(path: str | os.PathLike[str]) -> tuple[Network, dict[str, Any], list[Array]]:
    """The network, what the call was asked for, and its best weights (panels) or none."""
    data = model_file.read(path)
    try:
        net, call, best = model_file.loads_with_call(data)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None
    if call is None:
        raise ModelFileError(
            f"{os.fspath(path)}: a model, not a checkpoint of train(checkpoint=); load it, or give "
            "another path"
        )
    return net, call, best


def adopt(net: Network, found: Network) -> None:
    """All that training changes, from one network of the same shape into another."""
    from cbackprop import _updates, optimizers

    for to, panels in zip(net._panels(), found._panels(), strict=True):
        to[...] = panels
    state = found._position.optimizer
    vars(net._position).update(vars(found._position))
    if state is not None:
        own = _updates.State(net._engine, optimizers.get(state.name), 0.0)
        for k in range(state.planes):
            for l in range(1, len(net.sizes)):
                own.panels(k, l)[...] = state.panels(k, l)
        own.steps, own.product = state.steps, state.product
        net._position.optimizer = own
    net._key, net.history, net.classes = found._key, found.history, found.classes


def _part(history: History, lengths: dict[str, int]) -> History:
    # The epochs of the call.
    part = History(history.score_name)
    for name, curve in vars(history).items():
        if isinstance(curve, list):
            setattr(part, name, curve[lengths[name] :])
    for name, curve in history.monitored.items():
        rest = curve[lengths.get(f"monitored {name}", 0) :]
        if rest:
            part.monitored[name] = rest
    return part


def _settings(net: Network, call: Call) -> dict[str, str]:
    here = net._position
    settings = {
        "sizes": str(net.sizes), "activation": str([str(a) for a in net.activations]),
        "cost": str(net.cost), "dtype": str(net.dtype),
        "epochs trained before": str(here.epoch), "steps before": str(here.steps),
    }  # fmt: skip
    names = {
        "epochs": "epochs", "batch_size": "batch_size", "rule": "optimizer",
        "rate": "learning_rate", "l1": "l1", "l2": "l2", "clip": "clip_value",
        "clip_norm": "clip_norm", "max_norm": "max_norm", "drops": "dropout",
        "noise": "input_noise", "shuffle": "shuffle", "stopping": "early_stopping",
        "bf16": "compute",
    }  # fmt: skip
    for field, name in names.items():
        settings[name] = _text(getattr(call, field))
    settings["monitor"] = str([monitor.name for monitor in call.monitors])
    return settings


def _text(value: Any) -> str:
    # A function is told by its name only, for its address is another each time.
    text = repr(value)
    return text if " at 0x" not in text else getattr(value, "__qualname__", type(value).__name__)


def _data(net: Network, call: Call, plan: Checkpoint) -> dict[str, str]:
    # Of X a sample of rows, of the rest all; of several ranks the rows that all have.
    found, of_ranks = {}, isinstance(plan, OfRanks)
    if call.X is None:  # of chunks, which every rank has
        found["data"] = call.training[0]._digest()
    else:
        weights, n = call.weights, call.n
        if call.exchange is not None:
            n = call.exchange.total
        elif weights is not None and call.chosen is not None and of_ranks:
            weights = weights[call.chosen]
        found["sample_weight or class_weight"] = _digest(weights)
        if of_ranks:
            found["X"] = f"{call.X.dtype} ({n}, {net.sizes[0]})"
        else:
            found |= {"X": _digest(call.X, SAMPLE), "y": _digest(call.target.array)}
            found["rows left by validation_split"] = _digest(call.chosen)
    if call.X is None or not of_ranks:
        found |= {
            "input_scale": _digest(net.input_scale), "input_shift": _digest(net.input_shift),
        }  # fmt: skip
    pair = call.validation if call.validation is not None else (None, None)
    found["validation data"] = " ".join(_digest(part, SAMPLE) for part in pair)
    return found


def _digest(values: Any, rows: int | None = None) -> str:
    if values is None:
        return "none"
    array = np.asarray(values)
    if rows is not None and array.ndim and len(array) > rows:
        some = array[np.linspace(0, len(array) - 1, rows).astype(np.int64)]
    else:
        some = array
    digest = hashlib.sha256(np.ascontiguousarray(some).tobytes()).hexdigest()[:16]
    return f"{array.dtype} {array.shape} {digest}"
