"""JAX: one jitted program for all epochs of a call, lax.scan over mini-batches, donated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

LABEL = "JAX"
FUNCTIONS = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "identity": lambda z: z,
}


def cost(work, parameters, x, y):
    a = x
    for l, (w, b) in enumerate(parameters):
        z = a @ w + b
        if l < len(parameters) - 1:
            a = FUNCTIONS[work.activation](z)
    if work.cost == "log_likelihood":
        picked = jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1)
        return -picked.sum() / len(x)
    if work.cost == "cross_entropy":
        return (jax.nn.softplus(z) - y * z).sum() / len(x)
    return 0.5 * ((FUNCTIONS[work.output](z) - y) ** 2).sum() / len(x)


def build(work, X, y, weights, threads, dtype):
    def step(carry, rows):
        parameters, first, second, t = carry
        x, target = state["X"][rows], state["y"][rows]
        g = jax.grad(functools.partial(cost, work))(parameters, x, target)
        if work.optimizer == "sgd":
            new = jax.tree.map(lambda p, d: p - work.learning_rate * d, parameters, g)
            return (new, first, second, t), None
        t = t + 1
        first = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, first, g)
        second = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, second, g)
        rate, scale = work.learning_rate / (1 - 0.9**t), 1 / (1 - 0.999**t)
        new = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + 1e-8), parameters, first, second
        )
        return (new, first, second, t), None

    @functools.partial(jax.jit, donate_argnums=0)
    def train(carry, batches):
        return jax.lax.scan(step, carry, batches)[0]

    parameters = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in weights]
    zeros = jax.tree.map(jnp.zeros_like, parameters) if work.optimizer == "adam" else None
    more = jax.tree.map(jnp.zeros_like, parameters) if work.optimizer == "adam" else None
    state = {
        "work": work, "X": jnp.asarray(X), "y": jnp.asarray(y), "train": train,
        "carry": (parameters, zeros, more, jnp.float32(0)),
    }  # fmt: skip
    return state


def run(state, orders, shuffle):
    batches = jnp.asarray(np.reshape(orders, (-1, state["work"].batch)).astype(np.int32))
    state["carry"] = state["train"](state["carry"], batches)
    jax.block_until_ready(state["carry"])


def parameters(state):
    return [(np.asarray(w).T, np.asarray(b)) for w, b in state["carry"][0]]
