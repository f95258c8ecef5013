"""One network over several processes (MPI): the bits of one, and one end for all."""

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

COMMON = """
import hashlib, json, os, signal, sys, threading, time
import numpy as np
from mpi4py import MPI
from cbackprop import DivergenceError, Network

comm = MPI.COMM_WORLD
generator = np.random.default_rng(0)
X = generator.normal(size=(203, 5)).astype("float32")
labels, targets = X[:, :3].argmax(axis=1), np.stack([X[:, 0] ** 2, X[:, 1]], axis=1)

def shard(*arrays):
    # Uneven, and where there are more than two ranks the first one is empty.
    edges = np.array([0, *(203 * (np.arange(comm.size) + 1) ** 2 // comm.size**2)])
    edges[1] = 0 if comm.size > 2 else edges[1]
    return [a[edges[comm.rank] : edges[comm.rank + 1]] for a in arrays]

def digest(net, h):
    arrays = [*net.weights, *net.biases, h.cost, h.score, h.delta_norms, h.dead_units]
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()

def say(**found):
    # A line of all ranks, from rank 0.
    found = comm.gather(found)
    if comm.rank == 0:
        print(json.dumps(found), flush=True)

def attempt(call):
    began = time.perf_counter()
    try:
        call()
        error = "none"
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    say(error=error, seconds=time.perf_counter() - began)
"""

CASES = {
    "sgd": {"target": "labels", "net": {"output": "softmax"}, "train": {"batch_size": 16}},
    "adam, dropout, noise": {
        "target": "labels",
        "net": {"output": "softmax", "activation": "relu"},
        "train": {
            "batch_size": 50,
            "optimizer": "adam",
            "dropout": 0.3,
            "input_noise": 0.1,
            "l2": 0.1,
        },
    },
    "full batch in float64": {
        "target": "targets",
        "net": {"output": "identity", "activation": "silu", "dtype": "float64"},
        "train": {"batch_size": 10_000, "learning_rate": 0.1, "clip_norm": 0.5, "max_norm": 1.5},
    },
}


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
    import json

    done = mpiexec(ranks, textwrap.dedent(program))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def program_of(case, deterministic):
    sizes = [5, 20, 18, 3 if case["target"] == "labels" else 2]
    return f"""
net = Network({sizes}, rng=comm.rank, **{case["net"]})
for epochs in (2, 1):
    history = net.train(*shard(X, {case["target"]}), epochs=epochs, comm=comm,
                        deterministic={deterministic}, **{case["train"]})
say(digest=digest(net, history), weights=[w.tolist() for w in net.weights])
"""


def alone(case):
    space = {}
    exec(COMMON.split("def shard")[0].replace("from mpi4py import MPI", "")
         .replace("comm = MPI.COMM_WORLD", ""), space)  # fmt: skip
    sizes = [5, 20, 18, 3 if case["target"] == "labels" else 2]
    net = Network(sizes, rng=0, **case["net"])
    for epochs in (2, 1):
        history = net.train(space["X"], space[case["target"]], epochs=epochs, **case["train"])
    import hashlib

    arrays = [*net.weights, *net.biases, history.cost, history.score, history.delta_norms,
              history.dead_units]  # fmt: skip
    digest = hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()
    return net, digest


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_deterministic_gives_the_bits_of_one_process(ranks):
    for name, case in CASES.items():
        (found,) = said(ranks, program_of(case, True))
        assert {one["digest"] for one in found} == {alone(case)[1]}, name


def test_default_is_close_repeatable_and_the_same_on_all_ranks():
    for name, case in CASES.items():
        (found,), (again,) = (said(3, program_of(case, False)) for _ in range(2))
        assert len({one["digest"] for one in found + again}) == 1, name
        tolerance = 1e-12 if case["net"].get("dtype") else 1e-5
        for w, expected in zip(found[0]["weights"], alone(case)[0].weights, strict=True):
            np.testing.assert_allclose(w, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_error_on_one_rank_is_raised_on_all(deterministic):
    lines = said(3, f"""
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
    wild = Network([5, 4, 2], output="identity", rng=0)
    far = 1e6 * shard(targets)[0]
    attempt(lambda: wild.train(here, far, learning_rate=1e6, epochs=9, **common))
    assert np.isfinite(wild.weights[0]).all()
    """)  # fmt: skip
    expected = [
        "ValueError: learning_rate = -1",
        "ValueError: blocks with comm= is not there",
        "ValueError: X has 4 columns",
        "ValueError: rate differs between ranks: 0.1 on rank 0, 0.2",
        "ValueError: sizes differs between ranks: (5, 4, 3) on rank 0, (5, 5, 3)",
        "",
        "ValueError: on rank 1: X contains NaN at row 7, column 2",
        "OSError: disk full",
        "DivergenceError: weights or cost are not finite",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        errors = {one["error"] for one in line}
        assert len(errors) == 1, errors
        assert next(iter(errors)).startswith(start), (errors, start)
        assert "none" not in errors
        assert max(one["seconds"] for one in line) < 5


def test_ctrl_c_on_one_rank_stops_all_after_the_same_mini_batch():
    (line, steps) = said(2, """
    net = Network([5, 64, 3], output="softmax", rng=0)
    if comm.rank == 1:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    attempt(lambda: net.train(*shard(X, labels), epochs=100_000, comm=comm))
    h = net.history
    say(steps=net.steps, weights=hashlib.sha256(net.weights[0].tobytes()).hexdigest())
    """)  # fmt: skip
    assert {one["error"] for one in line} == {"KeyboardInterrupt: "}
    assert max(one["seconds"] for one in line) < 5
    assert steps[0] == steps[1]
    assert steps[0]["steps"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("validation_split=0.2", "validation_split with comm= is not there; give validation_data="),
        ("sample_weight=np.ones(203)", "sample_weight with comm= is not there"),
        ("optimizer='lbfgs'", "optimizer 'lbfgs' with comm= is not there"),
        ("compute='bf16'", "compute with comm= is not there"),
    ],
)
def test_refused(arguments, message):
    (line,) = said(2, f"""
    net = Network([5, 4, 3], output="softmax", rng=0)
    attempt(lambda: net.train(*shard(X, labels), comm=comm, {arguments}))
    """)  # fmt: skip
    assert all(one["error"].startswith(f"ValueError: {message}") for one in line), line


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
history = net.train(*shard(X, labels), epochs=6, batch_size=16, optimizer="adam", comm=comm,
                    checkpoint=checkpoint, resume=checkpoint is not None, callbacks=die,
                    deterministic=True)
say(digest=digest(net, history), epochs=len(history))
"""

    def run(die):
        os.environ["DIE_AFTER"] = die
        try:
            began = time.perf_counter()
            return mpiexec(2, program), time.perf_counter() - began
        finally:
            del os.environ["DIE_AFTER"]

    expected, _ = run("never")
    for die in ("1", "2", "5"):
        done, seconds = run(die)
        assert done.returncode != 0
        assert seconds < 5
    assert (tmp_path / "a").exists()
    done, _ = run("complete")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.stdout
    assert '"epochs": 6' in done.stdout
