"""certify: each of BP1 to BP4, layer by layer, against complex-step derivatives.

The complex step: for an analytic f, f'(x) = Im f(x + ih) / h to rounding, without the
cancellation of differences (Squire and Trapp, SIAM Review 40, 1998). Central differences stand in
where a function of the user's refuses complex numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import reference
from cbackprop.activations import Activation
from cbackprop.costs import Cost

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

STEP = 1e-100  # no cancellation, so as small as one likes
ENGINE_TOLERANCE = 1e-12
DERIVATIVE_TOLERANCE = 1e-10
CENTRAL_STEP = 1e-5
CENTRAL_TOLERANCE = 1e-7
MOST_PARAMETERS = 10_000


@dataclass(frozen=True)
class Residual:
    """One equation in one layer.

    Attributes
    ----------
    equation : str
        BP1, BP2, BP3 or BP4.
    layer : int
        l, counted from 0 = input.
    engine : float
        max |engine - reference| / max |reference|.
    derivative : float
        max |reference - complex step| / max |reference|.
    checked : int
        How many derivatives were compared.
    tolerance : float
        Of ``derivative``: 1e-10, or 1e-7 for central differences.
    """

    equation: str
    layer: int
    engine: float
    derivative: float
    checked: int
    tolerance: float = DERIVATIVE_TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether both residuals are within tolerance; NaN is not."""
        return self.engine <= ENGINE_TOLERANCE and self.derivative <= self.tolerance


@dataclass(frozen=True)
class Certificate:
    """What `certify` found; prints as a table.

    Attributes
    ----------
    residuals : tuple of Residual
    passed : bool
        Whether every residual is within tolerance.
    """

    residuals: tuple[Residual, ...]

    @property
    def passed(self) -> bool:
        return all(residual.passed for residual in self.residuals)

    def __str__(self) -> str:
        lines = ["equation  layer  engine-reference  reference-derivative  derivatives"]
        lines += [
            f"{r.equation:<8}  {r.layer:>5}  {r.engine:>16.1e}  {r.derivative:>20.1e}"
            f"  {r.checked:>11,}{'' if r.passed else '  FAILED'}"
            for r in self.residuals
        ]
        lines.append(
            f"{'passed' if self.passed else 'FAILED'}: tolerance {ENGINE_TOLERANCE:g} "
            f"and {max(r.tolerance for r in self.residuals):g}, relative, float64"
        )
        return "\n".join(lines)


@dataclass
class _Case:
    """The network in float64, and its cost as a function of anything inside it."""

    weights: list[Array]
    biases: list[Array]
    activations: list[Activation]
    cost: Cost
    x: Array
    y: Array

    @property
    def complex_step(self) -> bool:
        return self.cost.complex_step and all(f.complex_step for f in self.activations)

    def slope(self, costs: Callable[[Array], Array], at: Array, index: Any) -> Array:
        """Of each sample's cost along the elements at[index]: a complex step; central differences
        where a function of the user's refuses complex numbers."""
        if self.complex_step:
            moved = at.astype(np.complex128)
            moved[index] += 1j * STEP
            result: Array = costs(moved).imag / STEP
            return result
        sides = []
        for step in (CENTRAL_STEP, -CENTRAL_STEP):
            moved = at.copy()
            moved[index] += step
            sides.append(costs(moved))
        result = (sides[0] - sides[1]) / (2 * CENTRAL_STEP)
        return result

    def costs_from(self, layer: int, z: Array) -> Array:
        """C of each sample as a function of z^layer (layer counted from 1)."""
        a = self.activations[layer - 1].function(z)
        zs, activations = [z], self.activations[layer - 1 :]
        if layer <= len(self.weights) - 1:
            rest = slice(layer, None)
            more, outputs = reference.forward(
                self.weights[rest], self.biases[rest], self.activations[rest], a
            )
            zs, a = more, outputs[-1]
        return reference.cost_of(activations[-1], self.cost, zs[-1], a, self.y)

    def delta(self, layer: int, z: Array) -> Array:
        """dC/dz^layer of each sample, (m, n), one neuron at a time."""
        columns = [
            self.slope(lambda moved: self.costs_from(layer, moved), z, (slice(None), j))
            for j in range(z.shape[1])
        ]
        return np.stack(columns, axis=1)

    def bias_gradient(self, layer: int, a_before: Array, which: Array) -> Array:
        """The mean cost's derivatives by these elements of b^layer."""
        w, b = self.weights[layer - 1], self.biases[layer - 1]

        def costs(moved: Array) -> Array:
            return self.costs_from(layer, a_before @ w.T + moved)

        return np.array([self.slope(costs, b, j).mean() for j in which])

    def weight_gradient(self, layer: int, a_before: Array, which: Array) -> Array:
        """The mean cost's derivatives by these elements of w^layer, counted row by row."""
        w, b = self.weights[layer - 1], self.biases[layer - 1]

        def costs(moved: Array) -> Array:
            return self.costs_from(layer, a_before @ moved.T + b)

        at = [np.unravel_index(flat, w.shape) for flat in which]
        return np.array([self.slope(costs, w, index).mean() for index in at])


def _distance(value: Array, truth: Array) -> float:
    # Relative to the largest element; a gradient that is 0 everywhere is met by 0.
    if truth.size == 0:
        return 0.0
    scale = float(np.abs(truth).max())
    distance = float(np.abs(value - truth).max())
    return distance / scale if scale > 0 else distance


def certify(net: "Network", X: Any, y: Any, *, rng: int = 0) -> Certificate:
    """Check the four equations of this network on these samples.

    Works in float64; a float32 network is checked as its float64 copy. The engine's delta,
    nabla_b and nabla_w must equal the reference's to 1e-12, and the reference's the
    complex-step derivatives of the cost to 1e-10 (central differences to 1e-7 where a function of
    yours refuses complex numbers), both relative to the layer's largest element. Above 10^4
    parameters a sample of them is checked.

    Parameters
    ----------
    net : Network
    X, y
        As for ``train``; a few samples are enough.
    rng : int
        Seed of the sample of parameters.

    Returns
    -------
    Certificate
        With ``.passed`` and ``.residuals``; prints as a table.

    Raises
    ------
    ValueError, TypeError
        X or y does not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> from cbackprop import Network
    >>> net = Network([2, 3, 2], output="softmax", cost="quadratic", rng=0)
    >>> certify(net, np.eye(2), [0, 1]).passed
    True
    """
    copy = net._in_float64()
    gradients = copy.gradients(X, y)
    target = copy._targets(y, len(gradients.a[0]))
    rows = target.array.astype(np.float64)
    if target.array.ndim == 1:
        n = copy.sizes[-1]
        rows = np.eye(n)[target.array] if n > 1 else rows[:, None]
    case = _Case(copy.weights, copy.biases, copy.activations, copy.cost, gradients.a[0], rows)
    truth = reference.backprop(
        case.weights, case.biases, case.activations, case.cost, case.x, case.y
    )
    generator = np.random.default_rng(rng)
    parameters = sum(w.size + b.size for w, b in zip(case.weights, case.biases, strict=True))

    def sample(size: int) -> Array:
        if parameters <= MOST_PARAMETERS:
            return np.arange(size)
        share = max(16, size * MOST_PARAMETERS // parameters)
        return np.sort(generator.choice(size, min(size, share), replace=False))

    tolerance = DERIVATIVE_TOLERANCE if case.complex_step else CENTRAL_TOLERANCE
    residuals = []
    n_layers = len(case.weights)
    for l in range(n_layers, 0, -1):
        stepped = case.delta(l, truth.z[l - 1])
        residuals.append(
            Residual(
                "BP1" if l == n_layers else "BP2",
                l,
                _distance(gradients.delta[l - 1], truth.delta[l - 1]),
                _distance(truth.delta[l - 1], stepped),
                stepped.size,
                tolerance,
            )
        )
    for equation, mine, theirs, derivative in (
        ("BP3", gradients.nabla_b, truth.nabla_b, case.bias_gradient),
        ("BP4", gradients.nabla_w, truth.nabla_w, case.weight_gradient),
    ):
        for l in range(n_layers, 0, -1):
            which = sample(theirs[l - 1].size)
            stepped = derivative(l, truth.a[l - 1], which)
            residuals.append(
                Residual(
                    equation,
                    l,
                    _distance(mine[l - 1], theirs[l - 1]),
                    _distance(theirs[l - 1].flat[which], stepped),
                    len(which),
                    tolerance,
                )
            )
    return Certificate(tuple(residuals))
