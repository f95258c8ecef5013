"""What training says while it runs: tqdm's bar, lines without it, TensorBoard's files."""

import contextlib
import io
import os
import re
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest

from cbackprop import EarlyStopping, Network
from cbackprop.callbacks import TensorBoard

X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """() -> a terminal in the place of standard error, from then on. Between a fixture and its
    test pytest puts its own there."""

    def begin():
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return begin


@pytest.fixture
def no_tqdm(monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)


def network():
    return Network([1, 4, 2], output="softmax", rng=0)


def lines(terminal):
    """What is left on a terminal: each line after its last return."""
    return [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]


def blocks():
    return [(X[:2], Y[:2]), (X[2:], Y[2:])]


WAYS = {
    "sgd": {"batch_size": 2},
    "lbfgs": {"optimizer": "lbfgs", "l2": 1.0},
    "blocks": {},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_bar_on_a_terminal(way, screen):
    terminal = screen()
    pytest.importorskip("tqdm")
    if way == "lbfgs":
        pytest.importorskip("scipy")
    data = (blocks(),) if way == "blocks" else (X, Y)
    net = Network([1, 4, 2], output="softmax", classes=[0, 1], rng=0)
    history = net.train(*data, epochs=4, progress=True, **WAYS[way])
    *_, last, after = lines(terminal)
    assert f"| {len(history)}/4 [" in last
    assert f"cost {history.cost[-1]:.4f}  accuracy {history.score[-1]:.4f}" in last
    assert after == ""  # the line is closed


def test_a_bar_on_a_real_terminal_without_a_size():
    pytest.importorskip("tqdm")
    pty = pytest.importorskip("pty")  # POSIX
    ours, theirs = pty.openpty()
    code = (
        "from cbackprop import Network\n"
        "Network([1, 2], output='softmax').train([[0.0], [1.0]], [0, 1], epochs=7, progress=True)"
    )
    run = subprocess.Popen([sys.executable, "-P", "-c", code], stderr=theirs)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(ours, 4096):
            text += part
    os.close(ours)
    assert run.wait() == 0
    assert b"| 7/7 [" in text
    assert text.endswith(b"\n")


@pytest.mark.usefixtures("no_tqdm")
def test_a_line_on_a_terminal_without_tqdm(screen):
    terminal = screen()
    history = network().train(X, Y, epochs=4, progress=True)
    last, after = lines(terminal)
    assert last == history.line(4) + "\x1b[K"
    assert after == ""


def test_lines_where_there_is_no_terminal(capsys):
    history = network().train(X, Y, epochs=500, progress=True)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == history.line(500)
    assert 1 < len(said) < 10  # the first, the last, and one a second
    assert not re.search(r"[\r\x1b]", "".join(said))


def test_a_bar_in_notebooks(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # their errors go to no terminal
    network().train(X, Y, epochs=4, progress=True)
    assert "| 4/4 [" in capsys.readouterr().err


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_unless_asked(progress, screen):
    terminal = screen()
    network().train(X, Y, epochs=3, progress=progress)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("no_tqdm")
def test_the_epoch_at_which_training_stopped_is_said(screen):
    terminal = screen()
    stopping = EarlyStopping("cost", patience=1, min_delta=10.0)
    history = network().train(X, Y, epochs=900, progress=True, early_stopping=stopping)
    assert len(history) == 2
    assert lines(terminal) == [history.line(900) + "\x1b[K", ""]


class Broken:
    def on_epoch_end(self, net, history):
        raise KeyError("from a callback")


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_an_error_begins_on_a_new_line(with_tqdm, screen, request):
    terminal = screen()
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        request.getfixturevalue("no_tqdm")
    with pytest.raises(KeyError):
        network().train(X, Y, epochs=3, progress=True, callbacks=[Broken()])
    assert "1/3" in lines(terminal)[-2]
    assert lines(terminal)[-1] == ""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("with_tqdm", [True, False])
def test_a_warning_begins_on_a_new_line(way, with_tqdm, screen, request, monkeypatch):
    terminal = screen()
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        request.getfixturevalue("no_tqdm")
    if way == "lbfgs":
        pytest.importorskip("scipy")
    monkeypatch.setattr("cbackprop._monitors.VANISHED", 2.0)  # every network has such a layer
    data = (blocks(),) if way == "blocks" else (X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: sys.stderr.write(f"{message}\n")
        net = Network([1, 4, 2], output="softmax", classes=[0, 1], rng=0)
        history = net.train(*data, epochs=3, progress=True, **WAYS[way])
    *_, last, warning, after = lines(terminal)
    assert f"{len(history)}/3" in last
    assert warning.startswith("layer 1 does not learn")
    assert after == ""


def test_progress_is_yes_or_no():
    with pytest.raises(TypeError, match="progress = 'tqdm', expected True or False"):
        network().train(X, Y, progress="tqdm")


def test_a_terminal_of_the_command_line(screen, tmp_path, monkeypatch):
    terminal = screen()
    from cbackprop import cli

    monkeypatch.chdir(tmp_path)
    np.savez("data", X=np.repeat(X, 5, axis=0), y=np.repeat(Y, 5))
    command = ["train", "data.npz", "--layers", "4", "--epochs", "3"]
    assert cli.main([*command, "--quiet"]) == 0
    assert "3/3" not in terminal.getvalue()
    assert cli.main(command) == 0
    assert "3/3" in terminal.getvalue()


# TensorBoard


def events(folder):
    """(step, tag, value) of every scalar, and every histogram's tag, in the folder's files."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, histograms = [], []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.append((event.step, value.tag, value.simple_value))
                else:
                    histograms.append((event.step, value.tag, value.histo.num))
    return scalars, histograms


def test_tensorboard_reads_the_history(tmp_path):
    pytest.importorskip("tensorboardX")
    net = network()
    net.train(X, Y)  # steps count on from here
    with TensorBoard(tmp_path, histograms=True) as board:
        history = net.train(
            X, Y, epochs=3, validation_data=(X, Y), monitor=["training_cost"], callbacks=[board]
        )
    scalars, histograms = events(tmp_path)
    found = {}
    for step, tag, value in scalars:
        found.setdefault(tag, []).append((step, value))
    expected = {
        "cost/training": history.cost,
        "cost/validation": history.validation_cost,
        "accuracy/training": history.score,
        "accuracy/validation": history.validation_score,
        "learning_rate": history.learning_rate,
        "monitor/training_cost": history.monitored["training_cost"],
    }
    for l in (1, 2):
        expected[f"delta/layer_{l}"] = [norms[l - 1] for norms in history.delta_norms]
        expected[f"dead/layer_{l}"] = [dead[l - 1] for dead in history.dead_units]
    assert found.keys() == expected.keys()
    for tag, curve in expected.items():
        assert [step for step, _ in found[tag]] == [2, 3, 4]
        assert [value for _, value in found[tag]] == pytest.approx(curve, rel=1e-6)
    sizes = {"weights/layer_1": 4, "biases/layer_1": 4, "weights/layer_2": 8, "biases/layer_2": 2}
    assert histograms == [(step, tag, n) for step in (2, 3, 4) for tag, n in sizes.items()]


def test_tensorboard_without_closing(tmp_path):
    pytest.importorskip("tensorboardX")
    code = (
        "from cbackprop import Network; from cbackprop.callbacks import TensorBoard\n"
        "Network([1, 1], rng=0).train([[0.0]], [0], epochs=30, callbacks=[TensorBoard('runs')])"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path)
    steps = [step for step, tag, _ in events(tmp_path / "runs")[0] if tag == "cost/training"]
    assert steps == list(range(1, 31))


def test_tensorboard_refuses(tmp_path):
    pytest.importorskip("tensorboardX")
    with pytest.raises(TypeError, match="folder = 3, expected a path"):
        TensorBoard(3)
    with pytest.raises(TypeError, match="histograms = 1, expected True or False"):
        TensorBoard(tmp_path, histograms=1)


def test_without_tensorboardx_the_extra_is_named():
    code = (
        "import sys; sys.modules['tensorboardX'] = None\n"
        "from cbackprop.callbacks import TensorBoard\n"
        "TensorBoard('runs')"
    )
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    last = run.stderr.strip().splitlines()[-1]
    assert 'TensorBoard needs tensorboardX: pip install "cbackprop[tensorboard]"' in last
