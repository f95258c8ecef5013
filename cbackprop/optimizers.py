"""Optimisers: how a gradient becomes a step. Definitions and constants are PyTorch's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: theta = theta - eta nabla.

    Parameters
    ----------
    learning_rate : float
        eta; used where ``train`` is given none.
    """

    learning_rate: float = 0.01


OPTIMIZERS = {"sgd": SGD}


def get(name: str | SGD) -> SGD:
    """The optimiser of that name with its default constants; an object as it is.

    Raises
    ------
    ValueError
        No optimiser has that name.

    Examples
    --------
    >>> get("sgd")
    SGD(learning_rate=0.01)
    """
    if isinstance(name, SGD):
        return name
    if isinstance(name, str) and name in OPTIMIZERS:
        return OPTIMIZERS[name]()
    raise ValueError(f"optimizer = {name!r}, expected one of: {', '.join(OPTIMIZERS)}")
