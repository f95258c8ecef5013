"""Activation functions: a = sigma(z), one object each.

An object says everything about its function once; the kernels' spelling of the same
formulas is in ``src/activations.h``. Functions take NumPy arrays of float64 or complex128,
shape (m, n); where a formula branches, it branches on the real part, so that complex-step
derivatives hold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _registration as registration
from cbackprop._names import unknown

Array = NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Parameters
    ----------
    name : str
        As given to ``Network(activation=...)``.
    formula : str
        The function, in the book's letters.
    code : int
        The function's number in the compiled kernels.
    image : tuple of float
        Infimum and supremum of a; which costs are defined on it follows from this.
    function : callable
        ``z -> a``.
    derivative : callable or None
        ``(z, a) -> da_j/dz_j`` where the function is element-wise, else None.
    jacobian : callable
        ``(z, a) -> J`` (m, n, n) with ``J[s, k, j] = da_k/dz_j``.
    parameter : float, optional
        alpha, of the functions that have one.
    own : callable or None
        Of the user's: bits -> what the kernels call, sigma and its vector-Jacobian product.
    complex_step : bool
        Whether function and derivative take complex numbers, as complex-step derivatives want.
    curvature : callable or None
        ``(z, a, g, r) -> sum_ki g_k r_i d^2 a_k / dz_j dz_i`` (m, n), which products with the
        Hessian ask for; None: a complex step finds it.
    onnx : tuple of str or None
        The function in ONNX's own text form, z to a. The first is what `export_onnx` writes, or
        in float64 the one with constants of double, where there is one: onnxruntime has not all
        operators in float64. All are read. ``real`` is the network's dtype. None: it has none.
    c : str or None
        For `Network.export_c`: a as a C expression in z and alpha, with the functions of
        ``io/c_functions.h``; where not element-wise, a call that turns z into a in a row a of n.
    """

    name: str
    formula: str
    code: int
    image: tuple[float, float]
    function: Callable[[Array], Array] = field(compare=False, repr=False)
    derivative: Callable[[Array, Array], Array] | None = field(compare=False, repr=False)
    jacobian: Callable[[Array, Array], Array] = field(compare=False, repr=False)
    parameter: float | None = None
    own: Callable[[int], tuple[Any, Any]] | None = field(default=None, compare=False, repr=False)
    complex_step: bool = True
    curvature: Callable[[Array, Array, Array, Array], Array] | None = field(
        default=None, compare=False, repr=False
    )
    onnx: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    c: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The name, with the parameter where there is one: `get` reads it."""
        return spell(self)


def _diagonal(derivative: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def jacobian(z: Array, a: Array) -> Array:
        result: Array = derivative(z, a)[:, :, None] * np.eye(z.shape[1])
        return result

    return jacobian


def _elementwise(
    name: str,
    formula: str,
    code: int,
    image: tuple[float, float],
    function: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array],
    second: Callable[[Array, Array], Array],  # d^2 a_j / dz_j^2
    parameter: float | None = None,
    *,
    onnx: tuple[str, ...],
    c: str,
) -> Activation:
    return Activation(
        name, formula, code, image, function, derivative, _diagonal(derivative), parameter,
        curvature=lambda z, a, g, r: g * second(z, a) * r, onnx=onnx, c=c,
    )  # fmt: skip


def _number(name: str, value: float, kind: str = "double") -> str:
    """A constant in ONNX's text form."""
    return f"{name} = Constant <value = {kind} {{{value!r}}}> () "


def _exponential(alpha: float, scale: float) -> str:
    """scale (max(z, 0) + alpha (exp(min(z, 0)) - 1)) in ONNX's text form, for float64."""
    numbers = [("zero", 0.0), ("one", 1.0), ("alpha", alpha), ("scale", scale)]
    return "".join(_number(*pair) for pair in numbers) + (
        "m = Min(z, zero) e = Exp(m) f = Sub(e, one) g = Mul(f, alpha) p = Relu(z) h = Add(p, g) "
        "a = Mul(h, scale)"
    )


def _straight(z: Array, a: Array) -> Array:
    return np.zeros_like(z)  # of lines and what is made of lines


def _sigmoid(z: Array) -> Array:
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    result: Array = np.where(positive, 1, e) / (1 + e)
    return result


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    result: Array = e / e.sum(axis=1, keepdims=True)
    return result


def _softmax_jacobian(z: Array, a: Array) -> Array:
    # da_k/dz_j = a_k (1[j = k] - a_j)
    result: Array = a[:, :, None] * (np.eye(a.shape[1]) - a[:, None, :])
    return result


def _softmax_curvature(z: Array, a: Array, g: Array, r: Array) -> Array:
    # (2.15) gives a_j (g_j - sum_k g_k a_k); this is its derivative along r, g held fast.
    along = a * (r - (a * r).sum(axis=1, keepdims=True))
    rest = g - (g * a).sum(axis=1, keepdims=True)
    result: Array = along * rest - a * (g * along).sum(axis=1, keepdims=True)
    return result


_INF = float("inf")

identity = _elementwise(
    "identity", "a = z", 0, (-_INF, _INF), lambda z: z + 0, lambda z, a: np.ones_like(z), _straight,
    onnx=("a = Identity(z)",),
    c="z",
)  # fmt: skip
sigmoid = _elementwise(
    "sigmoid", "a = 1 / (1 + exp(-z))", 1, (0.0, 1.0), _sigmoid,
    lambda z, a: a * (1 - a),
    lambda z, a: a * (1 - a) * (1 - 2 * a),
    onnx=("a = Sigmoid(z)",),
    c="cb_sigmoid(z)",
)  # fmt: skip
tanh = _elementwise(
    "tanh", "a = tanh z", 2, (-1.0, 1.0), np.tanh,
    lambda z, a: 1 - a * a,
    lambda z, a: -2 * a * (1 - a * a),
    onnx=("a = Tanh(z)",),
    c="cb_tanh(z)",
)  # fmt: skip
relu = _elementwise(
    "relu",
    "a = max(0, z)",
    3,
    (0.0, _INF),
    lambda z: np.where(z.real > 0, z, 0 * z),
    lambda z, a: np.where(z.real > 0, 1.0, 0.0),
    _straight,
    onnx=("a = Relu(z)",),
    c="z < 0 ? 0 : z",
)
softmax = Activation(
    "softmax",
    "a_j = exp(z_j) / sum_k exp(z_k)",
    4,
    (0.0, 1.0),
    _softmax,
    None,
    _softmax_jacobian,
    curvature=_softmax_curvature,
    onnx=("a = Softmax <axis = 1> (z)",),
    c="cb_softmax(a, n)",
)


def _positive(name: str, alpha: float, most: float = _INF) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise TypeError(f"alpha of {name} = {alpha!r}, expected a number")
    if not 0 <= alpha < most or not math.isfinite(alpha):
        limits = "0 <= alpha" + (f" < {most:g}" if most < _INF else "")
        raise ValueError(f"alpha of {name} = {alpha!r}, expected {limits}")
    return float(alpha)


def leaky_relu(alpha: float = 0.01) -> Activation:
    """a = z for z > 0, else alpha z (Maas et al. 2013); 0 <= alpha < 1."""
    alpha = _positive("leaky_relu", alpha, 1.0)
    return _elementwise(
        "leaky_relu", "a = z for z > 0, else alpha z", 5, (-_INF, _INF),
        lambda z: np.where(z.real > 0, z, alpha * z),
        lambda z, a: np.where(z.real > 0, 1.0, alpha), _straight, alpha,
        onnx=(
            f"a = LeakyRelu <alpha = {alpha!r}> (z)",
            _number("alpha", alpha) + "s = Mul(z, alpha) a = Max(z, s)",
        ),
        c="0 < z ? z : alpha * z",
    )  # fmt: skip


def _expm1(z: Array) -> Array:
    # exp(z) - 1 for z <= 0, else 0; numpy.expm1 takes complex numbers too.
    result: Array = np.expm1(np.where(z.real > 0, 0 * z, z))
    return result


def elu(alpha: float = 1.0) -> Activation:
    """a = z for z > 0, else alpha (exp(z) - 1) (Clevert et al. 2016); alpha >= 0."""
    alpha = _positive("elu", alpha)
    return _elementwise(
        "elu", "a = z for z > 0, else alpha (exp(z) - 1)", 6, (-alpha, _INF),
        lambda z: np.where(z.real > 0, z, alpha * _expm1(z)),
        lambda z, a: np.where(z.real > 0, 1.0, a + alpha),
        lambda z, a: np.where(z > 0, 0.0, a + alpha), alpha,
        onnx=(f"a = Elu <alpha = {alpha!r}> (z)", _exponential(alpha, 1.0)),
        c="0 < z ? z : alpha * cb_expm1_of_negative(z)",
    )  # fmt: skip


# Klambauer et al., Self-Normalizing Neural Networks, 2017.
_SCALE, _ALPHA = 1.0507009873554804934, 1.6732632423543772848


def _softplus(z: Array) -> Array:
    positive = z.real > 0
    tail = np.log1p(np.exp(np.where(positive, -z, z)))
    result: Array = np.where(positive, z, 0) + tail
    return result


def _normal(z: Array) -> Array:
    # Phi(z); of z + ih, the first two terms of its series in h, which is all that a complex
    # step asks for.
    tail: Array = np.vectorize(math.erfc, otypes=[np.float64])(-z.real / math.sqrt(2)) / 2
    return tail + 1j * z.imag * _bell(z.real) if np.iscomplexobj(z) else tail


def _bell(z: Array) -> Array:
    result: Array = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return result


def _gelu_derivative(z: Array, a: Array) -> Array:
    # Phi(z) is a / z, but for numbers so small that a has no digits left.
    small = np.abs(z.real) < 1e-290
    result: Array = np.where(small, 0.5, a / np.where(small, 1, z)) + z * _bell(z)
    return result


def _silu_derivative(z: Array, a: Array) -> Array:
    s = _sigmoid(z)
    result: Array = s + a * (1 - s)
    return result


def _silu_second(z: Array, a: Array) -> Array:
    s = _sigmoid(z)
    result: Array = s * (1 - s) * (2 + z * (1 - 2 * s))
    return result


def _abs(z: Array) -> Array:
    return np.where(z.real < 0, -z, z)


selu = _elementwise(
    "selu",
    "a = 1.0507 z for z > 0, else 1.0507 1.6733 (exp(z) - 1)",
    7,
    (-_SCALE * _ALPHA, _INF),
    lambda z: _SCALE * np.where(z.real > 0, z, _ALPHA * _expm1(z)),
    lambda z, a: np.where(z.real > 0, _SCALE, a + _SCALE * _ALPHA),
    lambda z, a: np.where(z > 0, 0.0, a + _SCALE * _ALPHA),
    onnx=("a = Selu(z)", _exponential(_ALPHA, _SCALE)),
    c=f"(cb_real){_SCALE} * (0 < z ? z : (cb_real){_ALPHA} * cb_expm1_of_negative(z))",
)
softplus = _elementwise(
    "softplus",
    "a = ln(1 + exp(z))",
    8,
    (0.0, _INF),
    _softplus,
    lambda z, a: -np.expm1(-a),
    lambda z, a: -np.expm1(-a) * np.exp(-a),
    onnx=(
        "a = Softplus(z)",
        _number("one", 1.0) + "p = Relu(z) b = Abs(z) c = Neg(b) e = Exp(c) f = Add(e, one) "
        "g = Log(f) a = Add(p, g)",
    ),
    c="(z < 0 ? 0 : z) + cb_log1p_unit(cb_exp(-CB_ABS(z)))",
)
silu = _elementwise(
    "silu",
    "a = z / (1 + exp(-z))",
    9,
    (-0.27846454276107379, _INF),
    lambda z: z * _sigmoid(z),
    _silu_derivative,
    _silu_second,
    onnx=("s = Sigmoid(z) a = Mul(z, s)", "a = Swish(z)"),
    c="z * cb_sigmoid(z)",
)
gelu = _elementwise(
    "gelu",
    "a = z Phi(z), Phi the standard normal distribution",
    10,
    (-0.16997120747990369, _INF),
    lambda z: z * _normal(z),
    _gelu_derivative,
    lambda z, a: _bell(z) * (2 - z * z),
    # onnxruntime has Erf in float32 alone; Phi then stands to 6e-8 in float64 networks.
    onnx=(
        *(
            _number("root", math.sqrt(2), kind)
            + _number("one", 1.0, kind)
            + _number("half", 0.5, kind)
            + erf
            + "f = Add(e, one) g = Mul(z, f) a = Mul(g, half)"
            for kind, erf in (
                ("real", "d = Div(z, root) e = Erf(d) "),
                (
                    "double",
                    "d = Div(z, root) n = Cast <to = 1> (d) r = Erf(n) e = Cast <to = 11> (r) ",
                ),
            )
        ),
        "a = Gelu(z)",
    ),
    c="z * cb_normal(z)",
)
softsign = _elementwise(
    "softsign",
    "a = z / (1 + |z|)",
    11,
    (-1.0, 1.0),
    lambda z: z / (1 + _abs(z)),
    lambda z, a: (1 - _abs(a)) ** 2,
    lambda z, a: -2 * np.sign(a) * (1 - np.abs(a)) ** 3,
    onnx=(
        "a = Softsign(z)",
        _number("one", 1.0) + "b = Abs(z) c = Add(b, one) a = Div(z, c)",
    ),
    c="z / (1 + CB_ABS(z))",
)
hard_tanh = _elementwise(
    "hard_tanh",
    "a = z kept within -1 .. 1",
    12,
    (-1.0, 1.0),
    lambda z: np.where(z.real > 1, 1 + 0 * z, np.where(z.real < -1, -1 + 0 * z, z)),
    lambda z, a: np.where(np.abs(z.real) < 1, 1.0, 0.0),
    _straight,
    onnx=(_number("low", -1.0, "real") + _number("high", 1.0, "real") + "a = Clip(z, low, high)",),
    c="1 < z ? 1 : z < -1 ? -1 : z",
)
sine = _elementwise(
    "sine", "a = sin z", 13, (-1.0, 1.0), np.sin, lambda z, a: np.cos(z), lambda z, a: -a,
    onnx=("a = Sin(z)",), c="cb_sin(z)",
)  # fmt: skip
exp = _elementwise(
    "exp", "a = exp(z)", 14, (0.0, _INF), np.exp, lambda z, a: a, lambda z, a: a,
    onnx=("a = Exp(z)",), c="cb_exp(z)",
)  # fmt: skip

ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        identity, sigmoid, tanh, relu, leaky_relu(), elu(), selu, softplus, silu, gelu, softsign,
        hard_tanh, sine, exp, softmax,
    )
}  # fmt: skip

# Those with a parameter: name -> function of it.
FAMILIES = {"leaky_relu": leaky_relu, "elu": elu}


OWN = 15  # the code of all of the user's


def register(
    name: str,
    function: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array] | None = None,
    *,
    vector_jacobian: Callable[[Array, Array, Array], Array] | None = None,
    image: tuple[float, float] = (-_INF, _INF),
) -> Activation:
    """An activation of your own, from Python functions; ``Network(activation=name)`` finds it.

    Parameters
    ----------
    name : str
        An identifier; one of your own is replaced, for networks made from then on.
    function : callable
        ``z -> a``, arrays (m, n), each row a function of its own row alone.
    derivative : callable, optional
        ``(z, a) -> da_j/dz_j``, of an element-wise function.
    vector_jacobian : callable, optional
        ``(z, a, g) -> sum_k g_k da_k/dz_j``, (2.15), of any other. Give one of the two.
    image : pair of float
        Infimum and supremum of a; decides which costs are allowed on it.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError, TypeError
        The name is taken, a shape is wrong, or differences do not find the derivative.

    Notes
    -----
    Networks with Python functions train in one thread, holding the GIL while those run. What
    one raises comes out of `train`; the mini-batch that met it has not counted.

    Examples
    --------
    >>> from cbackprop import Network
    >>> mish = register(
    ...     "mish_example",
    ...     lambda z: z * np.tanh(np.log1p(np.exp(z))),
    ...     lambda z, a: np.tanh(np.log1p(np.exp(z)))
    ...     + z / np.cosh(np.log1p(np.exp(z))) ** 2 / (1 + np.exp(-z)),
    ... )
    >>> net = Network([2, 8, 1], activation="mish_example", rng=0)
    >>> len(net.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], epochs=3))
    3
    """
    name = registration.name_of(name, ACTIVATIONS)
    f = registration.function("function", function, "z")
    if (derivative is None) == (vector_jacobian is None):
        raise ValueError("derivative and vector_jacobian: give one of the two")
    if derivative is not None:
        slope = registration.function("derivative", derivative, "z", "a")

        def product(z: Array, a: Array, g: Array) -> Array:
            result: Array = g * slope(z, a)
            return result
    else:
        product = registration.function("vector_jacobian", vector_jacobian, "z", "a", "g")
    return _registered(name, f, derivative, product, lambda bits: (f, product), image, False)


def register_compiled(
    name: str,
    *,
    float32: tuple[Any, Any] | None = None,
    float64: tuple[Any, Any] | None = None,
    image: tuple[float, float] = (-_INF, _INF),
) -> Activation:
    """An activation of your own, from C functions: they run without the GIL, in all threads.

    Parameters
    ----------
    name : str
        As for `register`.
    float32, float64 : pair, optional
        The functions of that dtype, as addresses, ctypes functions or Numba cfuncs; with real
        its type, over one row of n neurons:
        ``void sigma(const real *z, real *a, ptrdiff_t n)`` and
        ``void product(const real *z, const real *a, real *delta, ptrdiff_t n)``, where delta is
        dC/da before and dC/dz = sum_k delta_k da_k/dz_j after. At least one pair; `certify` asks
        for float64.
    image : pair of float
        As for `register`.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError, TypeError
        As for `register`. A wrong address cannot be noticed: the process crashes.
    """
    name = registration.name_of(name, ACTIVATIONS)
    found = registration.addresses(float32, float64)
    f = registration.by_rows(found, 0, False)
    product = registration.by_rows(found, 1, False)
    pair = registration.at(name, found)

    return _registered(name, f, None, product, pair, image, 64 not in found)


def _registered(
    name: str, f: Any, derivative: Any, product: Any, own: Any, image: Any, single: bool
) -> Activation:
    ends = registration.interval("image", image)
    z = np.random.default_rng(0).normal(0, 1.5, (5, 4))
    g = np.random.default_rng(1).normal(0, 1, (5, 4))
    try:
        a = registration.shaped("function", f(z), z.shape)
        given = registration.shaped("derivative", product(z, a, g.copy()), z.shape)
        registration.shaped("function of one row", f(z[:1]), (1, 4))
        if np.abs(f(z[:1]) - a[:1]).max() > 1e-5 * (1 + np.abs(a[:1]).max()):
            raise ValueError("a row of the function depends on other rows")
        registration.agree(
            "the derivative", given, lambda x: np.asarray((f(x) * g).sum(axis=1)), z, single
        )
    except ValueError as error:
        raise ValueError(f"activation {name!r}: {error}") from None

    def jacobian(z: Array, a: Array) -> Array:
        n = z.shape[1]
        columns = [product(z, a, np.eye(n)[[k] * len(z)]) for k in range(n)]
        return np.stack(columns, axis=1)

    row = Activation(
        name, "the user's", OWN, ends, f, derivative, jacobian, own=own,
        complex_step=registration.takes_complex(f, z)
        and registration.takes_complex(lambda x: product(x, f(x), g), z),
    )  # fmt: skip
    ACTIVATIONS[name] = row
    return row


def spell(row: Any) -> str:
    """``name``, or ``name(parameter)`` of those that have one."""
    return str(row.name) if row.parameter is None else f"{row.name}({row.parameter!r})"


def parse(text: Any, rows: dict[str, Any], families: dict[str, Any]) -> Any:
    """The row of that spelling, or None."""
    if not isinstance(text, str):
        return None
    name, bracket, rest = text.partition("(")
    if name in families and bracket and rest.endswith(")"):
        try:
            parameter = float(rest[:-1])
        except ValueError:
            return None
        return families[name](parameter)
    return rows.get(text)


def get(name: str | Activation, argument: str = "activation") -> Activation:
    """The activation of that name; an `Activation` is returned as it is.

    Raises
    ------
    ValueError
        No activation has that name, or its parameter is out of range.

    Examples
    --------
    >>> get("relu").formula
    'a = max(0, z)'
    >>> get("leaky_relu(0.2)") == leaky_relu(0.2)
    True
    """
    if isinstance(name, Activation):
        return name
    row: Activation | None = parse(name, ACTIVATIONS, FAMILIES)
    if row is not None:
        return row
    raise unknown(argument, name, ACTIVATIONS)
