"""Many networks over one data set."""

import _thread
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cbackprop import DivergenceError, Network, train_many

X = np.random.default_rng(0).normal(size=(50, 4))
Y = np.arange(50) % 3
SPECS = [
    {"sizes": [4, 5, 3], "rng": 1},
    {"sizes": [4, 8, 8, 3], "rng": 2, "activation": "relu", "optimizer": "adam"},
    {"sizes": [4, 3], "rng": 3, "cost": "quadratic", "learning_rate": 0.3, "epochs": 5},
    {"sizes": [4, 6, 3], "rng": 4, "dropout": 0.5, "dtype": "float64"},
]


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_each_is_as_trained_alone(executor):
    pool = None if executor == "threads" else ProcessPoolExecutor(2)
    options = {"output": "softmax", "epochs": 3, "batch_size": 7}
    results = train_many(SPECS, X, Y, executor=pool, **options)
    found = {i: (net, history) for i, net, history in results}
    if pool:
        pool.shutdown()
    assert sorted(found) == [0, 1, 2, 3]
    for i, spec in enumerate(SPECS):
        rest = {"epochs": 3, **spec}
        about = {k: rest.pop(k) for k in ("rng", "activation", "cost", "dtype") if k in rest}
        net = Network(rest.pop("sizes"), output="softmax", **about)
        history = net.train(X, Y, batch_size=7, **rest)
        assert bits(found[i][0]) == bits(net)
        assert found[i][1].cost == history.cost


def test_one_that_fails_does_not_stop_the_others():
    specs = [SPECS[0], {"sizes": [5, 3]}, {"sizes": [4, 3], "optimizer": "adem"}]
    found = {i: (net, result) for i, net, result in train_many(specs, X, Y, output="softmax")}
    assert found[0][0] is not None
    assert found[1][0] is None
    assert isinstance(found[1][1], ValueError)
    assert "did you mean 'adam'" in str(found[2][1])
    with pytest.raises(ValueError, match="X has 4"):
        list(train_many(specs[1:2], X, Y, output="softmax", on_error="raise"))


def test_one_that_diverges_in_another_process_does_not_stop_the_others():
    specs = [{"learning_rate": 1e-3}, {"learning_rate": 1e30}, {"learning_rate": 1e-3}]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = train_many(
            [{"sizes": [4, 1], **spec} for spec in specs], X, X[:, 0], executor=pool, epochs=9,
            output="identity",
        )  # fmt: skip
        results = {i: result for i, _, result in found}
    error = results[1]
    assert isinstance(error, DivergenceError)
    assert error.epoch == len(error.history)
    assert "learning_rate = 1e+30 is too large" in str(error)
    assert len(results[0]) == len(results[2]) == 9


def test_results_come_as_they_finish():
    # The first waits, in its first epoch, for the second to have been handed out.
    handed_out = threading.Event()

    class Wait:
        def on_epoch_end(self, net, history):
            assert handed_out.wait(60)

    specs = [{"sizes": [4, 3], "rng": 0, "callbacks": [Wait()]}, {"sizes": [4, 3], "rng": 1}]
    with ThreadPoolExecutor(2) as pool:
        order = []
        for i, _, _ in train_many(specs, X, Y, output="softmax", executor=pool):
            order.append(i)
            handed_out.set()
    assert order == [1, 0]


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        (3, {}, "specs = 3, expected a list of dicts"),
        ("abc", {}, "specs = 'abc', expected a list"),
        ({"sizes": [4, 3]}, {}, r"specs = {'sizes': \[4, 3\]}, expected a list of dicts"),
        ([SPECS[0], 3], {}, r"specs\[1\] = 3, expected a dict of arguments"),
        (
            [SPECS[0], {"sizes": [4, 3], "learningrate": 0.1}],
            {},
            r"specs\[1\] has 'learningrate', "
            "which neither Network nor train takes; did you mean 'learning_rate'",
        ),
        ([{"sizes": [4, 3], "X": X}], {}, r"specs\[0\] has 'X', which neither"),
        (SPECS, {"epoch": 3}, "train_many got 'epoch', .*did you mean 'epochs'"),
        (SPECS, {"executor": "threads"}, "executor = 'threads', expected a concurrent.futures"),
    ],
)
def test_arguments_of_the_wrong_kind(specs, options, message):
    with pytest.raises(TypeError, match=message):
        train_many(specs, X, Y, **options)


def test_specs_that_are_refused():
    with pytest.raises(ValueError, match=r"specs\[1\] has no 'sizes'"):
        train_many([SPECS[0], {}], X, Y)
    with pytest.raises(ValueError, match="on_error = 'skip'"):
        train_many(SPECS, X, Y, on_error="skip")


LONG_X = np.random.default_rng(1).normal(size=(20_000, 4)).astype(np.float32)
LONG_Y = np.arange(20_000) % 3


class Watch:
    """Keeps the networks that train, and says when there are two."""

    def __init__(self):
        self.nets, self.both = {}, threading.Event()

    def on_epoch_end(self, net, history):
        self.nets[id(net)] = net
        if len(self.nets) == 2:
            self.both.set()


@pytest.mark.parametrize("how", ["Ctrl-C", "no further", "raise"])
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_networks_that_train_are_stopped(how, optimizer):
    watch = Watch()
    endless = {
        "sizes": [4, 8, 3], "optimizer": optimizer, "callbacks": [watch], "batch_size": 2,
        "epochs": 10**6, "validation_data": (X, Y),
    }  # fmt: skip
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
        del endless["batch_size"]

    class Fails:
        def on_epoch_end(self, net, history):
            assert watch.both.wait(60)
            if how == "Ctrl-C":
                _thread.interrupt_main()
            else:
                raise OSError

    specs = [{**endless, "rng": 1}, {**endless, "rng": 2}, {**SPECS[0], "callbacks": [Fails()]}]
    on_error = "raise" if how == "raise" else "yield"
    with (
        ThreadPoolExecutor(3) as pool,
        contextlib.closing(  # whatever fails here, nothing trains on for ever
            train_many(specs, LONG_X, LONG_Y, output="softmax", executor=pool, on_error=on_error)
        ) as results,
    ):
        if how == "no further":
            assert next(results)[0] == 2
            results.close()
        else:
            with pytest.raises(KeyboardInterrupt if how == "Ctrl-C" else OSError):
                next(results)
    nets = list(watch.nets.values())
    assert len(nets) == 2
    if optimizer == "lbfgs":
        return
    for net in nets:
        # at a whole number of mini-batches, and free to finish the broken epoch
        through = Network([4, 8, 3], output="softmax", rng=1 if net is nets[0] else 2)
        through._key = net._key
        through.reset()
        epochs = len(net.history) + 1
        assert net.steps < epochs * 10_000
        if net._position.batch:
            net.train(LONG_X, LONG_Y, batch_size=2)
        through.train(LONG_X, LONG_Y, batch_size=2, epochs=net.steps // 10_000)
        assert bits(net) == bits(through)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["client", "executor"])
def test_dask_trains_the_networks_of_a_lost_worker_anew(kind):
    distributed = pytest.importorskip("distributed")
    specs = [{"sizes": [4, 30, 3], "rng": i} for i in range(12)]
    options = {"output": "softmax", "epochs": 300, "batch_size": 5}
    alone = {i: bits(net) for i, net, _ in train_many(specs, X, Y, **options)}
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client if kind == "client" else client.get_executor(pure=False)
        found = {}
        for i, net, history in train_many(specs, X, Y, executor=executor, **options):
            assert net is not None, history
            found[i] = bits(net)
            if len(found) == 2:
                os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
    assert found == alone


class _Forgetful:
    """Dask's client as train_many uses it; what it is told first of a network, it forgets."""

    def __init__(self, times):
        self.pool, self.left = ThreadPoolExecutor(1), dict.fromkeys(range(3), times)

    def get_executor(self, **options):
        raise AssertionError("not asked for")

    def scatter(self, values, **options):
        return values

    def submit(self, train, job, X, y, brake, *, pure):
        future = self.pool.submit(train, job, X, y, brake)
        if self.left[job["rng"]]:
            self.left[job["rng"]] -= 1
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
        return future


@pytest.mark.parametrize("times", [0, 1, 2])
def test_networks_that_dask_forgets_are_trained_anew_once(times):
    specs = [{"sizes": [4, 5, 3], "rng": i} for i in range(3)]
    alone = {i: bits(net) for i, net, _ in train_many(specs, X, Y)}
    found = train_many(specs, X, Y, executor=_Forgetful(times))
    if times == 2:
        with pytest.raises(CancelledError):
            list(found)
    else:
        assert {i: bits(net) for i, net, _ in found} == alone


def _sees_no_files():
    def load(*arguments, **options):
        raise FileNotFoundError

    np.load = load


def test_workers_that_do_not_see_the_file_are_sent_the_data():
    options = {"output": "softmax", "epochs": 3, "batch_size": 5}
    alone = {i: bits(net) for i, net, _ in train_many(SPECS[:2], X, Y, **options)}
    with ProcessPoolExecutor(2, initializer=_sees_no_files) as pool:
        found = {i: bits(n) for i, n, _ in train_many(SPECS[:2], X, Y, executor=pool, **options)}
    assert found == alone


MPI = """
import json, sys
import numpy as np
from mpi4py.futures import MPIPoolExecutor
from cbackprop import train_many

class Counted(np.ndarray):
    sent = 0

    def __reduce__(self):
        Counted.sent += 1
        return super().__reduce__()

def main():
    X = np.random.default_rng(0).normal(size=(50, 4))
    y = np.arange(50) % 3
    specs = [{"sizes": [4, 5 + i, 3], "rng": i} for i in range(6)] + [{"sizes": [5, 3]}]
    options = {"output": "softmax", "epochs": 3, "batch_size": 7}
    def outcome(net, result):
        return str(result) if net is None else [w.tolist() for w in net.weights + net.biases]
    alone = {i: outcome(*rest) for i, *rest in train_many(specs, X, y, **options)}
    with MPIPoolExecutor(*map(int, sys.argv[1:])) as pool:
        workers = pool.num_workers
        several = train_many(specs, X.view(Counted), y, executor=pool, **options)
        found = {i: outcome(*rest) for i, *rest in several}
    same = found == alone
    print(json.dumps({"same": same, "workers": workers, "sent": Counted.sent, "bad": found[6]}))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("how", ["ranks", "spawned"])
def test_mpi_pools_train_the_same_bits_and_find_the_data_in_a_file(how, tmp_path):
    import json

    pytest.importorskip("mpi4py")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("no mpiexec beside this Python: pip install mpich")
    script = tmp_path / "many.py"
    script.write_text(MPI)
    commands = {
        "ranks": ["-n", "3", sys.executable, "-P", "-m", "mpi4py.futures", script],
        "spawned": ["-n", "1", sys.executable, "-P", script, "2"],
    }
    run = subprocess.run([mpiexec, *commands[how]], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "same": True, "workers": 2, "sent": 0,
        "bad": "X has 4 columns but the input layer has 5 neurons",
    }  # fmt: skip
