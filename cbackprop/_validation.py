"""The one gate for arrays and arguments: what is wrong is said here, once, with the
argument's name, its value, what was expected and the remedy."""

# Annotations stay text: pathlib brings a tenth of the import time.
from __future__ import annotations

import functools
import itertools
import math
import numbers
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _gate, costs
from cbackprop.activations import Activation
from cbackprop.activations import get as get_activation

if TYPE_CHECKING:
    from pathlib import Path

Array = NDArray[Any]

MOST = 2**62  # of any count

# enum cb_score
ARGMAX, SUBSET, SQUARED_ERROR, SUBSET_AT_ZERO = 0, 1, 2, 3

# To Python and NumPy they are numbers, a span of time among them.
_NO_NUMBERS = (bool, np.bool_, np.timedelta64)

# Read where they lie, without a copy.
_IN_PLACE = {np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64)}


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number; booleans are not numbers here."""
    if type(value) is int and least <= value <= (MOST if most is None else most):
        return value
    limits = f"an integer >= {least}" if most is None else f"an integer from {least} to {most}"
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r}, expected {limits}")
    number = int(value)
    if not least <= number <= (MOST if most is None else most):
        raise ValueError(f"{name} = {value!r}, expected {limits}")
    return number


def real(name: str, value: Any, least: float, *, open_end: bool = False) -> float:
    """A finite number >= least, or > least."""
    if type(value) is float and (least < value < math.inf or (value == least and not open_end)):
        return value
    limits = f"a finite number {'>' if open_end else '>='} {least:g}"
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r}, expected {limits}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < least or (open_end and number == least):
        raise ValueError(f"{name} = {value!r}, expected {limits}")
    return number


def layer_sizes(sizes: Any) -> tuple[int, ...]:
    """Numbers of neurons, input first; at least two layers."""
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Sequence | np.ndarray):
        raise TypeError(f"sizes = {sizes!r}, expected a list like [784, 30, 10]")
    if isinstance(sizes, np.ndarray) and as_array("sizes", sizes).ndim != 1:
        raise ValueError(f"sizes has {sizes.ndim} dimensions, expected one: [784, 30, 10]")
    if len(sizes) < 2:
        raise ValueError(f"sizes = {list(sizes)!r}, expected at least an input and an output layer")
    checked = tuple(integer(f"sizes[{i}]", n, 1, 2**31 - 1) for i, n in enumerate(sizes))
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(checked))
    if parameters > 2**48:
        raise MemoryError(f"sizes = {list(sizes)!r} need {parameters:,} parameters")
    return checked


def layer_activations(hidden: Any, output: Any, n_hidden: int) -> list[Activation]:
    """One activation a layer, from a name for all hidden layers or one each."""
    if isinstance(hidden, str | Activation):
        rows = [get_activation(hidden)] * n_hidden
    elif isinstance(hidden, Sequence):
        if len(hidden) != n_hidden:
            raise ValueError(
                f"activation has {len(hidden)} entries but there are {n_hidden} hidden layers; "
                "give one name for all, or one for each hidden layer"
            )
        rows = [get_activation(name) for name in hidden]
    else:
        raise TypeError(f"activation = {hidden!r}, expected a name, or a list of names")
    return [*rows, get_activation(output, "output")]


def random_key(rng: Any) -> int:
    """64 bits from an int, SeedSequence, Generator or None (fresh entropy)."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**64, dtype=np.uint64))
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0])
    return random_key(np.random.SeedSequence()) if rng is None else _key_of(integer("rng", rng, 0))


@functools.lru_cache(maxsize=64)
def _key_of(seed: int) -> int:
    return random_key(np.random.SeedSequence(seed))


def input_transform(name: str, value: Any, n: int, dtype: np.dtype[Any]) -> float | Array:
    """input_scale or input_shift: one finite number, or one for each feature."""
    if type(value) is float and abs(value) < 1e30:  # nearly always; it holds in either precision
        return value
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} = {value!r}, expected a number, or {n} of them")
    if array.shape not in ((), (n,)):
        raise ValueError(f"{name} has shape {array.shape}, expected a number, or {n} of them")
    with np.errstate(over="ignore", invalid="ignore"):  # the latter of signalling NaN
        array = array.astype(np.float64)
        wrong = ~np.isfinite(array.astype(dtype))
    if wrong.any():
        raise ValueError(f"{name} contains {array[wrong][0]}, expected finite numbers in {dtype}")
    return float(array) if array.shape == () else array


def as_array(name: str, values: Any) -> Array:
    if type(values) is np.ndarray:
        return values
    if hasattr(values, "toarray") and hasattr(values, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix; pass {name}.toarray()")
    if hasattr(values, "window_rows"):
        raise TypeError(f"{name} is Chunks: give them to train alone, without y, or their load()")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first: {name}.filled(value)")
    try:
        return np.asarray(values)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} is not a rectangular array: {error}") from None


def _numeric(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """The array as uint8, float32 or float64, native and aligned; a copy only if it is not."""
    native = array.dtype.newbyteorder("=")
    if native in _IN_PLACE:
        # Not the network's dtype: what is read in place and what is copied has the same bits.
        return array if array.dtype == native and array.flags.aligned else array.astype(native)
    if array.dtype.kind not in "buif":
        remedy = "; take the real part" if array.dtype.kind == "c" else ""
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers{remedy}")
    if array.dtype.kind in "iu" and dtype == np.float32 and array.dtype.itemsize > 2 and array.size:
        largest = max(abs(int(array.max())), abs(int(array.min())))
        if largest > 2**24:
            warnings.warn(
                f"{name} holds integers up to {largest}, which float32 rounds; use dtype='float64'",
                UserWarning,
                stacklevel=4,
            )
    with np.errstate(over="ignore"):  # float64 beyond float32 is found and named later
        return array.astype(dtype)


def features(name: str, values: Any, n: int, dtype: np.dtype[Any], *, some: bool = True) -> Array:
    """X as a matrix (m, n) that the core reads in place; not yet looked at for NaN."""
    array = as_array(name, values)
    if array.ndim != 2:
        remedy = f"; for one row, {name}[None, :]" if array.shape == (n,) else ""
        if array.ndim > 2:
            remedy = f"; flatten the samples: {name}.reshape(len({name}), -1)"
        raise ValueError(f"{name} has {array.ndim} dimensions, expected (samples, {n}){remedy}")
    if array.shape[1] != n:
        raise ValueError(f"{name} has {array.shape[1]} columns but the input layer has {n} neurons")
    if some and len(array) == 0:
        raise ValueError(f"{name} has no rows, expected at least one sample")
    return _numeric(name, array, dtype)


def refuse_nonfinite(name: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Name the first value that is NaN, infinite or too large for the network's dtype."""
    block = max(1, 2**20 // max(1, array.shape[1]))
    for start in range(0, len(array), block):
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array[start : start + block].astype(dtype)
        wrong = ~np.isfinite(cast)
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            value = array[start + row, column]
            what = f"{value}, too large for {dtype}," if np.isfinite(value) else f"{value}"
            what = {"nan": "NaN", "inf": "infinity", "-inf": "-infinity"}.get(what, what)
            raise ValueError(
                f"{name} contains {what} at row {start + row}, column {column}; "
                "expected finite numbers (remove or fill the row)"
            )


class Target(NamedTuple):
    """y as the core takes it."""

    array: Array  # int32 (m,): class indices; or real (m, n_L)
    core: _engine.Targets  # the same
    classes: Array | None  # the label of each output, where y holds labels
    score: int


def targets(
    y: Any,
    m: int,
    n_out: int,
    output: Activation,
    cost: costs.Cost,
    classes: Array | None,
    dtype: np.dtype[Any],
    name: str = "y",
) -> Target:
    """Labels (m,), or targets (m, n_L) or (m,) for one output."""
    array = as_array(name, y)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {array.ndim} dimensions, expected (samples,) or (samples, {n_out})"
        )
    if len(array) != m:
        raise ValueError(f"{name} has {len(array)} rows but X has {m}")
    subset, of_binary = score_kinds(cost)
    if array.ndim == 1 and are_labels(array, n_out, output, cost, classes):
        index, classes = _label_indices(name, array, n_out, classes)
        return Target(index, _engine.Targets(index), classes, ARGMAX if n_out > 1 else subset)
    if array.ndim == 1:
        array = array[:, None]
    if array.shape[1] != n_out:
        remedy = "; labels have shape (samples,): y.ravel()" if array.shape[1] == 1 else ""
        raise ValueError(
            f"{name} has {array.shape[1]} columns but the output layer has {n_out} neurons{remedy}"
        )
    array = _numeric(name, array, dtype)
    low, high = cost.targets
    core = _engine.Targets(array)
    fit, binary, one_hot = _gate.targets(core, low, high, 8 * dtype.itemsize)
    if not fit:
        _refuse_targets(name, array, cost, dtype)
    if one_hot and n_out > 1:
        return Target(array, core, None, ARGMAX)
    return Target(array, core, None, of_binary if binary else SQUARED_ERROR)


def score_kinds(cost: costs.Cost) -> tuple[int, int]:
    """Of labels for one output, and of targets that are all 0 or 1."""
    subset = SUBSET if cost.threshold else SUBSET_AT_ZERO
    yes_or_no = cost.name in ("cross_entropy", "hinge", "squared_hinge")
    return subset, subset if yes_or_no else SQUARED_ERROR


def _refuse_targets(name: str, array: Array, cost: costs.Cost, dtype: np.dtype[Any]) -> None:
    refuse_nonfinite(name, array, dtype)
    low, high = cost.targets
    outside = (array < low) | (array > high)
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{name}[{row}, {column}] = {array[row, column]}, but cost {cost.name!r} takes targets "
            f"from {low:g} to {high:g}"
        )


def are_labels(
    y: Array, n_out: int, output: Activation, cost: costs.Cost, classes: Array | None
) -> bool:
    """Whether y (m,) holds labels, not real targets."""
    if n_out > 1 or classes is not None or y.dtype.kind not in "biuf":
        return True
    return (output.name == "sigmoid" or not cost.threshold) and y.dtype.kind in "biu"


def slopes(name: str, values: Any, m: int, n_out: int, dtype: np.dtype[Any]) -> Array:
    """dC/da^L of m samples (m, n_out), or (m,) for one output; finite."""
    array = as_array(name, values)
    if array.ndim == 1 and n_out == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected (samples, {n_out})")
    if len(array) != m:
        raise ValueError(f"{name} has {len(array)} rows but X has {m}")
    if array.shape[1] != n_out:
        raise ValueError(
            f"{name} has {array.shape[1]} columns but the output layer has {n_out} neurons"
        )
    array = _numeric(name, array, dtype)
    if not _gate.targets(_engine.Targets(array), -math.inf, math.inf, 8 * dtype.itemsize)[0]:
        refuse_nonfinite(name, array, dtype)
    return array


def class_labels(classes: Any, n_out: int) -> Array:
    """classes= as a one-dimensional array of distinct labels, one an output (two for one)."""
    labels = as_array("classes", classes)
    expected = max(n_out, 2)
    if labels.shape != (expected,):
        raise ValueError(f"classes has shape {labels.shape}, expected {expected} labels")
    if labels.dtype.kind == "O":
        labels = _as_text("classes", labels)
    if labels.dtype.kind not in "biuUS":
        raise TypeError(f"classes has dtype {labels.dtype}, expected integers or text")
    if len(np.unique(labels)) != expected:
        raise ValueError(f"classes = {labels.tolist()!r}, expected distinct labels")
    return _natural(labels)


def _natural(labels: Array) -> Array:
    # Native, and text no wider than its longest label, so that a file gives back the same dtype.
    if labels.dtype.kind in "US":
        return np.array(labels.tolist())
    return labels.astype(labels.dtype.newbyteorder("="))


def _as_text(name: str, labels: Array) -> Array:
    # Object arrays (pandas) of strings, or of integers.
    if all(isinstance(label, str) for label in labels.flat):
        return labels.astype(str)
    if all(isinstance(label, numbers.Integral) for label in labels.flat):
        return labels.astype(np.int64)
    raise TypeError(f"{name} holds Python objects, expected labels that are all integers or text")


def _label_indices(name: str, y: Array, n_out: int, classes: Array | None) -> tuple[Array, Array]:
    """int32 index of each label, and the label of each index."""
    count = max(n_out, 2)
    index = _gate.labels(y, classes, count)
    if index is not None:
        return index, np.arange(count) if classes is None else classes
    if y.dtype.kind == "O":
        y = _as_text(name, y)
    if y.dtype.kind == "f":
        refuse_nonfinite(name, y[:, None], y.dtype)
        y = y.astype(np.float64) if y.dtype.itemsize < 8 else y  # half precision ends at 65504
        wrong = (np.abs(y) >= 2**53) | (y != np.rint(y))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{name}[{row}] = {y[row]}, expected class labels (whole numbers or text), or "
                f"targets of shape (samples, {n_out}): the output layer has {n_out} neurons"
            )
        y = y.astype(np.int64)
    if y.dtype.kind not in "biuUS":
        raise TypeError(
            f"{name} has dtype {y.dtype}, expected labels (integers or text) or real numbers"
        )
    if (
        classes is None
        and y.dtype.kind in "biu"
        and (not y.size or (y.min() >= 0 and y.max() < count))
    ):
        return y.astype(np.int32), np.arange(count)
    if classes is None:
        classes = _natural(np.unique(y))
        if len(classes) != count:
            _refuse_labels(name, y, classes, count)
    return _index_in(name, y, classes), classes


def _refuse_labels(name: str, y: Array, found: Array, count: int) -> None:
    if y.dtype.kind in "iu":
        row = int(np.flatnonzero((y < 0) | (y >= count))[0])
        raise ValueError(
            f"{name}[{row}] = {y[row]}, expected 0..{count - 1}, or {count} distinct labels "
            f"(there are {len(found)}), or classes= in Network"
        )
    raise ValueError(
        f"{name} has {len(found)} distinct labels, expected {count}, one an output (two for one "
        "output); or give classes= to Network"
    )


def _index_in(name: str, y: Array, classes: Array) -> Array:
    if (y.dtype.kind in "US") != (classes.dtype.kind in "US"):
        raise ValueError(
            f"{name}[0] = {y[0].item()!r} is not one of the classes {classes.tolist()!r}"
        )
    order = np.argsort(classes)
    place = np.minimum(np.searchsorted(classes[order], y), len(classes) - 1)
    wrong = classes[order][place] != y
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        label = y[row].item()
        raise ValueError(
            f"{name}[{row}] = {label!r} is not one of the classes {classes.tolist()!r}"
        )
    return order[place].astype(np.int32)


def network_arrays(
    name: str, values: Any, shapes: list[tuple[int, ...]], dtype: np.dtype[Any]
) -> list[Array]:
    """A list of arrays for weights or biases, each of its layer's shape, finite."""
    if isinstance(values, np.ndarray) or not isinstance(values, Sequence):
        raise TypeError(
            f"{name} = {type(values).__name__}, expected a list of {len(shapes)} arrays"
        )
    if len(values) != len(shapes):
        raise ValueError(f"{name} has {len(values)} arrays, expected {len(shapes)}, one a layer")
    pairs = zip(values, shapes, strict=True)
    return [
        network_array(f"{name}[{i}]", value, shape, dtype) for i, (value, shape) in enumerate(pairs)
    ]


def network_array(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Weights or biases of one layer, finite."""
    array = as_array(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    array = _numeric(name, array, np.dtype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains values that are not finite in {dtype}")
    return array


def gradients(
    g: Any, sizes: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Sequence[Array], Sequence[Array]]:
    """nabla_w (n_l, n_{l-1}) and nabla_b (n_l,) of each layer, C-contiguous, of the dtype."""
    pair = (g.nabla_w, g.nabla_b) if hasattr(g, "nabla_w") else g
    if not (isinstance(pair, Sequence) and len(pair) == 2):
        raise TypeError(f"g = {type(g).__name__}, expected Gradients or a pair (nabla_w, nabla_b)")
    shapes: list[tuple[int, ...]] = [(b, a) for a, b in itertools.pairwise(sizes)]
    nabla_w = network_arrays("nabla_w of g", pair[0], shapes, dtype)
    nabla_b = network_arrays("nabla_b of g", pair[1], [(n,) for n in sizes[1:]], dtype)
    return [np.ascontiguousarray(w) for w in nabla_w], [np.ascontiguousarray(b) for b in nabla_b]


def dense_targets(target: Target, n_out: int) -> Array:
    """float64 (n, n_L) of whatever the targets are."""
    if target.array.ndim == 2:
        return target.array.astype(np.float64)
    if n_out == 1:
        return target.array.astype(np.float64)[:, None]
    return np.eye(n_out)[target.array]


def parameter_vector(name: str, values: Any, sizes: tuple[int, ...]) -> Array:
    """float64 (P,), finite."""
    count = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    array = _numeric(name, as_array(name, values), np.dtype(np.float64)).astype(np.float64)
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({count},)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def flag(name: str, value: Any) -> bool:
    """True or False; words and numbers are not taken for either."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} = {value!r}, expected True or False")
    return bool(value)


def said(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse weights of another program without the functions between them: any default would
    be a network that predicts something else."""
    for name in names:
        if name not in given:
            raise ValueError(
                f"{name} is missing: weights do not say it; give {name}=, or an nn.Sequential, "
                "whose modules do"
            )


def an_mlp(mlp: Any) -> None:
    """scikit-learn's or ours; told by what it has, for neither need be imported."""
    kind = "an MLPClassifier or MLPRegressor"
    if isinstance(mlp, type):
        raise TypeError(f"mlp is the class {mlp.__name__}, expected {kind}; fit an object of it")
    if not hasattr(mlp, "hidden_layer_sizes"):
        raise TypeError(
            f"mlp is a {type(mlp).__name__}, expected {kind}: a Pipeline's [-1], a search's "
            "best_estimator_"
        )


def instance(name: str, value: Any, kind: type, remedy: str = "") -> None:
    """An object of that class; of others their class is said, not what they hold."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(
            f"{name} is a {type(value).__name__}, expected {article} {kind.__name__}{remedy}"
        )


def path(name: str, value: Any) -> str:
    """The name of a file or folder as text."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} = {value!r}, expected a path")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ValueError(f"{name} = {value!r}, expected a path")
    return text


def schedule(name: str, value: Any) -> None:
    """A callable number -> rate; not a class of them."""
    if isinstance(value, type):
        raise TypeError(f"{name} = {value!r} is a class; make an object: {value.__name__}(...)")
    if not callable(value):
        raise TypeError(f"{name} = {value!r}, expected a callable number -> rate")


def twice_differentiable(functions: Sequence[Any]) -> None:
    """Activations and costs whose second derivatives are known, or found by a complex step."""
    for function in functions:
        if function.curvature is None and not function.complex_step:
            raise ValueError(
                f"{function.name!r} refuses complex numbers, from which the Hessian of a function "
                "of your own is made; register one of NumPy functions that take them"
            )


def c_name(name: Any, path: Path) -> str:
    """What the names in a C header begin with: given, or the file's own name."""
    stem = re.sub("[^A-Za-z0-9_]", "_", path.stem) if name is None else name
    if not isinstance(stem, str):
        raise TypeError(f"name = {name!r}, expected a string")
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", stem):
        origin = f"path = {str(path)!r}" if name is None else f"name = {name!r}"
        remedy = "; give name=" if name is None else ""
        raise ValueError(
            f"{origin}, expected a C identifier: ASCII letters, digits and _, a letter "
            f"first{remedy}"
        )
    return stem


def written_in_c(activations: Sequence[Activation]) -> None:
    """Activations whose C is known."""
    for l, sigma in enumerate(activations, start=1):
        if sigma.c is None:
            raise ValueError(
                f"export_c: the activation of layer {l}, {sigma.name!r}, is a function of your "
                "own, whose C is not known; export networks of the package's activations"
            )


def finite_predictions(outputs: Array) -> None:
    """Rows of a self-test have outputs to compare with."""
    if not np.isfinite(outputs).all():
        row = int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])
        raise ValueError(
            f"export_c: the network's output for sample row {row} is not finite, so that the "
            "self-test has nothing to compare with; give samples= from its data"
        )
