"""Pictures by matplotlib: what is drawn is what the network and its history say."""

import subprocess
import sys

import numpy as np
import pytest

from cbackprop import History, Network, plotting

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

NAMES = ["_hidden", "$1 and $2", "<b>"]


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def plane(names=NAMES):
    """Three classes in three corners of the plane, and a network that knows them."""
    rng = np.random.default_rng(0)
    index = np.arange(90) % 3
    X = rng.normal(0, 0.2, (90, 2)) + np.array([[0, 0], [4, 0], [0, 4]])[index]
    y = np.array(names)[index]
    net = Network([2, 8, 3], activation="tanh", output="softmax", classes=names, rng=0)
    history = net.train(
        X, y, epochs=60, learning_rate=0.5, validation_data=(X, y), monitor=["training_accuracy"]
    )
    return net, history, X, y


def drawn(figure):
    """The figure on paper: what cannot be drawn fails or warns here."""
    figure.canvas.draw()
    return figure


def test_curves_are_those_of_the_history():
    _, history, _, _ = plane()
    cost, score = history.plot()
    for ax, name, label in ((cost, "cost", "cost"), (score, "score", "accuracy")):
        training, validation = ax.get_lines()
        assert training.get_xdata().tolist() == list(range(1, 61))
        assert list(training.get_ydata()) == getattr(history, name)
        assert list(validation.get_ydata()) == getattr(history, f"validation_{name}")
        assert (ax.get_ylabel(), ax.get_xlabel()) == (label, "epoch")
        assert [t.get_text() for t in ax.get_legend().get_texts()] == ["training", "validation"]
    mine = pyplot.subplots()[1]
    assert history.plot("training_accuracy", ax=mine) is mine
    assert list(mine.get_lines()[0].get_ydata()) == history.monitored["training_accuracy"]
    drawn(cost.figure)
    drawn(mine.figure)


def test_validation_of_the_later_epochs_only():
    net = Network([1, 1], rng=0)
    X, y = [[0.0], [1.0]], [0, 1]
    net.train(X, y, epochs=2)
    net.train(X, y, epochs=3, validation_data=(X, y))
    _, validation = net.history.plot("cost").get_lines()
    assert validation.get_xdata().tolist() == [3, 4, 5]


def test_a_single_epoch_can_be_seen():
    history = Network([1, 1], rng=0).train([[0.0], [1.0]], [0, 1])
    ax = history.plot("cost")
    assert ax.get_lines()[0].get_marker() == "o"
    assert history.plot_delta_norms().get_lines()[0].get_marker() == "o"
    for panel in (ax, pyplot.gca()):
        drawn(panel.figure)
        low, high = panel.get_xlim()
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [1]


def test_norms_of_every_layer():
    history = History(cost=[1.0, 1.0, 1.0], delta_norms=[[1e-3, 1.0], [0.0, 0.5], [1e-4, 0.1]])
    ax = history.plot_delta_norms()
    first, last = (line.get_ydata() for line in ax.get_lines())
    assert np.array_equal(first, [1e-3, np.nan, 1e-4], equal_nan=True)
    assert last.tolist() == [1.0, 0.5, 0.1]
    assert ax.get_yscale() == "log"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["layer 1", "layer 2 (output)"]
    drawn(ax.figure)
    nothing = History(cost=[0.0], delta_norms=[[0.0, 0.0]]).plot_delta_norms()
    drawn(nothing.figure)  # no warning of a logarithm of nothing


def test_regions_are_the_classes_of_their_places():
    net, _, X, y = plane()
    ax = plotting.plot_decision_regions(net, X, y, resolution=50)
    image = ax.images[0]
    assert image.origin == "lower"
    left, right, bottom, top = image.get_extent()
    region = image.get_array()
    for row, column in ((0, 0), (0, 49), (49, 0), (20, 30)):
        point = [
            left + (column + 0.5) / 50 * (right - left),
            bottom + (row + 0.5) / 50 * (top - bottom),
        ]
        assert net.classify([point]).tolist() == [NAMES[region[row, column]]]
    assert (left, top) < (X[:, 0].min(), X[:, 1].max() + 1)
    for name, points in zip(NAMES, ax.collections, strict=True):
        assert np.allclose(points.get_offsets(), X[y == name])
    texts = ax.get_legend().get_texts()
    assert [text.get_text() for text in texts] == NAMES
    assert not any(text.get_parse_math() for text in texts)
    drawn(ax.figure)  # "$1 and $2" is no formula, "_hidden" is not left out


def test_regions_of_one_output_and_of_no_samples():
    net = Network([2, 1], rng=0)
    net.set_weights(0, w=[[1.0, 0.0]], b=[-0.5])
    ax = plotting.plot_decision_regions(net, [[0.0, 0.0], [1.0, 0.0]], resolution=10)
    assert ax.images[0].get_array().tolist() == [[0] * 5 + [1] * 5] * 10
    drawn(ax.figure)


def test_confusion_counts_and_shares():
    net = Network([1, 3], output="softmax", init="zeros", classes=NAMES)
    net.set_weights(0, b=[0.0, 1.0, 0.0])  # says "$1 and $2" whatever it sees
    X, y = np.zeros((5, 1)), np.array(NAMES)[[0, 1, 1, 2, 0]]
    ax = plotting.plot_confusion_matrix(net, X, y)
    assert [text.get_text() for text in ax.texts] == list("020020010")
    ticks = ax.get_yticklabels() + ax.get_xticklabels()
    assert [text.get_text() for text in ticks] == NAMES * 2
    assert not any(text.get_parse_math() for text in ticks)
    drawn(ax.figure)
    ax = plotting.plot_confusion_matrix(net, X, np.eye(3)[[0, 1, 1, 2, 0]], normalize=True)
    assert [text.get_text() for text in ax.texts][1] == "1.00"


def test_many_classes_are_drawn_without_words():
    net = Network([1, 40], output="softmax", rng=0)
    ax = plotting.plot_confusion_matrix(net, np.zeros((40, 1)), np.arange(40))
    assert not ax.texts
    drawn(ax.figure)


def overlap(figure, texts):
    """Whether two of the texts cover one another on paper."""
    drawn(figure)
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("count", [3, 10, 30])
@pytest.mark.parametrize("length", [2, 25, 90])
def test_names_of_classes_do_not_cover_one_another(count, length):
    names = [f"{k:02}".ljust(length, "w") for k in range(count)]
    net = Network([2, count], output="softmax", classes=names, rng=0)
    X = np.random.default_rng(0).normal(size=(count, 2))
    ax = plotting.plot_confusion_matrix(net, X, names)
    assert not overlap(ax.figure, ax.get_xticklabels() + ax.get_yticklabels())
    assert not overlap(ax.figure, ax.texts)
    assert min(ax.get_window_extent().size / ax.figure.dpi) > 2  # inches for the picture itself
    ax = plotting.plot_decision_regions(net, X, names)
    legend = ax.get_legend()
    assert not overlap(ax.figure, legend.get_texts())
    paper, box = ax.figure.bbox, legend.get_window_extent()
    assert box.y0 >= paper.y0 and box.x1 <= paper.x1
    assert min(ax.get_window_extent().size / ax.figure.dpi) > 2


def test_axes_of_regions_have_the_names_of_columns():
    class Frame:  # what pandas' and polars' have of it
        columns = ("$a$", "b")

        def __array__(self, dtype=None, copy=None):
            return X

    net, _, X, y = plane()
    ax = plotting.plot_decision_regions(net, Frame(), y)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$a$", "b")
    drawn(ax.figure)
    assert not ax.xaxis.label.get_parse_math()


def test_weights_are_tiles_of_one_scale():
    net = Network([6, 3, 1], rng=0)
    w = np.arange(18.0).reshape(3, 6) - 4
    net.set_weights(0, w=w)
    ax = plotting.plot_weights(net, (2, 3))
    sheet = ax.images[0].get_array()
    assert np.array_equal(sheet[:2, :3], w[0].reshape(2, 3))
    assert np.array_equal(sheet[:2, 4:7], w[1].reshape(2, 3))
    assert np.array_equal(sheet[3:, :3], w[2].reshape(2, 3))
    assert sheet.mask[2].all() and sheet.mask[:, 3].all()
    assert ax.images[0].get_clim() == (-13.0, 13.0)
    drawn(ax.figure)
    assert "2 of 3" in plotting.plot_weights(net, (2, 3), most=2).get_title()


def test_into_axes_that_are_given():
    net, history, X, y = plane()
    figure, panels = pyplot.subplots(2, 2)
    before = len(pyplot.get_fignums())
    assert history.plot(ax=panels[0])[1] is panels[0, 1]
    assert history.plot_delta_norms(ax=panels[1, 0]) is panels[1, 0]
    assert plotting.plot_confusion_matrix(net, X, y, ax=panels[1, 1]) is panels[1, 1]
    assert len(pyplot.get_fignums()) == before
    drawn(figure)


NET = Network([6, 2], output="softmax", rng=0)
FLAT = Network([2, 1], output="identity", rng=0)
ONE = History(cost=[1.0], delta_norms=[[1.0]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ONE.plot("costs"), ValueError, "what = 'costs', .*did you mean 'cost'"),
        (lambda: ONE.plot("validation_cost"), ValueError, "is drawn beside 'cost'"),
        (lambda: ONE.plot("delta_norms"), ValueError, "plot_delta_norms draws them"),
        (lambda: plotting.plot_history(NET), TypeError, "is a Network, .* History: net.history"),
        (lambda: plotting.plot_delta_norms({}), TypeError, "history is a dict, expected a History"),
        (lambda: plotting.plot_weights(ONE), TypeError, "net is a History, expected a Network"),
        (lambda: plotting.plot_decision_regions(ONE, [[0] * 6]), TypeError, "net is a History"),
        (lambda: plotting.plot_confusion_matrix(ONE, [[0]], [0]), TypeError, "net is a History"),
        (
            lambda: plotting.plot_confusion_matrix(NET, [[0] * 6], [0], normalize="true"),
            TypeError,
            "normalize = 'true', expected True or False",
        ),
        (lambda: ONE.plot(3), TypeError, "what = 3, expected a name or a list"),
        (lambda: History().plot(), ValueError, "no epoch; train first"),
        (lambda: History().plot_delta_norms(), ValueError, "no epoch; train first"),
        (lambda: ONE.plot("cost", ax=3), ValueError, "ax = 3, expected matplotlib Axes"),
        (lambda: plotting.plot_weights(NET), ValueError, "no square; give shape="),
        (lambda: plotting.plot_weights(NET, (2, 2)), ValueError, "4 pixels but the input has 6"),
        (lambda: plotting.plot_weights(NET, "23"), TypeError, r"expected \(height, width\)"),
        (lambda: plotting.plot_weights(NET, (2, 3), most=0), ValueError, "most = 0"),
        (lambda: plotting.plot_decision_regions(NET, [[0] * 6]), ValueError, "drawn for 2"),
        (
            lambda: plotting.plot_decision_regions(FLAT, [[0.0, 0.0]], resolution=1),
            ValueError,
            "resolution = 1",
        ),
        (
            lambda: plotting.plot_decision_regions(FLAT, [[0.0, np.nan]]),
            ValueError,
            "X contains NaN",
        ),
        (
            lambda: plotting.plot_confusion_matrix(FLAT, [[0.0, 0.0]], [0.5]),
            ValueError,
            "a confusion matrix needs classes",
        ),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not pyplot.get_fignums()  # nothing is left open


def test_without_matplotlib_the_extra_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['matplotlib.pyplot'] = None\n"
        "from cbackprop import History, plotting\n"
        "History(cost=[1.0], delta_norms=[[1.0]]).plot()"
    )
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(
        'ImportError: plotting needs matplotlib: pip install "cbackprop[plot]"'
    ), last
