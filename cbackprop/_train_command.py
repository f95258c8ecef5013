"""``cbackprop train``: the network and its training from the options of `cli`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cbackprop
from cbackprop import (
    Checkpoint,
    EarlyStopping,
    History,
    Network,
    _extras,
    _train_data,
    optimizers,
    schedules,
)
from cbackprop._chunks import Chunks
from cbackprop._commands import hyphenated, names, save
from cbackprop._names import unknown
from cbackprop._train_data import Data
from cbackprop.io import tables
from cbackprop.io.columns import Columns

_SGD_LEARNING_RATE = 0.1
# Inputs beyond this saturate a sigmoid from the start.
_LARGE_INPUT = 50.0

# Options that `Network.train` takes under the same name; and those with another.
_SAME = (
    "epochs", "batch_size", "optimizer", "l1", "l2", "weight_decay", "dropout", "input_noise",
    "max_norm", "clip_norm", "clip_value", "label_smoothing", "validation_split", "compute",
)  # fmt: skip
_OPTIONS = {
    "sizes": "layers", "n_threads": "threads", "rng": "seed", "input_scale": "scale",
    "validation_data": "validation",
}  # fmt: skip
# The form of a new network where no option says another.
_FORM: dict[str, Any] = {
    "layers": [30], "activation": "sigmoid", "init": "scaled", "dtype": "float32",
}  # fmt: skip

# --schedule: its forms, and what they make of the rate, the epochs and their numbers.
_SCHEDULES: dict[str, Callable[..., Any]] = {
    "cosine": lambda eta, epochs: schedules.Cosine(eta, epochs),
    "one-cycle": lambda eta, epochs: schedules.OneCycle(eta, epochs),
    "step:EVERY[:FACTOR]": lambda eta, _, every, factor=0.5: schedules.StepDecay(
        eta, _whole(every), factor
    ),
    "exponential:FACTOR": lambda eta, _, factor: schedules.Exponential(eta, factor),
    "warm-up:EPOCHS": lambda eta, _, epochs: schedules.WarmUp(eta, _whole(epochs)),
    "plateau[:FACTOR[:PATIENCE]]": lambda eta, _, factor=0.1, patience=10: (
        schedules.ReduceOnPlateau(eta, factor, _whole(patience))
    ),
    "halve[:PATIENCE]": lambda eta, _, patience=10: schedules.HalveOnStall(eta, _whole(patience)),
}


def _whole(number: float) -> int:
    if number != int(number) or number < 1:
        raise ValueError
    return int(number)


def run_train(arguments: argparse.Namespace) -> int:
    """Train a network on DATA, say how good it is, save it."""
    comm = None
    if arguments.mpi:
        comm = _extras.need("mpi4py.MPI", "--mpi", "mpi4py", "mpi").COMM_WORLD
        if comm.rank:  # rank 0 speaks and saves
            arguments.quiet, arguments.save = True, None
    elif arguments.deterministic:
        raise ValueError("--deterministic needs --mpi")
    if arguments.save is not None:
        _check_writable(arguments.save, [arguments.data, arguments.test, arguments.validation])
    start = None if arguments.start is None else _started(arguments)
    data = _train_data.gather(arguments, start)
    net = _network(arguments, data) if start is None else start
    if not arguments.quiet:
        held_out = "" if data.test is None else f"; {len(data.test[0])} rows held out"
        left_out = data.table.dropped
        held_out += f"; {left_out} with missing values left out" if left_out else ""
        X = data.X
        print(f"{data.table.name}: {len(X)} rows, {X.shape[1]} inputs, {data.what}{held_out}")
        print(f"network: {hyphenated(net.sizes)}, {names(net)}", flush=True)
        _note_large_inputs(net, X)
    history = _trained(arguments, net, data, comm)
    if comm is not None and comm.rank:
        return 0
    print(f"training cost: {history.cost[-1]:.6g}")
    print(f"training {history.score_name}: {history.score[-1]:.4f}")
    if history.validation_cost:
        print(f"validation cost: {history.validation_cost[-1]:.6g}")
        print(f"validation {history.score_name}: {history.validation_score[-1]:.4f}")
    if data.test is not None:
        for name, value in net.evaluate(*data.test).items():
            print(f"test {name}: {value:.6g}" if name == "cost" else f"test {name}: {value:.4f}")
    if arguments.save:
        save(net, arguments.save)
        print(f"saved: {arguments.save}")
    return 0


def _started(arguments: argparse.Namespace) -> Network:
    """The network to go on with; it has its own form."""
    for name in (*_FORM, "output", "cost", "scale", "classes", "categorical", "missing"):
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"--{name}: is the network's own with --start {arguments.start}; leave it out"
            )
    return cbackprop.load(arguments.start)


def _network(arguments: argparse.Namespace, data: Data) -> Network:
    X, columns, form = data.X, data.columns, {**_FORM}
    form.update({name: v for name in _FORM if (v := getattr(arguments, name)) is not None})
    scale: Any = arguments.scale
    shift: Any = 0.0
    if scale is None:
        scale = data.table.input_scale
    elif isinstance(scale, str):
        hot = None if columns is None else columns.hot
        scale, shift = X.scaling(scale) if isinstance(X, Chunks) else tables.scaling(scale, X, hot)
    net = Network(
        [X.shape[1], *form["layers"], data.outputs],
        activation=_one_or_list(form["activation"]),
        output=arguments.output or ("identity" if data.classes is None else "softmax"),
        cost=arguments.cost,
        init=form["init"],
        dtype=form["dtype"],
        input_scale=scale,
        input_shift=shift,
        classes=data.classes,
        rng=arguments.seed,
    )
    if columns is not None and columns != Columns(X.shape[1]):
        net._columns = columns
    return net


def _one_or_list(text: str) -> Any:
    """Names between commas outside brackets, or the one name."""
    parts = re.split(r",(?![^(]*\))", text)
    return parts if len(parts) > 1 else text


def _note_large_inputs(net: Network, X: NDArray[Any] | Chunks) -> None:
    if isinstance(X, Chunks):
        X = X.share(0, max(1, len(X) // 1000)).load()[0]
    largest = float(np.abs(X[:1000] * net.input_scale + net.input_shift).max())
    if largest > _LARGE_INPUT:
        note = f"inputs reach {largest:.4g}; --scale standard often trains better"
        print(f"cbackprop: note: {note}", file=sys.stderr)


def _class_weight(given: Any, net: Network) -> Any:
    """ "balanced", or label -> weight with the labels of the network."""
    if isinstance(given, dict) and net.classes is not None and net.classes.dtype.kind in "iu":
        try:
            return {int(label): weight for label, weight in given.items()}
        except ValueError:
            known = ", ".join(map(str, net.classes[:8]))
            raise ValueError(f"--class-weight {given}: the labels are integers, {known}") from None
    return given


def _trained(arguments: argparse.Namespace, net: Network, data: Data, comm: Any) -> History:
    eta: Any = arguments.learning_rate
    if eta is None and arguments.optimizer == "sgd":
        eta = _SGD_LEARNING_RATE
    if arguments.schedule is not None:
        if eta is None:
            eta = optimizers.get(arguments.optimizer).learning_rate
        eta = schedule_of(arguments.schedule, eta, arguments.epochs)
    stopping = None
    if arguments.early_stopping is not None:
        stopping = EarlyStopping(patience=arguments.early_stopping)
    same = {name: getattr(arguments, name) for name in _SAME}
    X, y, weights = data.X, data.y, data.weights
    if comm is not None:  # of several ranks, an even share of the rows each
        same |= {"comm": comm, "deterministic": arguments.deterministic}
        if y is not None and not isinstance(X, Chunks):  # of which each reads its own
            mine = slice(*(len(X) * rank // comm.size for rank in (comm.rank, comm.rank + 1)))
            X, y = X[mine], y[mine]
            weights = None if weights is None else weights[mine]
    try:
        return net.train(
            X,
            y,
            validation_data=data.validation,
            sample_weight=weights,
            class_weight=_class_weight(arguments.class_weight, net),
            shuffle=not arguments.no_shuffle,
            learning_rate=eta,
            early_stopping=stopping,
            n_threads=arguments.threads,
            checkpoint=_checkpoint(arguments),
            resume=arguments.resume,
            progress=not arguments.quiet and (arguments.progress or sys.stderr.isatty()),
            **same,
        )
    except KeyboardInterrupt:
        kept = "nothing is saved (no --save)"
        if arguments.save:
            save(net, arguments.save)
            kept = f"the network as it is now is saved: {arguments.save}"
            kept += f" (go on with --start {arguments.save})"
        if arguments.checkpoint:
            kept += f"; --resume goes on from the last checkpoint, {arguments.checkpoint}"
        message = f"interrupted after {net.steps} mini-batches; {kept}"
        raise KeyboardInterrupt(message) from None


def _checkpoint(arguments: argparse.Namespace) -> Checkpoint | None:
    every = arguments.checkpoint_every
    if arguments.checkpoint is None:
        if every is not None or arguments.resume:
            option = "--resume" if arguments.resume else "--checkpoint-every"
            raise ValueError(f"{option} needs --checkpoint PATH")
        return None
    return Checkpoint(arguments.checkpoint, **(every or {}))


def schedule_of(text: str, eta: float, epochs: int) -> Any:
    """An object of `cbackprop.schedules` from NAME[:NUMBER[:NUMBER]]."""
    name, *rest = text.split(":")
    forms = ", ".join(_SCHEDULES)
    form = next((form for form in _SCHEDULES if re.split(r"[:\[]", form)[0] == name), None)
    if form is None:
        raise unknown("--schedule", name, _SCHEDULES)
    try:
        numbers = [float(part) for part in rest]
        return _SCHEDULES[form](eta, epochs, *numbers)
    except (TypeError, ValueError):
        raise ValueError(f"--schedule = {text!r}, expected one of: {forms}") from None


def options_named(error: Exception, arguments: argparse.Namespace) -> Exception:
    """The same error, with the option's name where the message begins with the argument's."""
    found = re.match(r"(\w+)(?=[ \[])", str(error))
    name = _OPTIONS.get(found[1], found[1]) if found else ""
    if found is None or not hasattr(arguments, name):
        return error
    return type(error)("--" + name.replace("_", "-") + str(error)[found.end() :])


def _check_writable(path: str, sources: Iterable[str | None]) -> None:
    """Find out before the work whether its result can be stored."""
    if path in ("", "-"):
        raise ValueError(f"--save {path!r}: a model is a file, expected its name")
    folder = os.path.dirname(path) or "."
    try:
        if os.path.isdir(path):
            raise ValueError(f"--save {path}: is a folder, expected a file name")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"--save {path}: cannot write in {folder}: {error.strerror}; name another place"
        ) from None
    for source in filter(None, sources):
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"--save {path}: is the data; name another file")
