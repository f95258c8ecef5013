"""Neural networks on CPUs: backpropagation, certified, at the speed of the silicon."""

import os as _os
import typing as _typing

from cbackprop import _engine, _validation
from cbackprop._certify import Certificate, certify
from cbackprop.callbacks import EarlyStopping
from cbackprop.distributed import train_many
from cbackprop.exceptions import DivergenceError, LearningWarning, ModelFileError
from cbackprop.history import History
from cbackprop.network import Gradients, Network

if _typing.TYPE_CHECKING:  # otherwise at first use, by __getattr__ below
    from cbackprop._report import report

__all__ = [
    "Certificate",
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
        "version": __getattr__("__version__"),
        "kernels": _engine.kernels_in_use(),
        "kernels_available": _engine.kernel_names(),
        "threads": _threads.available(),
    }


def __getattr__(name: str) -> _typing.Any:
    # Asked for rarely, and importlib.metadata would be a third of the import time.
    if name == "__version__":
        from importlib.metadata import version

        return version("cbackprop")
    if name == "report":
        from cbackprop._report import report

        return report
    raise AttributeError(f"module 'cbackprop' has no attribute {name!r}")
