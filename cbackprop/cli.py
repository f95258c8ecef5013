# PYTHON_ARGCOMPLETE_OK
"""The command line: ``cbackprop demo | train | predict | evaluate | certify | info | export |
report | bench``.

Exit codes: 0 done, 1 training (or a save, or a certificate) failed, 2 a mistake in the command or
its data, 130 interrupted, 141 the reader of the output has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import cbackprop
from cbackprop import _commands as commands
from cbackprop import _export_command as export_command
from cbackprop import _info_command as info_command
from cbackprop import _report_command as report_command
from cbackprop import _train_command as train_command
from cbackprop._arguments import column_options, data_argument, running_options
from cbackprop._bench import WORKLOADS
from cbackprop._help import ENVIRONMENT, EXIT_STATUS, MAIN, PAGES
from cbackprop._names import meant
from cbackprop._output import CommandFailedError
from cbackprop._train_options import add_train_options
from cbackprop.io import tables

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
    if sys.stderr is None:  # closed: complaints have nowhere to go
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        _say("error: standard output is closed; send it to a file or to /dev/null")
        return 2
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks; see the page of cbackprop --help
        with contextlib.suppress(ImportError):
            importlib.import_module("argcomplete").autocomplete(parser)
    arguments = argparse.Namespace(traceback=False)
    try:
        try:
            arguments = parser.parse_args(argv)
        except SystemExit as stop:  # --help, --version, or a mistake that is already printed
            sys.stdout.flush()
            return int(stop.code or 0)
        with warnings.catch_warnings():
            warnings.simplefilter("always", cbackprop.LearningWarning)
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_output()
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
        if error.errno == errno.ENOSPC:
            _forget_output()
        return _complain(arguments, _of_system(error), 1 if error.errno == errno.ENOSPC else 2)
    except (ValueError, TypeError, ImportError) as error:
        return _complain(arguments, str(train_command.options_named(error, arguments)), 2)


def _forget_output() -> None:
    """The interpreter flushes stdout once more on its way out: give it a place to go."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_system(error: OSError) -> str:
    """The file, what the system says of it, and what may help."""
    if error.filename is None or error.strerror is None:
        return error.strerror or str(error)
    remedy = ""
    if isinstance(error, FileNotFoundError):
        remedy = meant(str(error.filename), tables.NAMED) or "; check its name and the folder"
    elif isinstance(error, IsADirectoryError):
        remedy = "; expected a file"
    return f"{error.filename or repr('')}: {error.strerror}{remedy}"


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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cbackprop",
        description="Train neural networks on CPUs by backpropagation.",
        epilog=MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"cbackprop {cbackprop.__version__}"
    parser.add_argument("--version", "-V", action="version", version=version)
    add = parser.add_subparsers(metavar="COMMAND", required=True)
    running_options(_command(add, "demo", commands.run_demo))
    add_train_options(_command(add, "train", train_command.run_train))
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
    info = _command(add, "info", info_command.run_info)
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
    parts = (operands, page.files, EXIT_STATUS, ENVIRONMENT, examples)
    parser: argparse.ArgumentParser = add.add_parser(
        name,
        help=page.about,
        description=f"{page.about[0].upper()}{page.about[1:]}.\n\n{page.description}",
        epilog="\n".join(part for part in parts if part),
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
    data_argument(parser, "data file, or -; of a named set, the held-out part")
    parser.add_argument("--target", metavar="COLUMN", help=target)
    column_options(parser)
