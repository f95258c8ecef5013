"""Calls with arrays of every kind: right, in bits, or a documented exception.

    python -m tests.campaigns.hostile_calls [--rounds 2] [--seed 0] [--sanitize [--again]]

Each argument of the public calls that takes an array is given one of each dtype in each layout, in
every round with flags, shape and values drawn anew, the other arguments being in order; then
things that are no arrays at all. The same values in a plain array (C-contiguous, native, aligned,
writeable) say what is right: where they are taken, so must the hostile array be, with the same
bits, and where they are refused, it must be refused. A refusal is a ValueError or TypeError that
names the argument, or a MemoryError (of weights near the largest number DivergenceError); it
leaves the network as it was, and no call writes into what it was given. ``--sanitize`` builds
with AddressSanitizer and UndefinedBehaviorSanitizer first (see `sanitize.py`) and runs under them;
``--again`` takes the build that is there.
"""

import argparse
import hashlib
import itertools
import re
import signal
import sys
import tempfile
import warnings
from collections import Counter
from types import SimpleNamespace

import numpy as np

from cbackprop import DivergenceError, LearningWarning, Network, certify, train_many

M, SIZES = 12, (5, 4, 3)
P = sum((a + 1) * b for a, b in itertools.pairwise(SIZES))
DTYPES = [
    "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "c16",
    "O", "U8", ">f4", ">f8", ">i4", "M8[s]", "m8[s]", "V",
]  # fmt: skip
STRUCTURE = np.dtype([("a", "f4"), ("b", "i2")])
LAYOUTS = ["C", "F", "strided", "negative", "broadcast", "transposed", "unaligned"]
FLAGS = ["plain", "plain", "read-only", "memory-mapped", "subclass", "masked"]
SHAPES = [
    *["right"] * 4, "empty", "one row", "one column", "wrong width", "0-D", "1-D", "3-D", "huge",
]  # fmt: skip
VALUES = [
    *["ordinary"] * 4, "nan", "inf", "subnormal", "largest", "negative", "too large", "halves",
]  # fmt: skip


class Array(np.ndarray):
    """A subclass, as other packages make them."""


def shape_of(kind, right, m):
    if kind == "huge":
        return (m, *right[1:])
    changed = {
        "empty": (0, *right[1:]), "one row": (1, *right[1:]), "one column": (right[0], 1),
        "wrong width": (*right[:-1], right[-1] + 1), "0-D": (), "1-D": right[:1],
        "3-D": (*right, *[2] * (3 - len(right))),
    }  # fmt: skip
    return changed.get(kind, right)


def values_of(rng, kind, dtype, shape):
    """An array of numbers as near to `kind` as the dtype has them."""
    info = np.finfo(dtype) if dtype.kind in "fc" else None
    most = info.max if info else np.iinfo(dtype).max if dtype.kind in "iu" else 1
    x = rng.integers(0, 3, shape) if info is None else rng.integers(0, 64, shape) / 64
    x = np.asarray(x).astype(dtype)
    special = {
        "nan": np.nan, "inf": np.inf, "subnormal": info and info.smallest_subnormal, "halves": 1.5,
        "largest": most, "negative": -1, "too large": 100,
    }.get(kind)  # fmt: skip
    is_signed = dtype.kind in "ifc"
    takes = kind in ("largest", "too large") or (kind == "negative" and is_signed) or info
    if special is not None and takes and x.size:
        x[np.unravel_index(int(rng.integers(x.size)), shape)] = special
    return x


def of_dtype(rng, kind, name, shape):
    """The values in the dtype, C-contiguous."""
    if name == "V":
        return np.zeros(shape, STRUCTURE)
    dtype = np.dtype(name)
    if dtype.kind in "OUMm":
        x = values_of(rng, kind, np.dtype("i8"), shape)
        return x.astype(str).astype(dtype) if dtype.kind == "U" else x.astype(dtype)
    return values_of(rng, kind, dtype, shape)


def laid_out(x, layout, room):
    """The values of x in that layout, in memory that `room(shape, dtype, order)` gives."""
    every = slice(None, None, 2 if layout == "strided" else -1)
    if layout == "strided":
        y = room(tuple(2 * n for n in x.shape), x.dtype)[(..., *[every] * x.ndim)]
    elif layout == "negative":
        y = room(x.shape, x.dtype)[(..., *[every] * x.ndim)]
    elif layout == "transposed":
        y = room(x.shape[::-1], x.dtype).T
    elif layout == "unaligned" and x.dtype.kind != "O":
        y = room((x.nbytes + 1,), np.dtype("u1"))[1:].view(x.dtype).reshape(x.shape)
    elif layout == "broadcast" and x.ndim and len(x):
        y = room((1, *x.shape[1:]), x.dtype)
        y[...] = x[:1]
        return np.broadcast_to(y, x.shape)
    else:
        y = room(x.shape, x.dtype, "F" if layout == "F" else "C")
    y[...] = x
    return y


def hostile(rng, folder, right, dtype, layout):
    """An array, and what it is in words."""
    flag, shape_name, kind = (str(rng.choice(axis)) for axis in (FLAGS, SHAPES, VALUES))
    # Of integers the largest is looked for, whatever it takes.
    m = 2**16 if np.dtype(dtype).kind in "iu" else 2**40
    shape = shape_of(shape_name, right, m)
    huge = shape_name == "huge"
    x = of_dtype(rng, kind, dtype, (1, *right[1:]) if huge else shape)

    def room(shape, dtype, order="C"):
        if flag != "memory-mapped" or dtype.kind == "O" or not np.prod(shape):
            return np.empty(shape, dtype, order)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            return np.memmap(file, dtype, "w+", shape=shape, order=order)

    y = laid_out(x, layout, room)
    if huge:
        y = np.broadcast_to(y, shape)
    if flag == "read-only":
        y = y.view()
        y.flags.writeable = False
    if flag == "subclass":
        y = y.view(Array)
    if flag == "masked":
        y = np.ma.masked_array(y) if not huge else y
    return y, f"{dtype} {layout} {flag} {shape_name} {kind}"


def plain(x, is_labels):
    """The same values in a native, aligned, writeable, C-contiguous array; None: to be refused."""
    if isinstance(x, np.ma.MaskedArray):
        return None
    kind = x.dtype.kind
    if kind in ("cMmV" if is_labels else "cOUMmV"):
        return None
    if x.size > 2**30:
        return x
    if kind == "O":
        return np.array([int(v) for v in x.ravel()], "i8").reshape(x.shape)
    if kind in "U":
        return np.array(x.tolist(), dtype=x.dtype)
    native = x.dtype.newbyteorder("=")
    keep = kind in "iu" or native in ("f4", "f8") or (is_labels and kind == "f")
    with np.errstate(over="ignore"):
        return np.array(np.asarray(x), native if keep else "f8", order="C", copy=True)


def network(dtype, output="softmax"):
    return Network(SIZES, activation="tanh", output=output, dtype=dtype, rng=0)


def bits(value):
    """Everything that a call gave, as bytes."""
    if isinstance(value, Network):
        return bits([value.weights, value.biases, value.steps, value.classes, len(value.history)])
    if isinstance(value, np.ndarray):
        return str(value.dtype).encode() + str(value.shape).encode() + value.tobytes()
    if isinstance(value, dict):
        return bits([*value.items()])
    if isinstance(value, bytes):
        return value
    if isinstance(value, list | tuple) or type(value).__name__ == "Planes":
        return hashlib.sha256(b"|".join(bits(v) for v in value)).digest()
    return repr(value).encode()


def changed(method, net, *arguments, **options):
    """The network after the call, which gives no more than that."""
    result = method(*arguments, **options)
    return [bits(net), getattr(result, "cost", None)]


def trained_many(d):
    found = []
    for _, net, result in train_many([{"sizes": SIZES, "rng": 0}], d.X, d.y, output="softmax"):
        if isinstance(result, BaseException):
            raise result
        found += [bits(net), result.cost]
    return found


def certified(d):
    return [(r.equation, r.engine, r.derivative) for r in certify(d.net, d.X, d.y).residuals]


def made(d):
    net = Network(
        d.sizes, input_scale=d.input_scale, input_shift=d.input_shift, classes=d.classes,
        rng=0,
    )  # fmt: skip
    return [net.sizes, bits(net), net.predict(np.ones((1, net.sizes[0])))]


def predicted_into(d):
    result = d.net.predict(d.X, out=d.out)
    return result if result is d.out else "another array"


REAL, LABELS, OUT = "real", "labels", "out"
X, Y, T = ("X", REAL, (M, 5)), ("y", LABELS, (M,)), ("y", REAL, (M, 3))
WEIGHT = ("sample_weight", REAL, (M,))
W, B = ("w", REAL, (4, 5)), ("b", REAL, (4,))
# Name, the call, and its arguments that take arrays: name, kind, shape.
CALLS = [
    ("Network", made, [
        ("sizes", "sizes", (3,)), ("input_scale", REAL, (5,)), ("input_shift", REAL, (5,)),
        ("classes", LABELS, (3,)),
    ]),
    ("train", lambda d: changed(d.net.train, d.net, d.X, d.y, epochs=2, batch_size=5,
                                sample_weight=d.sample_weight), [X, Y, T, WEIGHT]),
    ("train, short", lambda d: changed(d.net.train, d.net, d.X, d.y, batch_size=12), [X, Y, T]),
    ("train, validated", lambda d: changed(
        d.net.train, d.net, X_GOOD, Y_GOOD, validation_data=(d.X, d.y)), [X, Y]),
    ("predict", lambda d: d.net.predict(d.X), [X]),
    ("predict, out", predicted_into, [X, ("out", OUT, (M, 3))]),
    ("classify", lambda d: d.net.classify(d.X), [X]),
    ("evaluate", lambda d: d.net.evaluate(d.X, d.y), [X, Y, T]),
    ("gradients", lambda d: d.net.gradients(d.X, d.y, sample_weight=d.sample_weight),
     [X, Y, T, WEIGHT]),
    ("pullback", lambda d: d.net.pullback(d.X, d.v), [X, ("v", REAL, (M, 3))]),
    ("apply_gradients", lambda d: changed(
        d.net.apply_gradients, d.net, ([d.w, np.ones((3, 4))], [d.b, np.ones(3)])), [W, B]),
    ("input_gradient", lambda d: d.net.input_gradient(d.X, d.y), [X, Y, T]),
    ("jacobian", lambda d: d.net.jacobian(d.X), [X]),
    ("hessian_vector_product", lambda d: d.net.hessian_vector_product(d.X, d.y, d.v),
     [X, Y, T, ("v", REAL, (P,))]),
    ("certify", certified, [X, Y]),
    ("set_weights", lambda d: changed(d.net.set_weights, d.net, 0, d.w, d.b), [W, B]),
    ("train_many", trained_many, [X, Y]),
]  # fmt: skip
X_GOOD = np.random.default_rng(5).random((M, 5))
Y_GOOD = np.arange(M) % 3
# What an argument is called in its message.
NAMES = {
    "w": r"\bw\b|nabla_w", "b": r"\bb\b|nabla_b", "X": r"\bX\b", "y": r"\by\b", "v": r"\bv\b",
}  # fmt: skip


def ragged():
    return [[1.0, 2.0], [3.0]]


ODDITIES = [
    lambda: "text", lambda: 3.5, object, dict, set, ragged, lambda: (i for i in range(3)),
    lambda: b"bytes", lambda: [[None] * 5] * M, lambda: 1j, lambda: Ellipsis, lambda: np.array,
    lambda: [["a"] * 5] * M, lambda: np.zeros((M, 5)).tolist() + [[]], lambda: float("nan"),
]  # fmt: skip


class Call:
    """One call with one argument that is not in order."""

    def __init__(self, call, role, dtype):
        self.name, self.call, _ = call
        self.role, self.kind, self.shape = role
        self.dtype = dtype

    def arguments(self, value, rows):
        d = SimpleNamespace(
            net=network(self.dtype), sizes=list(SIZES), X=X_GOOD, y=Y_GOOD, v=np.ones((M, 3)),
            sample_weight=None, out=None, w=np.ones((4, 5)), b=np.ones(4), classes=None,
            input_scale=1.0, input_shift=0.0,
        )  # fmt: skip
        if self.name == "hessian_vector_product":
            d.v = np.linspace(-1, 1, P)
        if rows is not None and self.role in ("X", "y"):  # the others go with them
            d.X, d.y = d.X[:rows], d.y[:rows]
            if self.name == "pullback":
                d.v = d.v[:rows]
        setattr(d, self.role, value)
        return d

    def run(self, value, rows=None):
        """(exception or None, bits of the result or None, whether the network has changed)."""
        d = self.arguments(value, rows)
        before = bits(d.net)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", LearningWarning)
            warnings.filterwarnings("ignore", ".*holds integers up to", UserWarning)
            if self.name in ("hessian_vector_product", "certify"):  # NumPy, at the end of its range
                warnings.filterwarnings("ignore", "overflow|invalid value", RuntimeWarning)
            try:
                result = self.call(d)
            except Exception as error:
                return error, None, bits(d.net) != before
        return None, bits(result), False

    def complaint(self, error, moved, rows=None):
        """What is wrong with a refusal; None: nothing."""
        if isinstance(error, DivergenceError):  # of a weight near the largest number; not a refusal
            return None
        if moved:
            return "the network has changed"
        if isinstance(error, MemoryError):
            return None
        if type(error) not in (ValueError, TypeError):
            return f"raised {type(error).__name__}: {error}"
        names = NAMES.get(self.role, self.role)
        if rows is not None and self.role == "y":  # X is as short
            names += "|" + NAMES["X"]
        if not re.search(names, str(error)):
            return f"names no {self.role}: {error}"
        return None

    def judge(self, x, rows):
        """Call with x and with its plain copy; (outcome, what is wrong or None)."""
        content = None if x.size > 2**30 or x.dtype.kind == "O" else x.tobytes()
        error, found, moved = self.run(x, rows)
        if content is not None and self.kind != OUT and x.tobytes() != content:
            return "taken", "what was given has been written into"
        outcome = "taken" if error is None else type(error).__name__
        if error is not None and (wrong := self.complaint(error, moved, rows)):
            return outcome, wrong
        twin = plain(x, self.role == "classes" or (self.role == "y" and x.ndim == 1))
        if self.kind == OUT:
            fits = x.shape == (M, 3) and x.dtype == self.dtype and x.flags.c_contiguous
            fits = fits and x.flags.aligned and x.flags.writeable
            if fits and not isinstance(x, np.ma.MaskedArray):
                twin = np.empty((M, 3), self.dtype)
            else:
                twin = None
        elif self.kind == "sizes":
            good = not isinstance(x, np.ma.MaskedArray) and x.dtype.kind in "iuO" and x.ndim == 1
            twin = [int(v) for v in x] if good else None
        elif self.role.startswith("input_") and x.dtype.kind == "b":
            twin = None
        if twin is None:
            return outcome, None if error is not None else "taken, expected a refusal"
        other_error, right, _ = self.run(twin, rows)
        if (other_error is None) != (error is None):
            return outcome, f"gave {error!r}, but a plain copy {other_error!r}"
        return outcome, None if found == right else "other bits than a plain copy"


def expected_of_plain(call, rng):
    """The yardstick itself: ordinary values of the right shape are taken."""
    value = {"sizes": list(SIZES), LABELS: np.arange(call.shape[0]) % 3}.get(call.kind)
    if call.kind == OUT:
        value = np.empty(call.shape, call.dtype)
    value = rng.random(call.shape) if value is None else value
    error, _, _ = call.run(value)
    return None if error is None else f"a plain array was refused: {error!r}"


def too_long(number, frame):
    raise TimeoutError("20 seconds of the CPU")


def campaign(rounds, seed, share=1.0, show=print):
    """Run, or a part of it; returns how many calls ended how, and what was wrong."""
    rng = np.random.default_rng(seed)
    outcomes, wrong = Counter(), []
    calls = [
        Call(call, role, dtype)
        for call in CALLS for role in call[2] for dtype in ("float32", "float64")
    ]  # fmt: skip
    before = signal.signal(signal.SIGPROF, too_long)
    with tempfile.TemporaryDirectory() as folder:
        for call in calls:
            found = [("plain", expected_of_plain(call, rng))]
            for oddity in ODDITIES:
                value = oddity()
                error, _, moved = call.run(value)
                complaint = None if error is None else call.complaint(error, moved)
                found.append((f"{oddity}", complaint))
                outcomes["taken" if error is None else type(error).__name__] += 1
            axes = itertools.product(range(rounds), DTYPES, LAYOUTS)
            for _, dtype, layout in axes:
                if rng.random() >= share:
                    continue
                x, words = hostile(rng, folder, call.shape, dtype, layout)
                if call.kind == "sizes" and len(np.shape(x)) and len(x) > 100:
                    continue  # a network of that many layers
                rows = min(len(x), 1) if x.ndim and len(x) < 2 else None
                signal.setitimer(signal.ITIMER_PROF, 20)  # a machine that stands still costs none
                outcome, complaint = call.judge(x, rows)
                signal.setitimer(signal.ITIMER_PROF, 0)
                outcomes[outcome] += 1
                found.append((words, complaint))
            for words, complaint in found:
                if complaint:
                    wrong.append(f"{call.name}({call.role}) {call.dtype}: {words}: {complaint}")
                    show(wrong[-1])
    signal.signal(signal.SIGPROF, before)
    return outcomes, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if options.sanitize:
        from tests.campaigns import sanitize

        words = [f"--rounds={options.rounds}", f"--seed={options.seed}"]
        return sanitize.run_module("tests.campaigns.hostile_calls", words, options.again)
    outcomes, wrong = campaign(options.rounds, options.seed)
    counts = ", ".join(f"{n:,} {name}" for name, n in outcomes.most_common())
    print(f"{outcomes.total():,} calls: {counts}; {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
