"""Hashes of trainings and of the vector functions, as JSON: what must be the same on every CPU.

    python tests/campaigns/trainings.py [table ...]

For each kernel table named, or each that runs here: in both precisions, every shape of
`tests/test_bits.py` with one thread and three, every optimiser, every hidden activation, every
output with every cost it may have, and everything that `train` adds to a step, plain and at
once; weights, costs of the epochs and predictions. `other_cpus` compares what it prints.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from test_bits import SHAPES
from test_equations import PAIRS, SIGMAS
from test_kernels import TRUTH

from cbackprop import Network, _engine
from cbackprop.initializers import INITIALIZERS
from cbackprop.optimizers import OPTIMIZERS

# Every option that changes a step; learning rates are small, so that nothing diverges.
EXTRAS = {
    "l1, l2": {"l1": 0.01, "l2": 0.1},
    "dropout": {"dropout": [0.1, 0.3]},
    "noise": {"input_noise": 0.2},
    "clip_value": {"clip_value": 0.01},
    "limits": {"clip_norm": 0.5, "max_norm": 0.8},
    "weights": {"sample_weight": np.arange(77) % 3},
    "uint8": {},
}
EXTRAS["all"] = EXTRAS["l1, l2"] | EXTRAS["dropout"] | EXTRAS["noise"] | EXTRAS["limits"]


def digest(*parts):
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def trained(sizes, dtype, threads=2, batch=17, data="float64", **options):
    """The hash of a network after two epochs; `options` are Network's and train's."""
    rng = np.random.default_rng(1)
    X = rng.integers(0, 256, (77, sizes[0])) / 255
    shape = {"input_scale": 1 / 255} if data == "uint8" else {}
    if data == "uint8":
        X = (X * 255).astype(np.uint8)
    # One of the outputs is right: targets that every cost takes.
    y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], 77)]
    for name in ("activation", "output", "cost", "init"):
        if name in options:
            shape[name] = options.pop(name)
    net = Network(sizes, dtype=dtype, rng=3, **shape)
    history = net.train(
        X, y, epochs=2, batch_size=batch, n_threads=threads, **{"learning_rate": 0.01, **options}
    )
    return digest(*net.weights, *net.biases, history.cost, history.delta_norms, net.predict(X))


def plans(dtype):
    """Name -> training: a function of the number of threads that gives a hash."""
    found = {}

    def add(name, sizes, **options):
        found[name] = lambda threads: trained(sizes, dtype, threads, **options)

    for sizes, activation, output, batch in SHAPES:
        look = {"activation": activation, "output": output, "batch": batch}
        add(f"shape {sizes}", sizes, **look, learning_rate=0.5, l2=0.1)
    for name in OPTIMIZERS:
        batch = 77 if name == "rprop" else 17
        add(f"optimizer {name}", [9, 33, 5], batch=batch, optimizer=name)
    for name in INITIALIZERS:
        add(f"init {name}", [9, 33, 5], init=name)
    for name in SIGMAS:
        add(f"hidden {name}", [9, 33, 5], activation=name)
    for output, cost in PAIRS:
        add(f"output {output} {cost}", [9, 20, 6], output=output, cost=cost)
    for name, options in EXTRAS.items():
        for optimizer in ("sgd", "adam"):
            data = "uint8" if name in ("uint8", "all") else "float64"
            add(f"extra {name} {optimizer}", [20, 33, 7], data=data, optimizer=optimizer, **options)
    return found


def trainings(dtype):
    """Yield a name and a hash for each training; of each shape with one thread and with three."""
    for name, plan in plans(dtype).items():
        if name.startswith("shape"):
            yield from ((f"{name} {threads}", plan(threads)) for threads in (1, 3))
        else:
            yield name, plan(2)


def functions(dtype):
    """Yield a name and a hash for each vector function: bit patterns, and every 1/1024 to 100."""
    bits = np.dtype(dtype).itemsize * 8
    patterns = np.arange(0, 2**16, dtype=f"u{bits // 8}") * ((1 << bits) // 2**16 + 257)
    x = np.concatenate([patterns.view(dtype), np.arange(-102_400, 102_401, dtype=dtype) / 1024])
    for name in TRUTH:
        y = _engine.vector_function(name, x)
        undefined = np.isnan(y)
        yield f"function {name}", digest(undefined, y[~undefined])  # which NaN it is, is open


def hashes(dtype):
    return dict(functions(dtype)) | dict(trainings(dtype))


def main():
    for table in sys.argv[1:] or _engine.kernel_names():
        if _engine.choose_kernels(table) != 0:
            sys.exit(f"table = {table!r} does not run here, expected {_engine.kernel_names()}")
        for dtype in ("float32", "float64"):
            print(json.dumps({"table": table, "dtype": dtype, "hashes": hashes(dtype)}), flush=True)


if __name__ == "__main__":
    main()
