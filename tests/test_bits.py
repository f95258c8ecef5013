"""The same bits for any number of threads and any kernel table, both precisions."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from cbackprop import Network, _engine

SHAPES = [
    ([5, 33, 18, 4], "sigmoid", "softmax", 17),
    ([40, 17, 3], "tanh", "sigmoid", 10),
    ([12, 50, 7], "relu", "softmax", 64),
    ([3, 1], "sigmoid", "identity", 1),
    ([70, 130, 65, 31, 2], "tanh", "identity", 70),
    ([64, 30, 10], "sigmoid", "sigmoid", 10),
]


def trained(sizes, activation, output, batch, dtype, threads):
    rng = np.random.default_rng(1)
    X = rng.random((77, sizes[0]))
    y = rng.integers(0, sizes[-1], 77) if output == "softmax" else rng.random((77, sizes[-1]))
    net = Network(sizes, activation=activation, output=output, dtype=dtype, rng=3)
    history = net.train(
        X, y, epochs=2, batch_size=batch, learning_rate=0.5, l2=0.1, n_threads=threads
    )
    return net, history.cost, X


@pytest.mark.parametrize(("sizes", "activation", "output", "batch"), SHAPES)
def test_same_bits_for_all_threads_and_tables(sizes, activation, output, batch, dtype, digest):
    found = {}
    before = _engine.kernels_in_use()
    try:
        for table in _engine.kernel_names():
            _engine.choose_kernels(table)
            for threads in (1, 2, 3, 4, 7):
                net, cost, X = trained(sizes, activation, output, batch, dtype, threads)
                bits = net.predict(X, n_threads=threads).tobytes()
                found[table, threads] = (digest(net), tuple(cost), bits)
    finally:
        _engine.choose_kernels(before)
    assert len(set(found.values())) == 1, {key: value[0][:8] for key, value in found.items()}


# Of SHAPES[0] and SHAPES[2]; they change only in a minor release, and the CHANGELOG says so.
GOLDEN = {
    "float32": ["7714ba8240111cc2", "011ae00a06b4e7d2"],
    "float64": ["b83b9f252ad82d21", "2980482de83965e9"],
}


def test_golden_hashes(dtype, digest):
    found = [digest(trained(*SHAPES[i], dtype, 2)[0])[:16] for i in (0, 2)]
    assert found == GOLDEN[dtype]


@pytest.mark.parametrize("rows", [1, 20])
def test_results_below_the_least_normal_number_are_zero(rows, table, dtype):
    # z = x w with b = 0. Where the product would round up to the least normal number, x86 looks
    # after rounding and keeps it, ARM looks before and makes it 0: docs/decisions.md.
    info = np.finfo(dtype)
    eps, tiny = info.eps, info.tiny
    rounded_up = 0 if platform.machine().lower() in ("aarch64", "arm64") else tiny
    cases = [(1, tiny, tiny), (1 - eps / 2, tiny, 0), (1 - eps, tiny * (1 + eps), rounded_up)]
    for x, w, z in cases:
        net = Network([1, 1], output="identity", dtype=dtype, rng=0)
        net.weights, net.biases = [np.array([[w]], dtype)], [np.zeros(1, dtype)]
        assert net.predict(np.full((rows, 1), x, dtype)).tolist() == [[z]] * rows


def test_another_seed_gives_other_bits(digest):
    nets = [Network([4, 5, 2], rng=seed) for seed in (0, 1)]
    assert digest(nets[0]) != digest(nets[1])


def imported_with(isa):
    environment = {**os.environ, "CBACKPROP_ISA": isa}
    return subprocess.run(
        [sys.executable, "-P", "-c", "import cbackprop; print(cbackprop.show_config()['kernels'])"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_environment_caps_the_table(table):
    assert imported_with(table).stdout.strip() == table


def test_impossible_tables_are_refused_by_name():
    assert (
        "CBACKPROP_ISA = 'sse9', expected portable, avx2, avx512 or neon"
        in imported_with("sse9").stderr
    )
    foreign = "neon" if "avx2" in _engine.kernel_names() or sys.platform != "darwin" else "avx2"
    if foreign not in _engine.kernel_names():
        assert (
            f"CBACKPROP_ISA = '{foreign}' does not run on this CPU" in imported_with(foreign).stderr
        )


def test_validation_data_may_lack_a_class():
    X, labels = np.random.default_rng(0).random((12, 3)), np.array(["a", "b", "c"] * 4)
    net = Network([3, 5, 3], output="softmax", rng=0)
    history = net.train(X, labels, epochs=2, validation_data=(X[:2], labels[:2]))
    assert history.validation_score[-1] == net.evaluate(X[:2], labels[:2])["accuracy"]
    assert len(history.validation_cost) == 2


@pytest.mark.parametrize("threads", [None, 2, 3])
def test_ways_to_share_the_work_chosen_while_training_change_no_bit(threads):
    rng = np.random.default_rng(3)
    X, y = rng.random((4000, 60), np.float32), rng.integers(0, 5, 4000)
    nets = [Network([60, 40, 20, 5], output="softmax", rng=1) for _ in range(2)]
    for net, n in zip(nets, (threads, 1), strict=True):
        net.train(X, y, epochs=12, batch_size=20, n_threads=n)
        net.train(X, y, epochs=3, batch_size=100, n_threads=n)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        assert a.tobytes() == b.tobytes()
    assert nets[0].history.cost == nets[1].history.cost


def test_a_short_mini_batch_has_room_for_its_inputs():
    # Of fewer samples BP4 lays more tiles' inputs out together, in a thread's scratch.
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((768 + 641, 512)).astype(np.float32), rng.integers(0, 10, 768 + 641)
    nets = [Network([512, 128, 10], activation="relu", output="softmax", rng=0) for _ in range(2)]
    for net, threads in zip(nets, (2, 3), strict=True):
        net.train(X, y, batch_size=768, learning_rate=0.1, n_threads=threads)
    assert nets[0].weights[0].tobytes() == nets[1].weights[0].tobytes()
