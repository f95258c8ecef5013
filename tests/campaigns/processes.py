"""Forks, exits, other processes and other people's threads around a training.

    python -m tests.campaigns.processes [forks exits fork spawn forkserver rounding writers] [n]

- forks: 500 while another thread trains on three threads; each child trains on two, to the bits of
  its parent, and ends.
- exits: 1,000 interpreters end while a daemon thread trains, after 0 to 30 ms.
- fork, spawn, forkserver: multiprocessing's ways to make processes that train, after the parent.
- rounding: the caller rounds upward or towards zero; the bits are those of rounding to nearest, for
  one thread and for several, and the caller's rounding is as it was, also in callbacks.
- writers: a thread writes into X all the time, NaN and infinity too; training ends, well or by a
  documented exception, and the network predicts.
"""

import ctypes
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

import numpy as np

from cbackprop import DivergenceError, Network

RNG = np.random.default_rng(0)
X, Y = RNG.random((300, 20)).astype(np.float32), RNG.integers(0, 4, 300)
ROUNDING = {"to nearest": 0, "upward": 0x800, "towards zero": 0xC00}  # fenv.h of x86


def trained(threads, **options):
    """The hash of a small network."""
    net = Network([20, 48, 4], output="softmax", rng=0)
    net.train(X, Y, batch_size=100, epochs=2, n_threads=threads, **options)
    return digest(net)


def digest(net):
    return hashlib.sha256(b"".join(x.tobytes() for x in net.weights + net.biases)).hexdigest()


class Stop:
    """Ends a training that has no end of its own."""

    def __init__(self):
        self.now = False

    def on_epoch_end(self, net, history):
        return self.now


def in_background(stop):
    """A thread that trains on three threads until stop.now."""
    net = Network([20, 64, 64, 4], output="softmax", rng=1)
    options = {"n_threads": 3, "batch_size": 100, "epochs": 10**6, "callbacks": [stop]}
    thread = threading.Thread(target=net.train, args=(X, Y), kwargs=options, daemon=True)
    thread.start()
    return thread


def end_of(pid, seconds=60):
    """The exit status of a child; None, and an end to it, where it takes too long."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def forks(n=500):
    """What went wrong in the children."""
    right, stop = trained(2), Stop()
    thread = in_background(stop)
    wrong = []
    for i in range(n):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = 0 if trained(2) == right == trained(1) else 2
            finally:
                os._exit(status)
        status = end_of(pid)
        if status != 0:
            wrong.append(f"child {i}: {status}")
    stop.now = True
    thread.join()
    if trained(3) != right:
        wrong.append("the parent afterwards: other bits")
    return wrong


def exits(n=1000):
    """Each child leaves this function with None and ends as interpreters do."""
    wrong = 0
    for i in range(n):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            stop = Stop()
            in_background(stop)
            if i % 3 == 0:
                in_background(stop)
            time.sleep(random.Random(i).random() * 0.03)
            return None
        status = end_of(pid)
        wrong += status != 0
        if status != 0:
            print(f"exit {i}: status {status}")
    print(f"{n:,} exits, {wrong} wrong")
    return wrong


def by_multiprocessing(method):
    right = trained(2)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(trained, [1, 2, 3, 2])
    return 0 if set(found) == {right} else 1


def rounding(name):
    """0 where the bits are those of rounding to nearest, and the caller's rounding stays."""
    libm, mode, seen = ctypes.CDLL("libm.so.6"), ROUNDING[name], []

    class Sees:
        def on_batch_end(self, net, epoch, batch):
            seen.append(libm.fegetround())

    nets = [Network([20, 48, 4], output="softmax", rng=0) for _ in range(5)]
    rate = {"batch_size": 100, "learning_rate": 0.1}
    nets[0].train(X, Y, n_threads=1, **rate)
    libm.fesetround(mode)
    nets[1].train(X, Y, n_threads=1, callbacks=[Sees()], **rate)
    nets[2].train(X, Y, n_threads=3, **rate)  # makes its workers here
    kept = libm.fegetround() == mode and set(seen) == {mode}
    libm.fesetround(0)
    nets[3].train(X, Y, n_threads=3, **rate)
    found = [digest(net) == digest(nets[0]) for net in nets[1:4]]
    print(f"{name}: caller's rounding kept: {kept}; the bits of rounding to nearest: {found}")
    return 0 if kept and all(found) else 1


def writers(seconds=20.0):
    """What went wrong while somebody wrote into X."""
    wrong, stop = [], Stop()
    x, y = X.copy(), Y.copy()

    def write():
        values = np.array([np.nan, np.inf, 1e38, 0.5, -0.5], np.float32)
        rng = np.random.default_rng(1)
        while not stop.now:
            x[rng.integers(0, 300, 50), rng.integers(0, 20, 50)] = rng.choice(values, 50)
            y[rng.integers(0, 300, 50)] = rng.integers(0, 4, 50)

    thread = threading.Thread(target=write)
    thread.start()
    limit, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < limit:
        net = Network([20, 48, 4], output="softmax", rng=0)
        for call in (
            lambda net=net, n=1 + rounds % 3: net.train(x, y, n_threads=n, batch_size=50, epochs=5),
            lambda net=net: net.predict(x),
            lambda net=net: net.gradients(x, y),
            lambda net=net: net.evaluate(x, y),
        ):
            try:
                call()
            except (ValueError, DivergenceError):
                pass
            except BaseException as error:
                wrong.append(repr(error))
        if not np.isfinite(net.predict(X)).all():
            wrong.append("the network is not finite")
        rounds += 1
    stop.now = True
    thread.join()
    print(f"{rounds:,} rounds beside a writer, {len(wrong)} wrong")
    return wrong


PARTS = ["forks", "exits", "fork", "spawn", "forkserver", "rounding", "writers"]


def main(words):
    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word in PARTS] or PARTS
    modes = [word for word in words if word in ROUNDING] or list(ROUNDING)
    status = 0
    for name in names:
        if name == "forks":
            wrong = forks(*numbers)
            print(f"{numbers[0] if numbers else 500} forks, {len(wrong)} wrong", *wrong[:5])
            status |= bool(wrong)
        elif name == "exits":
            wrong = exits(*numbers)
            if wrong is None:  # a child, on its way out
                return 0
            status |= bool(wrong)
        elif name == "rounding":
            for mode in modes:
                status |= rounding(mode)
        elif name == "writers":
            status |= bool(writers(*numbers))
        else:
            status |= by_multiprocessing(name)
            print(f"{name}: {'wrong' if status else 'the same bits'}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
