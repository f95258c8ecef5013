"""What ``cbackprop COMMAND --help`` says beside the options; those are in `cli`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ENVIRONMENT", "EXIT_STATUS", "MAIN", "PAGES", "Page"]


class Page(NamedTuple):
    """The text of one command.

    Attributes
    ----------
    about : str
        One line, for the list of commands.
    description : str
        What it does and what it prints.
    operands : str
        What its operands may be.
    examples : tuple of str
    files : str
        What it reads and writes beside its operands.
    """

    about: str
    description: str
    operands: str
    examples: tuple[str, ...]
    files: str = ""


EXIT_STATUS = """\
exit status:
  0    done
  1    training diverged, a certificate did not pass, or a file could not be written
  2    a mistake in the command, the model or the data; the message names it
  130  interrupted
  141  the reader of the output has gone
"""

ENVIRONMENT = """\
environment:
  CBACKPROP_NUM_THREADS, OMP_NUM_THREADS
         at most so many threads where --threads gives no number
  CBACKPROP_ISA
         portable, avx2, avx512 or neon: the best kernels to use; results are the same
  CBACKPROP_DATA
         folder in which the image sets mnist and fashion-mnist are looked for
  CBACKPROP_TRACEBACK
         1: as --traceback
"""

MAIN = (
    """\
Every command has a page of its own, with examples: cbackprop COMMAND --help
Start with: cbackprop demo

completion of commands, options and names by the shell, after pip install "cbackprop[completion]":
  bash   eval "$(register-python-argcomplete cbackprop)"        in ~/.bashrc
  zsh    eval "$(register-python-argcomplete cbackprop)"        in ~/.zshrc, after compinit
  fish   register-python-argcomplete --shell fish cbackprop | source
                                                                in ~/.config/fish/config.fish

"""
    + EXIT_STATUS
)

_DATA = """\
DATA is a file, its kind told by its content; - for one on standard input; or a named data set:
  CSV    numbers and words in UTF-8, divided by comma, semicolon, tab or |, with a line of names
         or none; the target is the last column unless --target names one
  Parquet
         columns of numbers, booleans and text; needs pyarrow: pip install "cbackprop[data]"
  NPY    a matrix; the target likewise
  NPZ    arrays X and y
  IDX    images as in MNIST, plain or gzipped; the labels file is found beside it by its name
  digits, mnist, fashion-mnist
         the digits that come with cbackprop, and the image sets that are on this machine
"""

_KNOWN = """\
The model knows the columns it was trained with: of a file with names, they are found by name, in
any order, and others are no matter; of one without, they count in the order of the training. Words,
missing values and scaling are treated as they were then; a word that was not there is an error.
"""

PAGES = {
    "demo": Page(
        "train on digits for a few seconds and certify",
        "Prints the accuracy on digits held out, the certificate of the four equations, and the\n"
        "speed beside the same training in NumPy.",
        "",
        ("cbackprop demo", "cbackprop demo --threads 1 --seed 7"),
    ),
    "train": Page(
        "train a network on a data file",
        "Prints cost and score of the training and, where some data is held out, of that. Nothing\n"
        "is kept unless --save names a file.",
        _DATA,
        (
            "cbackprop train digits --layers 60 --save digits.model",
            "cbackprop train iris.csv --target species --scale standard --save iris.model",
            "cbackprop train houses.csv --task regress --test-fraction 0.2 --layers 30 20",
            "cbackprop train fashion-mnist --output sigmoid --cost quadratic --learning-rate 3",
            "cbackprop train more.csv --start iris.model --epochs 10 --save iris.model",
            "gunzip -c flights.csv.gz | cbackprop train - --target delay --missing mean",
            "cbackprop train taxi.parquet --target tip --scale standard --stream --save tip.model",
        ),
        "files:\n"
        "  MODEL  one file with the network, the state of its training and what was learned of\n"
        "         the columns; replaced when the new one is whole. Ctrl-C ends training after the\n"
        "         mini-batch: the network as it is goes to --save, and --start goes on with it.\n",
    ),
    "predict": Page(
        "labels, or real outputs, for data",
        "Writes CSV, one line a row of DATA: the label, or the outputs of a network of real\n"
        "targets. A label that a spreadsheet would take for a formula gets a leading '.",
        _DATA + _KNOWN,
        (
            "cbackprop predict digits.model digits --probabilities --output digits.csv",
            "cbackprop predict iris.model iris.csv --target species",
        ),
    ),
    "evaluate": Page(
        "cost and score on data",
        "Prints two lines: the mean cost, without penalties, and the accuracy, or R^2 where\n"
        "targets are real. Inputs are scaled as they were in training; labels are those of the\n"
        "model, and one that it does not know is an error.",
        _DATA + _KNOWN,
        ("cbackprop evaluate digits.model digits", "cbackprop evaluate iris.model new.csv"),
    ),
    "certify": Page(
        "show that the four equations of backpropagation hold, layer by layer",
        "Compares what the engine computes for the first rows of DATA, in float64, with the plain\n"
        "NumPy form of BP1 to BP4, and that with derivatives of the cost by complex steps. Prints\n"
        "a line for each equation and layer: the largest relative difference of the one, of the\n"
        "other, and how many derivatives were taken.",
        _DATA + _KNOWN,
        ("cbackprop certify digits.model digits --rows 5",),
    ),
    "info": Page(
        "what a model file holds",
        "Prints the layers with their activations and parameters; the cost; how long the network\n"
        "was trained and with which optimiser; how inputs are scaled; and the labels of the\n"
        "outputs. Nothing in the file is executed.",
        "",
        ("cbackprop info digits.model",),
    ),
    "export": Page(
        "write a model for other programs",
        "Writes FILE, which holds the weights and, where its kind can say it, the scaling of the\n"
        "inputs. An older FILE is replaced when the new one is whole.",
        "The kind of FILE is told by its end, or by --format:\n"
        "  .h     c: one C99 header, for C++ too, that predicts with the same bits, needs no\n"
        "         library but libm, and has a self-test; its first lines tell how it is used\n"
        "{more}",
        ("cbackprop export digits.model digits.h",
         "cbackprop export digits.model net.h --name digits"),
    ),
    "report": Page(
        "what a model learned and does on data, in one HTML page",
        "Writes one file that opens in any browser, offline: the curves of the training, how fast\n"
        "each layer learned, the confusion matrix, the rows of DATA with the largest costs, a\n"
        "certificate of the four equations, settings and versions. Needs matplotlib:\n"
        'pip install "cbackprop[plot]".',
        _DATA + _KNOWN,
        ("cbackprop report digits.model digits -o digits.html",
         "cbackprop report iris.model new.csv --target species -o - > iris.html"),
    ),
    "bench": Page(
        "training speed beside NumPy's on made-up data, in about ten seconds",
        "Prints a line for each network: microseconds a step, arithmetic a second, and how many\n"
        "times NumPy takes.",
        "",
        ("cbackprop bench", "cbackprop bench --rows book tiny --threads 1"),
    ),
}  # fmt: skip
