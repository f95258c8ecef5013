"""python -m benchmarks: this package against its rivals, each in a process of its own.

A sample of every rival is taken in turn, again and again, when the threads of the one before
have come to rest (BLAS and OpenMP spin on for a while); the machine's arithmetic peak and the
distance between its cores are measured before each turn. All rivals first train a few
steps on the same rows from the same weights: a cost that differs is an error. Needs the
extra ``benchmarks``; a rival that is not installed is left out and named.
"""

import argparse
import datetime
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import machine, predict, results
from cbackprop._bench import WORKLOADS

PEERS = {
    "ours": ("1", "2", "None"),
    "numpy_batched": ("1", "2"),
    "jax_scan": ("1", "2"),
    "torch_eager": ("1", "2"),
    "torch_compiled": ("1", "2"),
    "sklearn_mlp": ("1", "2"),
    "numpy_per_sample": ("1",),
}
ONLY = {
    "numpy_per_sample": ("book",),
    "sklearn_mlp": ("book2", "std", "tiny", "tab", "higgs", "wide", "expm"),
}
PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "onnxruntime")


class Rival:
    """A process that answers each line with one sample."""

    def __init__(self, key, command):
        self.key, self.samples = key, []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        self.about = json.loads(line) if line else None
        if self.about is None:
            self.error = self.process.communicate()[1].strip().splitlines()[-1:]

    def sample(self, environment):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.samples.append({**json.loads(self.process.stdout.readline()), **environment})

    def result(self):
        self.process.communicate()
        times = [s["us"] for s in self.samples]
        return {
            **self.about,
            "median": statistics.median(times),
            "least": min(times),
            "rss_mb": max(s["rss_mb"] for s in self.samples),
            "samples": self.samples,
        }


def compare(commands, repeats):
    rivals, missing = [], {}
    for key, command in commands.items():
        rival = Rival(key, [sys.executable, "-m", *command])
        if rival.about is None:
            missing[key] = rival.error
        else:
            rivals.append(rival)
    processes = [rival.process.pid for rival in rivals]
    for _ in range(repeats):
        machine.settle(processes)
        environment = machine.state()
        for rival in rivals:
            machine.settle(processes)
            rival.sample(environment)
    return {rival.key: rival.result() for rival in rivals}, missing


def refuse_other_work(row, found):
    costs = {key: r["cost"] for key, r in found.items() if "cost" in r}
    reference = costs.get("numpy_batched 1", next(iter(costs.values())))
    for key, cost in costs.items():
        if not abs(cost - reference) <= 1e-3 * abs(reference):
            sys.exit(f"{row}: {key} has cost {cost:.6g} after the same steps, not {reference:.6g}")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default=",".join([*WORKLOADS, "predict"]))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="about, of one sample")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"rows": {}, "missing": {}}
    for row in options.rows.split(","):
        if row == "predict":
            for sizes in predict.SIZES:
                commands = {p: ["benchmarks.predict", p, sizes] for p in predict.PEERS}
                found, missing = compare(commands, options.repeats)
                report["rows"][f"predict {sizes}"] = found
                report["missing"] |= missing
            continue
        commands = {
            f"{peer} {threads}": [
                "benchmarks.worker", peer, row, threads, options.dtype, str(options.seconds),
            ]
            for peer in options.peers.split(",")
            for threads in PEERS[peer]
            if row in ONLY.get(peer, WORKLOADS) and not (
                options.dtype == "float64" and peer not in ("ours", "numpy_batched")
            )
        }  # fmt: skip
        found, missing = compare(commands, options.repeats)
        report["missing"] |= {f"{row}: {key}": error for key, error in missing.items()}
        refuse_other_work(row, found)
        report["rows"][row] = found
        for key, result in found.items():
            print(f"{row:<8}{key:<20}{result['median']:>12.1f}{result['least']:>12.1f}", flush=True)
    report["machine"] = machine.name()
    report["versions"] = {"Python": platform.python_version()} | {
        name: importlib.metadata.version(name)
        for name in ("cbackprop", *PACKAGES)
        if any(d.name.lower() == name for d in importlib.metadata.distributions())
    }
    report["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    report["command"] = " ".join(["python -m benchmarks", *sys.argv[1:]])
    stem = "results" if options.dtype == "float32" else "results-float64"
    (options.out / f"{stem}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    results.write(report, options.out, stem)


if __name__ == "__main__":
    main()
