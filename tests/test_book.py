"""The drop-ins for the book's programs against the algorithms as the book describes them."""

import json
import random

import numpy as np
import pytest

from cbackprop.book import mnist_loader, network, network2
from cbackprop.datasets import load_digits

DIGITS = load_digits()


def pairs(n, dtype=np.float64):
    X = (DIGITS.X_train[:n] / 16).astype(dtype)
    return [
        (x.reshape(-1, 1), network2.vectorized_result(y))
        for x, y in zip(X, DIGITS.y_train[:n], strict=True)
    ]


def labelled(n):
    return [
        (x.reshape(-1, 1) / 16, int(y))
        for x, y in zip(DIGITS.X_test[:n], DIGITS.y_test[:n], strict=True)
    ]


def sigma(z):
    return 1 / (1 + np.exp(-z))


def one_at_a_time(net, data, epochs, m, eta, lmbda=0.0, cross_entropy=False):
    """Chapter 2's algorithm, a sample at a time: columns, lists and sums."""
    w, b, n = list(net.weights), list(net.biases), len(data)
    for _ in range(epochs):
        random.shuffle(data)
        for start in range(0, n, m):
            batch = data[start : start + m]
            nabla_w, nabla_b = [0 * x for x in w], [0 * x for x in b]
            for x, y in batch:
                a, z = [x], []
                for w_l, b_l in zip(w, b, strict=True):
                    z.append(w_l @ a[-1] + b_l)
                    a.append(sigma(z[-1]))
                delta = a[-1] - y
                if not cross_entropy:
                    delta = delta * sigma(z[-1]) * (1 - sigma(z[-1]))
                for l in range(len(w) - 1, -1, -1):
                    nabla_b[l] = nabla_b[l] + delta
                    nabla_w[l] = nabla_w[l] + delta @ a[l].T
                    if l:
                        delta = (w[l].T @ delta) * sigma(z[l - 1]) * (1 - sigma(z[l - 1]))
            keep = 1 - eta * (lmbda / n)
            w = [keep * x - eta / len(batch) * g for x, g in zip(w, nabla_w, strict=True)]
            b = [x - eta / len(batch) * g for x, g in zip(b, nabla_b, strict=True)]
    return w, b


def seeded(make):
    random.seed(12)
    np.random.seed(12)
    return make()


def close(net, w, b):
    for mine, truth in zip(net.weights + net.biases, w + b, strict=True):
        assert mine.shape == truth.shape
        assert np.abs(mine - truth).max() <= 1e-9


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_network_follows_the_book(dtype, capsys):
    net = seeded(lambda: network.Network([64, 30, 10]))
    w, b = one_at_a_time(net, pairs(303, dtype), 2, 10, 3.0)
    net = seeded(lambda: network.Network([64, 30, 10]))
    net.SGD(pairs(303, dtype), 2, 10, 3.0, test_data=labelled(50))
    close(net, w, b)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Epoch 0", "Epoch 1"]
    assert lines[1] == f"Epoch 1: {net.evaluate(labelled(50))} / 50"


def test_the_list_is_shuffled_in_place_as_in_the_book():
    theirs, ours = pairs(40), pairs(40)
    for i in range(40):  # told apart by their first pixel
        theirs[i][0][0] = ours[i][0][0] = i
    net = seeded(lambda: network.Network([64, 5, 10]))
    one_at_a_time(net, theirs, 3, 10, 0.1)
    net = seeded(lambda: network.Network([64, 5, 10]))
    net.SGD(ours, 3, 10, 0.1)
    assert [x[0, 0] for x, _ in ours] == [x[0, 0] for x, _ in theirs]


@pytest.mark.parametrize("cost", [network2.CrossEntropyCost, network2.QuadraticCost])
def test_network2_follows_the_book_and_its_four_curves(cost, capsys):
    def make():
        return network2.Network([64, 30, 10], cost=cost)

    entropy = cost is network2.CrossEntropyCost
    net = seeded(make)
    w, b = one_at_a_time(net, pairs(303), 1, 10, 0.5, 5.0, entropy)
    net = seeded(make)
    curves = net.SGD(
        pairs(303), 1, 10, 0.5, lmbda=5.0, evaluation_data=labelled(60),
        monitor_evaluation_cost=True, monitor_evaluation_accuracy=True,
        monitor_training_cost=True, monitor_training_accuracy=True,
    )  # fmt: skip
    close(net, w, b)
    evaluation_cost, evaluation_accuracy, training_cost, training_accuracy = curves
    outputs = [net.feedforward(x) for x, _ in labelled(60)]
    right = sum(int(a.argmax()) == y for a, (_, y) in zip(outputs, labelled(60), strict=True))
    assert evaluation_accuracy == [right]
    penalty = 0.5 * 5.0 / 60 * sum(float((x**2).sum()) for x in net.weights)
    mean = np.mean(
        [
            cost.fn(a, network2.vectorized_result(y))
            for a, (_, y) in zip(outputs, labelled(60), strict=True)
        ]
    )
    assert evaluation_cost[0] == pytest.approx(mean + penalty, rel=1e-12)
    seen = [(net.feedforward(x), y) for x, y in pairs(303)]
    assert training_accuracy == [sum(int(a.argmax()) == int(y.argmax()) for a, y in seen)]
    penalty *= 60 / 303
    mean = np.mean([cost.fn(a, y) for a, y in seen])
    assert training_cost == [pytest.approx(mean + penalty, rel=1e-12)]
    text = capsys.readouterr().out
    assert "Epoch 0 training complete\nCost on training data: " in text
    assert f"Accuracy on evaluation data: {right} / 60\n" in text


def test_one_step_and_one_gradient():
    net = seeded(lambda: network.Network([64, 7, 10]))
    data = pairs(5)
    twin = seeded(lambda: network.Network([64, 7, 10]))
    w, b = one_at_a_time(twin, list(data), 1, 5, 0.7)
    net.update_mini_batch(data, 0.7)
    close(net, w, b)
    nabla_b, nabla_w = net.backprop(*data[0])
    assert [x.shape for x in nabla_b] == [x.shape for x in net.biases]
    assert [x.shape for x in nabla_w] == [x.shape for x in net.weights]


def test_initial_weights_are_drawn_in_the_books_order():
    net = seeded(lambda: network2.Network([4, 3, 2]))
    np.random.seed(12)
    biases = [np.random.randn(3, 1), np.random.randn(2, 1)]
    weights = [np.random.randn(3, 4) / 2, np.random.randn(2, 3) / np.sqrt(3)]
    for mine, truth in zip(net.biases + net.weights, biases + weights, strict=True):
        assert np.array_equal(mine, truth)
    net.large_weight_initializer()
    assert net.weights[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"training_data": []}, ValueError, "training_data has no pairs"),
        ({"epochs": -1}, ValueError, "epochs = -1, expected an integer >= 0"),
        ({"mini_batch_size": 0}, ValueError, "mini_batch_size = 0, expected an integer >= 1"),
        ({"mini_batch_size": 2.5}, TypeError, r"mini_batch_size = 2\.5, expected an integer"),
        ({"eta": -0.5}, ValueError, r"eta = -0\.5, expected a finite number"),
        ({"eta": "a"}, TypeError, "eta = 'a', expected a finite number"),
        ({"lmbda": -1}, ValueError, "lmbda = -1, expected a finite number"),
        ({"monitor_evaluation_cost": True}, ValueError, "evaluation_data is missing or empty"),
        (
            {"monitor_evaluation_accuracy": True, "evaluation_data": []},
            ValueError,
            "evaluation_data is missing or empty",
        ),
    ],
)
def test_arguments_that_are_refused(changes, error, message, capsys):
    data = pairs(20)
    order = list(data)
    arguments = {"training_data": data, "epochs": 1, "mini_batch_size": 10, "eta": 0.5, **changes}
    for kind in (network, network2):
        if kind is network and not set(changes) <= {
            "training_data",
            "epochs",
            "eta",
            "mini_batch_size",
        }:
            continue
        net = seeded(lambda kind=kind: kind.Network([64, 5, 10]))
        before = [x.copy() for x in net.weights + net.biases]
        with pytest.raises(error, match=message):
            net.SGD(**arguments)
        assert all(
            np.array_equal(*pair) for pair in zip(before, net.weights + net.biases, strict=True)
        )
    assert all(x is y for (x, _), (y, _) in zip(data, order, strict=True))  # not shuffled
    assert capsys.readouterr().out == ""


def test_costs_of_network2():
    net = seeded(lambda: network2.Network([64, 5, 10]))
    net.cost = network2.QuadraticCost  # from now on
    twin = seeded(lambda: network2.Network([64, 5, 10], cost=network2.QuadraticCost))
    for each in (net, twin):
        random.seed(1)
        each.SGD(pairs(40), 1, 10, 0.5)
    close(net, twin.weights, twin.biases)

    class Absolute(network2.QuadraticCost):
        engine = "absolute"

    nabla_b, _ = network2.Network([64, 5, 10], cost=Absolute).backprop(*pairs(1)[0])
    assert nabla_b[-1].shape == (10, 1)

    class Unknown:
        pass

    with pytest.raises(TypeError, match=r"cost = .*Unknown'> has no attribute 'engine'; expected"):
        network2.Network([64, 5, 10], cost=Unknown)


def test_json_files(tmp_path):
    net = seeded(lambda: network2.Network([4, 3, 2], cost=network2.QuadraticCost))
    path = str(tmp_path / "net.json")
    net.save(path)
    again = network2.load(path)
    assert again.cost is network2.QuadraticCost
    close(again, net.weights, net.biases)
    data = json.loads((tmp_path / "net.json").read_text())
    for name, value in [("cost", "Entropy"), ("sizes", [4, 3]), ("weights", [[1]])]:
        (tmp_path / "bad.json").write_text(json.dumps({**data, name: value}))
        with pytest.raises(ValueError, match=r"bad\.json"):
            network2.load(str(tmp_path / "bad.json"))


def test_mnist_loader_splits_as_the_book(monkeypatch):
    class Data:
        X_train = np.arange(60000, dtype=np.uint32)[:, None].repeat(784, 1).astype(np.uint8)
        y_train = np.arange(60000) % 10
        X_test = np.full((10000, 784), 255, np.uint8)
        y_test = np.arange(10000) % 10

    monkeypatch.setattr(mnist_loader, "load_mnist", Data)
    training, validation, test = mnist_loader.load_data_wrapper()
    assert (len(training), len(validation), len(test)) == (50000, 10000, 10000)
    x, y = training[3]
    assert (x.shape, y.shape, int(y.argmax())) == ((784, 1), (10, 1), 3)
    assert test[0][0][0, 0] == 255 / 256
    assert (int(validation[1][1]), int(test[9][1])) == (1, 9)
