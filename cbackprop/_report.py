"""report: a training and its network in one HTML file that opens anywhere, without a network.

Nothing in it comes from elsewhere or runs: pictures are data in the file, there is no script, and
the page forbids both to itself. What comes from the user is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras, _pictures, plotting, reference
from cbackprop import _validation as check
from cbackprop._certify import Certificate, certify
from cbackprop.history import figure

if TYPE_CHECKING:
    from cbackprop.history import History
    from cbackprop.network import Network

Array = NDArray[Any]

_CERTIFIED = 5  # samples
_CHUNK = 4096  # rows of which the costs are computed at once
_CELLS = 30  # classes whose confusions are shown as a matrix
_ROOMY = 15  # of them with cells of the usual size
_LETTERS = 100  # of the names of columns that stand side by side
_SHOWN = 8  # numbers of a sample that is no image

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1000px;
       margin: 2em auto; padding: 0 1em; overflow-wrap: anywhere }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.2em; margin-top: 2em;
     border-bottom: 1px solid #ccc }
img { max-width: 100%; height: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse } td, th { padding: .15em .6em; text-align: right }
th { font-weight: 600 } .text td, .text th { text-align: left; vertical-align: top }
.matrix td { border: 1px solid #fff; min-width: 2em; text-align: center }
.matrix th { white-space: nowrap; max-width: 18em; overflow: hidden; text-overflow: ellipsis }
.small { font-size: .8em } .small td { min-width: 1.6em; padding: .15em .2em }
.upright tr:first-child th { writing-mode: vertical-rl; transform: rotate(180deg);
    max-width: none; max-height: 18em; padding: .6em .15em; text-align: left }
.worst { display: flex; flex-wrap: wrap; gap: 1em } figure { margin: 0; width: 8em }
figure img { width: 100%; image-rendering: pixelated; border: 1px solid #ccc }
figcaption { font-size: .85em } .failed { color: #b00020; font-weight: 600 }
.passed { color: #00693e; font-weight: 600 } .note { color: #555 }
"""


def report(
    net: Network,
    history: History,
    X: Any,
    y: Any,
    *,
    path: str | os.PathLike[str],
    title: str = "cbackprop report",
    settings: Mapping[str, Any] | None = None,
    certificate: Certificate | None = None,
    image_shape: tuple[int, int] | None = None,
    worst: int = 16,
) -> Path:
    """Write what a training came to into one HTML file.

    Curves, ||delta^l|| of each layer, confusion matrix, the samples with the largest costs,
    certificate, settings and versions; everything in the file, which opens offline. Needs
    matplotlib: ``pip install "cbackprop[plot]"``.

    Parameters
    ----------
    net : Network
    history : History
        What ``train`` returned, or ``net.history``.
    X, y
        As for `Network.evaluate`: data to judge the network by, best such as it has not seen.
    path : str or path
        The file. An older one is replaced when the new one is whole.
    title : str
    settings : mapping, optional
        What else should be said of the training: name -> value.
    certificate : Certificate, optional
        Of `certify`. Default: of the first five samples.
    image_shape : (height, width), optional
        Of the input as an image. Default: a square where X is uint8 and its columns make one
        of 8x8 or more; else samples are shown as numbers.
    worst : int
        How many samples with large costs to show.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit; no file is written.
    ImportError
        matplotlib is not installed.
    OSError
        The file cannot be written; an older file of that name is untouched.

    Examples
    --------
    >>> from cbackprop import Network, report
    >>> from cbackprop.datasets import load_digits
    >>> data = load_digits()
    >>> net = Network([64, 30, 10], output="softmax", input_scale=data.input_scale, rng=0)
    >>> history = net.train(data.X_train, data.y_train, epochs=5, learning_rate=0.5)
    >>> print(report(net, history, data.X_test, data.y_test, path="digits.html"))
    digits.html
    """
    from cbackprop.io import model_file

    _extras.need("matplotlib.figure", "report", "matplotlib", "plot")
    path = check.path("path", path)
    _pictures.a_network(net)
    _pictures.a_history(history)
    if certificate is not None:
        check.instance("certificate", certificate, Certificate)
    X = check.as_array("X", X)
    scores = net.evaluate(X, y)
    shape = _shape_of(net, X, image_shape)
    target = net._targets(y, len(X))
    dense = check.dense_targets(target, net.sizes[-1])
    if certificate is None:
        certificate = certify(net, X[:_CERTIFIED], dense[:_CERTIFIED])
    a, costs = _outputs(net, X, dense)
    rows = np.argsort(-costs, kind="stable")[: _pictures.count("worst", worst)]
    index = _pictures.classes_of(net, target)
    said = _said(net, a, target, index)
    parts = [
        f"<p class=note>{_text(net)}</p><p>{_text(_sentence(net, history, scores, len(X)))}</p>",
        _section("Curves", _curves(history)),
        _section("Speed of learning", _svg(lambda ax: plotting.plot_delta_norms(history, ax=ax))
                 + _dead(history)),
        _section("Confusion matrix", _confusion(net, a, index)) if index is not None else "",
        _section("Largest costs", _worst(X, rows, costs, said, shape)),
        _section("Certificate", _certificate(certificate)),
        _section("Settings", _pairs(_settings(net, history, settings))),
        _section("Versions", _pairs(_versions())),
    ]  # fmt: skip
    model_file.write(path, _page(title, "".join(parts)).encode("utf-8", "backslashreplace"))
    return Path(path)


def _page(title: str, body: str) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_text(title)}</h1>{body}</body></html>\n"
    )


def _text(value: Any) -> str:
    """Anything as text of the page."""
    if isinstance(value, float):
        value = f"{value:.6g}"
    # HTML has no null characters, and browsers drop them.
    return html.escape(str(value).replace("\0", "�"))


def _section(name: str, body: str) -> str:
    return f"<h2>{name}</h2>\n{body}\n"


def _table(head: Iterable[Any], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class=wide><table class="{kind}"><tr>{names}</tr>{lines}</table></div>'


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in values.items())
    return f"<table class=text>{rows}</table>"


def _shape_of(net: Network, X: Array, shape: Any) -> tuple[int, int] | None:
    n = net.sizes[0]
    if shape is not None:
        return _pictures.image_shape(n, shape, "image_shape")
    square = X.dtype == np.uint8 and n >= 64 and int(n**0.5) ** 2 == n
    return _pictures.image_shape(n, None) if square else None


def _outputs(net: Network, X: Array, dense: Array) -> tuple[Array, Array]:
    """a^L (n, n_L) and C (n,) of every sample, in float64, costs from z as in training."""
    outputs, costs = [], []
    for start in range(0, len(X), _CHUNK):
        rows = slice(start, start + _CHUNK)
        g = net.gradients(X[rows], dense[rows])
        z, a = (last.astype(np.float64) for last in (g.z[-1], g.a[-1]))
        outputs.append(a)
        costs.append(reference.cost_of(net.activations[-1], net.cost, z, a, dense[rows]))
    return np.concatenate(outputs), np.concatenate(costs)


def _said(
    net: Network, a: Array, target: check.Target, index: Array | None
) -> list[tuple[str, str]]:
    """Of each sample, what it is and what the network says."""
    if index is not None:
        names = _pictures.class_names(net)
        decided = _pictures.decide(net, a)
        return [(names[i], names[j]) for i, j in zip(index, decided, strict=True)]
    return [(_numbers(t), _numbers(out)) for t, out in zip(target.array, a, strict=True)]


def _numbers(row: Array) -> str:
    more = ", ..." if len(row) > _SHOWN else ""
    return ", ".join(f"{value:.4g}" for value in row[:_SHOWN]) + more


def _sentence(net: Network, history: History, scores: dict[str, float], n: int) -> str:
    found = ", ".join(
        f"{'R²' if name == 'r2' else name} {figure(value)}" for name, value in scores.items()
    )
    these = "this" if n == 1 else "these"
    return (
        f"On {these} {_counted(n, 'sample')}: {found}. {_counted(len(history), 'epoch')} in "
        f"{sum(history.seconds):.3g} s of training; {_counted(net.steps, 'mini-batch', 'es')} "
        "in all."
    )


def _counted(n: int, noun: str, plural: str = "s") -> str:
    return f"{n:,} {noun}{'' if n == 1 else plural}"


def _svg(draw: Any, panels: int = 1) -> str:
    """A picture of so many axes, as data. It does not touch pyplot: no window, no state."""
    import matplotlib
    from matplotlib.figure import Figure

    # The same picture is the same text: no date, no random identifiers.
    with matplotlib.rc_context({"svg.hashsalt": "cbackprop", "svg.fonttype": "path"}):
        figure = Figure(figsize=(4.6 * panels + 0.4, 3.4), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(axes if panels > 1 else axes[0])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _image("svg+xml", buffer, "curves over the epochs")


def _image(kind: str, buffer: io.BytesIO, words: str) -> str:
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{_text(words)}" src="data:image/{kind};base64,{data}">'


def _curves(history: History) -> str:
    names = ["cost", "score"]
    if len(set(history.learning_rate)) > 1:
        names.append("learning_rate")
    names += history.monitored
    if len(names) % 2:
        names.append("seconds")
    pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
    return "".join(
        _svg(lambda axes, pair=pair: plotting.plot_history(history, pair, ax=axes), 2)
        for pair in pairs
    )


def _dead(history: History) -> str:
    dead = [
        f"layer {l}: {share:.0%}" for l, share in enumerate(history.dead_units[-1:][0], 1) if share
    ] if history.dead_units else []  # fmt: skip
    return f"<p>Neurons without any error in the last epoch: {', '.join(dead) or 'none'}.</p>"


def _confusion(net: Network, a: Array, index: Array) -> str:
    """As a table, whose words every browser has letters for and finds."""
    names = _pictures.class_names(net)
    counts = _pictures.counted(index, _pictures.decide(net, a), len(names))
    off = counts - np.diag(np.diag(counts))
    order = [at for at in np.argsort(-off, axis=None, kind="stable")[:10] if off.flat[at]]
    pairs = [np.unravel_index(at, off.shape) for at in order]
    often = _table(
        ("label", "predicted", "samples"),
        [(_text(names[i]), _text(names[j]), f"{off[i, j]:,}") for i, j in pairs],
    )
    if not pairs:
        often = "<p>Every sample is right.</p>"
    if len(names) > _CELLS:
        return often
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    lines = []
    for i, name in enumerate(names):
        cells = "".join(
            f'<td style="background:rgba(0,90,170,{share:.3f});'
            f'color:{"#fff" if share > 0.5 else "#222"}">{count:,}</td>'
            for count, share in zip(counts[i], shares[i], strict=True)
        )
        lines.append(f"<tr><th>{_text(name)}</th>{cells}</tr>")
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    kind = "matrix small" if len(names) > _ROOMY else "matrix"
    if sum(map(len, names)) > _LETTERS:
        kind += " upright"
    return (
        "<p class=note>Rows are labels, columns what the network says.</p><div class=wide>"
        f'<table class="{kind}"><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'
        f"<p>Most frequent mistakes:</p>{often}"
    )


def _worst(
    X: Array,
    rows: Array,
    costs: Array,
    said: Sequence[tuple[str, str]],
    shape: tuple[int, int] | None,
) -> str:
    if shape is None:
        return _table(
            ("row", "cost", "target", "prediction", "input"),
            [
                (str(i), f"{costs[i]:.4g}", *map(_text, said[i]), _text(_numbers(X[i])))
                for i in rows
            ],
        )
    from matplotlib.image import imsave

    low, high = float(X[rows].min()), float(X[rows].max())
    figures = []
    for i in rows:
        buffer = io.BytesIO()
        pixels = X[i].reshape(shape)
        imsave(buffer, pixels, format="png", cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
        target, prediction = map(_text, said[i])
        figures.append(
            f"<figure>{_image('png', buffer, f'sample {i}')}<figcaption>row {i}: {target}, "
            f"predicted {prediction}; cost {costs[i]:.3g}</figcaption></figure>"
        )
    return f"<div class=worst>{''.join(figures)}</div>"


def _certificate(certificate: Certificate) -> str:
    verdict = "passed" if certificate.passed else "failed"
    rows = [
        (r.equation, str(r.layer), f"{r.engine:.1e}", f"{r.derivative:.1e}", f"{r.checked:,}",
         f"<span class={'passed' if r.passed else 'failed'}>"
         f"{'passed' if r.passed else 'failed'}</span>")
        for r in certificate.residuals
    ]  # fmt: skip
    head = ("equation", "layer", "engine - reference", "reference - derivative", "derivatives", "")
    return f"<p class={verdict}>{verdict}</p>" + _table(head, rows)


def _settings(net: Network, history: History, more: Any) -> dict[str, Any]:
    if more is not None and not isinstance(more, Mapping):
        raise TypeError(f"settings = {more!r}, expected a dict of names and values")
    found: dict[str, Any] = {
        "layers": "-".join(map(str, net.sizes)),
        "activations": ", ".join(map(str, net.activations)),
        "cost": net.cost,
        "initial weights": net.init if isinstance(net.init, str) else "a function",
        "precision": net.dtype.name,
    }
    for name in ("input_scale", "input_shift"):
        value = getattr(net, name)
        found[name] = value if isinstance(value, float) else f"{len(value)} numbers"
    if net._position.optimizer is not None:
        found["optimizer"] = net._position.optimizer.name
    if history.learning_rate:
        first, last = history.learning_rate[0], history.learning_rate[-1]
        found["learning_rate"] = first if first == last else f"{first:g} to {last:g}"
    found["batch_size"] = net._position.shape[1] or "-"
    found["epochs"] = len(history)
    return {**found, **(more or {})}


def _versions() -> dict[str, Any]:
    import matplotlib

    from cbackprop import show_config

    here = show_config()
    return {
        "cbackprop": here["version"],
        "kernels": here["kernels"],
        "threads at most": here["threads"],
        "NumPy": np.__version__,
        "matplotlib": matplotlib.__version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
