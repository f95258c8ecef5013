"""The command line: ``cbackprop demo | train | predict | evaluate | certify | info``.

Exit codes: 0 done, 1 training (or a save, or a certificate) failed, 2 a mistake in the command or
its data, 130 interrupted, 141 the reader of the output has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import cbackprop
from cbackprop import Network, certify, costs, reference
from cbackprop import activations as activation_rows
from cbackprop.datasets import Dataset, load_digits
from cbackprop.io.tables import Table, choose_task, read_table

__all__ = ["main"]

_DEMO_SIZES = [64, 60, 10]
_DEMO_BATCH_SIZE = 10
_DEMO_LEARNING_RATE = 1.0


class _FailureError(Exception):
    """The command was right and the data readable, yet it could not be done: exit code 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; default: those of the process.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> from cbackprop.cli import main
    >>> main(["train", "digits", "--layers", "0", "--quiet"])  # complains on stderr
    2
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # --help, --version, or a mistake that is already printed
        return int(stop.code or 0)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out: give it a place to go.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _complain(arguments, "interrupted", 130, "")
    except cbackprop.DivergenceError as error:
        return _complain(arguments, f"training diverged, nothing is saved: {error}", 1)
    except MemoryError as error:
        return _complain(arguments, f"out of memory: {error}", 1)
    except _FailureError as error:
        return _complain(arguments, str(error), 1)
    except (ValueError, TypeError, OSError) as error:
        return _complain(arguments, str(error), 2)


def _complain(arguments: argparse.Namespace, message: str, code: int, kind: str = "error: ") -> int:
    if arguments.traceback or os.environ.get("CBACKPROP_TRACEBACK") == "1":
        traceback.print_exc()
    # On a terminal the line of progress is still open.
    start = "\n" if code in (1, 130) and sys.stderr.isatty() else ""
    print(f"{start}cbackprop: {kind}{message}", file=sys.stderr)
    return code


# cbackprop demo


def _demo(arguments: argparse.Namespace) -> int:
    digits = load_digits()
    net = _demo_network(digits, arguments.seed)
    print(f"{digits!r}, network {'-'.join(map(str, _DEMO_SIZES))}: sigmoid, then softmax")
    settings = {
        "batch_size": _DEMO_BATCH_SIZE,
        "learning_rate": _DEMO_LEARNING_RATE,
        "n_threads": arguments.threads,
    }
    X, y = digits.X_train, digits.y_train
    net.train(X, y, epochs=arguments.epochs, progress=True, **settings)
    accuracy = net.evaluate(digits.X_test, digits.y_test)["accuracy"]
    print(f"accuracy: {accuracy:.2f}")
    certificate = certify(net, X[:10], y[:10])
    print(certificate)
    timed = _demo_network(digits, arguments.seed)
    seconds = _best_seconds(lambda: timed.train(X, y, epochs=10, **settings)) / 10
    numpy_seconds = _numpy_epoch_seconds(digits, arguments.seed)
    print(
        f"speed: {len(X) / seconds:,.0f} samples/s; the same training in NumPy "
        f"{len(X) / numpy_seconds:,.0f} samples/s: {numpy_seconds / seconds:.1f} times as fast"
    )
    return 0 if certificate.passed else 1


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


# cbackprop train


def _train(arguments: argparse.Namespace) -> int:
    if arguments.save:
        _check_writable(arguments.save, [arguments.data, arguments.test])
    table = _read(arguments, arguments.data, arguments.task)
    task = choose_task(table) if arguments.task == "auto" else arguments.task
    X, y, X_test, y_test = _split(arguments, table, task)
    if task == "classify":
        y, classes = _labels(arguments, table, y)
        y_test = y_test if y_test is None else _test_labels(y_test, classes)
        what = f"{len(classes)} classes"
        outputs, output = len(classes), arguments.output or "softmax"
        if y.dtype.kind == "i" and np.array_equal(classes, np.arange(len(classes))):
            classes = None
    else:
        y, y_test, classes = _reals(y), _reals(y_test), None
        outputs, output = 1 if y.ndim == 1 else y.shape[1], arguments.output or "identity"
        what = f"{outputs} real target{'s' * (outputs > 1)}"
    scale, shift = _input_scale(arguments, table, X)
    net = Network(
        [X.shape[1], *arguments.layers, outputs],
        activation=arguments.activation,
        output=output,
        cost=arguments.cost,
        dtype=arguments.dtype,
        input_scale=scale,
        input_shift=shift,
        classes=classes,
        rng=arguments.seed,
    )
    if not arguments.quiet:
        held_out = "" if X_test is None else f", {len(X_test)} rows held out"
        print(f"{table.name}: {len(X)} rows, {X.shape[1]} inputs, {what}{held_out}")
        print(f"network: {'-'.join(map(str, net.sizes))}, {arguments.activation}, {output}")
        largest = float(np.abs(X[:1000]).max()) * float(np.max(scale))
        if arguments.input_scale is None and largest > 50:
            note = f"inputs reach {largest:.4g}; --input-scale standard often trains better"
            print(f"cbackprop: note: {note}", file=sys.stderr)
    try:
        history = net.train(
            X,
            y,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            l2=arguments.l2,
            n_threads=arguments.threads,
            progress=not arguments.quiet,
        )
    except KeyboardInterrupt:
        kept = "nothing is saved (no --save)"
        if arguments.save:
            _save(net, arguments.save)
            kept = f"the network as it is now is saved: {arguments.save}"
        message = f"interrupted after {net.steps} mini-batches; {kept}"
        return _complain(arguments, message, 130, "")
    score = "accuracy" if task == "classify" else "r2"
    print(f"training cost: {history.cost[-1]:.6g}")
    print(f"training {score}: {history.score[-1]:.4f}")
    if X_test is not None:
        result = net.evaluate(X_test, y_test)
        print(f"test cost: {result['cost']:.6g}")
        print(f"test {score}: {result[score]:.4f}")
    if arguments.save:
        _save(net, arguments.save)
        print(f"saved: {arguments.save}")
    return 0


def _read(arguments: argparse.Namespace, source: str, task: str, need_target: bool = True) -> Table:
    return read_table(
        source,
        target=arguments.target,
        labels=getattr(arguments, "labels", None) if source == arguments.data else None,
        header=arguments.header,
        task=task,
        need_target=need_target,
    )


def _split(arguments: argparse.Namespace, table: Table, task: str) -> list[Any]:
    """X, y to train on, and X, y held out: the set's own, --test, --test-fraction, or None."""
    X, y = table.X, table.y
    assert y is not None
    fraction = arguments.test_fraction
    if arguments.test is not None:
        if fraction is not None:
            raise ValueError("--test and --test-fraction: expected one of them")
        test = _read(arguments, arguments.test, task)
        # A named set is there to be tested on by its held-out part.
        X_test, y_test = (test.X, test.y) if test.X_test is None else (test.X_test, test.y_test)
        if X_test.shape[1] != X.shape[1]:
            raise ValueError(
                f"{arguments.test}: {X_test.shape[1]} inputs, expected {X.shape[1]} "
                f"as in {table.name}"
            )
        return [X, y, X_test, y_test]
    if fraction is None:
        return [X, y, table.X_test, table.y_test]
    if table.X_test is not None:
        raise ValueError(f"--test-fraction {fraction}: {table.name} has a held-out part of its own")
    held_out = round(fraction * len(X))
    if not 0 < held_out < len(X):
        raise ValueError(
            f"--test-fraction {fraction}: holds out {held_out} of {len(X)} rows, "
            f"expected a fraction between 0 and 1 that leaves rows on both sides"
        )
    order = np.random.default_rng(arguments.seed).permutation(len(X))
    test_rows, rows = np.sort(order[:held_out]), np.sort(order[held_out:])
    return [X[rows], y[rows], X[test_rows], y[test_rows]]


def _as_labels(y: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as integers, so that a label reads 1 and not 1.0."""
    if y.dtype.kind in "bui" or (y.dtype.kind == "f" and np.array_equal(y, np.rint(y))):
        return y.astype(np.int64)
    return y.astype(str) if y.dtype.kind == "S" else y


def _labels(
    arguments: argparse.Namespace, table: Table, y: NDArray[Any]
) -> tuple[NDArray[Any], Any]:
    if y.ndim != 1:
        raise ValueError(f"{table.name}: y has shape {y.shape}, expected (n,) for --task classify")
    y = _as_labels(y)
    assert table.y is not None
    classes = np.unique(_as_labels(table.y))
    if arguments.classes:
        try:
            given = np.array(arguments.classes).astype(y.dtype if y.dtype.kind != "U" else str)
        except ValueError:
            raise ValueError(
                f"--classes {' '.join(arguments.classes)}: {table.name} has numbers for labels, "
                f"such as {classes[0]}"
            ) from None
        absent = np.setdiff1d(classes, given)
        if len(absent) or len(np.unique(given)) != len(given):
            what = f"{absent[0]} is in {table.name}" if len(absent) else "a label is there twice"
            raise ValueError(f"--classes: {what}; expected every label of the data, once")
        classes = given
    if len(classes) < 2:
        raise ValueError(
            f"{table.name}: the target is {classes[0]} in every row, expected two or more labels "
            "(another column: --target; real targets: --task regress)"
        )
    return y, classes


def _test_labels(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    y = _as_labels(y)
    known = np.isin(y, classes) if y.dtype.kind == classes.dtype.kind else np.zeros(len(y), bool)
    if not known.all():
        row = int(known.argmin())
        raise ValueError(
            f"test part: label {y[row]} at row {row} is not among the labels of the training part; "
            "--classes gives all of them"
        )
    return y


def _reals(y: NDArray[Any] | None) -> Any:
    if y is not None and y.dtype.kind not in "buif":
        raise ValueError(f"target {y[0]}: words, expected numbers for --task regress")
    return y if y is None else y.astype(np.float64)


def _input_scale(arguments: argparse.Namespace, table: Table, X: NDArray[Any]) -> tuple[Any, Any]:
    if arguments.input_scale is None:
        return table.input_scale, 0.0
    if arguments.input_scale != "standard":
        return arguments.input_scale, 0.0
    mean = X.mean(axis=0, dtype=np.float64)
    blocks = (X[i : i + 4096] - mean for i in range(0, len(X), 4096))
    deviation = np.sqrt(sum((block**2).sum(axis=0) for block in blocks) / len(X))
    scale = 1 / np.where(deviation > 0, deviation, 1.0)
    return scale, -mean * scale


def _check_writable(path: str, sources: Iterable[str | None]) -> None:
    """Find out before the work whether its result can be stored."""
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
    for source in sources:
        if source and os.path.exists(path) and os.path.exists(source):
            if os.path.samefile(path, source):
                raise ValueError(f"--save {path}: is the data; name another file")


def _save(net: Network, path: str) -> None:
    try:
        net.save(path)
    except OSError as error:
        raise _FailureError(f"--save {path}: not saved: {error}") from error


# cbackprop predict, evaluate, certify, info


def _held_out(arguments: argparse.Namespace, net: Network, need_target: bool) -> list[Any]:
    """X and y of DATA, the held-out part if it has one, with the width the model wants."""
    task = "regress" if _is_regression(net) else "classify"
    table = _read(arguments, arguments.data, task, need_target)
    X, y = (table.X, table.y) if table.X_test is None else (table.X_test, table.y_test)
    if X.shape[1] != net.sizes[0]:
        remedy = "" if arguments.target else "; name a target column among them with --target"
        raise ValueError(
            f"{arguments.data}: {X.shape[1]} columns of input, {arguments.model} expects "
            f"{net.sizes[0]}{remedy}"
        )
    if y is None or not need_target:
        return [X, None]
    return [X, _reals(y) if task == "regress" else _as_labels(y)]


def _is_regression(net: Network) -> bool:
    return net.classes is None and net.output == "identity"


def _predict(arguments: argparse.Namespace) -> int:
    net = cbackprop.load(arguments.model)
    X, _ = _held_out(arguments, net, need_target=False)
    rows: Iterable[list[str]]
    if _is_regression(net):
        if arguments.probabilities:
            raise ValueError(
                f"--probabilities: {arguments.model} predicts real numbers, not labels"
            )
        rows = ([str(value) for value in row] for row in net.predict(X))
    elif arguments.probabilities:
        classes = range(net.sizes[-1]) if net.classes is None else net.classes
        header = ["label", *(_cell(label) for label in classes)]
        values = zip(net.classify(X), net.predict(X), strict=True)
        body = ([_cell(label), *map(str, row)] for label, row in values)
        rows = (row for part in ([header], body) for row in part)
    else:
        rows = ([_cell(label)] for label in net.classify(X))
    if arguments.output in (None, "-"):
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with open(arguments.output, "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
    return 0


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


def _evaluate(arguments: argparse.Namespace) -> int:
    net = cbackprop.load(arguments.model)
    for name, value in net.evaluate(*_held_out(arguments, net, need_target=True)).items():
        print(f"{name}: {value:.6g}")
    return 0


def _certify(arguments: argparse.Namespace) -> int:
    net = cbackprop.load(arguments.model)
    X, y = _held_out(arguments, net, need_target=True)
    certificate = certify(net, X[: arguments.rows], y[: arguments.rows])
    print(certificate)
    return 0 if certificate.passed else 1


def _info(arguments: argparse.Namespace) -> int:
    print(cbackprop.load(arguments.model).summary())
    return 0


# The arguments

_DATA = """\
DATA is a file, its kind told by its content, or a named data set:
  CSV    numbers divided by comma, semicolon or tab, a line of names or none; the target is
         the last column unless --target names one
  NPY    a matrix; the target likewise
  NPZ    arrays X and y
  IDX    images as in MNIST, plain or gzipped; the labels file is found beside it by its name
  digits, mnist, fashion-mnist
         the digits that come with cbackprop, and the image sets that are on this machine
"""

_ACTIVATIONS = ", ".join(activation_rows.ACTIVATIONS)

_EXAMPLES = {
    "demo": ["cbackprop demo", "cbackprop demo --threads 1 --seed 7"],
    "train": [
        "cbackprop train digits --layers 60 --save digits.model",
        "cbackprop train iris.csv --target species --input-scale standard --save iris.model",
        "cbackprop train houses.csv --task regress --test-fraction 0.2 --layers 30 20",
        "cbackprop train fashion-mnist --output sigmoid --cost quadratic --learning-rate 3",
    ],
    "predict": [
        "cbackprop predict digits.model digits --probabilities --output digits.csv",
        "cbackprop predict iris.model iris.csv --target species",
    ],
    "evaluate": ["cbackprop evaluate digits.model digits"],
    "certify": ["cbackprop certify digits.model digits --rows 5"],
    "info": ["cbackprop info digits.model"],
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"cbackprop: error: {message} (see {self.prog} --help)\n")


def _neurons(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        remedy = "; DATA goes before --layers" if os.path.exists(text) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no number of neurons{remedy}") from None


def _scale(text: str) -> float | str:
    try:
        return text if text == "standard" else float(text)
    except ValueError:
        message = f"{text!r}, expected a number or 'standard'"
        raise argparse.ArgumentTypeError(message) from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cbackprop",
        description="Train neural networks on CPUs by backpropagation.",
        epilog="cbackprop COMMAND --help tells more, with examples. Start with: cbackprop demo",
    )
    version = f"cbackprop {cbackprop.__version__}"
    parser.add_argument("--version", "-V", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _demo_options(
        _command(commands, "demo", _demo, "train on digits for a few seconds and certify")
    )
    _train_options(_command(commands, "train", _train, "train a network on a data file", _DATA))
    predict = _command(commands, "predict", _predict, "labels, or real outputs, for data", _DATA)
    _model_and_data(predict, "column of DATA to drop: a name, or an index")
    predict.add_argument("--output", metavar="FILE", help="where to write; default: - (stdout)")
    predict.add_argument("--probabilities", action="store_true", help="CSV: label, then outputs")
    evaluate = _command(commands, "evaluate", _evaluate, "cost and score on data", _DATA)
    _model_and_data(evaluate, "target column: a name, or an index; default: the last")
    evaluate.add_argument("--labels", metavar="FILE", help="labels file of IDX images")
    about = "show that the four equations of backpropagation hold, layer by layer"
    certifying = _command(commands, "certify", _certify, about, _DATA)
    _model_and_data(certifying, "target column: a name, or an index; default: the last")
    certifying.add_argument("--labels", metavar="FILE", help="labels file of IDX images")
    certifying.add_argument(
        "--rows", type=int, default=10, help="rows to use; default: %(default)s"
    )
    info = _command(commands, "info", _info, "what a model file holds")
    info.add_argument("model", metavar="MODEL", help="file written by train --save")
    return parser


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    more: str = "",
) -> argparse.ArgumentParser:
    examples = "\n".join(f"  {example}" for example in _EXAMPLES[name])
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"{more}\nexamples:\n{examples}".lstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=run)
    return parser


def _model_and_data(parser: argparse.ArgumentParser, target: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="file written by train --save")
    parser.add_argument("data", metavar="DATA", help="data file; of a named set, the held-out part")
    parser.add_argument("--target", metavar="COLUMN", help=target)
    _header_option(parser)


def _header_option(parser: argparse.ArgumentParser) -> None:
    about = "whether line 1 of a CSV file holds names; default: found out"
    parser.add_argument("--header", choices=["auto", "yes", "no"], default="auto", help=about)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of all random numbers; default: %(default)s")
    add("--threads", type=int, help="default: what the machine allows and the work is worth")
    add("--epochs", type=int, default=30, help="passes over the data; default: %(default)s")


def _train_options(parser: argparse.ArgumentParser) -> None:
    _demo_options(parser)
    _header_option(parser)
    add = parser.add_argument
    add("data", metavar="DATA", help="data file or named data set, see below")
    add("--target", metavar="COLUMN", help="a name, or an index; default: the last column")
    add("--labels", metavar="FILE", help="labels file of IDX images")
    add(
        "--task",
        choices=["auto", "classify", "regress"],
        default="auto",
        help="class labels (words, or integers with few distinct values) or real targets",
    )
    add("--classes", nargs="+", metavar="LABEL", help="all labels, in the order of the outputs")
    add("--test", metavar="DATA", help="data to score the trained network on")
    add("--test-fraction", type=float, metavar="PART", help="hold out this part of the rows")
    add(
        "--layers",
        nargs="*",
        type=_neurons,
        default=[30],
        metavar="N",
        help="neurons of each hidden layer, or none; default: 30",
    )
    add("--activation", default="sigmoid", metavar="NAME", help=f"of hidden layers: {_ACTIVATIONS}")
    add("--output", metavar="NAME", help="activation of the outputs; default: softmax or identity")
    add("--cost", metavar="NAME", help=f"{', '.join(costs.COSTS)}; default: the output's partner")
    add("--batch-size", type=int, default=10, metavar="M", help="default: %(default)s")
    add("--learning-rate", type=float, default=0.1, metavar="ETA", help="default: %(default)s")
    add("--l2", type=float, default=0.0, metavar="LAMBDA", help="weight decay; default: 0")
    add("--dtype", choices=["float32", "float64"], default="float32", help="default: %(default)s")
    add(
        "--input-scale",
        type=_scale,
        metavar="FACTOR",
        help="what inputs are multiplied by, or 'standard': each to mean 0 and deviation 1; "
        "stored with the model; default: 1, and 1/16 or 1/255 for images",
    )
    add("--quiet", action="store_true", help="no progress, only the result")
    add("--save", metavar="MODEL", help="file to store the network in")
