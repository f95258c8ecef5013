"""Random use of a network for hours, against NumPy:

    python -m tests.campaigns.soak [--seconds 3600] [--seed 0]

A Hypothesis state machine trains (whole and broken epochs, on one to three threads), goes on, saves
and loads, copies, predicts, takes single steps, assigns weights, resets, and is refused. Beside it
`cbackprop.reference` does the same with arrays; after every step weights (to 1e-7), steps, epochs
and predictions (to 1e-9) are compared, in float64. Needs the `test` extra.
"""

import argparse
import contextlib
import copy
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import cbackprop
from cbackprop import Network, optimizers, reference

SIZES, ROWS, BATCH, ETA = [3, 17, 4, 2], 23, 5, 0.01
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = np.random.default_rng(1).random((ROWS, 2))
BATCHES = -(-ROWS // BATCH)


class Break:
    """Ctrl-C after some mini-batches."""

    def __init__(self, after):
        self.left = after

    def on_batch_end(self, net, epoch, batch):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Model:
    """The network as arrays, and where its epoch is broken."""

    def __init__(self, net, name):
        self.rule, self.sigmas, self.cost = optimizers.get(name), net.activations, net.cost
        self.restart(net)

    def restart(self, net):
        self.look(net)
        self.memory = [{} for _ in self.theta]
        self.t = self.steps = self.batch = self.epochs = 0

    def look(self, net):
        self.theta = [x.copy() for x in net.weights + net.biases]

    def halves(self):
        return self.theta[: len(SIZES) - 1], self.theta[len(SIZES) - 1 :]

    def gradient(self, rows):
        found = reference.backprop(*self.halves(), self.sigmas, self.cost, X[rows], Y[rows])
        return [*found.nabla_w, *found.nabla_b]

    def step(self, g):
        self.t += 1
        self.steps += 1
        triples = zip(self.theta, g, self.memory, strict=True)
        self.theta = [reference.update(self.rule, x, n, m, self.t, ETA) for x, n, m in triples]

    def train(self, epochs, after=None):
        """Whole epochs, the broken one first; or so many mini-batches of them."""
        left = (epochs + (self.batch > 0)) * BATCHES - self.batch
        for _ in range(left if after is None else min(left, after)):
            self.close()
            rows = slice(self.batch * BATCH, (self.batch + 1) * BATCH)
            self.step(self.gradient(rows))
            self.batch += 1
        if after is None or after > left:
            self.close()

    def close(self):
        """An epoch broken after its last mini-batch ends with the next call."""
        if self.batch == BATCHES:
            self.batch, self.epochs = 0, self.epochs + 1


class Use(RuleBasedStateMachine):
    steps = 0

    @initialize(
        name=st.sampled_from(["sgd", "momentum", "adam", "rmsprop", "nadam", "amsgrad"]),
        sigma=st.sampled_from(["tanh", "sigmoid", "silu", "softplus"]),
        seed=st.integers(0, 2**32),
    )
    def begin(self, name, sigma, seed):
        self.net = Network(SIZES, activation=sigma, dtype="float64", rng=seed)
        self.initial = [x.copy() for x in self.net.weights + self.net.biases]
        self.model, self.name = Model(self.net, name), name

    def options(self, threads):
        return {
            "batch_size": BATCH, "learning_rate": ETA, "optimizer": self.name, "shuffle": False,
            "n_threads": threads,
        }  # fmt: skip

    def compare(self):
        Use.steps += 1
        net, model = self.net, self.model
        for x, right in zip(net.weights + net.biases, model.theta, strict=True):
            # rmsprop makes much of rounding: 1e-10 after 15 steps
            np.testing.assert_allclose(x, right, rtol=1e-7, atol=1e-8)
        assert (net.steps, len(net.history)) == (model.steps, model.epochs)
        model.look(net)

    @rule(epochs=st.integers(1, 3), threads=st.integers(1, 3))
    def train(self, epochs, threads):
        self.net.train(X, Y, epochs=epochs, **self.options(threads))
        self.model.train(epochs)
        self.compare()

    @rule(after=st.integers(1, 9), epochs=st.integers(1, 2), threads=st.integers(1, 3))
    def interrupt(self, after, epochs, threads):
        options = self.options(threads)
        with contextlib.suppress(KeyboardInterrupt):
            self.net.train(X, Y, epochs=epochs, callbacks=[Break(after)], **options)
        self.model.train(epochs, after)
        self.compare()

    @rule(way=st.sampled_from(["file", "pickle", "copy"]))
    def through(self, way):
        if way == "file":
            with tempfile.TemporaryDirectory() as folder:
                self.net.save(Path(folder, "net"))
                self.net = cbackprop.load(Path(folder, "net"))
        else:
            once = pickle.loads(pickle.dumps(self.net)) if way == "pickle" else self.net
            self.net = copy.deepcopy(once)
        self.compare()

    @rule(threads=st.integers(1, 3), rows=st.integers(1, ROWS))
    def predict(self, threads, rows):
        right = reference.forward(*self.model.halves(), self.model.sigmas, X[:rows])[1][-1]
        found = self.net.predict(X[:rows], n_threads=threads)
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-12)
        assert self.net.predict(X[:rows]).tobytes() == found.tobytes()

    @rule(rows=st.integers(1, ROWS))
    def apply(self, rows):
        g = self.net.gradients(X[:rows], Y[:rows])
        right = self.model.gradient(slice(0, rows))
        for x, y in zip([*g.nabla_w, *g.nabla_b], right, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
        self.net.apply_gradients(g, optimizer=self.name, learning_rate=ETA)
        self.model.step(right)
        self.compare()

    @rule(layer=st.integers(0, len(SIZES) - 2), seed=st.integers(0, 99))
    def assign(self, layer, seed):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=(SIZES[layer + 1], SIZES[layer])) / 3
        self.net.set_weights(layer, w=w)
        self.model.theta[layer] = w
        self.compare()

    @rule()
    def reset(self):
        self.net.reset()
        for x, right in zip(self.net.weights + self.net.biases, self.initial, strict=True):
            assert x.tobytes() == right.tobytes()
        self.model.restart(self.net)
        self.compare()

    @rule(kind=st.sampled_from(["nan", "narrow", "options", "targets"]))
    def refused(self, kind):
        try:
            if kind == "nan":
                self.net.train(np.full_like(X, np.nan), Y, **self.options(2))
            elif kind == "narrow":
                self.net.train(X[:, :2], Y, **self.options(1))
            elif kind == "targets":
                self.net.evaluate(X, Y[:-1])
            else:
                self.net.train(X, Y, dropout=2.0)
        except ValueError:
            pass
        else:
            raise AssertionError("it was taken")
        self.compare()


def soak(seconds, seed=0, steps=50):
    """Machines of so many steps, one after the other; how many, and how many steps in all."""
    import random

    Use.steps, machines, end = 0, 0, time.monotonic() + seconds
    while machines == 0 or time.monotonic() < end:
        random.seed(seed + machines)
        run_state_machine_as_test(
            Use,
            settings=settings(
                max_examples=20,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
        machines += 20
    return machines, Use.steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    machines, steps = soak(options.seconds, options.seed)
    print(f"{options.seconds:g} s: {machines:,} networks, {steps:,} comparisons, none differs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
