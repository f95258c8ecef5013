"""Bad input is refused with one clear error and changes nothing; good input in odd layouts
gives the bits of its contiguous copy."""

import tracemalloc
import warnings
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest

from cbackprop import Network
from cbackprop.optimizers import LBFGS, SGD

M = 12
X = np.random.default_rng(1).integers(-8, 9, (M, 4)).astype(np.float32)
LABELS = np.arange(M) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def network(**changes):
    return Network(**{"sizes": [4, 5, 3], "rng": 7, **changes})


def state(net):
    arrays = [x.tobytes() for x in net.weights + net.biases]
    classes = None if net.classes is None else net.classes.tolist()
    return arrays, net.steps, net.history.to_dict(), classes


@contextmanager
def refused(net, error, match):
    """The block raises exactly this error, and the network is as it was."""
    before = state(net)
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        yield
    assert type(caught.value) is error
    assert caught.value.__cause__ is None
    assert state(net) == before


def trained(**changes):
    net = network(**changes)
    net.train(X, LABELS, epochs=2, batch_size=5)
    return net


# ---- Network(...) --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"sizes": [4]}, ValueError, r"sizes = \[4\], expected at least an input and an output"),
        ({"sizes": []}, ValueError, r"sizes = \[\], expected at least"),
        ({"sizes": [4, 0, 3]}, ValueError, r"sizes\[1\] = 0, expected an integer from 1"),
        ({"sizes": [0, 3]}, ValueError, r"sizes\[0\] = 0, expected an integer from 1"),
        ({"sizes": [4, -2]}, ValueError, r"sizes\[1\] = -2, expected an integer from 1"),
        ({"sizes": [4, 2**31]}, ValueError, r"sizes\[1\] = 2147483648, expected an integer"),
        ({"sizes": [4, True]}, TypeError, r"sizes\[1\] = True, expected an integer"),
        ({"sizes": [4, np.True_]}, TypeError, r"sizes\[1\] = .*True.*, expected an integer"),
        ({"sizes": [4, 3.0]}, TypeError, r"sizes\[1\] = 3.0, expected an integer"),
        ({"sizes": [4, "3"]}, TypeError, r"sizes\[1\] = '3', expected an integer"),
        ({"sizes": "43"}, TypeError, r"sizes = '43', expected a list"),
        ({"sizes": 4}, TypeError, r"sizes = 4, expected a list"),
        ({"activation": "sigmod"}, ValueError, r"activation = 'sigmod', expected one of:.*sigmoid"),
        ({"activation": ["relu", "relu"]}, ValueError, r"activation has 2 entries .* 1 hidden"),
        ({"activation": 3}, TypeError, r"activation = 3, expected a name"),
        ({"output": "soft"}, ValueError, r"= 'soft', expected one of:.*softmax"),
        ({"cost": "mse"}, ValueError, r"cost = 'mse', expected one of:.*quadratic"),
        ({"init": "normal"}, ValueError, r"init = 'normal', expected one of:.*scaled"),
        ({"dtype": "float16"}, ValueError, r"dtype = 'float16', expected 'float32' or 'float64'"),
        ({"dtype": "single please"}, TypeError, r"dtype = 'single please', expected 'float32'"),
        ({"dtype": int}, ValueError, r"dtype = .*int.*, expected 'float32' or 'float64'"),
        ({"output": "identity", "cost": "cross_entropy"}, ValueError, r"cost = 'cross_entropy'"),
        ({"output": "tanh", "cost": "cross_entropy"}, ValueError, r"'tanh' reaches from -1 to 1"),
        ({"output": "relu", "cost": "cross_entropy"}, ValueError, r"'relu' reaches from 0 to inf"),
        ({"output": "relu", "cost": "poisson"}, ValueError, r"'relu' reaches 0 itself; use"),
        ({"output": "identity", "cost": "log_likelihood"}, ValueError, r"cost = 'log_likelihood'"),
        ({"sizes": [4, 1], "output": "softmax"}, ValueError, r"output = 'softmax' with one output"),
        ({"input_scale": float("nan")}, ValueError, r"input_scale contains nan, expected finite"),
        ({"input_shift": np.inf}, ValueError, r"input_shift contains inf, expected finite"),
        ({"input_scale": [1.0, 2.0]}, ValueError, r"input_scale has shape \(2,\), .* 4 of them"),
        ({"input_scale": "1"}, TypeError, r"input_scale = '1', expected a number"),
        ({"input_scale": True}, TypeError, r"input_scale = True, expected a number"),
        ({"rng": -1}, ValueError, r"rng = -1, expected an integer >= 0"),
        ({"rng": 1.5}, TypeError, r"rng = 1.5, expected an integer >= 0"),
        ({"rng": True}, TypeError, r"rng = True, expected an integer >= 0"),
        ({"classes": ["a", "b"]}, ValueError, r"classes has shape \(2,\), expected 3 labels"),
        ({"classes": ["a", "b", "a"]}, ValueError, r"classes = \['a', 'b', 'a'\], expected dist"),
        ({"classes": [1, "a", None]}, TypeError, r"classes holds Python objects"),
        ({"classes": [0.5, 1.5, 2.5]}, TypeError, r"classes has dtype float64"),
    ],
)
def test_network_arguments(changes, error, match):
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        network(**changes)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("init", "error", "match"),
    [
        (lambda n, m, rng: np.zeros((m, n)), TypeError, r"init returned ndarray, expected a pair"),
        (lambda n, m, rng: (np.zeros((m, n)),), TypeError, r"init returned tuple, expected a pair"),
        (lambda n, m, rng: (np.zeros((n, m)), np.zeros(m)), ValueError, r"init returned shapes"),
        (lambda n, m, rng: (np.full((m, n), np.nan), np.zeros(m)), ValueError, r"not finite"),
    ],
)
def test_initial_weights_that_are_refused(init, error, match):
    with pytest.raises(error, match=match):
        network(init=init)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("cost", ["quadratic", "cross_entropy", "log_likelihood"])
def test_legal_pairs_are_taken(output, cost):
    assert network(output=output, cost=cost).cost.name == cost


# ---- X --------------------------------------------------------------------------------


class Sparse:
    def toarray(self):
        raise AssertionError

    tocsr = toarray


def with_value(value, row=7, column=2, dtype=np.float64):
    x = X.astype(dtype)
    x[row, column] = value
    return x


BAD_X = {
    "1-D": (X[0], ValueError, r"X has 1 dimensions, expected \(samples, 4\); .*X\[None, :\]"),
    "3-D": (X[None], ValueError, r"X has 3 dimensions, expected \(samples, 4\); flatten"),
    "scalar": (3.0, ValueError, r"X has 0 dimensions"),
    "narrow": (X[:, :3], ValueError, r"X has 3 columns but the input layer has 4 neurons"),
    "wide": (np.zeros((M, 5)), ValueError, r"X has 5 columns but the input layer has 4 neurons"),
    "complex": (X + 1j, TypeError, r"X has dtype complex\d+, expected real .*real part"),
    "object": (X.astype(object), TypeError, r"X has dtype object, expected real numbers"),
    "text": (X.astype(str), TypeError, r"X has dtype <U\d+, expected real numbers"),
    "dates": (X.astype("M8[s]"), TypeError, r"X has dtype datetime64\[s\], expected real"),
    "sparse": (Sparse(), TypeError, r"X is a sparse matrix; pass X.toarray\(\)"),
    "masked": (np.ma.masked_array(X), TypeError, r"X is a masked array; .*X.filled"),
    "ragged": ([[1.0, 2.0], [1.0]], ValueError, r"X is not a rectangular array"),
    "NaN": (with_value(np.nan), ValueError, r"X contains NaN at row 7, column 2; expected finite"),
    "inf": (with_value(np.inf), ValueError, r"X contains infinity at row 7, column 2"),
    "-inf": (with_value(-np.inf), ValueError, r"X contains -infinity at row 7, column 2"),
    "NaN float32": (
        with_value(np.nan, 11, 3, np.float32),
        ValueError,
        r"X contains NaN at row 11, column 3",
    ),
    "NaN float16": (
        with_value(np.nan, 0, 0, np.float16),
        ValueError,
        r"X contains NaN at row 0, column 0",
    ),
    "too large": (
        with_value(1e300),
        ValueError,
        r"X contains 1e\+300, too large for float32, at row 7, column 2",
    ),
}
NO_ROWS = (np.zeros((0, 4)), ValueError, r"X has no rows, expected at least one sample")

USES = {
    "train": lambda net, x: net.train(x, LABELS, epochs=3, batch_size=5),
    "predict": lambda net, x: net.predict(x),
    "classify": lambda net, x: net.classify(x),
    "evaluate": lambda net, x: net.evaluate(x, LABELS),
    "gradients": lambda net, x: net.gradients(x, LABELS),
    "pullback": lambda net, x: net.pullback(x, ONE_HOT),
}


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("bad", BAD_X)
def test_bad_x(bad, use, fresh):
    x, error, match = BAD_X[bad]
    net = network() if fresh else trained()
    with refused(net, error, match):
        USES[use](net, x)


@pytest.mark.parametrize("use", ["train", "evaluate", "gradients", "pullback"])
def test_no_rows(use):
    x, error, match = NO_ROWS
    net = trained()
    with refused(net, error, match):
        USES[use](net, x)


def test_predict_of_no_rows_is_empty():
    assert network().predict(np.zeros((0, 4))).shape == (0, 3)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("row", [0, 3, 211, 499])
def test_nan_is_named_wherever_it_stands(row, n_threads):
    x = np.zeros((500, 4), np.float32)
    x[row, 1] = np.nan
    y = np.arange(500) % 3
    net = network()
    match = rf"X contains NaN at row {row}, column 1;"
    with refused(net, ValueError, match):
        net.train(x, y, epochs=2, batch_size=7, n_threads=n_threads)
    with refused(net, ValueError, match):
        net.predict(x, n_threads=n_threads)
    with refused(net, ValueError, match):
        net.evaluate(x, y, n_threads=n_threads)


def test_too_large_only_for_float32():
    net = network(dtype="float64")
    assert np.isfinite(net.predict(with_value(1e300))).all()


def test_scaled_input_that_overflows():
    net = network(input_scale=1e30)
    with refused(net, ValueError, r"X \* input_scale \+ input_shift is not finite in float32"):
        net.predict(with_value(1e30))
    with refused(net, ValueError, r"X \* input_scale \+ input_shift is not finite in float32"):
        net.train(with_value(1e30), LABELS)


def test_refused_first_training_leaves_no_classes():
    net = network()
    with refused(net, ValueError, "X contains NaN"):
        net.train(with_value(np.nan), np.array(["a", "b", "c"])[LABELS])
    assert net.classes is None


def test_refused_training_on_labels_after_real_targets_leaves_no_classes():
    net = Network([4, 1], rng=1)
    net.train(X, np.linspace(0, 1, M))
    with refused(net, ValueError, "X contains NaN"):
        net.train(with_value(np.nan), LABELS % 2)


# ---- y ----------------------------------------------------------------------------------

BAD_Y = {
    "rows": (LABELS[:-1], ValueError, r"y has 11 rows but X has 12"),
    "3-D": (ONE_HOT[None], ValueError, r"y has 3 dimensions, expected \(samples,\)"),
    "columns": (ONE_HOT[:, :2], ValueError, r"y has 2 columns but the output layer has 3 neurons"),
    "column": (LABELS[:, None], ValueError, r"y has 1 columns .* 3 neurons; .*y.ravel\(\)"),
    "label 3": (np.where(LABELS == 1, 3, LABELS) + (np.arange(M) == 4), ValueError, r"y\[1\] = 3"),
    "many": (np.arange(M), ValueError, r"y\[3\] = 3, expected 0\.\.2, or 3 distinct labels .*12"),
    "negative": (LABELS - (np.arange(M) == 0), ValueError, r"y\[0\] = -1, expected 0\.\.2"),
    "many words": (np.arange(M).astype(str), ValueError, r"y has 12 distinct labels, expected 3"),
    "real": (LABELS + 0.5, ValueError, r"y\[0\] = 0.5, expected class labels .* 3 neurons"),
    "NaN label": (np.where(LABELS == 2, np.nan, LABELS), ValueError, r"y.*NaN.*row 2"),
    "huge label": (np.where(LABELS == 2, 1e300, LABELS), ValueError, r"y\b.*1e\+300"),
    "complex": (LABELS + 1j, TypeError, r"y has dtype complex128"),
    "objects": (np.array([None] * M), TypeError, r"y holds Python objects, expected labels"),
    "masked": (np.ma.masked_array(LABELS), TypeError, r"y is a masked array; .*y.filled"),
    "sparse": (Sparse(), TypeError, r"y is a sparse matrix; pass y.toarray"),
    "ragged": ([[1, 0, 0], [1]] * 6, ValueError, r"y is not a rectangular array"),
    "NaN": (ONE_HOT + [0, np.nan, 0], ValueError, r"y contains NaN at row 0, column 1"),
    "inf": (ONE_HOT + [0, 0, np.inf], ValueError, r"y contains infinity at row 0, column 2"),
    "too large": (
        ONE_HOT.astype(np.float64) * 1e300,
        ValueError,
        r"y contains 1e\+300, too large for float32, at row 0, column 0",
    ),
}


@pytest.mark.parametrize("use", ["train", "evaluate", "gradients"])
@pytest.mark.parametrize("bad", BAD_Y)
def test_bad_y(bad, use):
    y, error, match = BAD_Y[bad]
    net = network()
    with refused(net, error, match):
        getattr(net, use)(X, y)


@pytest.mark.parametrize("use", ["train", "evaluate", "gradients"])
def test_unknown_labels_after_the_first_training(use):
    net = trained()
    with refused(net, ValueError, r"y\[2\] = 3 is not one of the classes \[0, 1, 2\]"):
        getattr(net, use)(X, np.where(LABELS == 2, 3, LABELS))
    with refused(net, ValueError, r"y\[0\] = .*'a'.* is not one of the classes \[0, 1, 2\]"):
        getattr(net, use)(X, np.array(["a", "b", "c"])[LABELS])


def test_unknown_labels_with_given_classes():
    net = network(classes=["a", "b", "c"])
    with refused(net, ValueError, r"y\[2\] = 'd' is not one of the classes \['a', 'b', 'c'\]"):
        net.train(X, np.array(["a", "b", "d"])[LABELS])


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_targets_outside_of_the_cost(value):
    net = network(cost="cross_entropy")
    y = ONE_HOT.copy()
    y[4, 2] = value
    with refused(net, ValueError, rf"y\[4, 2\] = {value}, but cost 'cross_entropy' .* 0 to 1"):
        net.train(X, y)


# ---- train's other arguments -----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"learning_rate": 0}, ValueError, r"learning_rate = 0, expected a finite number > 0"),
        ({"learning_rate": -0.1}, ValueError, r"learning_rate = -0.1, expected a finite"),
        ({"learning_rate": np.nan}, ValueError, r"learning_rate = nan, expected a finite"),
        ({"learning_rate": np.inf}, ValueError, r"learning_rate = inf, expected a finite"),
        ({"learning_rate": 10**400}, ValueError, r"learning_rate = 1000*, expected a finite"),
        ({"learning_rate": "0.1"}, TypeError, r"learning_rate = '0.1', expected a finite"),
        ({"learning_rate": True}, TypeError, r"learning_rate = True, expected a finite"),
        ({"learning_rate": 1j}, TypeError, r"learning_rate = 1j, expected a finite"),
        (
            {"optimizer": SGD(0.1), "learning_rate": 0.1},
            ValueError,
            r"learning_rate = 0.1 and optimizer = SGD\(learning_rate=0.1\) both give the rate",
        ),
        ({"optimizer": "adamm"}, ValueError, r"optimizer = 'adamm', expected one of:.*sgd"),
        ({"optimizer": SGD}, TypeError, r"optimizer = <class .*SGD'> is a class; .*: SGD\(\)"),
        ({"optimizer": LBFGS}, TypeError, r"is a class; make an object: LBFGS\(\)"),
        ({"shuffle": "no"}, TypeError, r"shuffle = 'no', expected True or False"),
        ({"shuffle": 0}, TypeError, r"shuffle = 0, expected True or False"),
        ({"l2": -1.0}, ValueError, r"l2 = -1.0, expected a finite number >= 0"),
        ({"l2": np.nan}, ValueError, r"l2 = nan, expected a finite number >= 0"),
        ({"l2": True}, TypeError, r"l2 = True, expected a finite number >= 0"),
        ({"l2": 12.0, "learning_rate": 1}, ValueError, r"l2 = 12.0 .*12 samples.* expected"),
        ({"epochs": 0}, ValueError, r"epochs = 0, expected an integer >= 1"),
        ({"epochs": -3}, ValueError, r"epochs = -3, expected an integer >= 1"),
        ({"epochs": 2.0}, TypeError, r"epochs = 2.0, expected an integer >= 1"),
        ({"epochs": 2**70}, ValueError, r"epochs = 1180591620717411303424, expected"),
        ({"batch_size": 0}, ValueError, r"batch_size = 0, expected an integer >= 1"),
        ({"batch_size": 1.5}, TypeError, r"batch_size = 1.5, expected an integer >= 1"),
        ({"batch_size": True}, TypeError, r"batch_size = True, expected an integer >= 1"),
        ({"batch_size": None}, TypeError, r"batch_size = None, expected an integer >= 1"),
        ({"n_threads": 0}, ValueError, r"n_threads = 0, expected an integer from 1 to 1024"),
        ({"n_threads": 1025}, ValueError, r"n_threads = 1025, expected an integer from 1"),
        ({"n_threads": True}, TypeError, r"n_threads = True, expected an integer"),
        ({"validation_data": X}, TypeError, r"validation_data: expected a pair \(X, y\)"),
        ({"validation_data": (X,)}, TypeError, r"validation_data: expected a pair \(X, y\)"),
        ({"validation_data": (with_value(np.nan), LABELS)}, ValueError, r"X of validation_data.*7"),
        ({"validation_data": (X[:, :3], LABELS)}, ValueError, r"validation_data has 3 columns"),
        ({"validation_data": (X, LABELS[:4])}, ValueError, r"y of validation_data has 4 rows"),
        ({"validation_data": (X, LABELS + 3)}, ValueError, r"y.*\[0\] = 3"),
    ],
)
def test_training_arguments(arguments, error, match):
    for net in (network(), trained()):
        with refused(net, error, match):
            net.train(X, LABELS, **arguments)


def test_l2_just_small_enough():
    net = network()
    net.train(X, LABELS, l2=11.9, learning_rate=1.0)
    assert net.steps == 1


@pytest.mark.parametrize("rate", [np.float32(0.5), Fraction(1, 2)])
def test_numbers_of_other_types(rate):
    net, other = network(), network()
    net.train(X, LABELS, learning_rate=rate, epochs=np.int64(2), batch_size=np.uint8(5))
    other.train(X, LABELS, learning_rate=0.5, epochs=2, batch_size=5)
    assert state(net)[:2] == state(other)[:2]


@pytest.mark.parametrize("use", ["predict", "classify", "evaluate", "gradients"])
def test_threads_of_the_other_methods(use):
    net = trained()
    data = (X,) if use in ("predict", "classify") else (X, LABELS)
    with refused(net, ValueError, r"n_threads = 0, expected an integer from 1 to 1024"):
        getattr(net, use)(*data, n_threads=0)


def test_validation_labels_are_those_of_the_training_data():
    words = np.array(["a", "b", "c"])
    net = network()
    # two of the three classes: fine
    net.train(X, words[LABELS], validation_data=(X[:2], words[:2]))
    assert len(net.history.validation_cost) == 1


@pytest.mark.parametrize("odd", [["a", "b", "x"], [0, 1, 2]])
def test_unknown_validation_labels_are_refused_before_training(odd):
    known = np.array([1, 2, 3]) if odd == [0, 1, 2] else np.array(["a", "b", "c"])
    net = network()
    with refused(net, ValueError, "is not one of the classes"):
        net.train(X, known[LABELS], validation_data=(X, np.array(odd)[LABELS]))


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty((M, 2), np.float32), ValueError),
        (np.empty((M - 1, 3), np.float32), ValueError),
        (np.empty((M, 3), np.float64), ValueError),
        (np.empty((M, 3), ">f4"), ValueError),
        (np.empty((3, M), np.float32).T, ValueError),
        (np.empty((M, 6), np.float32)[:, ::2], ValueError),
        (np.broadcast_to(np.float32(0), (M, 3)), ValueError),
        ([[0.0] * 3] * M, TypeError),
    ],
)
def test_out_of_predict(out, error):
    net = trained()
    with refused(net, error, r"^out "):
        net.predict(X, out=out)


def test_out_of_predict_is_filled():
    net = trained()
    out = np.full((M, 3), np.nan, np.float32)
    assert net.predict(X, out=out) is out
    assert out.tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda n: n.set_weights(2, b=[0] * 3), ValueError, "layer = 2, expected an integer from"),
        (lambda n: n.set_weights(0, w=np.ones((4, 5))), ValueError, "w has shape"),
        (lambda n: n.set_weights(1, b=[0, np.nan, 0]), ValueError, "b contains"),
        (lambda n: setattr(n, "weights", n.weights[:1]), ValueError, "weights has 1 arrays"),
        (lambda n: setattr(n, "biases", np.ones(2)), TypeError, "biases = ndarray, expected a"),
        (
            lambda n: setattr(n, "weights", [np.ones((5, 4)), np.full((3, 5), 1e300)]),
            ValueError,
            r"weights\[1\]",  # too large for float32
        ),
    ],
)
def test_assigned_weights(change, error, match):
    net = trained()
    with refused(net, error, match):
        change(net)


# ---- odd layouts -------------------------------------------------------------------------


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def column_slice(x):
    wide = np.full((len(x), 2 * x.shape[1] + 3), np.nan, x.dtype)
    wide[:, 1:-2:2] = x
    return wide[:, 1:-2:2]


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "negative rows": lambda x: x[::-1].copy()[::-1],
    "negative both": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every third": lambda x: np.repeat(x, 3, axis=0)[::3],
    "column slice": column_slice,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "broadcast row": lambda x: np.broadcast_to(x[3], x.shape),
    "broadcast column": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "list": lambda x: x.tolist(),
    "list of rows": list,
    "float16": lambda x: x.astype(np.float16),
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "int8": lambda x: x.astype(np.int8),
    "int64": lambda x: x.astype(np.int64),
    "big-endian int16": lambda x: x.astype(">i2"),
    "float64 Fortran": lambda x: np.asfortranarray(x.astype(np.float64)),
    "matrix of a view": lambda x: x.T.copy().T,
}


def uses(net, x, y):
    """Bytes of everything that the network makes of x and y."""
    parts = [net.predict(x), net.classify(x)]
    g = net.gradients(x, y)
    parts += [*g.nabla_w, *g.nabla_b, *g.a, *g.z, *g.delta]
    numbers = [g.cost, net.evaluate(x, y)]
    h = net.train(x, y, epochs=2, batch_size=5, learning_rate=0.5)
    parts += net.weights + net.biases
    return [p.tobytes() for p in parts], numbers, h.cost, h.score


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_x(layout, scale, dtype):
    odd = LAYOUTS[layout](X)
    plain = np.array(odd, dtype=dtype, order="C")
    assert plain.flags.c_contiguous
    assert plain.shape == X.shape
    results = [uses(network(dtype=dtype, input_scale=scale), x, LABELS) for x in (odd, plain)]
    assert results[0] == results[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_targets(layout, dtype):
    odd = LAYOUTS[layout](np.abs(X[:, :3]))
    plain = np.array(odd, dtype=dtype, order="C")
    results = [uses(network(dtype=dtype, output="identity"), X, y) for y in (odd, plain)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "odd",
    [
        LABELS[::-1].copy()[::-1],
        np.repeat(LABELS, 2)[::2],
        LABELS.tolist(),
        LABELS.astype(">i4"),
        LABELS.astype(np.int8),
        LABELS.astype(np.uint64),
        LABELS.astype(np.float32),
        LABELS.astype(np.float64),
        LABELS.astype(object),
        read_only(LABELS),
        unaligned(LABELS),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}",
)
def test_layouts_of_labels(odd):
    results = [uses(network(), X, y) for y in (odd, LABELS.astype(np.int32))]
    assert results[0] == results[1]
    results = [uses(trained(classes=[0, 1, 2]), X, y) for y in (odd, LABELS.astype(np.int32))]
    assert results[0] == results[1]


def test_one_label_repeated_by_zero_stride():
    odd = np.broadcast_to(np.int64(1), M)
    assert uses(network(), X, odd) == uses(network(), X, np.ones(M, np.int32))


def test_memory_map(tmp_path):
    file = tmp_path / "x.bin"
    X.tofile(file)
    odd = np.memmap(file, np.float32, "r", shape=X.shape)
    assert uses(network(), odd, LABELS) == uses(network(), X, LABELS)


def test_text_labels_equal_their_indices():
    words = np.array(["ape", "bee", "cat"])
    net, other = network(), network()
    net.train(X, words[LABELS], epochs=2)
    other.train(X, LABELS, epochs=2)
    assert state(net)[0] == state(other)[0]
    assert (net.classify(X) == words[other.classify(X)]).all()


def test_bytes_and_scale_equal_floats_and_scale():
    x = np.random.default_rng(3).integers(0, 256, (M, 4)).astype(np.uint8)
    scale = 1 / 255
    results = [
        uses(network(input_scale=scale), x_, LABELS)
        for x_ in (x, x.astype(np.float32), x[::-1].copy()[::-1], np.asfortranarray(x))
    ]
    assert all(result == results[0] for result in results[1:])


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_training_makes_no_copy_of_x(kind):
    x = np.ones((20_000, 1600), kind)[:, ::2]  # strided, too
    y = np.arange(len(x)) % 3
    net = Network([800, 3], rng=0, input_scale=1 / 255)
    tracemalloc.start()
    try:
        probe = np.ones(1_000_000, np.float32)  # NumPy reports to tracemalloc
        assert tracemalloc.get_traced_memory()[1] >= probe.nbytes
        del probe
        tracemalloc.reset_peak()
        net.train(x, y, batch_size=100)
        net.predict(x[:100])
        net.evaluate(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What numpy.zeros is asked for to find a large page in it is 4 MB; a byte copy is 16 MB.
    assert peak < 5_000_000


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64, np.uint64])
def test_integers_that_float32_rounds(kind):
    x = np.zeros((1, 4), kind)
    x[0, 1] = 2**24 + 1
    with pytest.warns(UserWarning, match=r"X holds integers up to 16777217.*float64") as caught:
        network().predict(x)
    assert len(caught) == 1
    assert caught[0].filename.endswith("network.py") or caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(dtype="float64").predict(x)
        x[0, 1] = 2**24
        network().predict(x)


def test_samples_of_a_c_header_are_named(tmp_path):
    net = network()
    with refused(net, ValueError, "samples contains NaN at row 0, column 0"):
        net.export_c(tmp_path / "net.h", samples=[[np.nan] * 4])


def test_a_class_of_callbacks_is_refused_before_training():
    class Looks:
        def on_epoch_end(self, net, history): ...

    net = network()
    with refused(net, TypeError, r"callbacks: .*Looks'> is a class; make an object: Looks\(...\)"):
        net.train(X, LABELS, callbacks=[Looks])
