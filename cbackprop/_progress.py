"""What training says of itself while it runs: a bar by tqdm, or a plain line without it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbackprop.history import History


def _bar(epochs: int) -> Any:
    """tqdm's, of the terminal or the notebook; None where there is neither or no tqdm. A log
    file is better served by lines than by a bar that is drawn over and over."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    width: dict[str, Any] = {"dynamic_ncols": True}
    with contextlib.suppress(OSError, ValueError):  # of a notebook, or what has no descriptor
        if not os.get_terminal_size(sys.stderr.fileno()).columns:
            # So say terminals that were given no size, in containers; tqdm would draw nothing.
            width = {"ncols": 80, "nrows": 24}
    return tqdm(total=epochs, unit="epoch", file=sys.stderr, **width)


class Progress:
    """Says how training goes on standard error, until its ``with`` block ends.

    A bar where tqdm is installed, on terminals and in notebooks; else one line that is rewritten
    on a terminal, and elsewhere a line at most once a second. Shows the last epoch always.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.terminal = sys.stderr.isatty()
        self.pause = 0.1 if self.terminal else 1.0
        self.last = -self.pause
        self.unsaid: History | None = None  # since the last line
        self.bar: Any = None
        self.open = False  # a line that is to be rewritten

    def __enter__(self) -> Progress:
        self.bar = _bar(self.epochs)
        return self

    def __exit__(self, *error: object) -> None:
        self.end()  # also where training breaks

    def end(self) -> None:
        """Say the last epoch; what is printed next has a line of its own."""
        if self.bar is not None:
            self.bar.close()
        elif self.unsaid is not None:
            self._say(self.unsaid)
        if self.open:
            print(file=sys.stderr, flush=True)
            self.open = False

    def __call__(self, history: History) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(history._figures(), refresh=False)
            self.bar.update()
            return
        self.unsaid = history
        if time.monotonic() - self.last >= self.pause or len(history) >= self.epochs:
            self._say(history)

    def _say(self, history: History) -> None:
        self.last, self.unsaid = time.monotonic(), None
        line = history.line(self.epochs)
        if self.terminal:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
            self.open = True
        else:
            print(line, file=sys.stderr, flush=True)
