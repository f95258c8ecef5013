"""Pictures of training and of networks, by matplotlib: ``pip install "cbackprop[plot]"``.

In the style of scikit-learn's displays: every function draws into ``ax`` where it is given, else
into a new figure, and returns the axes; what they look like is then matplotlib's to change. Names
that come from data are drawn as they are, not read as formulas. Where matplotlib is not installed,
each is an ImportError that says how to get it.

Examples
--------
>>> import matplotlib; matplotlib.use("Agg")  # without a screen
>>> from cbackprop import Network, plotting
>>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
>>> net = Network([2, 8, 2], activation="tanh", output="softmax", rng=1)
>>> history = net.train(X, y, epochs=300, batch_size=4, learning_rate=1.0)
>>> axes = plotting.plot_decision_regions(net, X, y)
>>> axes.get_xlabel(), axes.get_ylabel()
('input 0', 'input 1')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras, _pictures
from cbackprop import _validation as check

if TYPE_CHECKING:
    from cbackprop.history import History
    from cbackprop.network import Network

__all__ = [
    "plot_confusion_matrix",
    "plot_decision_regions",
    "plot_delta_norms",
    "plot_history",
    "plot_weights",
]

Array = NDArray[Any]

# Colours of Okabe and Ito, which colour-blind readers tell apart; more classes than that have
# matplotlib's rainbow.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_READABLE = 30  # classes whose names and counts still fit
_LETTER = 0.1  # inches that one of a name takes at most, on average
_ROWS = 15  # names one below the other in a legend


def _matplotlib(module: str) -> Any:
    return _extras.need(module, "plotting", "matplotlib", "plot")


def _new_axes(count: int = 1, *, wider: float = 0.0, higher: float = 0.0) -> Any:
    """Axes side by side, of a figure so many inches larger than usual."""
    pyplot = _matplotlib("matplotlib.pyplot")
    size = (4.8 * count + 0.4 + wider, 3.8 + higher)
    return pyplot.subplots(1, count, figsize=size, layout="constrained", squeeze=False)[1][0]


def _colours(count: int) -> list[Any]:
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    return list(_matplotlib("matplotlib").colormaps["turbo"](np.linspace(0.05, 0.95, count)))


def _legend(ax: Any, handles: Sequence[Any], names: Iterable[Any], **options: Any) -> None:
    # Names are put in afterwards: matplotlib leaves out those that begin with "_", and reads
    # dollar signs as formulas.
    legend = ax.legend(handles, [f"{i}" for i in range(len(handles))], **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(str(name))


def _epochs(ax: Any, count: int) -> Array:
    """1, 2, ... count, and an axis whose ticks are whole epochs."""
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if count == 1:
        ax.set_xlim(0.5, 1.5)
    ax.grid(alpha=0.3)
    return np.arange(1, count + 1)


def _style(count: int) -> dict[str, Any]:
    # A line of one point cannot be seen.
    return {"marker": "o", "markersize": 4} if count < 2 else {}


def plot_history(
    history: History, what: str | Sequence[str] = ("cost", "score"), *, ax: Any = None
) -> Any:
    """`History.plot` of the history given first."""
    names = _pictures.curves(history, what)
    axes = _new_axes(len(names)) if ax is None else _pictures.axes(ax, len(names))
    for name, panel in zip(names, axes, strict=True):
        _draw_curve(panel, history, name)
    return axes[0] if isinstance(what, str) else axes


def _draw_curve(ax: Any, history: History, name: str) -> None:
    monitored = name in history.monitored
    curve = history.monitored[name] if monitored else getattr(history, name)
    epochs = _epochs(ax, len(curve))
    lines = ax.plot(epochs, curve, color=_COLOURS[0], **_style(len(curve)))
    beside = [] if monitored else getattr(history, f"validation_{name}", [])
    if beside:
        # Histories of several calls need not all have been validated: the last epochs are.
        at = np.arange(len(curve) - len(beside), len(curve)) + 1
        lines += ax.plot(at, beside, color=_COLOURS[5], **_style(len(beside)))
        _legend(ax, lines, ("training", "validation"))
    label = {"score": {"r2": "R²"}.get(history.score_name, history.score_name)}
    # A name that somebody gave is left as it is.
    ax.set_ylabel(
        name if monitored else label.get(name, name.replace("_", " ")), parse_math=not monitored
    )


def plot_delta_norms(history: History, *, ax: Any = None) -> Any:
    """`History.plot_delta_norms` of the history given first."""
    norms = np.array(_pictures.norms(history))
    ax = _new_axes()[0] if ax is None else _pictures.axes(ax, 1)[0]
    epochs, layers = _epochs(ax, len(norms)), norms.shape[1]
    colours = _matplotlib("matplotlib").colormaps["viridis"](np.linspace(0, 0.9, layers))
    shown = np.where(norms > 0, norms, np.nan)
    lines = [
        ax.plot(epochs, shown[:, i], color=colours[i], **_style(len(norms)))[0]
        for i in range(layers)
    ]
    if np.isfinite(shown).any():  # a logarithm of nothing is a warning
        ax.set_yscale("log")
    ax.set_ylabel(r"$\Vert\delta^l\Vert$")
    last = " (output)"
    _legend(ax, lines, [f"layer {l}{last if l == layers else ''}" for l in range(1, layers + 1)])
    return ax


def plot_decision_regions(
    net: Network, X: Any, y: Any = None, *, resolution: int = 300, ax: Any = None
) -> Any:
    """Where in the plane a network of two inputs decides for which class.

    Parameters
    ----------
    net : Network
        With two input neurons.
    X : array-like (n, 2)
        Its range, and a twentieth more on each side, is what is shown. The names of a
        DataFrame's columns stand at the axes.
    y : array-like, optional
        Labels or one-hot targets: then the samples are drawn too, in their classes' colours.
    resolution : int
        Points along each side of the picture at which the network is asked.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError, TypeError
        The network has not two inputs, or X or y does not fit.
    """
    columns = getattr(X, "columns", ("input 0", "input 1"))
    X, index, names = _pictures.plane(net, X, y, resolution)
    beside = _pictures.short(names) if len(names) <= _READABLE else []
    blocks = math.ceil(len(beside) / _ROWS)
    if ax is None:
        longest = max(map(len, beside), default=0)
        ax = _new_axes(wider=max(0.0, blocks * (0.5 + _LETTER * longest) - 1.0))[0]
    else:
        ax = _pictures.axes(ax, 1)[0]
    low, high = X.min(axis=0), X.max(axis=0)
    edge = np.where(high > low, 0.05 * (high - low), 0.5)
    low, high = low - edge, high + edge
    # Centres of the picture's cells, row by row from below.
    steps = (np.arange(resolution) + 0.5) / resolution
    across, up = (low[i] + steps * (high[i] - low[i]) for i in range(2))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    region = _pictures.decide(net, net.predict(grid)).reshape(resolution, resolution)
    colours = _colours(len(names))
    colors = _matplotlib("matplotlib.colors")
    ax.imshow(
        region,
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        aspect="auto",
        interpolation="nearest",
        cmap=colors.ListedColormap(colours),
        norm=colors.BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names)),
        alpha=0.35,
    )
    handles = []
    for k, colour in enumerate(colours):
        rows = X[:0] if index is None else X[index == k]
        handles.append(
            ax.scatter(rows[:, 0], rows[:, 1], s=18, color=[colour], edgecolor="black", lw=0.4)
        )
    if beside:
        # Beside the picture: inside, it would cover samples.
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "ncols": blocks}
        _legend(ax, handles, beside, markerscale=1.3, borderaxespad=0, **place)
    for name, label in zip(columns, (ax.set_xlabel, ax.set_ylabel), strict=True):
        label(str(name), parse_math=False)
    return ax


def plot_weights(
    net: Network, shape: tuple[int, int] | None = None, *, most: int = 64, ax: Any = None
) -> Any:
    """w^1 as images, one for each neuron of the first layer: what it looks for.

    Parameters
    ----------
    net : Network
    shape : (height, width), optional
        Of the input as an image. Default: the square of that many pixels.
    most : int
        Neurons that are shown at most, from the first on.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Of one image of all: blue is negative, white 0, red positive, the same scale for all.

    Raises
    ------
    ValueError
        The input is no image of that shape, or of no square.
    """
    _pictures.a_network(net)
    height, width = _pictures.image_shape(net.sizes[0], shape)
    tiles = net.weights[0][: _pictures.count("most", most)].reshape(-1, height, width)
    ax = _new_axes()[0] if ax is None else _pictures.axes(ax, 1)[0]
    columns = math.ceil(math.sqrt(len(tiles) * height / width))
    lines = math.ceil(len(tiles) / columns)
    # A gap between the tiles, in the colour of the paper.
    sheet = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    largest = float(np.abs(tiles).max()) or 1.0
    image = ax.imshow(sheet, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_axis_off()
    ax.figure.colorbar(image, ax=ax, label="weight")
    shown = f"{len(tiles)}" if len(tiles) == net.sizes[1] else f"{len(tiles)} of {net.sizes[1]}"
    ax.set_title(f"first layer, {shown} neurons", fontsize="medium")
    return ax


def plot_confusion_matrix(
    net: Network, X: Any, y: Any, *, normalize: bool = False, ax: Any = None
) -> Any:
    """How many samples of each class the network takes for which.

    Parameters
    ----------
    net : Network
    X : array-like (n, n_0)
    y : array-like
        Labels (n,), or one-hot targets.
    normalize : bool
        Shares of each class's samples instead of counts.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Rows are the labels, columns what the network says.

    Raises
    ------
    ValueError, TypeError
        X or y does not fit, or y holds no classes.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")  # without a screen
    >>> from cbackprop import Network
    >>> net = Network([1, 2], output="softmax", init="zeros", classes=["no", "yes"])
    >>> axes = plot_confusion_matrix(net, [[0.0], [1.0], [2.0]], ["no", "no", "yes"])
    >>> [text.get_text() for text in axes.texts]
    ['2', '0', '1', '0']
    """
    normalize = check.flag("normalize", normalize)
    counts, names = _pictures.confusion(net, X, y)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, readable = _pictures.short(names), len(names) <= _READABLE
    longest = max(map(len, names))
    upright = longest * len(names) > 30  # the names of the columns
    least = 4.0 if ax is not None else 6.5  # points of a count: in a figure of ours it has room
    if ax is None:
        cells = max(0.0, 0.3 * len(names) - 3.0)
        words = max(0.0, _LETTER * longest - 0.3) if readable else 0.0
        ax = _new_axes(wider=cells + words, higher=cells + upright * words)[0]
    else:
        ax = _pictures.axes(ax, 1)[0]
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xlabel("predicted")
    ax.set_ylabel("label")
    ax.figure.colorbar(image, ax=ax, label="share of the label's samples")
    if not readable:
        return ax
    places = np.arange(len(names))
    for axis, angle in ((ax.xaxis, 90 * upright), (ax.yaxis, 0)):
        axis.set_ticks(places, names, rotation=angle, parse_math=False)
    size = max(least, min(9.0, 90 / len(names)))
    for (i, j), share in np.ndenumerate(shares):
        text = (f"{share:.2f}" if share else "0") if normalize else f"{counts[i, j]:,}"
        colour = "white" if share > 0.5 else "black"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)
    return ax
