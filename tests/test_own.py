"""Activations and costs of the user's: Python functions and C functions."""

import ctypes
import pickle
import shutil
import subprocess

import numpy as np
import pytest

from cbackprop import ModelFileError, Network, activations, certify, costs, load

C = """
#include <stddef.h>
#define PAIR(real, bits) \\
    void sigma##bits(const real *z, real *a, ptrdiff_t n) \\
    { for (ptrdiff_t j = 0; j < n; j++) a[j] = z[j] > 0 ? z[j] : 0; } \\
    void product##bits(const real *z, const real *a, real *delta, ptrdiff_t n) \\
    { (void)z; for (ptrdiff_t j = 0; j < n; j++) if (!(a[j] > 0)) delta[j] = 0; } \\
    double value##bits(const real *a, const real *y, ptrdiff_t n) \\
    { \\
        double s = 0; \\
        for (ptrdiff_t j = 0; j < n; j++) \\
            s += ((double)a[j] - y[j]) * ((double)a[j] - y[j]); \\
        return s / 2; \\
    } \\
    void slope##bits(const real *a, const real *y, real *delta, ptrdiff_t n) \\
    { for (ptrdiff_t j = 0; j < n; j++) delta[j] = a[j] - y[j]; }
PAIR(float, 32)
PAIR(double, 64)
"""


def _softmax(z):
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def own():
    """A relu, a tanh, a softmax and a quadratic cost over again."""
    activations.register("own_relu", lambda z: np.where(z > 0, z, 0), lambda z, a: (z > 0) * 1.0)
    activations.register("own_tanh", np.tanh, lambda z, a: 1 - a * a, image=(-1, 1))
    activations.register(
        "own_softmax", _softmax, vector_jacobian=lambda z, a, g: a * (g - (g * a).sum(1)[:, None]),
        image=(0, 1),
    )  # fmt: skip
    costs.register("own_quadratic", lambda a, y: ((a - y) ** 2).sum(axis=1) / 2, lambda a, y: a - y)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The same relu and quadratic cost in C."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.c").write_text(C)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "own.c", "-o", "own.so"], cwd=folder,
                   check=True)  # fmt: skip
    library = ctypes.CDLL(str(folder / "own.so"))
    for kind, register in (
        (("sigma", "product"), activations.register_compiled),
        (("value", "slope"), costs.register_compiled),
    ):
        pairs = {f"float{b}": tuple(getattr(library, k + str(b)) for k in kind) for b in (32, 64)}
        register("c_relu" if kind[0] == "sigma" else "c_quadratic", **pairs)
    return library


def data(n=200, n_in=5, n_out=3):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, n_in)), generator.normal(size=(n, n_out))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", ["own_tanh", "own_softmax", ["own_relu", "tanh"]])
@pytest.mark.parametrize("cost", ["own_quadratic", "quadratic"])
def test_python_functions_are_certified(own, hidden, cost, dtype):
    X, y = data(8)
    hidden = [hidden, "tanh"] if isinstance(hidden, str) else hidden
    net = Network([5, 7, 6, 3], activation=hidden, output="own_tanh", cost=cost, dtype=dtype, rng=0)
    found = certify(net, X, y)
    assert found.passed, found
    assert max(r.derivative for r in found.residuals) > 0


@pytest.mark.parametrize("batch_size", [10, 64, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_relu_and_quadratic_train_as_the_built_in(own, dtype, batch_size):
    X, y = data()
    nets = [
        Network([5, 40, 20, 3], activation=a, output="identity", cost=c, dtype=dtype, rng=0)
        for a, c in (("relu", "quadratic"), ("own_relu", "own_quadratic"))
    ]
    for net in nets:
        net.train(X, y, epochs=5, batch_size=batch_size, learning_rate=0.05, n_threads=2)
    for theirs, mine in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert nets[1].predict(X).tobytes() == nets[0].predict(X).tobytes()
    np.testing.assert_allclose(nets[1].history.cost, nets[0].history.cost, rtol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_functions_train_as_the_built_in(compiled, dtype, n_threads):
    X, y = data()
    nets = [
        Network([5, 40, 20, 3], activation=a, output="identity", cost=c, dtype=dtype, rng=0)
        for a, c in (("relu", "quadratic"), ("c_relu", "c_quadratic"))
    ]
    for net in nets:
        net.train(X, y, epochs=5, batch_size=50, learning_rate=0.05, n_threads=n_threads)
    for theirs, mine in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert certify(nets[1], X[:8], y[:8]).passed


@pytest.mark.parametrize("at", [0, 3, 7])
def test_what_a_function_raises_comes_out_and_the_network_goes_on(own, at):
    X, y = data()
    calls = []

    def tanh(z):
        calls.append(len(z))
        if len(calls) == limit:
            raise LookupError("not now")
        return np.tanh(z)

    limit = 0
    activations.register("failing_tanh", tanh, lambda z, a: 1 - a * a)
    nets = [Network([5, 8, 3], activation="failing_tanh", output="identity", rng=0)
            for _ in range(2)]  # fmt: skip
    nets[0].train(X, y, epochs=2, batch_size=20)
    calls.clear()
    limit = at + 1
    with pytest.raises(LookupError, match="not now"):
        nets[1].train(X, y, epochs=2, batch_size=20)
    assert nets[1].steps == at
    limit = 0
    nets[1].train(X, y, epochs=2 if at == 0 else 1, batch_size=20)
    assert nets[1].steps == 20
    for theirs, mine in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    limit = len(calls) + 1
    with pytest.raises(LookupError, match="not now"):
        nets[1].predict(X)
    limit = 0
    nets[1].predict(X)


def test_a_wrong_shape_is_named(own):
    state = {"wrong": False}
    activations.register(
        "shapeless", lambda z: np.tanh(z)[:, : 1 if state["wrong"] else None],
        lambda z, a: 1 - a * a,
    )  # fmt: skip
    net = Network([2, 3, 1], activation="shapeless", rng=0)
    state["wrong"] = True
    with pytest.raises(ValueError, match=r"'shapeless': the function is float32 of shape \(1, 1\)"):
        net.predict([[1.0, 2.0]])


def test_files_and_pickles_find_registered_functions(own, tmp_path):
    X, y = data()
    net = Network([5, 8, 3], activation="own_tanh", output="identity", cost="own_quadratic", rng=0)
    net.train(X, y)
    net.save(tmp_path / "n.cbp")
    for copy in (load(tmp_path / "n.cbp"), pickle.loads(pickle.dumps(net))):
        assert copy.predict(X).tobytes() == net.predict(X).tobytes()
        assert str(copy.cost) == "own_quadratic"


@pytest.mark.parametrize(
    ("register", "arguments", "named", "message"),
    [
        (activations.register, ("tanh", np.tanh, np.cos), {}, "'tanh' is built in"),
        (activations.register, ("no name", np.tanh, np.cos), {}, "expected an identifier"),
        (activations.register, ("x1", np.tanh), {}, "give one of the two"),
        (activations.register, ("x2", np.tanh, lambda z, a: 1 + a), {}, "differences of the func"),
        (activations.register, ("x3", lambda z: z.sum(1), lambda z, a: a), {}, "of shape"),
        (activations.register, ("x4", lambda z: z - z.mean(0), lambda z, a: 0 * a + 1), {},
         "depends on other rows"),
        (activations.register, ("x5", np.log, lambda z, a: 1 / z), {}, "not finite"),
        (costs.register, ("quadratic", np.add, np.add), {}, "'quadratic' is built in"),
        (costs.register, ("x6", lambda a, y: ((a - y) ** 2).sum(1), lambda a, y: a - y), {},
         "differences of the function give"),
        (costs.register_compiled, ("x7",), {}, "at least one pair"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value")
def test_wrong_functions_are_refused(register, arguments, named, message):
    with pytest.raises(ValueError, match=message):
        register(*arguments, **named)
    assert arguments[0] not in ("x1", "x2") or arguments[0] not in activations.ACTIVATIONS


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        (3, TypeError, r"= 3, expected a pair of numbers \(low, high\)"),
        ("ab", TypeError, r"= 'ab', expected a pair of numbers"),
        ((0, 1, 2), TypeError, r"= \(0, 1, 2\), expected a pair of numbers"),
        ((1, 0), ValueError, r"= \(1, 0\), expected \(low, high\) with low < high"),
        ((np.nan, 1), ValueError, r"= \(nan, 1\), expected \(low, high\) with low < high"),
    ],
)
def test_intervals_that_are_none(pair, error, message):
    with pytest.raises(error, match="^image " + message):
        activations.register("x8", np.tanh, lambda z, a: 1 - a * a, image=pair)
    for name in ("domain", "targets"):
        with pytest.raises(error, match=f"^{name} {message}"):
            costs.register(
                "x8", lambda a, y: (a - y).sum(1), lambda a, y: 0 * a + 1, **{name: pair}
            )
    assert "x8" not in [*activations.ACTIVATIONS, *costs.COSTS]


def test_a_missing_dtype_is_named(compiled):
    pair = (compiled.sigma32, compiled.product32)
    activations.register_compiled("only_single", float32=pair)
    Network([2, 3, 1], activation="only_single")
    with pytest.raises(ValueError, match="registered without float64"):
        Network([2, 3, 1], activation="only_single", dtype="float64")


def test_a_derivative_that_is_not_analytic_is_not_stepped_through(own):
    activations.register("real_tanh", np.tanh, lambda z, a: 1 - np.abs(a) ** 2)
    X, y = data(6)
    net = Network([5, 4, 3], activation="real_tanh", output="identity", dtype="float64", rng=0)
    assert certify(net, X, y).passed
    with pytest.raises(ValueError, match="'real_tanh' refuses complex numbers"):
        net.hessian_vector_product(X, y, np.ones(4 * 6 + 3 * 5))
    analytic = Network([5, 4, 3], activation="own_tanh", output="identity", dtype="float64", rng=0)
    built_in = Network([5, 4, 3], activation="tanh", output="identity", dtype="float64", rng=0)
    v = np.arange(4 * 6 + 3 * 5) / 10
    np.testing.assert_allclose(
        analytic.hessian_vector_product(X, y, v), built_in.hessian_vector_product(X, y, v)
    )


def test_a_failure_with_a_large_first_layer_stops_too(own):
    calls = []

    def squares(a, y):
        calls.append(len(a))
        if len(calls) == 40:
            raise LookupError("not now")
        return ((a - y) ** 2).sum(axis=1)

    costs.register("failing_squares", squares, lambda a, y: 2 * (a - y))
    calls.clear()
    generator = np.random.default_rng(0)
    X, y = generator.random((500, 300)), generator.random((500, 2))
    net = Network([300, 40, 2], output="identity", cost="failing_squares", rng=0)
    with pytest.raises(LookupError, match="not now"):
        net.train(X, y, epochs=5, batch_size=10)
    assert net.steps == 39
    assert len(net.history) == 0


def test_a_file_whose_functions_are_not_registered_says_so(tmp_path):
    activations.register("passing", np.tanh, lambda z, a: 1 - a * a)
    Network([2, 3, 1], activation="passing").save(tmp_path / "n.cbp")
    del activations.ACTIVATIONS["passing"]
    with pytest.raises(ModelFileError, match=r"'passing'.*register"):
        load(tmp_path / "n.cbp")


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (
            lambda: activations.register("cube", lambda: 0, lambda z, a: 0),
            r"function = .*, expected a callable \(z\)",
        ),
        (
            lambda: activations.register("cube", lambda z: z**3, lambda z: 3 * z**2),
            r"derivative = .*, expected a callable \(z, a\)",
        ),
        (
            lambda: activations.register("cube", lambda z: z**3, vector_jacobian=lambda z, a: 0),
            r"vector_jacobian = .*, expected a callable \(z, a, g\)",
        ),
        (
            lambda: costs.register("far", lambda a: a, lambda a, y: a),
            r"value = .*, expected a callable \(a, y\)",
        ),
        (
            lambda: costs.register("far", lambda a, y: a.sum(1), lambda a: a),
            r"slope = .*, expected a callable \(a, y\)",
        ),
    ],
)
def test_functions_of_other_arguments_are_named(register, message):
    with pytest.raises(TypeError, match=message):
        register()


def test_functions_that_do_not_tell_what_they_take_are_tried():
    class Untold:
        __signature__ = "none"

        def __call__(self, z):
            return z * z

    sigma = activations.register("untold_square", Untold(), lambda z, a: 2 * z)
    assert sigma.own is not None
