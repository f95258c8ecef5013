"""python -m tests.campaigns.dask_many: 200 networks over a Dask cluster of two processes, one of
which is killed midway; all of them, in the bits of training one after the other."""

import argparse
import os
import signal
import time

import numpy as np
from distributed import Client, LocalCluster

from cbackprop import train_many


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.dask_many")
    parser.add_argument("--networks", type=int, default=200)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(2000, 20)), np.arange(2000) % 3
    specs = [{"sizes": [20, 10 + i % 50, 3], "rng": i} for i in range(options.networks)]
    common = {"output": "softmax", "epochs": 5, "batch_size": 32}

    def bits(net):
        return [x.tobytes() for x in net.weights + net.biases]

    alone = {i: bits(net) for i, net, _ in train_many(specs, X, y, **common)}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        start, found = time.perf_counter(), {}
        for i, net, history in train_many(specs, X, y, executor=client, **common):
            if net is None:
                raise history
            found[i] = bits(net)
            if len(found) == options.networks // 2:
                os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
        seconds = time.perf_counter() - start
    differ = sum(found.get(i) != alone[i] for i in alone)
    print(f"{len(found)} of {options.networks} networks in {seconds:.1f} s, {differ} differ")
    raise SystemExit(differ)


if __name__ == "__main__":
    main()
