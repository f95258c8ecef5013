"""Neural networks on CPUs: backpropagation, certified, at the speed of the silicon."""

import os as _os
import typing as _typing

from cbackprop import _engine, _validation
from cbackprop.callbacks import Checkpoint, EarlyStopping
from cbackprop.distributed import train_many
from cbackprop.exceptions import DivergenceError, LearningWarning, ModelFileError
from cbackprop.history import History
from cbackprop.network import Gradients, Network

if _typing.TYPE_CHECKING:  # otherwise at first use, by __getattr__ below
    from cbackprop import reference as reference
    from cbackprop import schedules as schedules
    from cbackprop._certify import Certificate, certify
    from cbackprop._report import report

__all__ = [
    "Certificate",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "Gradients",
    "History",
    "LearningWarning",
    "ModelFileError",
    "Network",
    "certify",
    "load",
    "report",
    "show_config",
    "train_many",
]


def _cap_kernels(name: str | None) -> None:
    """CBACKPROP_ISA caps the kernel table that the CPU would get."""
    if not name:
        return
    here = ", ".join(_engine.kernel_names())
    answer = _engine.choose_kernels(name)
    if answer == -1:
        raise RuntimeError(
            f"CBACKPROP_ISA = {name!r}, expected portable, avx2, avx512 or neon (here: {here})"
        )
    if answer == -2:
        raise RuntimeError(
            f"CBACKPROP_ISA = {name!r} does not run on this CPU or is not in this build; "
            f"here: {here}"
        )


_cap_kernels(_os.environ.get("CBACKPROP_ISA"))


def load(path: "str | _os.PathLike[str]") -> Network:
    """Read a network that `Network.save` wrote. Nothing in the file is executed.

    Raises
    ------
    ModelFileError
        The file is damaged, or is not a cbackprop model.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> net = Network([2, 3, 1], rng=0)
    >>> net.save("example.cbp")
    >>> load("example.cbp").predict([[0.0, 1.0]]) == net.predict([[0.0, 1.0]])
    array([[ True]])
    """
    from cbackprop.io import model_file

    data = model_file.read(_validation.path("path", path))
    try:
        return model_file.loads(data)
    except ModelFileError as error:
        raise ModelFileError(f"{_os.fspath(path)}: {error}") from None


def show_config() -> dict[str, object]:
    """Version, kernel table in use and available, default threads.

    Examples
    --------
    >>> sorted(show_config())
    ['kernels', 'kernels_available', 'threads', 'version']
    """
    from cbackprop import _threads

    return {
        "version": _version(),
        "kernels": _engine.kernels_in_use(),
        "kernels_available": _engine.kernel_names(),
        "threads": _threads.available(),
    }


# Where a name is found that is not always wanted: what follows was a third of the import time.
_LATER = {
    "Certificate": "cbackprop._certify",
    "certify": "cbackprop._certify",
    "report": "cbackprop._report",
}


def _version() -> str:
    from importlib.metadata import version

    return version("cbackprop")


if _typing.TYPE_CHECKING:
    __version__: str
else:  # unseen by type checkers, to which any misspelt name would be one of these

    def __getattr__(name: str) -> _typing.Any:
        from importlib import import_module

        if name == "__version__":
            return _version()
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        if name in ("reference", "schedules"):
            return import_module(f"cbackprop.{name}")
        raise AttributeError(f"module 'cbackprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__", "reference", "schedules"})
