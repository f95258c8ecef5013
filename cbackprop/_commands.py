"""What each command of the command line does; its arguments are in `cli`."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cbackprop
from cbackprop import Network, _bench, certify, costs, reference
from cbackprop import activations as activation_rows
from cbackprop._output import CommandFailedError, file_for
from cbackprop.datasets import Dataset, load_digits
from cbackprop.io import tables
from cbackprop.io.columns import Columns, Reading

__all__ = [
    "CommandFailedError",
    "run_certify",
    "run_demo",
    "run_evaluate",
    "run_predict",
]

_DEMO_SIZES = [64, 60, 10]
_DEMO_BATCH_SIZE = 10
_DEMO_LEARNING_RATE = 1.0


# cbackprop demo


def run_demo(arguments: argparse.Namespace) -> int:
    """Train on the embedded digits, certify the equations, compare with the NumPy reference."""
    digits = load_digits()
    X, y = digits.X_train, digits.y_train

    def train(net: Network, epochs: int, progress: bool) -> None:
        net.train(
            X,
            y,
            epochs=epochs,
            batch_size=_DEMO_BATCH_SIZE,
            learning_rate=_DEMO_LEARNING_RATE,
            n_threads=arguments.threads,
            progress=progress,
        )

    net = _demo_network(digits, arguments.seed)
    kernels = cbackprop.show_config()["kernels"]
    print(f"cbackprop {cbackprop.__version__}, {kernels} kernels")
    print(f"digits: {len(X)} images of 8x8 to train on, {len(digits.X_test)} held out")
    print(f"network: {hyphenated(net.sizes)}, {names(net)}", flush=True)
    train(net, arguments.epochs, progress=sys.stderr.isatty())
    accuracy = net.evaluate(digits.X_test, digits.y_test)["accuracy"]
    print(f"accuracy: {accuracy:.2f}")
    certificate = certify(net, X[:10], y[:10])
    print(certificate)
    timed = _demo_network(digits, arguments.seed)
    seconds = _best_seconds(lambda: train(timed, 10, progress=False)) / 10
    numpy_seconds = _numpy_epoch_seconds(digits, arguments.seed)
    print(
        f"speed: {len(X) / seconds:,.0f} samples/s; the same training in NumPy "
        f"(cbackprop.reference, float64) {len(X) / numpy_seconds:,.0f} samples/s: "
        f"{numpy_seconds / seconds:.1f} times as fast"
    )
    print("next: cbackprop train digits --layers 60 --save digits.model")
    return 0 if certificate.passed else 1


def hyphenated(sizes: Iterable[int]) -> str:
    return "-".join(map(str, sizes))


def _demo_network(digits: Dataset, seed: int) -> Network:
    return Network(
        _DEMO_SIZES,
        activation="sigmoid",
        output="softmax",
        cost="log_likelihood",
        input_scale=digits.input_scale,
        rng=seed,
    )


def _numpy_epoch_seconds(digits: Dataset, seed: int) -> float:
    """Seconds for one epoch of the demo's training in plain NumPy (float64), best of three."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(_DEMO_SIZES[1:], _DEMO_SIZES[:-1], strict=True))
    weights = [rng.normal(size=(j, k)) / k**0.5 for j, k in pairs]
    biases = [np.zeros(j) for j, _ in pairs]
    activations = [activation_rows.get("sigmoid"), activation_rows.get("softmax")]
    cost = costs.get("log_likelihood")
    X = digits.X_train * digits.input_scale
    Y = np.eye(_DEMO_SIZES[-1])[digits.y_train]

    def epoch() -> None:
        reference.sgd_epoch(
            weights,
            biases,
            activations,
            cost,
            X,
            Y,
            rng.permutation(len(X)),
            _DEMO_BATCH_SIZE,
            _DEMO_LEARNING_RATE,
        )

    return _best_seconds(epoch)


def _best_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


# what several commands share


def read(
    arguments: argparse.Namespace,
    source: str,
    task: str,
    need_target: bool = True,
    known: Columns | None = None,
) -> tables.Table:
    labels = getattr(arguments, "labels", None) if source == arguments.data else None
    reading = reading_of(arguments, source, task, need_target, known)
    return tables.read_table(source, labels=labels, **vars(reading))


def reading_of(
    arguments: argparse.Namespace,
    source: str,
    task: str,
    need_target: bool = True,
    known: Columns | None = None,
) -> Reading:
    """How the options say a source is to be read."""
    return Reading(
        target=arguments.target,
        header=arguments.header,
        task=task,
        need_target=need_target,
        categorical=_split(getattr(arguments, "categorical", None)),
        ignore=_split(arguments.ignore),
        missing=getattr(arguments, "missing", None) or "refuse",
        weight=getattr(arguments, "sample_weight", None) if source == arguments.data else None,
        known=known,
    )


def _split(text: str | None) -> list[str]:
    """Names between commas; one that has a comma stands between quotes."""
    return [] if text is None else next(csv.reader([text], skipinitialspace=True), [])


def names(net: Network) -> str:
    return ", ".join([*map(str, net.activations), str(net.cost), net.dtype.name])


def save(net: Network, path: str) -> None:
    try:
        net.save(path)
    except OSError as error:
        raise CommandFailedError(f"--save {path}: not saved: {error}") from error


# cbackprop predict, evaluate, certify, bench


def held_out(arguments: argparse.Namespace, net: Network, need_target: bool) -> list[Any]:
    """X and y of DATA, the held-out part if it has one, with the width the model wants."""
    task = "regress" if is_regression(net) else "classify"
    table = read(arguments, arguments.data, task, need_target, net._columns)
    if table.dropped:
        note = f"{table.name}: {table.dropped} rows with missing values are left out"
        print(f"cbackprop: note: {note}", file=sys.stderr)
    X, y = (table.X, table.y) if table.X_test is None else (table.X_test, table.y_test)
    if X.shape[1] != net.sizes[0]:
        remedy = ""
        if not (need_target or arguments.target or table.labels_only):
            remedy = "; name a target column among them with --target"
        raise ValueError(
            f"{table.name}: {X.shape[1]} columns of input, the model expects {net.sizes[0]}{remedy}"
        )
    if y is None or not need_target:
        return [X, None]
    if task == "regress":
        return [X, tables.as_reals(y)]
    if net.classes is None:
        return [X, tables.as_labels(y)]
    return [X, tables.known_labels(y, net.classes, table)]


def is_regression(net: Network) -> bool:
    return net.classes is None and net.activations[-1].name != "softmax"


def run_predict(arguments: argparse.Namespace) -> int:
    """Write the labels, or real outputs, of DATA."""
    net = cbackprop.load(arguments.model)
    X, _ = held_out(arguments, net, need_target=False)
    rows: Iterable[list[str]]
    if arguments.probabilities:
        rows = _probabilities(arguments, net, X)
    elif is_regression(net):
        rows = ([str(value) for value in row] for row in net.predict(X))
    else:
        rows = ([_cell(label)] for label in net.classify(X))
    if arguments.output == "-":
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return 0
    with (
        file_for(arguments.output) as path,
        open(path, "w", encoding="utf-8", newline="") as stream,
    ):
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return 0


def _probabilities(
    arguments: argparse.Namespace, net: Network, X: NDArray[Any]
) -> Iterable[list[str]]:
    if is_regression(net):
        raise ValueError(f"--probabilities: {arguments.model} predicts real numbers, not labels")
    classes = list(range(net.sizes[-1]) if net.classes is None else net.classes)
    # One output for two labels is the probability of the second.
    header = [["label", *map(_cell, classes[-net.sizes[-1] :])]]
    rows = zip(net.classify(X), net.predict(X), strict=True)
    return chain(header, ([_cell(label), *map(str, values)] for label, values in rows))


def _cell(label: object) -> str:
    """A label as a spreadsheet may read it: text that would be a formula gets a leading '."""
    text = str(label)
    if not isinstance(label, str) or not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Print cost and score of a model on DATA."""
    net = cbackprop.load(arguments.model)
    for name, value in net.evaluate(*held_out(arguments, net, need_target=True)).items():
        print(f"{name}: {value:.6g}")
    return 0


def run_certify(arguments: argparse.Namespace) -> int:
    """Print the certificate of a model on the first rows of DATA."""
    net = cbackprop.load(arguments.model)
    X, y = held_out(arguments, net, need_target=True)
    if arguments.rows < 1:
        raise ValueError(f"--rows {arguments.rows}: expected 1 or more")
    certificate = certify(net, X[: arguments.rows], y[: arguments.rows])
    print(certificate)
    return 0 if certificate.passed else 1


def run_bench(arguments: argparse.Namespace) -> int:
    """``cbackprop bench``: this package and NumPy in turn, epoch by epoch."""
    if arguments.repeats < 1:
        raise ValueError(f"--repeats {arguments.repeats}, expected at least 1")
    if arguments.threads is not None and arguments.threads < 1:
        raise ValueError(f"--threads {arguments.threads}, expected at least 1")
    head = f"{'':<7}{'network':<26}{'batch':>6}"
    print(f"{head}{'us a step':>11}{'Gflop/s':>9}{'NumPy':>10}{'ratio':>7}")
    for name in arguments.rows:
        (r,) = _bench.quick([name], arguments.repeats, arguments.threads)
        print(
            f"{r['name']:<7}{r['network']:<26}{r['batch']:>6}{r['us']:>11.1f}{r['gflops']:>9.1f}"
            f"{r['numpy_us']:>10.1f}{r['numpy_us'] / r['us']:>7.1f}",
            flush=True,
        )
    print("Medians, checks and gathering included. The full comparison: python -m benchmarks.")
    return 0
