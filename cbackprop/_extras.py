"""Libraries that only some calls need: imported then, and named with their extra where absent."""

import importlib
from typing import Any


def need(module: str, what: str, library: str, extra: str) -> Any:
    """The module; where its library is not installed, what to install.

    Raises
    ------
    ImportError
        "what needs library: pip install "cbackprop[extra]"".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{what} needs {library}: pip install "cbackprop[{extra}]" ({error})'
        ) from None
