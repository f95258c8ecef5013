"""
Why early layers learn slowly
=============================

BP2 carries the error from a layer to the one before it, and multiplies it by sigma'(z) on the way.
For the sigmoid that is a quarter at most. So the more layers lie above one, the less error reaches
it, and the slower it learns: the vanishing gradient of the book's chapter 5.

Run: python examples/learning_slowdown.py   (about two seconds; needs matplotlib)
"""

import matplotlib.pyplot as plt

from cbackprop import Network, plotting
from cbackprop.datasets import load_digits

# %%
# ``history.delta_norms`` is the norm of each layer's error in each epoch. Five hidden layers of 30,
# with the sigmoid and with relu, whose derivative is 1 wherever it is not 0.

data = load_digits()
fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
ratio, score = {}, {}
pairs = [("sigmoid", "scaled"), ("relu", "he")]
for ax, (activation, init) in zip(axes, pairs, strict=True):
    net = Network(
        [64, 30, 30, 30, 30, 30, 10],
        activation=activation,
        output="softmax",
        init=init,
        input_scale=data.input_scale,
        rng=0,
    )
    X, y = data.X_train, data.y_train
    history = net.train(X, y, epochs=30, batch_size=10, learning_rate=0.05)
    first, last = history.delta_norms[0][0], history.delta_norms[0][-1]
    ratio[activation], score[activation] = first / last, history.score[-1]
    plotting.plot_delta_norms(history, ax=ax)
    ax.set_title(f"{activation}: accuracy {history.score[-1]:.0%} after 30 epochs")
plt.show()

# %%
# How much of the output layer's error reached the first layer in the first epoch:

for activation, value in ratio.items():
    print(f"{activation:8} {value:.1e}")
