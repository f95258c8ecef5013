"""
What a hidden layer is for
==========================

Two spirals, one class each. A network without a hidden layer can only divide the plane by a
straight line; with one, and more so with two, the border bends around the arms.

Run: python examples/decision_regions.py   (about a second; needs matplotlib)
"""

import matplotlib.pyplot as plt
import numpy as np

from cbackprop import Network, plotting

# %%
# Three times half a turn for each arm, with a little noise.

rng = np.random.default_rng(0)
turn = np.sqrt(rng.random(300)) * 3 * np.pi
arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1) / 10
X = np.concatenate([arm, -arm]) + rng.normal(0, 0.03, size=(600, 2))
y = np.repeat(["blue arm", "orange arm"], 300)

# %%
# The same training for three networks; only their layers differ.

fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
scores = {}
for ax, hidden in zip(axes, [[], [12], [24, 24]], strict=True):
    net = Network([2, *hidden, 2], activation="tanh", output="softmax", rng=1)
    net.train(X, y, epochs=400, batch_size=20, optimizer="adam", learning_rate=0.01)
    scores[str(hidden)] = net.evaluate(X, y)["accuracy"]
    plotting.plot_decision_regions(net, X, y, ax=ax)
    ax.set_title(f"hidden layers {hidden}: {scores[str(hidden)]:.0%}")
    if ax is not axes[-1]:
        ax.get_legend().remove()
plt.show()

# %%
# The picture asks the network at 300 x 300 points, one call of ``predict``.
