"""
Certain and wrong: two costs
============================

A sigmoid neuron that starts certain of the wrong answer has sigma'(z) near 0. With the quadratic
cost BP1 multiplies its error by that number, so it does not learn for a long time; with the
cross-entropy sigma'(z) cancels and delta is a - y (the book's chapter 3).

Run: python examples/two_costs.py   (a moment; needs matplotlib)
"""

import matplotlib.pyplot as plt
import numpy as np

from cbackprop import Network

# %%
# One neuron, one sample: for the input 1 the output is to be 0. It begins at z = 4, where the
# output is 0.98. After each step, what it says.

x, y = np.ones((1, 1)), np.zeros((1, 1))
outputs = {}
for cost in ["quadratic", "cross_entropy"]:
    net = Network([1, 1], cost=cost, dtype="float64")
    net.set_weights(0, w=[[2.0]], b=[2.0])
    outputs[cost] = [float(net.predict(x)[0, 0])]
    for _ in range(300):
        net.train(x, y, learning_rate=0.15)
        outputs[cost].append(float(net.predict(x)[0, 0]))

# %%
# What the outputs were, and the reason: delta of that neuron by z, as ``gradients`` gives it.

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for cost, curve in outputs.items():
    left.plot(curve, label=cost)
left.set_xlabel("step")
left.set_ylabel("output a, which should be 0")
left.legend()

z = np.linspace(-6, 6, 121)
for cost in outputs:
    net = Network([1, 1], cost=cost, dtype="float64")
    net.set_weights(0, w=[[1.0]], b=[0.0])
    delta = net.gradients(z[:, None], np.zeros((len(z), 1))).delta[0][:, 0]
    right.plot(z, delta, label=cost)
right.set_xlabel("z")
right.set_ylabel(r"$\delta$ for the target 0")
right.legend()
plt.show()
