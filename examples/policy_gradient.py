"""
A policy gradient balances a pole
=================================

A policy gradient: a softmax network learns to balance a pole, without a cost of its own.

REINFORCE with a baseline (R. J. Williams, 1992): of an episode's actions, raise log pi of those
that did better than expected. The quantity to make small is

    C = - mean_t A_t log pi(action_t | state_t),   dC/da_k = - A_t / a_k for the action taken,

and `pullback` carries dC/da through the network; `apply_gradients` takes the step. The cart and
pole are those of A. G. Barto, R. S. Sutton, C. W. Anderson (1983), 16 at a time.

Run: python examples/policy_gradient.py   (about 10 seconds)
"""

import numpy as np

from cbackprop import Network

CARTS, STEPS = 16, 200  # episodes at a time; a pole that stands so long has been balanced
GRAVITY, POLE, CART, HALF_LENGTH, FORCE, SECONDS = 9.8, 0.1, 1.0, 0.5, 10.0, 0.02


def step(state, right):
    """The state (CARTS, 4), x, x', theta, theta', after pushing right or left."""
    _, speed, angle, turning = state.T
    force = np.where(right, FORCE, -FORCE)
    total, sine, cosine = POLE + CART, np.sin(angle), np.cos(angle)
    push = (force + POLE * HALF_LENGTH * turning**2 * sine) / total
    swing = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / total))
    pull = push - POLE * HALF_LENGTH * swing * cosine / total
    return state + SECONDS * np.stack([speed, pull, turning, swing], axis=1)


def episodes(net, rng):
    """States, actions and whether the pole still stood, (STEPS, CARTS, ...)."""
    state = rng.uniform(-0.05, 0.05, (CARTS, 4))
    standing = np.ones(CARTS, bool)
    states, actions, alive = [], [], []
    for _ in range(STEPS):
        right = rng.random(CARTS) < net.predict(state)[:, 1]
        states.append(state)
        actions.append(right.astype(int))
        alive.append(standing)
        state = step(state, right)
        standing = standing & (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)
    return np.array(states), np.array(actions), np.array(alive)


def gradient(net, states, actions, alive):
    """dC of the steps taken while the pole stood."""
    to_come = alive[::-1].cumsum(axis=0)[::-1]  # steps each pole still stood: the return
    expected = np.where(alive, to_come, 0).sum(axis=1, keepdims=True)
    expected = expected / np.maximum(1, alive.sum(axis=1, keepdims=True))
    advantage = (to_come - expected)[alive] / STEPS
    X, taken = states[alive], actions[alive]
    v = np.zeros((len(X), 2))
    rows = np.arange(len(X))
    v[rows, taken] = -advantage / net.predict(X)[rows, taken]
    return net.pullback(X, v)


def main(rounds=150, seed=0):
    """Mean length of an episode before and after, of 200 steps at most."""
    rng = np.random.default_rng(seed)
    net = Network([4, 32, 2], activation="tanh", output="softmax", dtype="float64", rng=seed)
    lengths = []
    for _ in range(rounds):
        seen = episodes(net, rng)
        lengths.append(seen[2].sum() / CARTS)
        net.apply_gradients(gradient(net, *seen), optimizer="adam", learning_rate=0.01)
    before, after = np.mean(lengths[:5]), np.mean(lengths[-10:])
    print(f"a pole stood for {before:.0f} steps at first, {after:.0f} of {STEPS} in the end")
    return before, after


if __name__ == "__main__":
    main()
