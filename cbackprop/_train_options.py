"""The options of ``cbackprop train``."""

from __future__ import annotations

import argparse
import csv
import os

from cbackprop._arguments import column_options, data_argument, offers, running_options
from cbackprop.activations import ACTIVATIONS
from cbackprop.costs import COSTS
from cbackprop.initializers import INITIALIZERS
from cbackprop.io.columns import MISSING
from cbackprop.optimizers import OPTIMIZERS

__all__ = ["add_train_options"]


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


def _interval(text: str) -> dict[str, float]:
    names = {"": "every_epochs", "b": "every_batches", "s": "every_seconds"}
    unit = text[-1:] if text[-1:] in names else ""
    number = text.removesuffix(unit)
    try:
        return {names[unit]: float(number) if unit == "s" else int(number)}
    except ValueError:
        message = f"{text!r}, expected a number of epochs, or of mini-batches (500b), seconds (60s)"
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
]


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """DATA, and the options in groups."""
    data_argument(parser, "data file, - or named data set, see below")
    _data_options(parser.add_argument_group("data"))
    _network_options(parser.add_argument_group("the network"))
    _training_options(parser.add_argument_group("training"))
    _penalties(parser.add_argument_group("against overfitting"))
    _saying_options(parser.add_argument_group("what is said and kept"))


def _data_options(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--target", metavar="COLUMN", help="a name, or an index; default: the last column")
    column_options(group)
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
    scale = add(
        "--scale",
        "--input-scale",
        type=_scale,
        metavar="HOW",
        help="standard: each input to mean 0 and deviation 1; minmax: to 0 .. 1; none; or a number "
        "that inputs are multiplied by. Learned from the rows to train on, stored with the model "
        "and in every export; words stay 0 and 1. Default: none, and 1/16 or 1/255 for images",
    )
    offers(scale, ["standard", "minmax", "none"])
    add("--labels", metavar="FILE", help="labels file of IDX images")
    add(
        "--task",
        choices=["auto", "classify", "regress"],
        default="auto",
        help="class labels (words, or integers with few distinct values) or real targets",
    )
    add("--classes", nargs="+", metavar="LABEL", help="all labels, in the order of the outputs")
    add("--sample-weight", metavar="COLUMN", help="weight of each row, >= 0; no input")
    add("--validation", metavar="DATA", help="data to watch the training with, after each epoch")
    about = "part of the training rows held out to watch; default: 0"
    add("--validation-split", type=float, default=0.0, metavar="PART", help=about)
    add("--test", metavar="DATA", help="data to score the trained network on")
    add(
        "--stream",
        action="store_true",
        help="leave DATA, a Parquet or NPY file, on disk and read it while training, a window of "
        "some 64 MB at a time: for data larger than memory; columns of numbers only",
    )
    add("--test-fraction", type=float, metavar="PART", help="hold out this part of the rows")


def _network_options(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    about = "neurons of each hidden layer, or none; default: 30"
    add("--layers", nargs="*", type=_neurons, metavar="N", help=about)
    about = f"of hidden layers, one for all or one each between commas: {', '.join(ACTIVATIONS)}"
    offers(add("--activation", metavar="NAME", help=f"{about}; default: sigmoid"), ACTIVATIONS)
    about = "activation of the outputs; default: softmax or identity"
    offers(add("--output", metavar="NAME", help=about), ACTIVATIONS)
    about = f"{', '.join(COSTS)}; default: the output's partner"
    offers(add("--cost", metavar="NAME", help=about), COSTS)
    about = f"initial weights: {', '.join(INITIALIZERS)}; default: scaled"
    offers(add("--init", metavar="NAME", help=about), INITIALIZERS)
    add("--dtype", choices=["float32", "float64"], help="default: float32")
    add(
        "--start",
        metavar="MODEL",
        help="go on with the network in this file, exactly where its training ended or was "
        "interrupted; its layers, scaling and columns are its own",
    )


def _training_options(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--batch-size", type=int, default=10, metavar="M", help="default: %(default)s")
    add(
        "--optimizer",
        choices=[*OPTIMIZERS, "lbfgs"],
        default="sgd",
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}, lbfgs (needs SciPy); default: %(default)s",
    )
    about = "default: 0.1 for sgd, else the optimizer's own"
    add("--learning-rate", type=float, metavar="ETA", help=about)
    add(
        "--schedule",
        metavar="FORM",
        help="how the learning rate changes from epoch to epoch: cosine, one-cycle, "
        "step:EVERY[:FACTOR], exponential:FACTOR, warm-up:EPOCHS, plateau[:FACTOR[:PATIENCE]], "
        "halve[:PATIENCE]; the last two look at the validation cost and score",
    )
    running_options(group)
    add("--no-shuffle", action="store_true", help="take the rows in their order in every epoch")
    add(
        "--class-weight",
        type=_class_weight,
        metavar="WEIGHTS",
        help="balanced: let every label count the same, however many rows it has; or "
        "LABEL=WEIGHT between commas, 1 for the others",
    )
    add(
        "--early-stopping",
        type=int,
        nargs="?",
        const=10,
        metavar="EPOCHS",
        help="stop when the validation cost has not fallen for so many epochs (10), and keep "
        "the best weights; with --validation or --validation-split",
    )
    add(
        "--compute",
        choices=["bf16"],
        help="multiply numbers rounded to bfloat16 where that is worth it: wide layers train "
        "faster on CPUs that can; default: in the network's dtype",
    )


def _penalties(group: argparse._ActionsContainer) -> None:
    for name, metavar, default, about in _NUMBERS:
        group.add_argument(f"--{name}", type=float, default=default, metavar=metavar, help=about)
    group.add_argument(
        "--dropout",
        type=_probabilities,
        default=0.0,
        metavar="P[,P...]",
        help="probability with which a neuron of a hidden layer is left out of a sample's "
        "training; or the input's and each hidden layer's between commas; default: 0",
    )


def _saying_options(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add(
        "--progress",
        action="store_true",
        help="say how training goes where standard error is no terminal, too",
    )
    add("--quiet", action="store_true", help="no progress, only the result")
    add("--save", metavar="MODEL", help="file to store the network in")
    add(
        "--checkpoint",
        metavar="PATH",
        help="file to write down in, after each epoch, how far the training is",
    )
    add(
        "--checkpoint-every",
        type=_interval,
        metavar="N[b|s]",
        help="every N epochs, mini-batches (b) or seconds (s)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from --checkpoint where it is there, to the same end",
    )
    add(
        "--mpi",
        action="store_true",
        help="train one network on all ranks: mpiexec -n 2 python -m mpi4py -m cbackprop train ...",
    )
    add(
        "--deterministic",
        action="store_true",
        help="with --mpi: the bits of one process, for more messages",
    )
