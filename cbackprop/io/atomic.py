"""Files that are old or new, never a part."""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["write"]


def write(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write a file, of bytes or pieces of some, by way of a temporary one beside it: synced,
    renamed, the folder synced.

    Raises
    ------
    OSError
        It cannot be written, and names this path; an older file of that name is untouched.
    """
    path = Path(path)
    try:
        _write(path, [data] if isinstance(data, bytes) else data)
    except OSError as error:
        if error.errno is None:
            raise
        # The error is of the temporary file, of the folder, or of no file: the caller knows none.
        windows = getattr(error, "winerror", None)
        raise OSError(error.errno, error.strerror, os.fspath(path), windows) from None


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
        with path.open("wb") as file:
            file.writelines(pieces)
        return
    # Not mkstemp: its mode is 0600, and the umask cannot be read without changing it for the
    # other threads.
    name = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(name, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
