"""The weights of scikit-learn's classes: lists of arrays that the user may write into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.network import Network

Array = NDArray[Any]


class Weights:
    """``coefs_`` and ``intercepts_`` over a network, whose engine lays weights out its own way."""

    # As shown to the user, who may have written into them since.
    _shown: tuple[list[Array], list[Array]] | None = None

    @property
    def coefs_(self) -> list[Array]:
        """Weights into each layer (n_in, n_out); write into them, or assign the list."""
        return self._show()[0]

    @coefs_.setter
    def coefs_(self, values: list[Array]) -> None:
        self._fitted().weights = [np.asarray(w).T for w in values]
        self._shown = None

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer (n_out,); write into them, or assign the list."""
        return self._show()[1]

    @intercepts_.setter
    def intercepts_(self, values: list[Array]) -> None:
        self._fitted().biases = values
        self._shown = None

    @property
    def network_(self) -> Network:
        """The `cbackprop.Network` underneath."""
        return self._current()

    def _show(self) -> tuple[list[Array], list[Array]]:
        net = self._fitted()
        if self._shown is None:
            self._shown = [w.T.copy() for w in net.weights], [b.copy() for b in net.biases]
        return self._shown

    def _current(self) -> Network:
        """The network, with what the user wrote into ``coefs_`` and ``intercepts_``."""
        net = self._fitted()
        if self._shown is not None:
            new = [np.asarray(w).T for w in self._shown[0]], [np.asarray(b) for b in self._shown[1]]
            pairs = zip(new[0] + new[1], net.weights + net.biases, strict=True)
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
                net.weights, net.biases = new
        return net

    def _fitted(self) -> Network:
        try:
            net: Network = self.__dict__["_net"]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} is not fitted yet") from None
        return net
