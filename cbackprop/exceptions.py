"""Errors that users may want to catch by name."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbackprop.history import History


class DivergenceError(ArithmeticError):
    """Training left the finite numbers; the weights are those of the last finite epoch.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 0 over the network's life, that did not stay finite.
    history : History
        The epochs of this call that did.
    """

    def __init__(self, message: str, epoch: int, history: "History") -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        # From another process; what cannot be unpickled there breaks the whole pool.
        return type(self), (str(self), self.epoch, self.history)


class LearningWarning(UserWarning):
    """A layer does not learn: its errors have vanished or exploded, or its neurons are dead."""


class ModelFileError(ValueError):
    """A file is damaged, is no model, or holds what a network here (or that format) has not."""
