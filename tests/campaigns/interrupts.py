"""python -m tests.campaigns.interrupts: Ctrl-C (SIGINT) at random moments of training, in a process
with nothing else to do and in one whose other threads keep the interpreter busy.

After each: how long KeyboardInterrupt took, whether the weights are those of training just as many
whole mini-batches, and whether the network goes on to where it would have come.
"""

import argparse
import os
import random
import signal
import threading
import time

import numpy as np

from cbackprop import Network

X = np.random.default_rng(0).normal(size=(4000, 20)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
ROWS = 32


def network():
    return Network([20, 48, 3], output="softmax", rng=0)


class StopAfter:
    def __init__(self, batches):
        self.batches = batches

    def on_batch_end(self, net, epoch, batch):
        return net.steps == self.batches


def bits(net):
    return [w.tobytes() for w in net.weights + net.biases]


def interrupted(after, threads):
    """A network that Ctrl-C broke off, and the seconds from the signal to the exception."""
    net, sent = network(), []

    def send():
        time.sleep(after)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    try:
        sender.start()
        net.train(X, Y, epochs=10_000, batch_size=ROWS, n_threads=threads)
        raise SystemExit(f"no KeyboardInterrupt came out after {net.steps} steps")
    except KeyboardInterrupt:
        seconds = time.perf_counter() - sent[0]
    sender.join()
    return net, seconds


def series(count, chance, busy):
    """busy: an Event, set while other threads are to keep the interpreter busy."""
    seconds, differ = [], 0
    for _ in range(count):
        threads = chance.choice([1, 2, None])
        busy.set()
        net, took = interrupted(chance.uniform(0, 0.03), threads)
        busy.clear()  # a callback after each mini-batch would wait for them
        seconds.append(took)
        other = network()
        if net.steps:
            other.train(X, Y, epochs=10_000, batch_size=ROWS, callbacks=[StopAfter(net.steps)])
        differ += bits(net) != bits(other) or net.steps != other.steps
        net.train(X, Y, batch_size=ROWS)
        other.train(X, Y, batch_size=ROWS)
        differ += bits(net) != bits(other)
    return np.array(seconds) * 1e3, differ


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.interrupts")
    parser.add_argument("--signals", type=int, default=1000, help="in each process")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, failed = random.Random(options.seed), 0
    # Shells start what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    busy, done = threading.Event(), threading.Event()

    def keep_busy():
        while not done.is_set():
            busy.wait()
            sum(range(1000))

    for others in (0, 4):
        done.clear()
        threads = [threading.Thread(target=keep_busy) for _ in range(others)]
        for thread in threads:
            thread.start()
        try:
            seconds, differ = series(options.signals, chance, busy)
        finally:
            done.set()
            busy.set()
        for thread in threads:
            thread.join()
        failed += differ
        median, most = np.percentile(seconds, [50, 99])
        print(f"{len(seconds)} signals beside {others} busy threads: KeyboardInterrupt after "
              f"{median:.1f} ms (median), {most:.1f} (99 %), {seconds.max():.1f} (most); "
              f"{differ} differ", flush=True)  # fmt: skip
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
