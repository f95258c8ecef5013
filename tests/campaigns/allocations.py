"""Every allocation of a call fails in turn, once and from then on.

    python -m tests.campaigns.allocations [--calls create,train,...] [--every 1]

Linux with glibc. `failing.c` is built and preloaded; it counts what is asked of malloc, calloc,
realloc, memalign and mmap by anybody: the compiled modules, NumPy and Python itself, whose small
objects come from pools and ask rarely. For k = 0, 1, .. until the call meets no failure: a
MemoryError, the network as it was, and afterwards the same call with the same bits as ever. Some
allocations are done without (a second thread, a kept workspace, a warm cache): then the call gives
its result. At the end the whole is run again, and what is in use may not have grown.
"""

import argparse
import copy
import ctypes
import gc
import itertools
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import cbackprop
from cbackprop import Network

SIZES = [20, 70, 33, 4]
FOR_EVER = 2**40


X = np.random.default_rng(0).random((64, SIZES[0]))
Y = np.arange(64) % SIZES[-1]
MANY = np.tile(X, (40, 1))


def network(**options):
    net = Network(SIZES, activation="silu", output="softmax", rng=0, **options)
    net.train(X, Y, epochs=1, optimizer="adam")
    return net


def position_of(net):
    p = net._position
    where = (p.epoch, p.batch, p.steps, p.shape, p.cost_sum, len(net.history), str(net.classes))
    return str(where).encode()


def state(net):
    """Everything that the next call depends on."""
    parts = [x.tobytes() for x in net.weights + net.biases]
    return b"".join([*parts, position_of(net), net.__getstate__()])


def trained_part(net):
    return b"".join([*(x.tobytes() for x in net.weights + net.biases), str(net.steps).encode()])


def many_rows(net):
    return net.predict(MANY, n_threads=3)


def training(**options):
    return lambda net: net.train(X, Y, **{"batch_size": 16, "optimizer": "adam", **options})


def saved(net):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.cbp")
        path.write_bytes(b"before")
        try:
            net.save(path)
        except Exception:
            assert path.read_bytes() == b"before", "a failed save has changed the file"
            assert os.listdir(folder) == ["net.cbp"], "a failed save has left a file"
            raise
        return path.read_bytes()


def loaded(net):
    return cbackprop.load(FILE)


def assigned(net):
    net.weights = [w / 2 for w in net.weights]


def stepped(net):
    w = [np.ones((b, a)) for a, b in itertools.pairwise(SIZES)]
    net.apply_gradients((w, [np.ones(n) for n in SIZES[1:]]), optimizer="rmsprop")


CALLS = {
    "create": lambda net: Network(SIZES, output="softmax", rng=1),
    "train": training(epochs=3),
    "train, two threads": training(epochs=3, n_threads=2),
    "train, three threads": training(epochs=3, n_threads=3, dropout=0.2),
    "train, another optimiser": training(optimizer="rmsprop"),
    "train, validated": training(validation_split=0.2),
    "train, short": training(batch_size=64),
    "predict": lambda net: net.predict(X),
    "predict many": many_rows,
    "evaluate": lambda net: net.evaluate(X, Y),
    "gradients": lambda net: list(net.gradients(X, Y)),
    "pullback": lambda net: list(net.pullback(X, np.ones((64, 4)))),
    "apply_gradients": stepped,
    "set_weights": lambda net: net.set_weights(1, w=np.ones((33, 70))),
    "weights": assigned,
    "reset": lambda net: net.reset(),
    "save": saved,
    "load": loaded,
    "copy": copy.deepcopy,
}
FILE = ""


def result_of(call, net):
    """What the call gave, and the network after it, to be compared."""
    found = call(net)
    if isinstance(found, Network):
        found = state(found)
    elif isinstance(found, cbackprop.History):
        found = repr((found.cost, found.score))
    elif isinstance(found, list):
        found = b"".join(
            np.concatenate([np.ravel(a) for a in part]).tobytes() for part in found[1:3]
        )
    elif isinstance(found, np.ndarray):
        found = found.tobytes()
    return found


def attempt(call, net, lib, first, last):
    """(result or the exception, allocations seen); the data are made before."""
    lib.failing_arm(first, last)
    try:
        found = call(net)
    except BaseException as error:
        seen = lib.failing_disarm()
        error.__traceback__ = None
        return error, seen
    return found, lib.failing_disarm()


NOT_OURS = (
    "without exception set", "without setting an exception", "digital envelope routines",
    "can't allocate", "Cannot allocate",
)  # fmt: skip


def trial(call, lib, base, allowed, see, right, first, last):
    """One call with failures; (outcome, allocations, what is wrong)."""
    net, before = copy.deepcopy(base), allowed[0]
    found, seen = attempt(call, net, lib, first, last)
    if isinstance(found, MemoryError):
        del found
        now = see(net)
        if now not in allowed:
            return "MemoryError", seen, "the network has changed"
        if now == before and result_of(call, net) != right:
            return "MemoryError", seen, "the same call afterwards gives something else"
        return "MemoryError", seen, None
    if isinstance(found, BaseException):
        # NumPy, OpenSSL and the locks of Python do not always say MemoryError.
        others = any(words in str(found) for words in NOT_OURS)
        found = None if others else f"raised {found!r}"
        if found is None and see(net) not in allowed:
            found = "the network has changed"
        return "not said by us", seen, found
    return "done without", seen, None


def campaign(names, every, lib, show):
    wrong, outcomes = [], Counter()
    base = network()
    before = state(base)
    for name in names:
        call = CALLS[name]
        net = copy.deepcopy(base)
        right = result_of(call, net)
        # Once trained, an epoch stays, though what comes after it, its validation, may fail.
        allowed, see = [before], state
        if name == "train, validated":
            allowed, see = [trained_part(base), trained_part(net)], trained_part
        for ends in ("once", "from then on"):
            k = 0
            while True:
                outcome, seen, complaint = trial(
                    call, lib, base, allowed, see, right, k, k if ends == "once" else FOR_EVER
                )
                if seen <= k:
                    break
                outcomes[outcome] += 1
                if complaint:
                    wrong.append(f"{name}, allocation {k}, {ends}: {complaint}")
                    show(wrong[-1])
                k += every
            show(f"{name}: {k} allocations fail {ends}")
    return outcomes, wrong


def in_use():
    class Info(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t)
            for name in ("a", "b", "c", "d", "hblkhd", "e", "f", "uordblks", "g", "h")
        ]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Info
    gc.collect()
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd


def inside(options):
    """In the process where the library is preloaded."""
    global FILE
    lib = ctypes.CDLL(None)
    lib.failing_arm.argtypes = [ctypes.c_long, ctypes.c_long]
    lib.failing_disarm.restype = ctypes.c_long
    names = [n for n in CALLS if not options.calls or n in options.calls.split(";")]
    with tempfile.TemporaryDirectory() as folder:
        FILE = str(Path(folder, "model.cbp"))
        network().save(FILE)
        used = []
        for n in range(options.passes):
            show = print if n == 0 else lambda text: None
            outcomes, wrong = campaign(names, options.every, lib, show)
            used.append(in_use())
        grown = used[-1] - used[-2] if options.passes > 2 else 0
    counts = ", ".join(f"{n:,} {name}" for name, n in outcomes.most_common())
    print(
        f"{outcomes.total():,} failures: {counts}; {len(wrong)} wrong; {grown:,} bytes more in use"
    )
    return 1 if wrong or grown > 100_000 else 0


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", default="", help="names, separated by ;")
    parser.add_argument("--every", type=int, default=1, help="a part: every so many allocations")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.inside:
        return inside(options)
    source = Path(__file__).with_name("failing.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "failing.so")
        compiler = os.environ.get("CC", "gcc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", source, "-o", library], check=True)
        command = [sys.executable, "-m", "tests.campaigns.allocations", "--inside"]
        command += [
            f"--calls={options.calls}",
            f"--every={options.every}",
            f"--passes={options.passes}",
        ]
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run(
            command, cwd=Path(__file__).resolve().parents[2], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
