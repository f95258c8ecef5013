"""Hostile files: each is read, or refused by the error that is documented; nothing else happens.

    python -m tests.campaigns.hostile_files [FORMAT ...] [--mutants N] [--seed S] [--seconds T]

FORMAT: model, csv, idx, onnx, npz, book_json, safetensors; all of them without any. Mutants are
made and read in memory. Of model files also every single-bit flip and every truncation, with the
digest as it was and computed anew; networks that are read predict, and some of them train. Peak
memory of the process may grow by the largest file and 16 MiB. What is neither is printed with the
mutant in hexadecimal, and the exit status is 1.
"""

import argparse
import io
import os
import random
import resource
import sys
import time
import warnings
from collections import Counter

import numpy as np

from cbackprop import ModelFileError, Network, datasets
from cbackprop.io import book_json, csv_table, model_file, npz, onnx_read, torch_state
from cbackprop.io.columns import Reading
from tests.campaigns import mutants

ROOM = 2**24


def read_model(data):
    net = model_file.loads(data)
    X = np.zeros((4, net.sizes[0]))
    assert net.predict(X).shape == (4, net.sizes[-1])
    if data[-1] % 16 == 0:
        try:
            net.train(X, np.zeros((4, net.sizes[-1])), batch_size=2)
        except (ValueError, ArithmeticError):  # of targets that do not suit, and DivergenceError
            return
    assert model_file.loads(model_file.dumps(net)).sizes == net.sizes


def read_csv(data):
    need = not data[:1].isdigit()
    found = csv_table.read_csv(io.BytesIO(data), "f", Reading(need_target=need))
    assert found.X.ndim == 2 and np.isfinite(found.X).all()
    assert found.y is None or len(found.y) == len(found.X)


def read_idx(data):
    assert datasets._read_stream(io.BytesIO(data), "f").nbytes <= 8 * 256 * len(data)


READERS = {
    "model": (mutants.references, read_model, ModelFileError),
    "csv": (mutants.tables, read_csv, ValueError),
    "idx": (mutants.images, read_idx, ValueError),
    "onnx": (
        lambda: mutants.exported("export_onnx"),
        lambda data: onnx_read.loads(Network, "f", data, {}),
        ModelFileError,
    ),
    "npz": (
        lambda: mutants.exported("to_npz"),
        lambda data: npz.loads(Network, "f", io.BytesIO(data), {}),
        ModelFileError,
    ),
    "book_json": (
        lambda: mutants.exported("to_book_json"),
        lambda data: book_json.loads(Network, "f", data, "float64"),
        ModelFileError,
    ),
    "safetensors": (
        mutants.safetensors_files,
        lambda data: torch_state.loads(
            Network, "f", data, {"activation": "tanh", "output": "identity"}
        ),
        ModelFileError,
    ),
}


class Count:
    """Reads files and counts what came of it."""

    def __init__(self, form):
        _, self.reader, self.refusal = READERS[form]
        self.outcomes, self.findings = Counter(), []

    def read(self, data):
        try:
            self.reader(data)
        except self.refusal as error:
            # A subclass would be another error: UnicodeDecodeError is a ValueError.
            if type(error) is self.refusal:
                self.outcomes["refused"] += 1
                return
            self._found(error, data)
        except Exception as error:
            self._found(error, data)
        else:
            self.outcomes["read"] += 1

    def _found(self, error, data):
        self.outcomes["WRONG"] += 1
        what = f"{type(error).__name__}: {error!s:.200}"
        if len(self.findings) < 20 and not any(x.startswith(what) for x in self.findings):
            self.findings.append(f"{what} from {data.hex()}")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def every_flip_and_truncation(files):
    """Each single-bit flip and each truncation, as it is and with a digest that is right."""
    for data in files:
        for n in range(len(data)):
            for way in (bytes, mutants.sealed):
                yield way(data[:n])
                for bit in range(8):
                    damaged = bytearray(data)
                    damaged[n] ^= 1 << bit
                    yield way(bytes(damaged))


def run(form, number, seed, seconds=None, systematic=False):
    """Counts of one format, growth of peak memory in bytes, and the time."""
    files = READERS[form][0]()
    count = Count(form)
    for data in files:
        count.read(data)
    assert count.outcomes["read"] == len(files), count.findings
    count.outcomes.clear()
    before, start = peak(), time.perf_counter()
    if systematic:
        for data in every_flip_and_truncation(files):
            count.read(data)
    else:
        kind = mutants.ModelMutator if form == "model" else mutants.Mutator
        mutator = kind(files, random.Random(seed))
        for i in range(number):
            count.read(mutator.mutant())
            if seconds and i % 1000 == 0 and time.perf_counter() - start > seconds:
                break
    took = time.perf_counter() - start
    grown = peak() - before
    keeps = "libasan" in os.environ.get("LD_PRELOAD", "")  # AddressSanitizer, what was freed
    if grown > max(map(len, files)) + ROOM and not keeps:
        count.findings.append(f"peak memory grew by {grown:,} bytes")
    return count, grown, took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(READERS))
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    warnings.simplefilter("error")
    # NumPy's own, of NPY headers as Python 2 wrote them, and of strings that name types.
    warnings.filterwarnings("ignore", module="numpy|zipfile")
    wrong = 0
    for form in options.formats or READERS:
        for systematic in (True, False) if form == "model" else (False,):
            count, grown, took = run(
                form, options.mutants, options.seed, options.seconds, systematic
            )
            n = count.outcomes.total()
            what = "flips and truncations" if systematic else "mutants"
            print(
                f"{form}: {n:,} {what}: {count.outcomes['read']:,} read, "
                f"{count.outcomes['refused']:,} refused, {count.outcomes['WRONG']:,} else; "
                f"{n / took:,.0f}/s; peak memory grew by {grown / 2**20:.1f} MiB",
                flush=True,
            )
            for finding in count.findings:
                print(finding, flush=True)
            wrong += len(count.findings)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
