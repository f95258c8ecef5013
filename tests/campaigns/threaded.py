"""What `thread_sanitizer.py` runs: every way in which threads share work, over and over.

    python tests/campaigns/threaded.py [seconds]

Training by samples, by columns and by turns, with dropout and every kind of score, from blocks,
with checkpoints, in bfloat16, on every kernel table, and through the kernels for narrow rows, few
outputs and large mini-batches, which have loads and stores of their own; predictions, gradients
and evaluations from several threads on one network, each with threads of its own; other threads
refused while it trains; many networks at once; Ctrl-C into each way.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cbackprop import Checkpoint, Network, _engine, train_many


def data(rows, n_in, n_out, dtype=np.float32):
    rng = np.random.default_rng(rows)
    return rng.random((rows, n_in)).astype(dtype), rng.integers(0, n_out, rows)


# Sizes, batch size, rows: the samples shared out, the first layer's columns owned, turns taken;
# rows that fit a vector and outputs that fill half a one; operands of BP4 laid out in blocks.
WAYS = {
    "samples": ([40, 150, 150, 10], 128, 1000),
    "columns": ([784, 30, 10], 10, 600),
    "turns": ([20, 40, 40, 5], 4000, 8000),
    "narrow": ([4, 32, 16, 4], 3000, 6000),
    "large": ([400, 128, 10], 512, 1024),
}


def trained(way, dtype="float32", **options):
    sizes, batch, rows = WAYS[way]
    net = Network(sizes, output="softmax", rng=0, dtype=dtype)
    X, y = data(rows, sizes[0], sizes[-1], dtype)
    net.train(X, y, **{"batch_size": batch, "epochs": 3, **options})
    return net


def ways():
    for way in WAYS:
        for threads in (2, 3, 4):
            for optimizer in ("sgd", "adam"):
                trained(way, n_threads=threads, optimizer=optimizer)
        trained(way, n_threads=3, dropout=0.3, input_noise=0.1, clip_norm=1.0, l1=0.01, l2=0.01)
        trained(way, n_threads=2, validation_split=0.2, sample_weight=np.arange(WAYS[way][2]) % 3)
    net = Network([40, 150, 7], output="identity", rng=0)  # R^2: each output a sum of its own
    net.train(data(500, 40, 7)[0], np.ones((500, 7)), n_threads=3, batch_size=50)
    trained("narrow", "float64", n_threads=3)
    if Network([2, 2], rng=0)._engine.has_bf16:
        for way in ("samples", "large"):
            trained(way, n_threads=3, compute="bf16", optimizer="adam")


def tables():
    for name in _engine.kernel_names():
        before = _engine.kernels_in_use()
        _engine.choose_kernels(name)
        for way in WAYS:
            trained(way, n_threads=2, epochs=1)
        _engine.choose_kernels(before)


class Breaks:
    def on_batch_end(self, net, epoch, batch):
        if epoch == 1:
            raise KeyboardInterrupt


def pieces():
    X, y = data(1000, 40, 10)
    blocks = [(X[n : n + 250], y[n : n + 250]) for n in range(0, 1000, 250)]
    with tempfile.TemporaryDirectory() as folder:
        for options in ({}, {"optimizer": "adam", "dropout": 0.2}):
            net = Network([40, 150, 150, 10], output="softmax", rng=0)
            net.train(blocks, n_threads=3, batch_size=100, epochs=3, **options)
        for way in WAYS:
            options = {"checkpoint": Checkpoint(Path(folder, way), every_batches=1)}
            with contextlib.suppress(KeyboardInterrupt):
                trained(way, n_threads=3, callbacks=[Breaks()], **options)
            net = trained(way, n_threads=2, resume=True, **options)
            assert net.steps == trained(way, n_threads=3).steps


def readers():
    net = trained("samples")
    X, y = data(900, 40, 10)
    calls = [
        lambda: net.predict(X, n_threads=2),
        lambda: net.predict(X[:1]),
        lambda: net.evaluate(X, y, n_threads=3)["cost"],
        lambda: net.gradients(X, y, n_threads=2).nabla_w[0],
        lambda: net.gradients(X[:8], y[:8]).delta[0],
        lambda: net.weights[0],
    ]
    with ThreadPoolExecutor(6) as pool:
        for call in calls:
            results = list(pool.map(lambda _, call=call: np.asarray(call()).tobytes(), range(12)))
            assert len(set(results)) == 1


def busy():
    net, X = trained("samples"), data(64, 40, 10)[0]
    refused = []

    class Tries:
        def on_epoch_end(self, net, history):
            return len(history) > 30

    def read():
        for _ in range(200):
            try:
                net.predict(X)
            except RuntimeError as error:
                refused.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(200):
        try:
            net.train(*data(200, 40, 10), n_threads=2, epochs=40, callbacks=[Tries()])
            break
        except RuntimeError:  # the reader has it
            pass
    thread.join()


def networks():
    specs = [{"sizes": [40, 30, 10], "rng": n, "optimizer": "adam"} for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        common = {"output": "softmax", "epochs": 5, "n_threads": 2, "batch_size": 50}
        found = list(train_many(specs, *data(300, 40, 10), executor=pool, **common))
    assert len(found) == 8


def interrupted():
    for way in WAYS:
        for delay in (0.01, 0.05, 0.1):
            timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with contextlib.suppress(KeyboardInterrupt):
                trained(way, n_threads=3, epochs=10**6)
            timer.join()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    end = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 0)
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        for part in (ways, tables, pieces, readers, busy, networks, interrupted):
            began = time.monotonic()
            part()
            print(f"{part.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        rounds += 1
    print(f"{rounds} rounds")
