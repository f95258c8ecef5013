"""One network over several processes (MPI): the bits of one, and one end for all."""

import functools
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from cbackprop import Network

pytest.importorskip("mpi4py")

# What the trainings of a test are: exec'd here for one process, and by each rank.
CASES = """
import hashlib
import numpy as np
from cbackprop import EarlyStopping, Network
from cbackprop.datasets import open_arrays

generator = np.random.default_rng(0)
X = generator.normal(size=(203, 5)).astype("float32")
labels, targets = X[:, :3].argmax(axis=1), np.stack([X[:, 0] ** 2, X[:, 1]], axis=1)
weights = generator.random(203)
weights[::5] = weights[40:80] = 0  # a mini-batch of 40 in order counts nothing
weights[90] = 0.5
far = X.copy()
far[weights == 0] = 3e38  # which would overflow in a row that counted
words = np.array(["no", "yes", "perhaps"])[labels]
classes = ["no", "perhaps", "yes"]
several = (X[:, :2] > 0).astype("uint8")
several[:50] = np.eye(2)[labels[:50] % 2]

# How the network is made, y, how it is trained.
cases = {
    "sgd": ({}, labels, dict(batch_size=40, learning_rate=1.0, l2=2.0)),
    "adam, dropout, noise": (dict(activation="relu"), labels, dict(
        batch_size=64, optimizer="adam", dropout=0.3, input_noise=0.1, l2=0.1)),
    "full batch in float64": (
        dict(output="identity", activation="silu", dtype="float64"), targets,
        dict(batch_size=10_000, learning_rate=0.1, clip_norm=0.5, max_norm=1.5)),
    "weights": ({}, labels, dict(
        batch_size=40, sample_weight=weights, shuffle=False, optimizer="adam", l2=0.1)),
    "weights of real targets": (
        dict(output="identity", dtype="float64"), targets,
        dict(batch_size=30, sample_weight=weights, clip_norm=0.5)),
    "balanced, split": ({}, words, dict(
        batch_size=40, class_weight="balanced", validation_split=0.2, early_stopping=True)),
    "split of targets with weights": (
        dict(output="identity"), targets,
        dict(batch_size=40, sample_weight=weights, validation_split=0.3, monitor=[
            "evaluation_accuracy"])),
    "a class counts double": (dict(activation="relu"), labels, dict(
        class_weight={0: 2.0, 2: 0.0}, sample_weight=weights, dropout=0.2)),
    "several labels, one each in the first rows": (
        dict(output="sigmoid", cost="cross_entropy"), several,
        dict(batch_size=40, learning_rate=1.0)),
    "blocks": ({}, labels, dict(batch_size=40, input_noise=0.1)),
    "blocks of words with weights, in order": (dict(classes=classes), words, dict(
        batch_size=48, sample_weight=weights, shuffle=False, optimizer="adam",
        class_weight={"no": 2.0}, learning_rate=lambda epoch: 0.1 / (1 + epoch))),
    "blocks of targets": (dict(output="identity"), targets, dict(
        batch_size=1000, sample_weight=weights)),
    "chunks of words with weights": ({}, words, dict(
        batch_size=16, sample_weight=weights, optimizer="adam", l2=0.5)),
    "chunks of targets, in order": (dict(output="identity"), targets, dict(
        batch_size=1000, shuffle=False)),
}
float32_only = {"bf16": (dict(activation="relu"), labels, dict(
    batch_size=50, compute="bf16", optimizer="momentum", sample_weight=weights))}

def shard(*arrays, comm):
    # Uneven, and where there are more than two ranks the first one is empty.
    n = len(arrays[0])
    edges = np.array([0, *(n * (np.arange(comm.size) + 1) ** 2 // comm.size**2)])
    edges[1] = 0 if comm.size > 2 else edges[1]
    return [a[edges[comm.rank] : edges[comm.rank + 1]] for a in arrays]

def blocks_of(arrays, comm):
    # The second is a row of the last rank's; the third is rank 0's, and the others have no third.
    parts = [[a[rows] for a in arrays] for rows in (slice(90), slice(90, 91), slice(91, 203))]
    if comm is not None:
        parts[0] = shard(*parts[0], comm=comm)
        if comm.rank < comm.size - 1:
            parts[1] = [a[:0] for a in parts[1]]
        parts = parts if comm.rank == 0 else parts[:2]
    return list(map(tuple, parts))

def trained(name, comm=None, deterministic=False):
    made, y, how = (cases | float32_only)[name]
    shared = {} if comm is None else dict(comm=comm, deterministic=deterministic)
    if comm is not None and comm.size == 2:
        shared["n_threads"] = 2
    how = how | shared
    sample = how.pop("sample_weight", None)
    data = [X, y] if sample is None else [X, y, sample]
    data[0] = far if name == "a class counts double" else X
    wide = 40 if name == "bf16" else 20
    width = y.shape[1] if y.ndim == 2 else 3
    net = Network([5, wide, wide - 2, width], rng=comm.rank if comm else 0,
                  **{"output": "softmax"} | made)
    for epochs in (1, 1):
        if name.startswith("chunks"):  # which every rank has
            chunks = open_arrays(*data, group_rows=10, window_rows=70)
            history = net.train(chunks, epochs=epochs, **how)
        elif name.startswith("blocks"):
            history = net.train(blocks_of(data, comm), epochs=epochs, **how)
        else:
            here = data if comm is None else shard(*data, comm=comm)
            if sample is not None:
                how["sample_weight"] = here[2]
            history = net.train(*here[:2], epochs=epochs, **how)
    return net, digest(net, history)

def digest(net, h):
    curves = [h.cost, h.score, h.delta_norms, h.dead_units, h.validation_cost, h.validation_score,
              *h.monitored.values()]
    arrays = [*net.weights, *net.biases, *curves]
    found = b"".join(np.asarray(a).tobytes() for a in arrays) + repr(net.classes).encode()
    return hashlib.sha256(found).hexdigest()
"""

COMMON = (
    CASES
    + """
import functools, json, os, signal, sys, threading, time
from mpi4py import MPI
from cbackprop import Checkpoint, DivergenceError, optimizers

comm = MPI.COMM_WORLD
shard = functools.partial(shard, comm=comm)

def say(**found):
    # A line of all ranks, from rank 0.
    found = comm.gather(found)
    if comm.rank == 0:
        print(json.dumps(found), flush=True)

def attempt(call):
    began = time.perf_counter()
    try:
        call()
        error, notes = "none", []
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        notes = getattr(raised, "__notes__", [])
    say(error=error, notes=notes, seconds=time.perf_counter() - began)
"""
)


@functools.cache
def alone():
    """(names, name -> (network, digest)) of one process."""
    space = {}
    exec(CASES, space)
    names = [*space["cases"], *(space["float32_only"] if HAS_BF16 else ())]
    return {name: space["trained"](name) for name in names}


HAS_BF16 = Network([2, 1])._engine.has_bf16


def mpiexec(ranks, program, timeout=60):
    """What rank 0 printed, and how it ended."""
    command = Path(sys.executable).with_name("mpiexec")
    if not command.exists():
        pytest.skip("no mpiexec beside this Python: pip install mpich")
    return subprocess.run(
        [str(command), "-n", str(ranks), sys.executable, "-P", "-c", COMMON + program],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "CBACKPROP_NUM_THREADS": "2"},
    )


def said(ranks, program):
    done = mpiexec(ranks, textwrap.dedent(program))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def program_of(names, deterministic, window_bytes=2**25):
    return f"""
from cbackprop import _comm_rows
_comm_rows.WINDOW_BYTES = {window_bytes}
shard = shard.func
for name in {list(names)}:
    net, found = trained(name, comm, {deterministic})
    say(digest=found, weights=[w.tolist() for w in net.weights])
"""


@pytest.mark.parametrize(("ranks", "window_bytes"), [(1, 2**25), (2, 1000), (3, 2**25), (4, 2**25)])
def test_deterministic_gives_the_bits_of_one_process(ranks, window_bytes):
    # 1000 bytes: a mini-batch or two at a time change hands.
    expected = alone()
    lines = said(ranks, program_of(expected, True, window_bytes))
    assert len(lines) == len(expected)
    for line, (name, (_, digest)) in zip(lines, expected.items(), strict=True):
        assert {one["digest"] for one in line} == {digest}, name


def test_default_is_close_repeatable_and_the_same_on_all_ranks():
    expected = alone()
    for line, again, (name, (net, _)) in zip(
        said(3, program_of(expected, False)),
        said(3, program_of(expected, False, 1000)),
        expected.items(),
        strict=True,
    ):
        assert len({one["digest"] for one in line + again}) == 1, name
        tolerance = 1e-12 if net.dtype == "float64" else 1e-5
        # In bfloat16 another rounding of one sum becomes another operand.
        tolerance = 1e-2 if name == "bf16" else tolerance
        for w, whole in zip(line[0]["weights"], net.weights, strict=True):
            np.testing.assert_allclose(w, whole, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_error_on_one_rank_is_raised_on_all(deterministic):
    lines = said(3, f"""
    import types
    from cbackprop import _comm, _comm_rows
    common = dict(comm=comm, deterministic={deterministic})
    def net(*sizes):
        return Network(sizes or [5, 4, 3], output="softmax", rng=0)
    here, there = shard(X, labels)
    attempt(lambda: net().train(here, there, learning_rate=-1 if comm.rank == 1 else 1, **common))
    attempt(lambda: net().train(here, there if comm.rank else None, **common))
    attempt(lambda: net().train(here[:, :4] if comm.rank == 2 else here, there, **common))
    attempt(lambda: net().train(here, there, learning_rate=0.1 * (1 + comm.rank), **common))
    attempt(lambda: net(5, 4 + comm.rank, 3).train(here, there, **common))
    attempt(lambda: net().train(here, there + (comm.rank == 1) * 0.5, **common))
    bad = here.copy()
    if comm.rank == 1:
        bad[7, 2] = np.nan
    kept = net()
    before = kept.weights[0].copy()
    attempt(lambda: kept.train(bad, there, epochs=2, **common))
    assert (kept.weights[0] == before).all() and kept.steps == 0
    class Fails:
        def on_epoch_end(self, net, history):
            if comm.rank == 2 and len(history) == 2:
                raise OSError("disk full")
    attempt(lambda: kept.train(here, there, epochs=5, callbacks=[Fails()], **common))
    assert len(kept.history) == 2
    def pack(*arguments, real=_comm.Exchange.pack, calls=[]):
        calls.append(arguments)
        if comm.rank == 1 and len(calls) == 2:
            raise MemoryError("no room for rows")
        return real(*arguments)
    _comm.Exchange.pack = pack
    few = net()
    attempt(lambda: few.train(here, there, epochs=3, batch_size=50, **common))
    assert few.steps == 5
    def train(*arguments, real=_comm_rows._training.train, calls=[]):
        calls.append(arguments)
        if comm.rank == 1 and len(calls) == 3:
            raise MemoryError("no room for the arena")
        return real(*arguments)
    _comm_rows._training = types.SimpleNamespace(train=train)
    little = net()
    attempt(lambda: little.train(here, there, epochs=5, batch_size=50, **common))
    assert little.steps == 10
    class Rate:
        def __call__(self, epoch):
            return 0.1 if epoch < 2 or comm.rank or few.steps == 5 else -1
    attempt(lambda: few.train(here, there, epochs=3, batch_size=50, learning_rate=Rate(), **common))
    wild = Network([5, 4, 2], output="identity", rng=0)
    far = 1e6 * shard(targets)[0]
    attempt(lambda: wild.train(here, far, learning_rate=1e6, epochs=9, **common))
    assert np.isfinite(wild.weights[0]).all()
    """)  # fmt: skip
    expected = [
        "ValueError: learning_rate = -1",
        "ValueError: y differs between ranks: None, X in blocks on rank 0, given on rank 1",
        "ValueError: X has 4 columns",
        "ValueError: rate differs between ranks: 0.1 on rank 0, 0.2",
        "ValueError: sizes differs between ranks: (5, 4, 3) on rank 0, (5, 5, 3)",
        "",
        "ValueError: on rank 1: X contains NaN at row 7, column 2",
        "OSError: disk full",
        "MemoryError: no room for rows",
        "MemoryError: no room for the arena",
        "ValueError: learning_rate of epoch 2 = -1",
        "DivergenceError: weights or cost are not finite",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        refused(line, start)
        assert line[0]["error"] != "none"
    (disk,) = (line for line in lines if line[0]["error"] == "OSError: disk full")
    assert [one["notes"] for one in disk] == 2 * [["raised on rank 2 of 3"]] + [[]]


@pytest.mark.parametrize("ranks", [1, 2])
def test_ctrl_c_on_one_rank_stops_all_after_the_same_mini_batch(ranks):
    (line, steps) = said(ranks, """
    net = Network([5, 64, 3], output="softmax", rng=0)
    if comm.rank == comm.size - 1:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    attempt(lambda: net.train(*shard(X, labels), epochs=100_000, comm=comm))
    h = net.history
    say(steps=net.steps, weights=hashlib.sha256(net.weights[0].tobytes()).hexdigest())
    """)  # fmt: skip
    assert {one["error"] for one in line} == {"KeyboardInterrupt: "}
    assert max(one["seconds"] for one in line) < 5
    assert steps[0] == steps[-1]
    assert steps[0]["steps"] > 0


@pytest.mark.parametrize(("name", "call"), [("Allreduce", 9), ("Alltoallv", 3), ("allgather", 5)])
def test_what_fails_in_the_middle_of_messages_ends_the_job(name, call):
    began = time.perf_counter()
    done = mpiexec(2, f"""
class Fails:
    calls = 0
    def __getattr__(self, name):
        return self.fails if name == {name!r} and comm.rank == 1 else getattr(comm, name)
    def fails(self, *arguments):
        self.calls += 1
        if self.calls == {call}:
            raise MemoryError("no memory while sending")
        return getattr(comm, {name!r})(*arguments)

net = Network([5, 20, 3], output="softmax", rng=0)
net.train(*shard(X, labels), epochs=10_000, batch_size=20, comm=Fails())
""")  # fmt: skip
    assert done.returncode != 0
    assert time.perf_counter() - began < 5
    assert "MemoryError: no memory while sending\nrank 1 of 2: the error above came" in done.stderr
    # Rank 0 may see its messages fail before it is ended.
    assert done.stderr.count("MemoryError: no memory while sending") == 1


def refused(line, start):
    errors = {one["error"] for one in line}
    assert len(errors) == 1, errors
    assert next(iter(errors)).startswith(start), (errors, start)
    assert max(one["seconds"] for one in line) < 5


def test_refused():
    lines = said(
        2,
        """
    here, there, mine = shard(X, labels, weights)
    def train(*data, **how):
        net = Network([5, 4, 3], output="softmax", rng=0)
        attempt(lambda: net.train(*data or (here, there), comm=comm, **how))
        assert net.steps == 0 and net.classes is None or not hasattr(data[0], "shape")
    train(optimizer="lbfgs")
    train(optimizer=optimizers.LBFGS())
    train(monitor=["training_cost"])
    train(checkpoint=Checkpoint("a", every_batches=3))
    train(sample_weight=mine if comm.rank else None)
    train(sample_weight=mine[1:] if comm.rank else mine)
    train(sample_weight=0 * mine)
    train(class_weight={comm.rank: 2.0})
    train(class_weight={1: 0.0, 2: 0.0}, sample_weight=mine * (there != 0))
    train(validation_split=0.1 * (1 + comm.rank))
    train(validation_split=1e-4)
    train([(here, there)], class_weight="balanced")
    train([(here, there), (here[:, comm.rank:], there)])
    train([(here, there), (here, there, mine) if comm.rank else (here, there)])
    def blocks():
        yield here, there
        if comm.rank:
            raise OSError("disk unplugged")
        yield here, there
    train(blocks())
    train([(1e30 * here, there), (here, there)], learning_rate=1e30)
    train([])
    train(learning_rate=lambda epoch: 1 - 2 * comm.rank)
    train(n_threads=0 if comm.rank else None)
    """,
    )
    expected = [
        "ValueError: optimizer 'lbfgs' with comm= is not there: each rank's SciPy",
        "ValueError: optimizer 'lbfgs' with comm= is not there: each rank's SciPy",
        "ValueError: monitor = 'training_cost' with comm= needs all rows on every rank",
        "ValueError: checkpoint with comm= is written after epochs; give every_epochs=",
        "ValueError: sample_weight is given on some ranks only",
        "ValueError: sample_weight: float64 of shape (152,), expected numbers (153,)",
        "ValueError: sample_weight is 0 everywhere",
        "ValueError: class_weight differs between ranks: {0: 2.0} on rank 0, {1: 2.0} on rank 1",
        "ValueError: class_weight leaves every row the weight 0",
        "ValueError: validation_split differs between ranks: 0.1 on rank 0, 0.2 on rank 1",
        "ValueError: validation_split = 0.0001 of 203 rows leaves 0 to validate on",
        "ValueError: class_weight = 'balanced' needs all rows; give a dict",
        "ValueError: block 1: X has 4 columns but the input layer has 5 neurons",
        "ValueError: sample_weight is given on some ranks only",
        "OSError: disk unplugged",
        "DivergenceError: weights or cost are not finite after epoch 0: learning_rate = 1e+30",
        "ValueError: X yielded no block on any rank",
        "ValueError: learning_rate of epoch 0 = -1, expected a finite number > 0",
        "ValueError: n_threads = 0, expected an integer from 1 to 1024",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        refused(line, start)


def test_what_is_no_communicator():
    net = Network([5, 4, 3], output="softmax")
    with pytest.raises(TypeError, match=r"comm = 7, expected a communicator of mpi4py"):
        net.train(np.zeros((4, 5)), [0, 1, 2, 0], comm=7)


def test_a_dead_rank_ends_the_job_and_resume_finishes_it(tmp_path):
    program = f"""
class Die:
    def on_epoch_end(self, net, history):
        if comm.rank == 1 and len(history) == int(os.environ["DIE_AFTER"]):
            os.kill(os.getpid(), signal.SIGKILL)
net = Network([5, 20, 3], output="softmax", rng=0)
checkpoint = {str(tmp_path / "a")!r} if os.environ["DIE_AFTER"] != "never" else None
die = [Die()] if os.environ["DIE_AFTER"].isdigit() else []
here, there, mine = shard(X, labels, weights)
history = net.train(here, there, epochs=6, batch_size=40, optimizer="adam", comm=comm,
                    sample_weight=mine, validation_split=0.2, checkpoint=checkpoint,
                    resume=checkpoint is not None, callbacks=die, deterministic=True)
say(digest=digest(net, history), epochs=len(history))
"""

    def run(die, ranks=2):
        os.environ["DIE_AFTER"] = die
        try:
            began = time.perf_counter()
            return mpiexec(ranks, program), time.perf_counter() - began
        finally:
            del os.environ["DIE_AFTER"]

    expected, _ = run("never")
    for die in ("1", "2", "5"):
        done, seconds = run(die)
        assert done.returncode != 0
        assert seconds < 5
    assert (tmp_path / "a").exists()
    done, _ = run("complete", ranks=1)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(expected.stdout)[:1]
    assert '"epochs": 6' in done.stdout


def test_chunks_go_on_from_a_checkpoint_with_other_ranks(tmp_path):
    program = """
class Leave:
    def on_epoch_end(self, net, history):
        seen.append(len(history))
        if len(history) == MOST:
            raise ArithmeticError("enough")
seen = []
def run(extra=0):
    global net, history
    net = Network([5, 20, 3], output="softmax", rng=0)
    data = open_arrays(X, words, weights, group_rows=10, window_rows=70 + extra)
    history = net.train(data, epochs=5, batch_size=16, optimizer="adam", comm=comm,
                        deterministic=True, checkpoint=CHECKPOINT, resume=CHECKPOINT is not None,
                        callbacks=[Leave()])
attempt(run)
if not MOST:
    say(digest=digest(net, history), epochs=len(history))
    say(seen=seen)
    attempt(lambda: run(comm.rank))
"""

    def run(ranks, checkpoint, most=0):
        return said(ranks, f"CHECKPOINT, MOST = {checkpoint!r}, {most}\n" + program)

    _, expected, _, refused = run(2, None)
    assert expected[0]["epochs"] == 5
    assert "data differs between ranks" in refused[1]["error"]
    path = str(tmp_path / "a")
    assert "enough" in run(3, path, 2)[0][1]["error"]
    _, found, seen, _ = run(2, path)
    assert found == expected
    assert seen[0]["seen"] == [2, 3, 4, 5]  # the error came before the second was written
