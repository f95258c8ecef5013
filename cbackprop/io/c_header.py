"""A network as one C99 header: `Network.export_c`.

The functions come from ``c_functions.h``, what an activation is in C from its row in
`cbackprop.activations`. A layer adds up as the kernels do: from the bias, in the order of the
inputs, with fused multiply-add.
"""

from __future__ import annotations

import re
from importlib import metadata, resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check
from cbackprop.io import layers
from cbackprop.network import Network

Array = NDArray[Any]

WIDTH = 96
ROWS = 5  # of the self-test, where none are given

# What the code is written in, and what it becomes.
_WORDS = {
    32: {"cb_real": "float", "CB_UINT": "uint32_t", "CB_BITS": "32", "CB_ABS": "fabsf",
         "CB_LIBRARY_FMA": "fmaf", "CB_INFINITY": "(float)INFINITY"},
    64: {"cb_real": "double", "CB_UINT": "uint64_t", "CB_BITS": "64", "CB_ABS": "fabs",
         "CB_LIBRARY_FMA": "fma", "CB_INFINITY": "(double)INFINITY"},
}  # fmt: skip

_PART = re.compile(r"^/\* part: (\w+)(?:; ([\w ]+))? \*/\n", re.MULTILINE)
_BRANCH = re.compile(r"#if CB_BITS == 32\n(.*?)#else\n(.*?)#endif\n", re.DOTALL)
_HEXADECIMAL = re.compile(r"0x[0-9a-f.]+p[+-]?\d+f?")

_HEAD = """\
/* {shape}, {bits}-bit numbers; written by cbackprop {version}.
 *
 * C99 or C++, nothing allocated, no state: any number of threads may call these at once.
 *
 *     {typed}
 *         a = the network's outputs for x; a is not x.{scaling}
 *     {classify}
 *         the index of the largest output, of equals the first{single}.
{label} *
 * A self-test, on sample rows and what cbackprop predicted for them; it returns 0 where every
 * output has the same bits, 1 where they are within 1e-6 of them, relative to outputs above 1, and
 * 2 otherwise:
 *
 *     #define {NAME}_SELF_TEST
 *     #include "{file}"
 *     int main(void) {{ return {name}_self_test(); }}
 *
 * The bits are cbackprop's where fma() is exact, whatever the optimisation; not with -ffast-math.
 * Let the compiler use the machine's fma instruction (-mfma on x86): as a call of the library it
 * is slow. For machines without one, define {NAME}_NO_FMA: products are rounded before they
 * are added, and outputs agree to about 1e-6. Include in one file: all is static, weights too.
 */
#ifndef {NAME}_H
#define {NAME}_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A product and a sum must not be contracted into an fma that was not asked for. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define {NAME}_INPUTS {n_in}
#define {NAME}_OUTPUTS {n_out}
typedef {real} {name}_real;
"""

_FMA = """
#ifdef CB_NO_FMA
#define CB_FMA(x, y, z) ((x) * (y) + (z))
#else
#define CB_FMA CB_LIBRARY_FMA
#endif

"""

_TAIL = """
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#elif defined(_MSC_VER)
#pragma fp_contract(on)
#endif

#endif
"""

_LAYER = """
/* layer {l}: {n_in} -> {n_out}, {sigma}; w[k][j] leads from neuron k to neuron j */
static inline void cb_layer_{l}(const cb_real *x, cb_real *a)
{{
    static const cb_real b[{n_out}] = {b};
    static const cb_real w[{n_in}][{n_out}] = {w};
    const int n = {n_out};
    for (int j = 0; j < n; j++)
        a[j] = b[j];
    for (int k = 0; k < {n_in}; k++) {{
        const cb_real a_k = cb_flush(x[k]);
        for (int j = 0; j < n; j++)
            a[j] = CB_FMA(a_k, w[k][j], a[j]);
    }}
{activate}}}
"""

_ELEMENTS = """\
    for (int j = 0; j < n; j++) {{
        const cb_real z = cb_flush(a[j]);
        a[j] = cb_flush({c});
    }}
"""

_ROW = """\
    for (int j = 0; j < n; j++)
        a[j] = cb_flush(a[j]);
    {c};
    for (int j = 0; j < n; j++)
        a[j] = cb_flush(a[j]);
"""

_CLASSIFY = """
static inline int cb_classify(const cb_real *x)
{{
    cb_real a[{n_out}];
    cb_predict(x, a);
{choose}}}
"""

_LARGEST = """\
    int best = 0;
    for (int j = 1; j < {n_out}; j++)
        best = a[j] > a[best] ? j : best;
    return best;
"""

_SELF_TEST = """
#ifdef CB_SELF_TEST
static inline int cb_self_test(void)
{{
    static const cb_real x[{rows}][{n_in}] = {x};
    static const cb_real y[{rows}][{n_out}] = {y};
    int result = 0;
    for (int i = 0; i < {rows}; i++) {{
        cb_real a[{n_out}];
        cb_predict(x[i], a);
        for (int j = 0; j < {n_out}; j++) {{
            const cb_real error = CB_ABS(a[j] - y[i][j]), size = CB_ABS(y[i][j]);
            if (!(error <= (cb_real)1e-6 * (size > 1 ? size : 1)))
                return 2;
        }}
        if (memcmp(a, y[i], sizeof a) != 0)
            result = 1;
    }}
    return result;
}}
#endif
"""


def dumps(net: Network, name: str, file: str, samples: Array | None) -> str:
    """The header's text; the caller holds the network."""
    X = _made_up(net) if samples is None else samples.astype(net.dtype)
    Y = net.predict(X)
    check.finite_predictions(Y)
    rest = "".join(_layer(net, l) for l in range(1, len(net.sizes)))
    rest += _predict(net) + _classify(net)
    test = {"rows": len(X), "n_in": net.sizes[0], "n_out": net.sizes[-1]}
    rest += _SELF_TEST.format(x=_table(X), y=_table(Y), **test)
    bits = 8 * net.dtype.itemsize
    words = _WORDS[bits] | {"cb_": f"{name}_", "CB_": f"{name.upper()}_"}
    code = _FMA + _functions(rest, bits) + rest
    for word, meaning in words.items():
        code = re.sub(rf"\b{word}", meaning, code)
    return _head(net, name, file) + code + _labels(net, name) + _TAIL


def _made_up(net: Network) -> Array:
    """Inputs that the input layer sees as normal random numbers."""
    seen = np.random.default_rng(0).normal(size=(ROWS, net.sizes[0]))
    scale = np.broadcast_to(np.where(net.input_scale == 0, 1, net.input_scale), seen.shape)
    X: Array = ((seen - net.input_shift) / scale).astype(net.dtype)
    return X


def _functions(code: str, bits: int) -> str:
    """The parts of c_functions.h that the code calls, and those that they call."""
    text = (resources.files("cbackprop.io") / "c_functions.h").read_text(encoding="utf-8")
    _, *pieces = _PART.split(text)
    parts = dict(zip(pieces[::3], zip(pieces[1::3], pieces[2::3], strict=True), strict=True))
    wanted = set()
    for part, (needs, body) in reversed(parts.items()):
        here = re.findall(r"^static inline \w+ (\w+)\(", body, re.MULTILINE)
        if part in wanted or any(f"{function}(" in code for function in here):
            wanted.update([part, *(needs or "").split()])
    chosen = "\n".join(
        body.rstrip("\n") + "\n" for part, (_, body) in parts.items() if part in wanted
    )
    branch = _BRANCH.sub(r"\1" if bits == 32 else r"\2", chosen)
    real = np.float32 if bits == 32 else np.float64
    return _HEXADECIMAL.sub(lambda m: _number(real(float.fromhex(m[0].rstrip("f")))), branch)


def _number(x: Any) -> str:
    return f"{x!s}f" if x.dtype == np.float32 else str(x)


def _table(x: Array, indent: str = "        ") -> str:
    """An array as a C initialiser; subnormal numbers are the zeros they count as."""
    if x.ndim > 1:
        rows = ",\n".join(f"{indent}{_table(row, indent + ' ')}" for row in x)
        return f"{{\n{rows}}}"
    lines = [""]
    tiny = np.finfo(x.dtype).tiny
    for value in np.where(np.abs(x) < tiny, x * 0, x):
        word = _number(value)
        if len(lines[-1]) + len(word) + len(indent) + 3 > WIDTH:
            lines.append("")
        lines[-1] += f"{word}, "
    return "{" + f"\n{indent} ".join(line.rstrip() for line in lines).rstrip(",") + "}"


def _layer(net: Network, l: int) -> str:
    sigma, (w, b) = net.activations[l - 1], net._unpacked()[l - 1]
    alpha = (
        ""
        if sigma.parameter is None
        else f"    const cb_real alpha = (cb_real){sigma.parameter};\n"
    )
    activate = (_ROW if sigma.derivative is None else _ELEMENTS).format(c=sigma.c)
    n_in, n_out = net.sizes[l - 1 : l + 1]
    return _LAYER.format(
        l=l,
        n_in=n_in,
        n_out=n_out,
        sigma=sigma,
        b=_table(b),
        w=_table(w.T),
        activate=alpha + activate,
    )


def _predict(net: Network) -> str:
    """Input scaling, then the layers, from one of two rows to the other."""
    sizes, n = net.sizes, net.sizes[0]
    body, loop, at = "", "", "x"
    held: dict[str, list[int]] = {"even": [], "odd": []}  # how wide each row must be
    if layers.is_scaled(net):
        for name in ("scale", "shift"):
            values = np.broadcast_to(getattr(net, f"input_{name}"), n).astype(net.dtype)
            body += f"    static const cb_real {name}[{n}] = {_table(values)};\n"
        held["even"].append(n)
        at = "even"
        loop = (
            f"    for (int k = 0; k < {n}; k++)\n"
            "        even[k] = cb_flush(CB_FMA(cb_flush(x[k]), scale[k], shift[k]));\n"
        )
    for l in range(1, len(sizes)):
        to = "a" if l == len(sizes) - 1 else ("even", "odd")[l % 2]
        if to != "a":
            held[to].append(sizes[l])
        loop += f"    cb_layer_{l}({at}, {to});\n"
        at = to
    rows = "".join(f"    cb_real {name}[{max(w)}];\n" for name, w in held.items() if w)
    about = "static inline void cb_predict(const cb_real *x, cb_real *a)"
    return f"\n{about}\n{{\n{body}{rows}{loop}}}\n"


def _classify(net: Network) -> str:
    n = net.sizes[-1]
    single = f"    return a[0] >= (cb_real){net.cost.threshold};\n"
    return _CLASSIFY.format(n_out=n, choose=single if n == 1 else _LARGEST.format(n_out=n))


def _labels(net: Network, name: str) -> str:
    if net.classes is None:
        return ""
    labels = ", ".join(map(_string, net.classes.tolist()))
    return (
        f"\nstatic inline const char *{name}_label(int index)\n{{\n"
        f"    static const char *const labels[] = {{{labels}}};\n    return labels[index];\n}}\n"
    )


def _string(label: Any) -> str:
    """A C string, UTF-8; whatever could mean something to a compiler as octal numbers."""
    data = label if isinstance(label, bytes) else str(label).encode("utf-8", "surrogatepass")
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-+.,:;()/"
    return '"' + "".join(chr(c) if c in plain else f"\\{c:03o}" for c in data) + '"'


def _head(net: Network, name: str, file: str) -> str:
    bits = 8 * net.dtype.itemsize
    steps = [str(net.sizes[0])]
    steps += [f"{n} {sigma}" for n, sigma in zip(net.sizes[1:], net.activations, strict=True)]
    scaling = "\n *         x as for training: it is scaled here." if layers.is_scaled(net) else ""
    label = (
        f" *     const char *{name}_label(int index)\n *         the label of that index, UTF-8.\n"
    )
    threshold = f"; 1 from an output of {net.cost.threshold:g} on, else 0"
    return _HEAD.format(
        shape=" - ".join(steps), bits=bits, version=metadata.version("cbackprop"), name=name,
        NAME=name.upper(), file=re.sub(r'[^ -~]|[*"\\]', "_", file), n_in=net.sizes[0],
        n_out=net.sizes[-1], real="float" if bits == 32 else "double",
        typed=f"void {name}_predict(const {name}_real x[{net.sizes[0]}], "
        f"{name}_real a[{net.sizes[-1]}])",
        scaling=scaling,
        classify=f"int {name}_classify(const {name}_real x[{net.sizes[0]}])",
        single=threshold if net.sizes[-1] == 1 else "",
        label="" if net.classes is None else label,
    )  # fmt: skip
