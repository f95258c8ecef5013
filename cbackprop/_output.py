"""Where the commands write: a file, or standard output for ``-``."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CommandFailedError", "file_for"]


class CommandFailedError(Exception):
    """The command is right and its data readable, yet it cannot be done: exit code 1."""


@contextlib.contextmanager
def file_for(name: str, inside: str = "output") -> Iterator[Path]:
    """The path to write to: `name`; for ``-`` a file `inside` a temporary folder, whose bytes go
    to standard output when they are whole.

    Raises
    ------
    CommandFailedError
        The file cannot be written.
    """
    if name == "-":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, inside)
            yield path
            sys.stdout.flush()
            sys.stdout.buffer.write(path.read_bytes())
        return
    try:
        yield Path(name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandFailedError(f"{name}: not written: {reason}") from error
