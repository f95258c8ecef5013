"""Training goes on where it stood: after a call, a file, Ctrl-C or a divergence, and beside
other threads and processes."""

import _thread
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from cbackprop import DivergenceError, History, Network, load

RNG = np.random.default_rng(4)
X = RNG.normal(size=(53, 4)).astype(np.float32)
LABELS = np.arange(53) % 3
RATE = {"batch_size": 10, "learning_rate": 0.5}


def network(**changes):
    return Network([4, 6, 3], **{"rng": 9, "output": "softmax", **changes})


def weights(net):
    return [x.tobytes() for x in net.weights + net.biases]


def curves(history):
    return {**history.to_dict(), "seconds": None}


def same(net, other):
    assert weights(net) == weights(other)
    assert curves(net.history) == curves(other.history)
    assert net.steps == other.steps


# ---- in parts ---------------------------------------------------------------------------

BETWEEN = {
    "nothing": lambda net, folder: net,
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "file": lambda net, folder: (net.save(folder / "net"), load(folder / "net"))[1],
    "predict": lambda net, folder: (net.predict(X), net.evaluate(X, LABELS), net)[2],
    "gradients": lambda net, folder: (net.gradients(X, LABELS), net)[1],
    "refusal": lambda net, folder: refusal(net),
    "weights": lambda net, folder: (setattr(net, "weights", net.weights), net)[1],
}


def refusal(net):
    for x in (np.full((53, 4), np.nan), np.full((7, 4), np.nan)):
        with pytest.raises(ValueError, match="NaN"):
            net.train(x, LABELS[: len(x)], batch_size=4)
    return net


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("shuffle", [True, False])
def test_three_and_four_are_seven(shuffle, between, dtype, tmp_path):
    whole, parts = network(dtype=dtype), network(dtype=dtype)
    history = whole.train(X, LABELS, epochs=7, shuffle=shuffle, l2=0.1, **RATE)
    first = parts.train(X, LABELS, epochs=3, shuffle=shuffle, l2=0.1, **RATE)
    assert weights(parts) != weights(whole)
    parts = BETWEEN[between](parts, tmp_path)
    second = parts.train(X, LABELS, epochs=4, shuffle=shuffle, l2=0.1, **RATE)
    same(parts, whole)
    assert (len(first), len(second), parts.steps) == (3, 4, 7 * 6)
    assert first.cost + second.cost == history.cost == whole.history.cost
    assert first.score + second.score == history.score
    assert len(set(history.cost)) == 7


@pytest.mark.parametrize("extra", [{"validation_data": (X, LABELS)}, {"progress": True}])
def test_one_epoch_a_call_has_the_same_bits(extra, capsys):
    whole, parts = network(), network()
    whole.train(X, LABELS, epochs=5, **RATE)
    history = parts.train(X, LABELS, epochs=5, **RATE, **extra)
    assert weights(parts) == weights(whole)
    assert history.cost == whole.history.cost
    assert len(history.validation_cost) == (5 if "validation_data" in extra else 0)
    last = parts.evaluate(X, LABELS)
    assert history.validation_cost[-1:] in ([], [last["cost"]])


def test_real_targets_in_parts(dtype):
    y = X[:, :3] ** 2
    whole, parts = (network(dtype=dtype, output="identity") for _ in range(2))
    whole.train(X, y, epochs=4, **RATE)
    for _ in range(4):
        parts.train(X, y, **RATE)
    same(parts, whole)
    assert whole.history.score_name == "r2"


def test_epochs_have_orders_of_their_own():
    ordered, shuffled = network(), network()
    ordered.train(X, LABELS, epochs=2, shuffle=False, **RATE)
    shuffled.train(X, LABELS, epochs=2, **RATE)
    assert weights(ordered) != weights(shuffled)


def test_reset_starts_afresh():
    net = network()
    fresh = weights(net)
    net.train(X, np.array(["a", "b", "c"])[LABELS], epochs=2, **RATE)
    first = weights(net), curves(net.history)
    net.reset()
    assert weights(net) == fresh
    assert (net.steps, net.history, net.classes) == (0, History(), None)
    net.train(X, LABELS, epochs=2, **RATE)  # other labels are fine again
    assert (weights(net), curves(net.history)) == first


# ---- Ctrl-C ---------------------------------------------------------------------------------

MANY = 20_000
LONG_X = RNG.normal(size=(MANY, 4)).astype(np.float32)
LONG_Y = np.arange(MANY) % 3
LONG = {"batch_size": 2, "learning_rate": 0.05}
BATCHES = MANY // 2


@contextmanager
def interrupting(seconds, how="main"):
    """KeyboardInterrupt in the main thread after this time."""
    # Python drops what is raised while a weak reference's callback runs, as those of other tests'
    # garbage would; it is gone before.
    gc.collect()
    gc.disable()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = None
    if how == "main":
        timer = threading.Timer(seconds, _thread.interrupt_main)
        timer.start()
    else:
        alarm = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if timer is None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        else:
            timer.cancel()
            timer.join()
        signal.signal(signal.SIGINT, before)
        gc.enable()


def broken(seconds=0.08, how="main", net=None, **arguments):
    """A network whose training was interrupted, in the middle of an epoch unless we are
    very unlucky."""
    for _ in range(5):
        net = net or network(activation="tanh")
        with pytest.raises(KeyboardInterrupt), interrupting(seconds, how):
            net.train(LONG_X, LONG_Y, epochs=10_000, **{**LONG, **arguments})
        if net.steps % BATCHES:
            return net
        net.reset()
    raise AssertionError("never in the middle of an epoch")


def unbroken(epochs):
    net = network(activation="tanh")
    net.train(LONG_X, LONG_Y, epochs=epochs, **LONG)
    return net


ALARM = pytest.param("alarm", marks=pytest.mark.skipif(os.name != "posix", reason="setitimer"))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("how", ["main", ALARM])
def test_interrupted_training_goes_on(how, n_threads):
    net = broken(how=how, n_threads=n_threads)
    done = len(net.history)
    assert done * BATCHES < net.steps < (done + 1) * BATCHES
    assert np.isfinite(net.predict(LONG_X)).all()  # usable
    net.train(LONG_X, LONG_Y, epochs=2, **LONG)
    assert len(net.history) == done + 3  # the broken one, and two
    same(net, unbroken(done + 3))


def test_completed_epochs_are_in_the_history():
    for seconds in (0.3, 3, 30):  # without optimisation an epoch may take as long
        net = broken(seconds)
        done = len(net.history)
        if done:
            break
    assert done > 0
    reference = unbroken(done)
    assert curves(net.history) == curves(reference.history)
    assert weights(net) != weights(reference)


@pytest.mark.parametrize("way", ["pickle", "file", "deepcopy", "predict", "refusal"])
def test_broken_epoch_goes_through(way, tmp_path):
    net = BETWEEN[way](broken(), tmp_path)
    net.train(LONG_X, LONG_Y, **LONG)
    same(net, unbroken(len(net.history)))


def test_refused_data_of_the_same_shape_after_a_break():
    net = broken()
    before = weights(net), net.steps, curves(net.history)
    wrong = LONG_X.copy()
    wrong[-100:] = np.nan
    wrong[:100] = np.nan
    with pytest.raises(ValueError, match="NaN at row 0"):
        net.train(wrong, LONG_Y, **LONG)
    assert (weights(net), net.steps, curves(net.history)) == before
    net.train(LONG_X, LONG_Y, **LONG)
    same(net, unbroken(len(net.history)))


def test_refused_data_in_rows_that_the_broken_epoch_has_seen():
    net = broken(shuffle=False)
    before = weights(net), net.steps, curves(net.history)
    wrong = LONG_X.copy()
    wrong[0] = np.nan
    with pytest.raises(ValueError, match="NaN at row 0"):
        net.train(wrong, LONG_Y, shuffle=False, **LONG)
    assert (weights(net), net.steps, curves(net.history)) == before


def test_validation_after_a_break():
    plain = broken()
    checked = copy.deepcopy(plain)
    one = plain.train(LONG_X, LONG_Y, epochs=2, **LONG)
    data = (X, LABELS)
    two = checked.train(LONG_X, LONG_Y, epochs=2, validation_data=data, **LONG)
    assert two.cost == one.cost
    assert weights(checked) == weights(plain)
    assert len(set(two.validation_cost)) == len(two)  # each epoch evaluated by itself


def test_interrupted_twice():
    net = broken(0.06)
    net = broken(0.06, net=net)
    net.train(LONG_X, LONG_Y, **LONG)
    same(net, unbroken(len(net.history)))


def test_other_data_after_a_break():
    net = broken()
    done, steps = len(net.history), net.steps
    net.train(X, LABELS, epochs=2, **RATE)
    assert (len(net.history), net.steps) == (done + 2, steps + 12)


def test_interruption_is_prompt():
    net = network()
    began = []
    timer = threading.Timer(
        0.1, lambda: (began.append(time.perf_counter()), _thread.interrupt_main())
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            net.train(LONG_X, LONG_Y, epochs=10_000, **LONG)
        took = time.perf_counter() - began[0]
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert took < 1.0  # 100 ms in the book of rules; this machine may be busy


# ---- divergence ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 2])
def test_divergence_rolls_back(dtype, n_threads):
    def fresh():
        return Network([4, 6, 3], output="identity", activation="identity", rng=9, dtype=dtype)

    y = X[:, :3].copy()
    net, calm = fresh(), fresh()
    for n in (net, calm):
        n.train(X, y, epochs=2, batch_size=10, learning_rate=0.01)
    before = weights(net)
    with pytest.raises(DivergenceError, match=r"learning_rate = 1e\+30") as caught:
        net.train(X, y, epochs=5, batch_size=10, learning_rate=1e30, n_threads=n_threads)
    assert isinstance(caught.value, ArithmeticError)
    assert caught.value.epoch == 2
    assert len(caught.value.history) == 0
    assert weights(net) == before
    assert net.steps == 12
    same(net, calm)
    for n in (net, calm):
        n.train(X, y, epochs=3, batch_size=10, learning_rate=0.01)
    same(net, calm)


def test_divergence_after_some_epochs():
    def fresh():
        return Network([4, 3], output="identity", rng=9)

    net, y = fresh(), X[:, :3].copy()
    arguments = {"batch_size": 53, "learning_rate": 30.0, "shuffle": False}
    with pytest.raises(DivergenceError) as caught:
        net.train(X, y, epochs=1000, **arguments)
    epoch = caught.value.epoch
    assert 3 < epoch < 1000
    assert len(caught.value.history) == len(net.history) == net.steps == epoch
    assert caught.value.history.cost == net.history.cost
    assert all(np.isfinite(w).all() for w in net.weights + net.biases)
    other = fresh()
    other.train(X, y, epochs=epoch, **arguments)
    same(net, other)


def test_divergence_in_a_broken_epoch():
    net = network(output="identity", activation="identity")
    y = LONG_X[:, :3].copy()
    with pytest.raises(KeyboardInterrupt), interrupting(0.08):
        net.train(LONG_X, y, epochs=10_000, batch_size=2, learning_rate=0.001)
    done = len(net.history)
    with pytest.raises(DivergenceError) as caught:
        net.train(LONG_X, y, batch_size=2, learning_rate=1e30)
    assert caught.value.epoch == done
    assert all(np.isfinite(w).all() for w in net.weights + net.biases)
    # rolled back to a place from which training goes on as if nothing had been
    net.train(LONG_X, y, batch_size=2, learning_rate=0.001)
    other = network(output="identity", activation="identity")
    other.train(LONG_X, y, epochs=len(net.history), batch_size=2, learning_rate=0.001)
    same(net, other)


# ---- threads of Python --------------------------------------------------------------------


def in_thread(function):
    """What the function returns or raises in a thread of its own."""
    result = []

    def body():
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, result


class Probe:
    """Validation data that runs something in another thread whenever it is looked at."""

    def __init__(self, action):
        self.action, self.results = action, []

    def __array__(self, dtype=None, copy=None):
        thread, result = in_thread(self.action)
        thread.join()
        self.results += result
        return X


USES = {
    "train": lambda net: net.train(X, LABELS),
    "predict": lambda net: net.predict(X),
    "classify": lambda net: net.classify(X),
    "evaluate": lambda net: net.evaluate(X, LABELS),
    "gradients": lambda net: net.gradients(X, LABELS),
    "pullback": lambda net: net.pullback(X, X[:, :3]),
    "one row": lambda net: net.predict(X[:1]),
    "save": lambda net: net.save(os.devnull + "/none"),
    "pickle": pickle.dumps,
    "deepcopy": copy.deepcopy,
    "reset": lambda net: net.reset(),
    "weights": lambda net: setattr(net, "weights", net.weights),
    "biases": lambda net: setattr(net, "biases", net.biases),
    "set_weights": lambda net: net.set_weights(0, b=np.zeros(6)),
}


@pytest.mark.parametrize("use", USES)
def test_busy_while_training(use):
    net, alone = network(), network()
    # The gate looks at validation data once before training; from then on steps count.
    probe = Probe(lambda: USES[use](net) if net.steps else None)
    net.train(X, LABELS, epochs=2, validation_data=(probe, LABELS), **RATE)
    first, *errors = probe.results
    assert first is None
    assert len(errors) == 2
    for error in errors:
        assert type(error) is RuntimeError, error
        assert "network is busy" in str(error)
    alone.train(X, LABELS, epochs=2, **RATE)
    assert weights(net) == weights(alone)
    USES["predict"](net)  # free again


@pytest.mark.parametrize("use", ["train", "reset", "weights", "biases", "set_weights"])
def test_busy_while_used(use):
    net = network()
    before = weights(net)
    probe = Probe(lambda: USES[use](net))
    net.evaluate(probe, LABELS)
    assert [type(error) for error in probe.results] == [RuntimeError]
    assert "network is busy" in str(probe.results[0])
    assert weights(net) == before
    USES[use](net)


def test_busy_in_the_compiled_part():
    net, alone = network(), network()
    thread, result = in_thread(lambda: net.train(LONG_X, LONG_Y, epochs=20, **LONG))
    while thread.is_alive() and not net._engine.held_alone:
        time.sleep(0.0005)  # a predict now would be the one that keeps the other out
    errors = 0
    while thread.is_alive():
        try:
            net.predict(X)
        except RuntimeError as error:
            assert "network is busy" in str(error)  # noqa: PT017
            errors += 1
        time.sleep(0.001)
    thread.join()
    assert errors > 3
    assert isinstance(result[0], History), result
    alone.train(LONG_X, LONG_Y, epochs=20, **LONG)
    same(net, alone)


@pytest.mark.parametrize("n_threads", [2, 3, 4])
@pytest.mark.parametrize("rest", [0, 5, 48, 96, 150])
def test_predictions_with_a_short_last_chunk(rest, n_threads):
    # the threads must not enter the last chunk, which they divide otherwise, too early
    net = Network([4, 64, 64, 3], rng=9)
    x = LONG_X[: 3 * 96 * n_threads + rest]
    a = net.predict(x, n_threads=1).tobytes()
    for _ in range(150):
        assert net.predict(x, n_threads=n_threads).tobytes() == a


@pytest.mark.parametrize("n_threads", [1, 2])
def test_predictions_in_several_threads(n_threads):
    net = network()
    net.train(X, LABELS, epochs=2, **RATE)
    a = net.predict(LONG_X).tobytes()
    score = net.evaluate(LONG_X, LONG_Y)

    def work():
        results = [net.predict(LONG_X, n_threads=n_threads).tobytes() == a for _ in range(10)]
        results += [net.evaluate(LONG_X, LONG_Y, n_threads=n_threads) == score for _ in range(5)]
        results.append(net.gradients(X, LABELS, n_threads=n_threads).z[0].shape == (53, 6))
        return results

    jobs = [in_thread(work) for _ in range(6)]
    for thread, _ in jobs:
        thread.join()
    assert [result for _, result in jobs] == [[[True] * 16]] * 6


@pytest.mark.parametrize("n_threads", [1, 2])
def test_two_networks_train_at_once(n_threads):
    def train(seed):
        net = network(rng=seed)
        net.train(LONG_X, LONG_Y, epochs=2, n_threads=n_threads, batch_size=20)
        return weights(net), curves(net.history)

    alone = [train(seed) for seed in range(3)]
    jobs = [in_thread(lambda seed=seed: train(seed)) for seed in range(3)]
    for thread, _ in jobs:
        thread.join()
    assert [result[0] for _, result in jobs] == alone


# ---- the process ------------------------------------------------------------------------


def script(text):
    """Run as a program of its own; it must print 'fine'."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["fine"]), done.stderr


def test_float_environment_is_left_alone():
    script(
        """
import numpy as np
def subnormal(tiny=np.float32(1e-40), small=np.float64(1e-310)):
    return bool(np.array([tiny]) * np.float32(1) > 0) and bool(np.array([small]) * 1.0 > 0)
assert subnormal()
from cbackprop import Network
assert subnormal(), "import"
x, y = np.ones((64, 4)), np.arange(64) % 3
for threads in (1, 2):
    net = Network([4, 5, 3], rng=0)
    net.train(x, y, epochs=2, n_threads=threads); assert subnormal(), "train"
    net.predict(x, n_threads=threads); assert subnormal(), "predict"
    net.predict(x); assert subnormal(), "the quick way"
    net.evaluate(x, y, n_threads=threads); assert subnormal(), "evaluate"
    net.gradients(x, y, n_threads=threads); assert subnormal(), "gradients"
    seen = []
    class Data:
        def __array__(self, dtype=None, copy=None):
            seen.append(subnormal())
            return x
    net.train(x, y, epochs=2, validation_data=(Data(), y), n_threads=threads)
    assert seen and all(seen), "between epochs"
    try:
        net.train(x * np.nan, y, n_threads=threads)
    except ValueError:
        assert subnormal(), "refusal"
print("fine")
"""
    )


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")
def test_float_environment_of_signal_handlers():
    seen = []

    def handler(number, frame):
        seen.append(bool((np.array([np.float32(1e-40)]) * np.float32(1) > 0).all()))

    before = signal.signal(signal.SIGALRM, handler)
    net, alone = network(), network()
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    try:
        net.train(LONG_X, LONG_Y, epochs=30, **LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen and all(seen)
    alone.train(LONG_X, LONG_Y, epochs=30, **LONG)
    same(net, alone)  # a handler that returns changes nothing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.parametrize("child_threads", [1, 2])
def test_fork_after_training(child_threads):
    script(
        f"""
import os, warnings
warnings.simplefilter("ignore")
import numpy as np
from cbackprop import Network
x, y = np.random.default_rng(0).normal(size=(64, 4)), np.arange(64) % 3
net, alone = Network([4, 5, 3], rng=0), Network([4, 5, 3], rng=0)
alone.train(x, y, epochs=4, n_threads=1)
net.train(x, y, epochs=2, n_threads=2)
child = os.fork()
net.train(x, y, epochs=2, n_threads={child_threads} if child == 0 else 2)
right = all((a == b).all() for a, b in zip(net.weights, alone.weights))
right = right and (net.predict(x, n_threads=2) == alone.predict(x)).all()
if child == 0:
    raise SystemExit(0 if right else 7)     # by the way that lets gcov write its counts
assert right
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("fine")
"""
    )


# Two calls from C, no bytecode between them, so that Ctrl-C is pending in the second.
PENDING = """
import ctypes, functools, operator
import numpy as np
from cbackprop import Network

net = Network([4, 3], rng=0)
quick = functools.partial(net._engine.quick, np.zeros((1, 4), np.float32))
try:
    list(map(operator.call, [ctypes.pythonapi.PyErr_SetInterrupt, quick]))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_before_the_first_workspace_is_made():
    # The workspace was asked for by an IndexError. With the limited API, Cython evaluates Python
    # code for each entry of a traceback: the handler ran there, the entry was missing, and
    # leaving the except clause by return crashed.
    command = [sys.executable, "-P", "-X", "faulthandler", "-c", PENDING]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "interrupted\n"


INTERRUPTED = """
import signal, sys
import numpy as np
from cbackprop import Network

rng = np.random.default_rng(0)
X, y = rng.random((3000, 64), np.float32), rng.integers(0, 10, 3000)
settings = {"batch_size": 10, "learning_rate": 0.1}
if "validation" in sys.argv:
    settings["validation_data"] = (X[:500], y[:500])
truth = Network([64, 30, 10], rng=0)
truth.train(X, y, epochs=24, **settings)


def interrupt(*_):
    raise KeyboardInterrupt


signal.signal(signal.SIGALRM, interrupt)
early = 0
for delay in np.linspace(0.0005, 0.012, 60):
    net = Network([64, 30, 10], rng=0)
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        net.train(X, y, epochs=12, **settings)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        early += 1
    done, broken = net._position.epoch, net._position.batch > 0
    assert net.steps == done * 300 + net._position.batch
    assert len(net.history) == done
    if "validation" in sys.argv:
        assert len(net.history.validation_cost) == done
    rest = 24 - done - broken
    net.train(X, y, epochs=rest, **settings)
    assert net.steps == truth.steps
    assert net.history.cost == truth.history.cost
    for mine, theirs in zip(net.weights, truth.weights, strict=True):
        assert mine.tobytes() == theirs.tobytes()
assert early > 10, early
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
@pytest.mark.parametrize("how", ["plain", "validation"])
def test_a_signal_at_any_moment_loses_no_epoch(how):
    command = [sys.executable, "-P", "-c", INTERRUPTED, how]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_cost_that_is_not_a_number_is_divergence():
    net = Network([4, 8, 3], output="softmax", rng=0)
    rows = np.random.default_rng(0).standard_normal((200, 4))
    with pytest.raises(DivergenceError):
        net.train(rows, np.arange(200) % 3, learning_rate=1e38, epochs=3)
    assert np.isfinite(net.weights[0]).all()


def test_predict_into_its_own_input():
    memory = np.random.default_rng(0).random((301, 3), np.float32)
    net = Network([3, 3], rng=0)
    expected = net.predict(memory[:300].copy())
    assert np.array_equal(net.predict(memory[:300], out=memory[1:]), expected)


def test_a_scale_beyond_float32_is_refused():
    with pytest.raises(ValueError, match=r"input_scale contains 1e\+39.*finite numbers in float32"):
        Network([4, 3], input_scale=1e39)
    net = Network([1, 1], input_scale=3e38, rng=0)
    with pytest.raises(ValueError, match="input_scale"):
        net.predict(np.full((1, 1), 200, np.uint8))


@pytest.mark.parametrize("how", ["NaN", "divergence"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("threads", [2, 3])
def test_numbers_that_are_none_leave_no_trace(how, optimizer, threads, dtype):
    # One or two rows a thread are computed in whole vectors, five in halves where that is enough:
    # what one left in the padding, the other one found, and the next training diverged.
    data = np.random.default_rng(0)
    x, y = data.normal(size=(23, 3)), data.random((23, 2))
    sigma = {"NaN": "tanh", "divergence": "silu"}[how]
    nets = [Network([3, 17, 4, 2], activation=sigma, dtype=dtype, rng=0) for _ in range(2)]
    options = {"batch_size": 5, "optimizer": optimizer, "learning_rate": 0.05, "shuffle": False}
    steep = {**options, "optimizer": "sgd", "epochs": 9}
    steep["learning_rate"] = {"float32": 1e37, "float64": 1e300}[dtype]
    bad = steep if how == "divergence" else options
    with pytest.raises((ValueError, DivergenceError)):
        nets[0].train(
            x if how == "divergence" else np.full_like(x, np.nan), y, n_threads=threads, **bad
        )
    for net in nets:
        net.train(x, y, n_threads=1, epochs=2, **options)
    assert weights(nets[0]) == weights(nets[1])
