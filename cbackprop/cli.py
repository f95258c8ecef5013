"""The command line: ``cbackprop demo | train | predict | evaluate | certify | info | export |
report | bench``.

Exit codes: 0 done, 1 training (or a save, or a certificate) failed, 2 a mistake in the command or
its data, 130 interrupted, 141 the reader of the output has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import cbackprop
from cbackprop import _commands as commands
from cbackprop import _export_command as export_command
from cbackprop import _report_command as report_command
from cbackprop import _train_command as train_command
from cbackprop._bench import WORKLOADS
from cbackprop._help import EXIT_STATUS, PAGES
from cbackprop._names import meant
from cbackprop._output import CommandFailedError
from cbackprop.activations import ACTIVATIONS
from cbackprop.costs import COSTS
from cbackprop.initializers import INITIALIZERS
from cbackprop.io import tables
from cbackprop.io.columns import MISSING
from cbackprop.optimizers import OPTIMIZERS

__all__ = ["main"]


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
        with warnings.catch_warnings():
            warnings.simplefilter("always", cbackprop.LearningWarning)
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out: give it a place to go.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        return _complain(arguments, str(error) or "interrupted", 130, "")
    except cbackprop.DivergenceError as error:
        return _complain(arguments, f"training diverged, nothing is saved: {error}", 1)
    except MemoryError as error:
        return _complain(arguments, f"out of memory: {error}", 1)
    except CommandFailedError as error:
        return _complain(arguments, str(error), 1)
    except OSError as error:
        return _complain(arguments, _of_system(error), 2)
    except (ValueError, TypeError, ImportError) as error:
        return _complain(arguments, str(error), 2)


def _of_system(error: OSError) -> str:
    """The file, what the system says of it, and what may help."""
    if error.filename is None or error.strerror is None:
        return str(error)
    remedy = ""
    if isinstance(error, FileNotFoundError):
        remedy = meant(str(error.filename), tables.NAMED) or "; check its name and the folder"
    elif isinstance(error, IsADirectoryError):
        remedy = "; expected a file"
    return f"{error.filename}: {error.strerror}{remedy}"


def _say(text: str) -> None:
    print(f"cbackprop: {text}", file=sys.stderr)


def _complain(arguments: argparse.Namespace, message: str, code: int, kind: str = "error: ") -> int:
    if arguments.traceback or os.environ.get("CBACKPROP_TRACEBACK") == "1":
        traceback.print_exc()
    print(f"cbackprop: {kind}{message}", file=sys.stderr)
    return code


# The arguments


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
        if text in ("standard", "minmax"):
            return text
        return 1.0 if text == "none" else float(text)
    except ValueError:
        message = f"{text!r}, expected standard, minmax, none, or a number"
        raise argparse.ArgumentTypeError(message) from None


def _probabilities(text: str) -> float | list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{text!r}, expected a number, or numbers between commas"
        raise argparse.ArgumentTypeError(message) from None
    return values if len(values) > 1 else values[0]


def _class_weight(text: str) -> str | dict[str, float]:
    if text == "balanced":
        return text
    pairs = [part.rpartition("=")[::2] for part in next(csv.reader([text]), [])]
    try:
        weights = {label: float(weight) for label, weight in pairs if label}
    except ValueError:
        weights = {}
    if len(weights) != len(pairs) or not pairs:
        message = f"{text!r}, expected balanced, or LABEL=WEIGHT between commas"
        raise argparse.ArgumentTypeError(message)
    return weights


# Options of train that are plain numbers: name, unit, default, meaning.
_NUMBERS = [
    ("l1", "LAMBDA", 0.0, "lambda of the penalty lambda/n sum |w|; default: 0"),
    ("l2", "LAMBDA", 0.0, "lambda of the penalty lambda/2n sum w^2; default: 0"),
    ("weight-decay", "RATE", None, "decoupled; default: 0.01 for adamw, else 0"),
    ("max-norm", "C", None, "longest vector of weights into a neuron; default: no limit"),
    ("clip-norm", "C", None, "longest gradient, of all layers together; default: no limit"),
    ("clip-value", "C", None, "largest element of the gradient; default: no limit"),
    ("input-noise", "SD", 0.0, "standard deviation of noise on the scaled inputs; default: 0"),
    ("label-smoothing", "S", 0.0, "targets become (1-S) y + S/classes; default: 0"),
    ("validation-split", "PART", 0.0, "part of the training rows held out to watch; default: 0"),
]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cbackprop",
        description="Train neural networks on CPUs by backpropagation.",
        epilog="cbackprop COMMAND --help tells more, with examples. Start with: cbackprop demo",
    )
    version = f"cbackprop {cbackprop.__version__}"
    parser.add_argument("--version", "-V", action="version", version=version)
    add = parser.add_subparsers(metavar="COMMAND", required=True)
    _demo_options(_command(add, "demo", commands.run_demo))
    _train_options(_command(add, "train", train_command.run_train))
    predict = _command(add, "predict", commands.run_predict)
    _model_and_data(predict, "column of DATA to drop: a name, or an index")
    predict.add_argument(
        "--output", "-o", metavar="FILE", default="-", help="default: -, standard output"
    )
    predict.add_argument("--probabilities", action="store_true", help="CSV: label, then outputs")
    evaluate = _command(add, "evaluate", commands.run_evaluate)
    _model_and_data(evaluate, "target column: a name, or an index; default: the last")
    evaluate.add_argument("--labels", metavar="FILE", help="labels file of IDX images")
    certifying = _command(add, "certify", commands.run_certify)
    _model_and_data(certifying, "target column: a name, or an index; default: the last")
    certifying.add_argument("--labels", metavar="FILE", help="labels file of IDX images")
    certifying.add_argument(
        "--rows", type=int, default=10, metavar="N", help="rows to use; default: %(default)s"
    )
    info = _command(add, "info", commands.run_info)
    info.add_argument("model", metavar="MODEL", help="file written by train --save")
    _export_options(_command(add, "export", export_command.run_export))
    _report_options(_command(add, "report", report_command.run_report))
    bench = _command(add, "bench", commands.run_bench)
    names = sorted(WORKLOADS)
    bench.add_argument(
        "--rows", nargs="+", choices=names, metavar="ROW", default=["book", "tiny", "std"],
        help=f"networks to train: {', '.join(names)} (default: book tiny std)",
    )  # fmt: skip
    bench.add_argument(
        "--threads", type=int, metavar="N", help="default: as many as turn out fastest"
    )
    bench.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="epochs of each, in turn (default: 5)"
    )
    return parser


def _command(
    add: Any, name: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    page = PAGES[name]
    examples = "examples:\n" + "\n".join(f"  {example}" for example in page.examples)
    forms = export_command.FORMATS.items()
    more = "".join(f"  {f.end:<6} {kind}: {f.about}\n" for kind, f in forms if f.about)
    operands = page.operands.replace("{more}", more)
    parser: argparse.ArgumentParser = add.add_parser(
        name,
        help=page.about,
        description=f"{page.about[0].upper()}{page.about[1:]}.\n\n{page.description}",
        epilog="\n".join(part for part in (operands, EXIT_STATUS, examples) if part),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=run)
    return parser


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file written by train --save")
    parser.add_argument("file", metavar="FILE", help="file to write")
    about = f"kind of FILE: {', '.join(export_command.FORMATS)}; default: told by its end"
    parser.add_argument("--format", choices=export_command.FORMATS, metavar="KIND", help=about)
    about = "what the names in a C header begin with; default: FILE without its end"
    parser.add_argument("--name", metavar="NAME", help=about)


def _report_options(parser: argparse.ArgumentParser) -> None:
    _model_and_data(parser, "target column: a name, or an index; default: the last")
    parser.add_argument("--labels", metavar="FILE", help="labels file of IDX images")
    about = "page to write, or - for standard output"
    parser.add_argument("--output", "-o", metavar="FILE", required=True, help=about)
    parser.add_argument("--title", metavar="TEXT", help="default: the names of MODEL and DATA")
    about = "how many rows with large costs to show; default: %(default)s"
    parser.add_argument("--worst", type=int, default=16, metavar="N", help=about)


def _model_and_data(parser: argparse.ArgumentParser, target: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="file written by train --save")
    parser.add_argument("data", metavar="DATA", help="data file; of a named set, the held-out part")
    parser.add_argument("--target", metavar="COLUMN", help=target)
    _header_option(parser)


def _header_option(parser: argparse.ArgumentParser) -> None:
    about = "columns to leave out: names or indices, between commas"
    parser.add_argument("--ignore", metavar="COLUMN[,...]", help=about)
    about = "whether line 1 of a CSV file holds names; default: auto, told by its content"
    parser.add_argument("--header", choices=["auto", "yes", "no"], default="auto", help=about)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        help="of all random numbers; default: %(default)s",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="default: what the machine allows and the work is worth",
    )
    add(
        "--epochs",
        type=int,
        metavar="N",
        default=30,
        help="passes over the data; default: %(default)s",
    )


def _train_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="data file or named data set, see below")
    add("--target", metavar="COLUMN", help="a name, or an index; default: the last column")
    _header_option(parser)
    add(
        "--categorical",
        metavar="COLUMN[,...]",
        help="columns whose numbers are to be taken for words, too; columns that hold words are "
        "found without it. A column of words becomes one input a word",
    )
    add(
        "--missing",
        choices=MISSING,
        help="what becomes of fields that are empty, ? or NA, NaN, null, none: an error that names "
        "the line; the mean of the rows to train on (for words, each word's share); or drop the "
        "row. Stored with the model; default: refuse",
    )
    add("--labels", metavar="FILE", help="labels file of IDX images")
    add(
        "--task",
        choices=["auto", "classify", "regress"],
        default="auto",
        help="class labels (words, or integers with few distinct values) or real targets",
    )
    add("--classes", nargs="+", metavar="LABEL", help="all labels, in the order of the outputs")
    add("--validation", metavar="DATA", help="data to watch the training with, after each epoch")
    add("--test", metavar="DATA", help="data to score the trained network on")
    add("--test-fraction", type=float, metavar="PART", help="hold out this part of the rows")
    add(
        "--layers",
        nargs="*",
        type=_neurons,
        metavar="N",
        help="neurons of each hidden layer, or none; default: 30",
    )
    add(
        "--activation",
        metavar="NAME",
        help="of hidden layers, one for all or one each between commas: "
        f"{', '.join(ACTIVATIONS)}; default: sigmoid",
    )
    add("--output", metavar="NAME", help="activation of the outputs; default: softmax or identity")
    add("--cost", metavar="NAME", help=f"{', '.join(COSTS)}; default: the output's partner")
    add(
        "--init",
        metavar="NAME",
        help=f"initial weights: {', '.join(INITIALIZERS)}; default: scaled",
    )
    add("--batch-size", type=int, default=10, metavar="M", help="default: %(default)s")
    add(
        "--optimizer",
        choices=[*OPTIMIZERS, "lbfgs"],
        default="sgd",
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}, lbfgs (needs SciPy); default: %(default)s",
    )
    add(
        "--learning-rate",
        type=float,
        metavar="ETA",
        help="default: 0.1 for sgd, else the optimizer's own",
    )
    add(
        "--schedule",
        metavar="FORM",
        help="how the learning rate changes from epoch to epoch: cosine, one-cycle, "
        "step:EVERY[:FACTOR], exponential:FACTOR, warm-up:EPOCHS, plateau[:FACTOR[:PATIENCE]], "
        "halve[:PATIENCE]; the last two look at the validation cost and score",
    )
    for name, metavar, default, about in _NUMBERS:
        add(f"--{name}", type=float, default=default, metavar=metavar, help=about)
    add(
        "--dropout",
        type=_probabilities,
        default=0.0,
        metavar="P[,P...]",
        help="probability with which a neuron of a hidden layer is left out of a sample's "
        "training; or the input's and each hidden layer's between commas; default: 0",
    )
    add(
        "--early-stopping",
        type=int,
        nargs="?",
        const=10,
        metavar="EPOCHS",
        help="stop when the validation cost has not fallen for so many epochs (10), and keep "
        "the best weights; with --validation-split",
    )
    add(
        "--class-weight",
        type=_class_weight,
        metavar="WEIGHTS",
        help="balanced: let every label count the same, however many rows it has; or "
        "LABEL=WEIGHT between commas, 1 for the others",
    )
    add(
        "--sample-weight",
        metavar="COLUMN",
        help="column with the weight of each row, >= 0; no input",
    )
    add("--no-shuffle", action="store_true", help="take the rows in their order in every epoch")
    add("--dtype", choices=["float32", "float64"], help="default: float32")
    add(
        "--compute",
        choices=["bf16"],
        help="multiply numbers rounded to bfloat16 where that is worth it: wide layers train "
        "faster on CPUs that can; default: in the network's dtype",
    )
    add(
        "--scale",
        "--input-scale",
        type=_scale,
        metavar="HOW",
        help="standard: each input to mean 0 and deviation 1; minmax: to 0 .. 1; none; or a number "
        "that inputs are multiplied by. Learned from the rows to train on, stored with the model "
        "and in every export; words stay 0 and 1. Default: none, and 1/16 or 1/255 for images",
    )
    _demo_options(parser)
    add(
        "--progress",
        action="store_true",
        help="say how training goes where standard error is no terminal, too",
    )
    add("--quiet", action="store_true", help="no progress, only the result")
    add("--save", metavar="MODEL", help="file to store the network in")
    add(
        "--start",
        metavar="MODEL",
        help="go on with the network in this file, exactly where its training ended or was "
        "interrupted; its layers, scaling and columns are its own",
    )
