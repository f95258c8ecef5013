"""Hostile files: each is read, or refused by the error that is documented; nothing else happens.

    python -m tests.campaigns.hostile_files [FORMAT ...] [--mutants N] [--seed S] [--seconds T]
                                            [--jobs J] [--use U] [--first K]

FORMAT: model, csv, idx, onnx, npz, book_json, safetensors; all of them without any. Mutants are
made and read in memory, each by what reads files too: of model files `cbackprop.load` adds no more
than reading the bytes, and one of a thousand is read by it, from a file, and must fare the same.
Of model files also every single-bit flip and every truncation, with the digest as it was and
computed anew. One of U networks that were read (50) predicts and is written and read again, and
some of these train. Peak memory of a process may grow by the largest file and 16 MiB. What is
neither read nor refused is printed with the mutant in hexadecimal, and the exit status is 1.

Mutants come in chunks of 20,000, each of its own seed, which J processes share. Every two minutes
the totals are printed, and at the end, by SIGTERM or Ctrl-C too; `--first` goes on where they say.
"""

import argparse
import contextlib
import gc
import io
import itertools
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter

import numpy as np

import cbackprop
from cbackprop import ModelFileError, Network, datasets
from cbackprop.io import book_json, csv_table, model_file, npz, onnx_read, torch_state
from cbackprop.io.columns import Reading
from tests.campaigns import mutants

ROOM = 2**24


CHUNK = 20_000


def use_model(net, lot):
    """What is done with a network that was read; `lot` decides whether it trains."""
    X = np.zeros((4, net.sizes[0]))
    assert net.predict(X).shape == (4, net.sizes[-1])
    if lot % 16 == 0:
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
    "model": (mutants.references, model_file.loads, ModelFileError),
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
    """Reads files and counts what came of it; one network of so many is put to use."""

    def __init__(self, form, use=1):
        _, self.reader, self.refusal = READERS[form]
        self.outcomes, self.findings = Counter(), []
        self.of_models, self.every = form == "model", use

    def read(self, data):
        try:
            found = self.reader(data)
            if self.of_models and self.outcomes["read"] % self.every == 0:
                use_model(found, data[-1])
                self.outcomes["used"] += 1
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

    def read_both_ways(self, data, path):
        """From memory and from a file."""
        before = self.outcomes["refused"]
        self.read(data)
        refused = self.outcomes["refused"] - before
        with open(path, "wb") as file:
            file.write(data)
        try:
            cbackprop.load(path)
        except ModelFileError as error:
            if not refused or path not in str(error):
                self._found(error, data)
        except Exception as error:
            self._found(error, data)
        else:
            if refused:
                self._found("load reads what loads refuses", data)
        self.outcomes["from files"] += 1

    def add(self, other):
        self.outcomes += other.outcomes
        self.findings += other.findings

    @property
    def total(self):
        return sum(self.outcomes[kind] for kind in ("read", "refused", "WRONG"))

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


def run(form, number, seed, seconds=None, systematic=False, use=1):
    """Counts of one format, growth of peak memory in bytes, and the time of the processor."""
    files = READERS[form][0]()
    count = Count(form, use)
    for data in files:
        count.read(data)
    assert count.outcomes["read"] == len(files), count.findings
    count.outcomes.clear()
    before, start, end = peak(), time.process_time(), time.monotonic() + (seconds or 1e9)
    if systematic:
        for data in every_flip_and_truncation(files):
            count.read(data)
    else:
        kind = mutants.ModelMutator if form == "model" else mutants.Mutator
        mutant = kind(files, random.Random(seed)).mutant
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mutant")
            for i in range(number):
                if i % 1000:
                    count.read(mutant())
                elif time.monotonic() > end:
                    break
                elif count.of_models:
                    count.read_both_ways(mutant(), path)
                else:
                    count.read(mutant())
    took = time.process_time() - start
    grown = peak() - before
    keeps = "libasan" in os.environ.get("LD_PRELOAD", "")  # AddressSanitizer, what was freed
    if grown > max(map(len, files)) + ROOM and not keeps:
        count.findings.append(f"peak memory grew by {grown:,} bytes")
    return count, grown, took


def chunk(given):
    """`run` for one of the processes."""
    form, options, k, end = given
    number = min(CHUNK, options.mutants - k * CHUNK)
    seconds = None if end is None else max(end - time.monotonic(), 1e-9)
    return run(form, number, f"{options.seed} {k}", seconds, use=options.use)


def begin():
    """What each process starts with; the first one decides when all end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("error")
    # NumPy's own, of NPY headers as Python 2 wrote them, and of strings that name types.
    warnings.filterwarnings("ignore", module="numpy|zipfile")
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)  # it would look at every few mutants' JSON


class Ended(Exception):
    """A signal came."""


def end(number, frame):
    for each in (signal.SIGTERM, signal.SIGINT):  # once is enough
        signal.signal(each, signal.SIG_IGN)
    raise Ended


def campaign(form, options):
    """All chunks of one format: prints totals now and then; what was wrong."""
    count, grown, took, k = Count(form), 0, 0.0, options.first
    started, printed = time.monotonic(), time.monotonic()
    until = options.seconds and started + options.seconds
    chunks = range(options.first, -(-options.mutants // CHUNK))
    with multiprocessing.Pool(options.jobs, begin) as pool, contextlib.suppress(Ended):
        given = ((form, options, i, until) for i in chunks)
        given = itertools.takewhile(lambda _: not until or time.monotonic() < until, given)
        # One by one: a pool would take all of them at once.
        waiting = [pool.apply_async(chunk, (g,)) for g in itertools.islice(given, 2 * options.jobs)]
        while waiting:
            part, growth, seconds = waiting.pop(0).get()
            waiting += [pool.apply_async(chunk, (g,)) for g in itertools.islice(given, 1)]
            count.add(part)
            grown, took, k = max(grown, growth), took + seconds, k + 1
            if time.monotonic() - printed > 120:
                printed = time.monotonic()
                report(f"{form}, chunks {options.first} to {k - 1}", "mutants", count, grown, took)
    if k < chunks.stop:
        print(f"{form} is not at its end: --first {k} goes on")
    report(form, "mutants", count, grown, took)
    return count


def report(name, what, count, grown, took):
    outcomes = count.outcomes
    more = "".join(f", {outcomes[kind]:,} {kind}" for kind in ("used", "from files"))
    print(
        f"{name}: {count.total:,} {what}: {outcomes['read']:,} read, "
        f"{outcomes['refused']:,} refused, {outcomes['WRONG']:,} else"
        f"{more if count.of_models else ''}; {count.total / max(took, 1e-9):,.0f} a second and "
        f"core; peak memory grew by {grown / 2**20:.1f} MiB",
        flush=True,
    )
    for finding in count.findings:
        print(finding, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(READERS))
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--use", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, metavar="CHUNK")
    options = parser.parse_args()
    wrong = 0
    for form in options.formats or READERS:
        if form == "model" and not options.first:
            with multiprocessing.Pool(1, begin) as pool:
                found = pool.apply(run, (form, 0, 0, None, True, options.use))
            report(form, "flips and truncations", *found)
            wrong += len(found[0].findings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        wrong += len(campaign(form, options).findings)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
