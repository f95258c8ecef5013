"""Arguments that no other test gives, and what is said of them; each changes nothing."""

import pickle

import numpy as np
import pytest

from cbackprop import (
    DivergenceError,
    History,
    Network,
    activations,
    costs,
    optimizers,
    train_many,
)
from cbackprop.book import network as book

X = np.random.default_rng(0).random((8, 3))
Y = np.arange(8) % 2


def net(**options):
    return Network([3, 4, 2], output="softmax", rng=0, **options)


def train(**options):
    return lambda: net().train(X, Y, **options)


def made_by(pair):
    return lambda: net(init=lambda n_in, n_out, rng: pair)


def many(specs, **common):
    return lambda: list(train_many(specs, X, Y, **common))


class Sparse:
    toarray = tocsr = None


REFUSED = {
    "memory of lbfgs": (lambda: optimizers.LBFGS(change=-1), ValueError, "change = -1"),
    "looks of lbfgs": (lambda: optimizers.LBFGS(evaluations=0), ValueError, "evaluations = 0"),
    "a step of lbfgs": (
        lambda: net().apply_gradients(net().gradients(X, Y), optimizer="lbfgs"),
        ValueError, "looks at all of the data many times a step",
    ),
    "a class of optimisers": (train(optimizer=optimizers.Adam), TypeError, "make an object: Adam"),
    "no pair": (made_by(1), TypeError, "init returned int, expected a pair"),
    "shapes": (made_by((np.ones((2, 2)), np.ones(4))), ValueError, "init returned shapes (2, 2)"),
    "not finite": (
        made_by((np.full((4, 3), np.nan), np.ones(4))), ValueError, "not finite for layer 1",
    ),
    "dtype": (lambda: net(dtype="decimal"), TypeError, "dtype = 'decimal', expected 'float32'"),
    "blocks and lbfgs": (
        lambda: net().train([(X, Y)], optimizer="lbfgs"), ValueError, "needs all rows at once",
    ),
    "checkpoint of blocks": (
        lambda: net().train([(X, Y)], checkpoint="x"), ValueError, "checkpoint with blocks",
    ),
    "a rate for a step": (
        lambda: net().apply_gradients(net().gradients(X, Y), learning_rate=lambda epoch: 1),
        TypeError, "expected a number",
    ),
    "gradients that are none": (
        lambda: net().apply_gradients(net().gradients(X, Y)._replace(
            nabla_w=[np.full((4, 3), np.nan, np.float32), np.zeros((2, 4), np.float32)])),
        ValueError, "g holds NaN or infinity",
    ),
    "scaled beyond": (
        lambda: net(input_scale=1e38).evaluate(X * 1e5, Y), ValueError, "input_scale",
    ),
    "scaled beyond, gradients": (
        lambda: net(input_scale=1e38).gradients(X * 1e5, Y), ValueError, "input_scale",
    ),
    "a number of 400 digits": (train(l2=10**400), ValueError, "l2 = "),
    "activation": (
        lambda: Network([3, 4, 2], activation=5), TypeError, "activation = 5, expected a name",
    ),
    "sparse": (lambda: net().predict(Sparse()), TypeError, "is a sparse matrix; pass X.toarray"),
    "labels of two kinds": (
        lambda: net().train(X, np.array(["a", 1.5] * 4, object)), TypeError, "holds Python objects",
    ),
    "numbers for text": (
        lambda: net(classes=["a", "b"]).train(X, Y), ValueError, "is not one of the classes",
    ),
    "weights as one array": (
        lambda: setattr(net(), "weights", np.ones((2, 4))),
        TypeError, "expected a list of 2 arrays",
    ),
    "no path": (lambda: net().save(""), ValueError, "expected a path"),
    "a schedule's class": (
        lambda: net().train(X, Y, learning_rate=dict), TypeError, "is a class; make an object",
    ),
    "an argument of nobody": (many([], epoch=3), TypeError, "train_many got 'epoch'"),
    "specs": (many({"sizes": [3, 2]}), TypeError, "expected a list of dicts"),
    "a spec": (many([3]), TypeError, "specs[0] = 3, expected a dict"),
    "a spec of nobody": (many([{"size": [3, 2]}]), TypeError, "specs[0] has 'size'"),
    "executor": (many([{"sizes": [3, 2]}], executor=3), TypeError, "executor = 3"),
    "callbacks": (train(callbacks=3), TypeError, "callbacks = 3, expected a list"),
    "a callback's class": (train(callbacks=[dict]), TypeError, "is a class; make an object"),
    "class_weight": (train(class_weight=3), ValueError, "expected 'balanced' or a dict"),
    "no weight": (train(class_weight={0: 0, 1: 0}), ValueError, "class_weight"),
    "rows of validation": (
        train(validation_data=(X, X[:, :2] * 0.3)), ValueError, "holds real numbers",
    ),
    "huber": (lambda: costs.huber("a"), TypeError, "delta of huber = 'a', expected a number"),
    "no derivative": (
        lambda: activations.register("own", lambda z: z), ValueError, "give one of the two",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, kind, words = REFUSED[name]
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)


def test_weights_that_a_split_leaves_are_all_zero():
    # One of the rows has a weight; where it is held out, nothing is left to train on.
    said = []
    for row in range(8):
        weights = np.eye(8)[row]
        try:
            net().train(X, Y, sample_weight=weights, validation_split=0.5)
        except ValueError as error:
            said.append(str(error))
    assert said == ["sample_weight of all rows that validation_split leaves is 0"] * 4


def test_a_generator_makes_the_weights():
    a, b = (Network([3, 2], rng=np.random.default_rng(7)).weights[0] for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, Network([3, 2], rng=np.random.default_rng(8)).weights[0])


def test_integers_that_are_objects_are_labels():
    as_objects, as_integers = net(), net()
    as_objects.train(X, Y.astype(object))
    as_integers.train(X, Y)
    assert np.array_equal(as_objects.weights[0], as_integers.weights[0])


def test_divergence_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(DivergenceError("too large", 3, History())))
    assert (str(error), error.epoch, error.history.cost) == ("too large", 3, [])


def test_the_books_functions():
    z = np.linspace(-3, 3, 7)
    step = 1e-6
    slope = (book.sigmoid(z + step) - book.sigmoid(z - step)) / (2 * step)
    assert np.allclose(book.sigmoid_prime(z), slope, atol=1e-9)
    assert np.allclose(book.Network([2, 1]).cost_derivative(z, z / 2), z / 2)
