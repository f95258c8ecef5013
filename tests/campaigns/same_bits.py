"""The same bits for threads, kernel tables, other locales and busy machines; golden hashes.

    python -m tests.campaigns.same_bits [--threads 1,2,3,4,7,8] [--part 1] [--write]

The trainings of `trainings.py`, every shape, optimiser, activation, cost and option, dropout and
shuffle included, in both precisions, on each kernel table that runs here and with each number of
threads: one hash each, that of ``tests/data/golden_hashes.json``. Again under a locale with decimal
commas (de_DE.UTF-8, where the system has it), and while other networks train beside. ``--write``
makes the file anew, for a release that changes bits: a minor one, and the CHANGELOG says so.
"""

import argparse
import contextlib
import json
import locale
import sys
import threading
from pathlib import Path

import numpy as np

from cbackprop import Network, _engine

sys.path.append(str(Path(__file__).resolve().parent))

import trainings

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden_hashes.json"


def hashes(dtype, threads, part=1):
    """Name -> hash, every part-th of them; of the number of threads no name tells."""
    names = trainings.plans(dtype)
    return {name: plan(threads)[:16] for name, plan in list(names.items())[::part]}


@contextlib.contextmanager
def busy(n=2):
    """Threads that train other networks beside, each on two threads."""
    stop, rng = threading.Event(), np.random.default_rng(0)
    X, y = rng.random((500, 30)), rng.random((500, 2))

    class Stop:
        def on_epoch_end(self, net, history):
            return stop.is_set()

    def work():
        Network([30, 60, 2], rng=0).train(X, y, epochs=10**6, n_threads=2, callbacks=[Stop()])

    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def german():
    """Decimal commas; None where the system has no such locale."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        name = locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    except locale.Error:
        name = None
    try:
        yield name
    finally:
        locale.setlocale(locale.LC_ALL, before)


def differing(golden, dtype, threads, part=1):
    found = hashes(dtype, threads, part)
    return [name for name in found if found[name] != golden[dtype].get(name)]


def campaign(counts, part, show=print):
    """Every table and number of threads against the golden hashes; what differs."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    wrong, before = [], _engine.kernels_in_use()
    try:
        for table in _engine.kernel_names():
            _engine.choose_kernels(table)
            for dtype in golden:
                for threads in counts:
                    odd = differing(golden, dtype, threads, part)
                    wrong += [f"{table} {dtype} {threads} threads: {name}" for name in odd]
                show(f"{table} {dtype}: {len(golden[dtype])} trainings, threads {counts}")
    finally:
        _engine.choose_kernels(before)
    for words, around in (("decimal commas", german()), ("busy", busy())):
        with around as there:
            if words == "decimal commas" and there is None:
                show("no locale de_DE.UTF-8 here")
                continue
            for dtype in golden:
                odd = differing(golden, dtype, 2, part)
                wrong += [f"{words} {dtype}: {name}" for name in odd]
            show(f"{words}: done")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2,3,4,7,8")
    parser.add_argument("--part", type=int, default=1, help="every so many of the trainings")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write:
        golden = {dtype: hashes(dtype, 1) for dtype in ("float32", "float64")}
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    wrong = campaign([int(n) for n in options.threads.split(",")], options.part)
    for line in wrong:
        print(line)
    print(f"{len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
