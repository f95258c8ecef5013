"""Random use of a network for hours, against NumPy:

    python -m tests.campaigns.soak [--seconds 3600] [--seed 0]

A Hypothesis state machine trains (whole and broken epochs, on one to three threads), goes on, saves
and loads, copies, predicts, takes single steps, assigns weights, resets, and is refused. Beside it
`cbackprop.reference` does the same with arrays, in float64; after every step weights, what the
optimiser remembers, steps, epochs and predictions are compared. Needs the `test` extra.

Gradients may differ by 8 roundings of the absolute values of their terms, predictions by 1e-13.
So may weights and what the optimiser remembers, or the steps taken since the last comparison are
judged by their condition: where a gradient g cancels to nearly 0, a step eta g / (sqrt h + eps)
passes a rounding of g on as many as eta / eps = 10^6 times. Then the same steps are taken once in
long double, and three times in float64 with as many roundings more of each gradient, drawn; the
network may lie off the first by `LUCK` times what these do.
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
from cbackprop import Network, _engine, optimizers, reference

SIZES, ROWS, BATCH, ETA = [3, 17, 4, 2], 23, 5, 0.01
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = np.random.default_rng(1).random((ROWS, 2))
BATCHES = -(-ROWS // BATCH)
# What an optimiser remembers, in the order of the engine's planes.
PLANES = {"sgd": [], "momentum": ["v"], "rmsprop": ["h"], "adam": ["v", "h"], "nadam": ["v", "h"],
          "amsgrad": ["v", "h", "top"]}  # fmt: skip
CLOSE = 1e-13
# A gradient is made by sums of up to 17 terms, one after another in three layers, of functions
# good to 2 ULP, but most roundings cancel: 0.6 of one was the most in 52,048 gradients.
ROUNDINGS, LUCK = 8, 8


def apart(found, right):
    """The largest difference."""
    return np.max(np.abs(found - right))


def close(found, right):
    return all(
        apart(x, y) <= CLOSE * np.max(np.abs(y), initial=0)
        for x, y in zip(found, right, strict=True)
    )


def numbers(net, name):
    """Weights and biases, and every plane of what the optimiser remembers of them."""
    found, state = net.weights + net.biases, net._position.optimizer
    for k in range(len(PLANES[name]) if state else 0):
        pairs = [_engine.unpack(state.panels(k, l), net.sizes[l]) for l in range(1, len(SIZES))]
        found += [w for w, _ in pairs] + [b for _, b in pairs]
    return found


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
        self.theta = [x.copy() for x in net.weights + net.biases]
        self.memory = [{} for _ in self.theta]
        self.t = self.steps = self.batch = self.epochs = 0
        self.stand()

    def stand(self):
        """The next comparison is of the steps from here on."""
        self.start, self.taken = (list(self.theta), copy.deepcopy(self.memory), self.t), []

    def look(self, found):
        """Go on from the network's own numbers, so that roundings do not add up for hours."""
        n, names = len(self.theta), PLANES[self.rule.name]
        self.theta = found[:n]
        for k, name in enumerate(names if len(found) > n else []):
            for memory, plane in zip(self.memory, found[n * (k + 1) :][:n], strict=True):
                memory[name] = plane
        self.stand()

    def numbers(self):
        names = PLANES[self.rule.name] if self.memory[0] else []
        return self.theta + [memory[name] for name in names for memory in self.memory]

    def halves(self):
        return self.theta[: len(SIZES) - 1], self.theta[len(SIZES) - 1 :]

    def gradient(self, rows):
        """Of each array, and how much roundings may make of it, element by element: the same sums
        over absolute values, so that what cancels counts. sigma' is at most about 1, and it and
        sigma are good to a rounding of 1 where they are small."""
        weights, biases = self.halves()
        found = reference.backprop(weights, biases, self.sigmas, self.cost, X[rows], Y[rows])
        a = [np.abs(X[rows])]
        for w, b, activation in zip(weights, biases, found.a[1:], strict=True):
            a.append(np.maximum(np.abs(activation), a[-1] @ np.abs(w).T + np.abs(b)))
        delta, bounds_w, bounds_b = np.abs(found.a[-1]) + np.abs(Y[rows]), [], []
        for w, before in zip(weights[::-1], a[-2::-1], strict=True):
            bounds_w.insert(0, reference.weight_gradient(before, delta))
            bounds_b.insert(0, reference.bias_gradient(delta))
            delta = delta @ np.abs(w)
        u = ROUNDINGS * np.finfo(np.float64).eps / 2
        return [*found.nabla_w, *found.nabla_b], [u * x for x in bounds_w + bounds_b]

    def step(self, rows, noise=None):
        self.t += 1
        self.steps += 1
        self.taken.append(rows)
        g, bounds = self.gradient(rows)
        if noise is not None:
            g = [x + noise.uniform(-1, 1, x.shape) * r for x, r in zip(g, bounds, strict=True)]
        triples = zip(self.theta, g, self.memory, strict=True)
        self.theta = [reference.update(self.rule, x, n, m, self.t, ETA) for x, n, m in triples]

    def again(self, dtype, noise=None):
        """The numbers after the steps since the last comparison, taken once more."""
        twin = copy.copy(self)
        theta, memory, twin.t = copy.deepcopy(self.start)
        twin.theta, twin.taken = [x.astype(dtype) for x in theta], []
        twin.memory = memory
        for rows in self.taken:
            twin.step(rows, noise)
        return twin.numbers()

    def explains(self, found):
        """Whether roundings may have led the network so far off."""
        truth = self.again(np.longdouble)
        others = [self.again(np.float64, np.random.default_rng(i)) for i in range(3)]
        room = [
            LUCK * max(map(apart, ways, [t] * 3)) for t, *ways in zip(truth, *others, strict=True)
        ]
        return all(apart(x, t) <= r for x, t, r in zip(found, truth, room, strict=True))

    def train(self, epochs, after=None):
        """Whole epochs, the broken one first; or so many mini-batches of them."""
        left = (epochs + (self.batch > 0)) * BATCHES - self.batch
        for _ in range(left if after is None else min(left, after)):
            self.close()
            rows = slice(self.batch * BATCH, (self.batch + 1) * BATCH)
            self.step(rows)
            self.batch += 1
        if after is None or after > left:
            self.close()

    def close(self):
        """An epoch broken after its last mini-batch ends with the next call."""
        if self.batch == BATCHES:
            self.batch, self.epochs = 0, self.epochs + 1


class Use(RuleBasedStateMachine):
    steps = judged = 0

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
        found, right = numbers(net, self.name), model.numbers()
        if not close(found, right):
            Use.judged += 1
            assert model.explains(found)
        assert (net.steps, len(net.history)) == (model.steps, model.epochs)
        model.look(found)

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
        assert close([found], [right])
        assert self.net.predict(X[:rows]).tobytes() == found.tobytes()

    @rule(rows=st.integers(1, ROWS))
    def apply(self, rows):
        g = self.net.gradients(X[:rows], Y[:rows])
        right, bounds = self.model.gradient(slice(0, rows))
        for x, y, r in zip([*g.nabla_w, *g.nabla_b], right, bounds, strict=True):
            assert (np.abs(x - y) <= r).all()
        self.net.apply_gradients(g, optimizer=self.name, learning_rate=ETA)
        self.model.step(slice(0, rows))
        self.compare()

    @rule(layer=st.integers(0, len(SIZES) - 2), seed=st.integers(0, 99))
    def assign(self, layer, seed):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=(SIZES[layer + 1], SIZES[layer])) / 3
        self.net.set_weights(layer, w=w)
        self.model.theta[layer] = w
        self.model.stand()
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
    """Machines of so many steps, one after the other; how many, and how many comparisons. Says so
    every five minutes."""
    import random

    Use.steps = Use.judged = machines = 0
    end = printed = time.monotonic()
    end += seconds
    while machines == 0 or time.monotonic() < end:
        if time.monotonic() - printed > 300:
            printed = time.monotonic()
            report(seconds - (end - printed), machines)
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


def report(seconds, machines):
    print(
        f"{seconds:.0f} s, {time.process_time():.0f} s of a core: {machines:,} networks, "
        f"{Use.steps:,} comparisons, none differs; {Use.judged:,} judged by their condition",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    machines, _ = soak(options.seconds, options.seed)
    report(options.seconds, machines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
