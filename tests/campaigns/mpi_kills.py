"""python -m tests.campaigns.mpi_kills: a rank of one network's training killed (SIGKILL) at a
random step, and the job resumed, with another number of ranks, until it is done; weights and
history against those of one process, to the bit.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import hashlib, os, signal, sys
import numpy as np
from mpi4py import MPI
from cbackprop import Network

comm, path, rank, step = MPI.COMM_WORLD, *sys.argv[1:]
X = np.random.default_rng(0).normal(size=(401, 8))
y = X[:, :3].argmax(axis=1)
weights = np.random.default_rng(1).random(len(X))
edges = [len(X) * i // comm.size for i in range(comm.size + 1)]
mine = slice(edges[comm.rank], edges[comm.rank + 1])

class Die:
    def on_batch_end(self, net, epoch, batch):
        if comm.rank == int(rank) and net.steps == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

net = Network([8, 24, 3], output="softmax", rng=0)
net.train(X[mine], y[mine], epochs=8, batch_size=40, optimizer="adam", dropout=0.2, comm=comm,
          sample_weight=weights[mine], validation_split=0.1, deterministic=True, checkpoint=path,
          resume=True, callbacks=[Die()])
history = net.history.to_dict()
del history["seconds"]
found = [w.tobytes() for w in net.weights + net.biases], history, net.steps
if comm.rank == 0:
    print(hashlib.sha256(repr(found).encode()).hexdigest())
"""


def run(ranks, path, rank, step):
    command = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(ranks), sys.executable]
    command += ["-P", "-c", PROGRAM, str(path), str(rank), str(step)]
    environment = {**os.environ, "CBACKPROP_NUM_THREADS": "1"}
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    return done, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.mpi_kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    kills = trainings = differ = 0
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint")
        expected = run(1, path, -1, 0)[0].stdout
        while kills < options.kills:
            path.unlink()
            trainings += 1
            step = 0
            while True:
                ranks = chance.randint(1, 4)
                step += chance.randint(1, 25)  # further than before, so that it comes to an end
                done, seconds = run(ranks, path, chance.randrange(ranks), step)
                if done.returncode == 0:
                    differ += done.stdout != expected
                    break
                if "Traceback" in done.stderr:
                    raise SystemExit(done.stderr)
                kills += 1
                longest = max(longest, seconds)
    print(f"{kills} ranks killed in {trainings} trainings: {differ} differ from one process; the "
          f"longest job ended {longest:.1f} s after its start")  # fmt: skip
    raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()
