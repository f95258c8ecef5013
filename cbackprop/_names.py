"""What to say where nothing has the name that was given."""

from collections.abc import Iterable
from typing import Any


def unknown(argument: str, name: Any, known: Iterable[str]) -> ValueError:
    """The error that names argument, value and choices, and the likely one among them."""
    known = list(known)
    choices = ", ".join(known)
    return ValueError(f"{argument} = {name!r}, expected one of: {choices}{meant(name, known)}")


def meant(name: Any, known: Iterable[str]) -> str:
    """The likely one, as the end of an error's sentence; nothing where none is near."""
    import difflib  # only mistakes need it

    near = difflib.get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""
