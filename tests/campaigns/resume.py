"""python -m tests.campaigns.resume: training killed (SIGKILL) at random moments and resumed until
it is done; weights and history against the unbroken run's, to the bit.

Each child is forked from a process that has imported everything, and killed after a random time;
trainings differ in optimiser, options, threads and in how often checkpoints are written, so that
many a kill falls into a save.
"""

import argparse
import hashlib
import itertools
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from cbackprop import Checkpoint, EarlyStopping, Network

X = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
REAL = X[:, :2] ** 2
TRAININGS = [
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"optimizer": "adam", "dropout": 0.3, "input_noise": 0.1},
    {"optimizer": "momentum", "validation_split": 0.2, "early_stopping": EarlyStopping(patience=3)},
    {"optimizer": "rmsprop", "clip_norm": 0.5, "max_norm": 2.0, "real": True},
]
PLANS = [{"every_batches": 1}, {"every_batches": 7}, {"every_epochs": 1}, {"every_seconds": 0.01}]


def digest(training, plan, path, threads):
    """Of a training that runs to its end."""
    options = dict(training)
    real = options.pop("real", False)
    net = Network([8, 24, 2 if real else 3], output="identity" if real else "softmax", rng=0)
    if path is not None:
        options |= {"checkpoint": Checkpoint(path, **plan), "resume": True}
    net.train(X, REAL if real else Y, epochs=12, batch_size=20, n_threads=threads, **options)
    history = net.history.to_dict()
    del history["seconds"]
    found = [w.tobytes() for w in net.weights + net.biases], history, net.steps
    return hashlib.sha256(repr(found).encode()).hexdigest()


def child(training, plan, path, threads, out):
    """The process id of one that trains, then writes its digest."""
    process = os.fork()
    if process:
        return process
    try:
        Path(out).write_text(digest(training, plan, path, threads), encoding="ascii")
        os._exit(0)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
        os._exit(1)


def ended(process, seconds):
    """Whether it ended by itself within so long; else it is killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a training ended with status {status}")
            return True
        time.sleep(1e-4)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.resume")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    kills = runs = differ = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "digest")

        def in_child(training):  # so that this process never has threads
            ended(child(training, {}, None, 1, out), 60)
            return out.read_text(encoding="ascii")

        expected = [in_child(training) for training in TRAININGS]
        kinds = itertools.cycle(itertools.product(range(len(TRAININGS)), PLANS))
        while kills < options.kills:
            kind, plan = next(kinds)
            path = Path(folder, "checkpoint")
            path.unlink(missing_ok=True)
            out.unlink()
            while True:
                threads = chance.choice([1, 2, 3])
                process = child(TRAININGS[kind], plan, path, threads, out)
                # The later ones get longer: each must come somewhat further than a save.
                if ended(process, chance.uniform(0.002, 0.15)):
                    break
                kills += 1
            runs += 1
            differ += out.read_text(encoding="ascii") != expected[kind]
        left = [name for name in os.listdir(folder) if name.startswith(".")]
    seconds = time.monotonic() - began
    print(f"{kills} kills in {runs} trainings, {seconds:.0f} s: {differ} differ from the unbroken "
          f"run; {len(left)} temporary files left by kills in the middle of a save")  # fmt: skip
    raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()
