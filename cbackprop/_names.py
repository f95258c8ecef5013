"""What to say where nothing has the name that was given."""

from collections.abc import Iterable
from typing import Any


def unknown(argument: str, name: Any, known: Iterable[str]) -> ValueError:
    """The error that names argument, value and choices, and the likely one among them."""
    import difflib  # only mistakes need it

    known = list(known)
    near = difflib.get_close_matches(name, known, 1) if isinstance(name, str) else []
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"{argument} = {name!r}, expected one of: {', '.join(known)}{meant}")
