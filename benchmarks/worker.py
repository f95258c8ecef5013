"""One rival in a process of its own. Standard input: a line for each sample; standard
output: JSON, first what it is, then seconds a step.
"""

import importlib
import json
import os
import resource
import sys
import time


def mean_cost(work, X, y, parameters):
    """In float64 NumPy, for all rivals alike."""
    import numpy as np

    a = X.astype(np.float64)
    for l, (w, b) in enumerate(parameters):
        z = a @ np.asarray(w, np.float64).T + np.asarray(b, np.float64)
        if l < len(parameters) - 1:
            name = work.activation
            a = (
                np.tanh(z)
                if name == "tanh"
                else z * (z > 0)
                if name == "relu"
                else 1 / (1 + np.exp(-z))
            )
    if work.cost == "log_likelihood":
        top = z.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(z - top).sum(axis=1))
        return float((log_sum - z[np.arange(len(z)), y]).mean())
    if work.cost == "cross_entropy":
        return float((np.logaddexp(0, z) - y * z).sum(axis=1).mean())
    out = 1 / (1 + np.exp(-z)) if work.output == "sigmoid" else z
    return float(0.5 * ((out - y) ** 2).sum(axis=1).mean())


def main():
    peer, row, threads, dtype, sample_seconds = sys.argv[1:6]
    threads = None if threads == "None" else int(threads)
    if threads:
        for name in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if peer == "jax_scan" and threads == 1:
        os.sched_setaffinity(0, {0})
    import numpy as np

    from benchmarks import machine
    from cbackprop._bench import WORKLOADS

    work = WORKLOADS[row]
    rival = importlib.import_module(f"benchmarks.peers.{peer}")
    X, y, weights = work.data()
    check = 2 * work.batch if work.rows > work.batch else work.batch
    # All do the same work: a few steps in the order of the rows give the same cost.
    state = rival.build(work, X[:check].copy(), y[:check].copy(), weights, threads, dtype)
    rival.run(state, np.tile(np.arange(check), (3, 1)), False)
    cost = mean_cost(work, X[:check], y[:check], rival.parameters(state))
    machine.settle([os.getpid()])  # NumPy's threads, which computed the cost
    start = time.perf_counter()
    state = rival.build(work, X, y, weights, threads, dtype)
    rng = np.random.default_rng(1)

    def sample(epochs):
        orders = np.stack([rng.permutation(work.rows) for _ in range(epochs)])
        begin = time.perf_counter()
        rival.run(state, orders, True)
        return time.perf_counter() - begin

    sample(1)
    compile_seconds = time.perf_counter() - start
    once = min(sample(1) for _ in range(3))
    epochs = max(1, min(500, round(float(sample_seconds) / once)))
    if epochs > 1:
        sample(epochs)  # compiled and warm for this length too
    print(
        json.dumps({"label": rival.LABEL, "cost": cost, "first_call": compile_seconds}), flush=True
    )
    steps = epochs * -(-work.rows // work.batch)
    for _ in sys.stdin:
        seconds = sample(epochs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"us": seconds / steps * 1e6, "rss_mb": peak / 1024}), flush=True)


if __name__ == "__main__":
    main()
