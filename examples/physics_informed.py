"""
A network that learns a differential equation
=============================================

A physics-informed network: it learns a differential equation, not data.

Poisson's equation u''(x) = f(x) on (0, 1), u(0) = u(1) = 0, with f(x) = -pi^2 sin(pi x), whose
solution is u(x) = sin(pi x) (M. Raissi, P. Perdikaris, G. E. Karniadakis, 2019, for the idea).
The cost is

    C = mean over points x of r(x)^2 / 2  +  100 (u(0)^2 + u(1)^2),   r = u'' - f,

with u'' as the difference (u(x + h) - 2 u(x) + u(x - h)) / h^2. Of the network's outputs at the
rows x - h, x, x + h the residual is a linear function, so dC/da of every row is exact, and
`pullback` takes it from there. In float64, since a second difference loses half the digits.

Run: python examples/physics_informed.py   (about 5 seconds)
"""

import numpy as np

from cbackprop import Network
from cbackprop.schedules import Cosine

POINTS, H = 64, 1e-2


def main(steps=4000, seed=0):
    """The largest error of u at 200 points, as a part of the largest u, which is 1."""
    rng = np.random.default_rng(seed)
    net = Network([1, 24, 24, 1], activation="tanh", output="identity", dtype="float64", rng=seed)
    rate = Cosine(0.005, steps, 1e-5)
    for i in range(steps):
        x = rng.uniform(H, 1 - H, POINTS)
        rows = np.concatenate([x - H, x, x + H, [0.0, 1.0]])[:, None]
        left, middle, right, ends = np.split(
            net.predict(rows)[:, 0], [POINTS, 2 * POINTS, 3 * POINTS]
        )
        residual = (left - 2 * middle + right) / H**2 + np.pi**2 * np.sin(np.pi * x)
        slope = residual / H**2 / POINTS  # dC/d(left), dC/d(right)
        v = np.concatenate([slope, -2 * slope, slope, 200 * ends])
        # pullback gives means over the rows; C is a sum over them
        g = net.pullback(rows, len(rows) * v)
        net.apply_gradients(g, optimizer="adam", learning_rate=rate(i))
    x = np.linspace(0, 1, 200)[:, None]
    error = float(np.abs(net.predict(x) - np.sin(np.pi * x)).max())
    print(f"largest error of u(x) after {steps} steps: {error:.1e}")
    return error


if __name__ == "__main__":
    main()
