"""
What the first layer looks for
==============================

A neuron of the first layer has one weight for each pixel, so its weights are an image: where it is
red, ink speaks for the neuron, where it is blue, against it.

Run: python examples/first_layer.py   (about a second; needs matplotlib)
"""

import matplotlib.pyplot as plt

from cbackprop import Network, plotting
from cbackprop.datasets import load_digits

# %%
# The same network twice, without and with a penalty on the weights: ``l2`` is the book's lambda.

data = load_digits()
fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
accuracy = {}
for ax, l2 in zip(axes, [0.0, 3.0], strict=True):
    net = Network([64, 30, 10], output="softmax", input_scale=data.input_scale, rng=0)
    X, y = data.X_train, data.y_train
    net.train(X, y, epochs=60, batch_size=10, learning_rate=0.5, l2=l2)
    accuracy[l2] = net.evaluate(data.X_test, data.y_test)["accuracy"]
    plotting.plot_weights(net, ax=ax)
    ax.set_title(f"lambda = {l2:g}: {accuracy[l2]:.1%} of the digits held out")
plt.show()

# %%
# A pixel at the edge that never has ink keeps the random weights it began with: their gradient is
# a times delta (BP4), and a is 0 there. The penalty takes away what no gradient defends: at the
# right those pixels are white, and the largest weights, by the scale, are less than half as large.
# Here it costs a little accuracy; lambda = 3 is more than this network needs.
