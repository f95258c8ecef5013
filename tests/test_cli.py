"""The command line: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import contextlib
import csv
import gzip
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cbackprop
from cbackprop import (
    Network,
    _bench,
    _commands,
    _export_command,
    _train_command,
    load,
    schedules,
)
from cbackprop._help import PAGES
from cbackprop.cli import main
from cbackprop.io import tables

CLASSES = ["ash", "elm", "oak"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CBACKPROP_TRACEBACK", raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of complaint of a command that ends with code 2."""
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert error.startswith("cbackprop: error: ")
    assert error.count("\n") == 1
    return error


def blobs(n: int = 60, seed: int = 0) -> tuple[Any, Any]:
    """Three clouds of points in the plane, far apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 2)) * 0.1 + np.array([[0, 0], [1, 0], [0, 1]])[y], y


def write_csv(name: str, *, header: bool = True, words: bool = True, n: int = 60) -> Path:
    X, y = blobs(n)
    lines = ["height,width,tree"] if header else []
    labels = np.array(CLASSES)[y] if words else y
    lines += [f"{a:.6f},{b:.6f},{label}" for (a, b), label in zip(X, labels, strict=True)]
    path = Path(name)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_idx(path: str, array: Any) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    Path(path).write_bytes(gzip.compress(content) if path.endswith(".gz") else content)


FAST = ["--quiet", "--layers", "8", "--learning-rate", "1", "--epochs", "60", "--seed", "1"]


def value(name: str, output: str) -> float:
    match = re.search(rf"^{name}: (\S+)$", output, re.MULTILINE)
    assert match, output
    return float(match[1])


# Help and mistakes in the command


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"cbackprop {cbackprop.__version__}\n")


@pytest.mark.parametrize("command", ["", *PAGES])
def test_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, output, error = run(capsys, *command.split(), "--help")
    assert (code, error) == (0, "")
    assert "usage: cbackprop" in output
    assert f"cbackprop {command}" in output
    if command:
        assert PAGES[command].description in output
        assert "exit status:" in output
        assert "{more}" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["train"], "DATA"),
        (["train", "digits", "--epochs", "many"], "--epochs"),
        (["train", "digits", "--layers", "x"], "'x' is no number of neurons"),
        (["train", "--layers", "8", "data.csv"], "DATA goes before --layers"),
        (
            ["train", "digits", "--scale", "huge"],
            "expected standard, minmax, none, or a number",
        ),
        (["train", "digits", "--epochs", "0"], "--epochs = 0"),
        (["train", "digits", "--layers", "0"], "--layers[1] = 0"),
        (["train", "digits", "--activation", "cosine"], "--activation = 'cosine'"),
        (["train", "digits", "--learning-rate", "-1"], "--learning-rate = -1.0"),
        (["train", "digits", "--threads", "0"], "--threads = 0"),
        (["train", "digits", "--target", "3"], "--target 3"),
        (["train", "digits", "--labels", "f"], "--labels f"),
        (["train", "digits", "--test-fraction", "0.1"], "held-out part of its own"),
        (["train", "data.csv", "--test-fraction", "0"], "--test-fraction 0.0"),
        (["train", "data.csv", "--test-fraction", "1.5"], "--test-fraction 1.5"),
        (["train", "data.csv", "--test-fraction", "nan"], "--test-fraction nan"),
        (["train", "data.csv", "--test-fraction", ".2", "--test", "data.csv"], "one of them"),
        (["train", "data.csv", "--test", "digits"], "64 inputs, expected 2"),
        (["train", "nothing.csv"], "nothing.csv"),
        (["train", "."], "."),
        (["train", "data.csv", "--save", "no/such/folder"], "--save no/such/folder: cannot write"),
        (["train", "data.csv", "--save", "."], "--save .: is a folder"),
        (["train", "data.csv", "--save", "./data.csv"], "--save ./data.csv: is the data"),
        (["train", "data.csv", "--save", "data.csv/model"], "cannot write"),
        (["train", "data.csv", "--task", "regress"], "'ash' is not a number"),
        (["train", "data.csv", "--classes", "ash", "elm"], "oak of data.csv is missing"),
        (["train", "data.csv", "--classes", "ash", "elm", "oak", "elm"], "repeated"),
        (["train", "digits", "--classes", "a", "b"], "integers like 0"),
        (["train", "digits", "--task", "regress", "--classes", "1"], "--classes"),
        (["train", "data.csv", "--save", ""], "--save '': a model is a file"),
        (["train", ""], "'': No such file"),
        (["demo", "--threads", "0"], "--threads = 0, expected"),
        (["demo", "--epochs", "-3"], "--epochs = -3, expected"),
        (["predict", "data.csv", "data.csv"], "data.csv"),
        (["predict", "nothing.model", "data.csv"], "nothing.model"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    write_csv("data.csv")
    before = sorted(os.listdir())
    assert message in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


def test_traceback_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = run(capsys, "train", "nothing.csv", "--traceback")
    assert code == 2
    assert error.startswith("Traceback")
    monkeypatch.setenv("CBACKPROP_TRACEBACK", "1")
    assert "Traceback" in run(capsys, "train", "nothing.csv")[2]


# demo


@pytest.mark.ordinary("the others take their time")
def test_demo_takes_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    assert run(capsys, "demo")[0] == 0
    assert time.monotonic() - start < 10


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, error = run(capsys, "demo")
    assert code == 0
    assert re.search(r"^accuracy: 0\.\d\d$", output, re.MULTILINE)
    assert value("accuracy", output) >= 0.95
    for equation in ("BP1", "BP2", "BP3", "BP4", "passed"):
        assert equation in output
    assert re.search(r"^speed: [\d,]+ samples/s; .* NumPy .* times as fast$", output, re.MULTILINE)
    assert error == ""  # no terminal, and nobody asked


@pytest.mark.parametrize("seed", range(1, 6))
def test_demo_reaches_its_accuracy_from_any_seed(seed: int) -> None:
    digits = _commands.load_digits()
    net = _commands._demo_network(digits, seed)
    net.train(digits.X_train, digits.y_train, epochs=30, batch_size=10, learning_rate=1.0)
    assert net.evaluate(digits.X_test, digits.y_test)["accuracy"] >= 0.95


# train, evaluate, certify, info


def test_train_digits(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, error = run(
        capsys,
        "train",
        "digits",
        "--layers",
        "30",
        "--seed",
        "3",
        "--save",
        "digits.model",
        "--progress",
    )
    assert code == 0
    assert "digits: 1437 rows, 64 inputs, 10 classes; 360 rows held out" in output
    assert "network: 64-30-10, sigmoid, softmax, log_likelihood, float32" in output
    assert "epoch 30/30" in error
    assert value("test accuracy", output) > 0.94
    assert output.endswith("saved: digits.model\n")
    assert cbackprop.load("digits.model").input_scale == 1 / 16

    code, text, _ = run(capsys, "evaluate", "digits.model", "digits")
    assert code == 0
    assert value("accuracy", text) == pytest.approx(value("test accuracy", output), abs=1e-4)
    assert value("cost", text) == pytest.approx(value("test cost", output), rel=1e-5)
    code, text, _ = run(capsys, "certify", "digits.model", "digits", "--rows", "3")
    assert code == 0
    assert "passed" in text
    code, text, _ = run(capsys, "info", "digits.model")
    assert code == 0
    assert "4,320 mini-batches" in text
    assert "labels: 0, 1, 2" in text
    assert "--rows 0" in refused(capsys, "certify", "digits.model", "digits", "--rows", "0")


def test_quiet_and_no_hidden_layer(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv")
    code, output, error = run(capsys, "train", "data.csv", "--layers", "--quiet")
    assert (code, error) == (0, "")
    assert [line.split(":")[0] for line in output.splitlines()] == [
        "training cost",
        "training accuracy",
    ]


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("with_target", [False, True])
def test_csv_round_trip(
    capsys: pytest.CaptureFixture[str], words: bool, header: bool, with_target: bool
) -> None:
    write_csv("data.csv", header=header, words=words)
    code, output, error = run(capsys, "train", "data.csv", *FAST, "--save", "model")
    assert (code, error) == (0, "")
    assert value("training accuracy", output) > 0.9
    if with_target:
        code, output, _ = run(capsys, "predict", "model", "data.csv", "--target", "-1")
    else:
        rows = Path("data.csv").read_text(encoding="utf-8").splitlines()
        lines = [row.rpartition(",")[0] + "\n" for row in rows]
        Path("new.csv").write_text("".join(lines), encoding="utf-8")
        code, output, _ = run(capsys, "predict", "model", "new.csv")
    assert code == 0
    expected = [CLASSES[i % 3] if words else str(i % 3) for i in range(60)]
    assert output.splitlines() == expected


def test_predict_says_the_same_as_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv")
    assert run(capsys, "train", "data.csv", *FAST, "--save", "model")[0] == 0
    command = ["predict", "model", "data.csv", "--target", "tree", "--probabilities"]
    code, output, _ = run(capsys, *command)
    assert code == 0
    rows = list(csv.reader(output.splitlines()))
    assert rows[0] == ["label", *CLASSES]
    net = cbackprop.load("model")
    X = np.loadtxt("data.csv", delimiter=",", skiprows=1, usecols=(0, 1))
    np.testing.assert_array_equal(
        np.array([row[1:] for row in rows[1:]], np.float32), net.predict(X)
    )
    assert [row[0] for row in rows[1:]] == net.classify(X).tolist()
    assert run(capsys, *command, "--output", "-")[1] == output
    assert run(capsys, *command, "--output", "out.csv")[:2] == (0, "")
    assert Path("out.csv").read_bytes() == output.encode()


def test_regression(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.linspace(-1, 1, 101)
    np.savetxt("line.csv", np.column_stack([x, x**2, 3 * x - 0.5]), delimiter=";")
    code, output, _ = run(
        capsys, "train", "line.csv", "--layers", "8", "--test-fraction", "0.2", "--save", "model"
    )
    assert code == 0
    assert "81 rows, 2 inputs, 1 real target; 20 rows held out" in output
    assert "identity, quadratic" in output
    assert value("test r2", output) > 0.98
    code, text, _ = run(capsys, "evaluate", "model", "line.csv")
    assert code == 0
    assert value("r2", text) > 0.98
    code, text, _ = run(capsys, "predict", "model", "line.csv", "--target", "2")
    assert code == 0
    np.testing.assert_allclose([float(line) for line in text.split()], 3 * x - 0.5, atol=0.5)
    message = refused(capsys, "predict", "model", "line.csv", "--target", "2", "--probabilities")
    assert "real numbers" in message


def test_integers_are_real_targets_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv", words=False)
    code, output, _ = run(capsys, "train", "data.csv", *FAST, "--task", "regress", "--save", "m")
    assert code == 0
    assert "training r2" in output
    code, output, _ = run(capsys, "evaluate", "m", "data.csv")
    assert code == 0
    assert "r2" in output


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-strings", "packed", "two-outputs"])
def test_arrays(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    X, y = blobs()
    target = []
    score = "training accuracy"
    if kind == "npy":
        np.save("data", np.column_stack([y, X]))
        file, target = "data.npy", ["--target", "0"]
    else:
        file = "data.npz"
        labels: Any = np.array(CLASSES)[y] if kind == "npz-strings" else y
        if kind == "two-outputs":
            labels, score = X @ np.array([[1, 2], [3, 4]]), "training r2"
        (np.savez_compressed if kind == "packed" else np.savez)("data", X=X, y=labels)
    fast = [*FAST, "--learning-rate", "0.1"] if kind == "two-outputs" else FAST
    code, output, _ = run(capsys, "train", file, *target, *fast, "--save", "model")
    assert code == 0
    assert value(score, output) > 0.9
    code, output, _ = run(capsys, "predict", "model", file, *target)
    assert code == 0
    if kind == "npz-strings":
        assert output.split() == [CLASSES[i] for i in y]
    elif kind == "two-outputs":
        assert all(len(line.split(",")) == 2 for line in output.splitlines())
    else:
        assert output.split() == [str(i) for i in y]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    images = rng.integers(0, 100, (40, 3, 2)) + 150 * y[:, None, None]
    write_idx(f"a-images-idx3-ubyte{suffix}", images)
    write_idx("a-labels-idx1-ubyte.gz", y)
    command = ["train", f"a-images-idx3-ubyte{suffix}", *FAST]
    code, output, _ = run(capsys, *command, "--save", "model")
    assert code == 0
    assert value("training accuracy", output) > 0.9
    net = cbackprop.load("model")
    assert net.input_scale == 1 / 255
    assert net.sizes == (6, 8, 2)
    code, output, _ = run(capsys, "predict", "model", f"a-images-idx3-ubyte{suffix}")
    assert code == 0
    assert output.split() == [str(label) for label in y]
    Path("a-labels-idx1-ubyte.gz").rename("elsewhere")
    assert "--labels" in refused(capsys, *command)
    assert run(capsys, *command, "--labels", "elsewhere")[0] == 0
    write_idx("elsewhere", y[:-1])
    assert "(39,)" in refused(capsys, *command, "--labels", "elsewhere")
    assert "not labels" in refused(capsys, "train", "elsewhere")


def test_test_data_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv")
    Path("test.csv").write_text("height,width,tree\n0,1,yew\n1,0,elm\n", encoding="utf-8")
    command = ["train", "data.csv", "--test", "test.csv", *FAST]
    message = refused(capsys, *command)
    assert "label yew (line 2)" in message
    assert "--classes" in message
    code, output, _ = run(
        capsys, *command, "--save", "model", "--classes", "yew", "oak", "elm", "ash"
    )
    assert code == 0
    assert value("test accuracy", output) == 0.5
    labels = cbackprop.load("model").classes
    assert labels is not None
    assert labels.tolist() == ["yew", "oak", "elm", "ash"]


def test_input_scale(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    np.savez("data", X=X * [1000, 1] + [5000, 0], y=y)
    code, _, error = run(capsys, "train", "data.npz", "--epochs", "1")
    assert code == 0
    assert "note: inputs reach" in error
    assert "cbackprop: warning: layer 1 does not learn" in error
    command = ["train", "data.npz", *FAST, "--save", "model"]
    code, output, error = run(capsys, *command, "--input-scale", "standard")
    assert (code, error) == (0, "")
    assert value("training accuracy", output) > 0.9
    net = cbackprop.load("model")
    seen = np.load("data.npz")["X"] * net.input_scale + net.input_shift
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(seen.std(axis=0), 1)
    assert run(capsys, *command, "--input-scale", "0.5")[0] == 0
    assert cbackprop.load("model").input_scale == 0.5


def test_scale_of_a_constant_column() -> None:
    scale, shift = tables.scaling("standard", np.array([[3.0, 1.0], [3.0, 2.0]]))
    np.testing.assert_allclose(np.array([3.0, 1.0]) * scale + shift, [0, -1])


def test_same_seed_same_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv")
    for name, threads in (("one", 1), ("two", 3)):
        command = ["train", "data.csv", *FAST, "--threads", threads, "--save", name]
        assert run(capsys, *command)[0] == 0
    one, two = cbackprop.load("one"), cbackprop.load("two")
    for mine, other in zip(one.weights + one.biases, two.weights + two.biases, strict=True):
        np.testing.assert_array_equal(mine, other)


# What the task is


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.arange(100) % 20, "classify"),
        (np.arange(100) % 21, "regress"),
        (np.arange(10), "regress"),
        (np.array([0.0, 1.0, 1.0, 0.0]), "classify"),
        (np.array([0.0, 0.5, 0.5, 0.0]), "regress"),
        (np.array([True, False]), "classify"),
        (np.array(["a", "b"]), "classify"),
        (np.zeros((4, 2)), "regress"),
    ],
)
def test_choose_task(y: Any, task: str) -> None:
    assert tables.choose_task(tables.Table(np.zeros((len(y), 1)), y, "t")) == task


def test_labels_of_images_are_classes_however_many() -> None:
    table = tables.Table(np.zeros((30, 1)), np.arange(30), "t", labels_only=True)
    assert tables.choose_task(table) == "classify"


def test_labels_that_are_no_int64_are_text() -> None:
    assert tables.as_labels(np.array([1e20, 3.0])).tolist() == ["1e+20", "3.0"]
    assert tables.as_labels(np.array([2.0**53 - 1, 3.0])).tolist() == [2**53 - 1, 3]


# CSV as people write it


def read(text: str | bytes, **options: Any) -> tables.Table:
    Path("d.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return tables.read_table("d.csv", **options)


@pytest.mark.parametrize(
    "text",
    [
        "1,2,a\n3,4,b\n5,6,a\n7,8,b\n",
        "1,2,a\r\n3,4,b\r\n5,6,a\r\n7,8,b",
        "\ufeff1,2,a\n3,4,b\n5,6,a\n7,8,b\n",
        "\ufeffx,y,z\n1,2,a\n3,4,b\n5,6,a\n7,8,b\n",
        "x;y;z\n1;2;a\n3;4;b\n5;6;a\n7;8;b\n",
        "1\t2\ta\n3\t4\tb\n5\t6\ta\n7\t8\tb\n",
        '"x, or so",y,z\n"1",2,"a"\n3, 4, b\n\n5,6,a\n+7,8e0, b \n\n',
        ",2,z\n1,2,a\n3,4,b\n5,6,a\n7,8,b\n".replace(",2,z", ",y,z", 1),
    ],
)
def test_csv_dialects(text: str) -> None:
    table = read(text)
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert table.y is not None
    assert table.y.tolist() == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("target", "column"), [("y", 1), ("z", 2), ("0", 0), ("-1", 2), ("-3", 0), (None, 2)]
)
@pytest.mark.parametrize("header", ["auto", "yes"])
def test_csv_target(target: str | None, column: int, header: str) -> None:
    table = read("x,y,z\n1,2,3\n4,5,6\n", target=target, header=header)
    matrix = np.array([[1, 2, 3], [4, 5, 6]])
    assert table.y is not None
    assert table.y.dtype == np.int64
    np.testing.assert_array_equal(table.y, matrix[:, column])
    np.testing.assert_array_equal(table.X, np.delete(matrix, column, axis=1))


def test_an_integer_is_an_index_whatever_the_first_line_holds() -> None:
    table = read("2,0,7\n1,1,1\n", target="2")
    assert table.y is not None
    assert table.y.tolist() == [7, 1]


def test_a_header_of_numbers_is_told_by_its_target() -> None:
    assert read("0,1,label\n5,6,1\n7,8,0\n").X.tolist() == [[5, 6], [7, 8]]
    assert read("0,1,2\n5,6,1\n", header="yes").X.tolist() == [[5, 6]]
    assert read("0,1,2\n5,6,1\n").X.tolist() == [[0, 1], [5, 6]]


def test_a_dropped_target_is_not_looked_at() -> None:
    table = read("x,y\n1,\n2,?\n", target="y", need_target=False)
    assert table.y is None
    assert table.X.tolist() == [[1], [2]]


def test_numbers_of_the_target() -> None:
    for text, expected in [
        ("1,1\n2,-3\n", [1, -3]),
        ("1,1.5\n2,2\n", [1.5, 2.0]),
        ("1,1e3\n2,2\n", [1000.0, 2.0]),
        (f"1,{10**30}\n2,2\n", [1e30, 2.0]),
    ]:
        table = read(text)
        assert table.y is not None
        assert table.y.tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("\n\n", "empty file"),
        ("a,b\n", "no lines of data"),
        ("a\n1\n", "one field, expected two or more"),
        ("1,2,3\n1,2,3\n1,2\n", r"line 3: 2 fields, expected 3"),
        ("1,2,3\n\n1,2,3,4\n", r"line 3: 4 fields, expected 3"),
        ('1,2,3\n1,"2\n3",4\n5,6,7\n', r"line 2, column 1: '2\\n3' is not a number"),
        ("x,y,z\n1,2,3\n1,,3\n", r"line 3, column 'y': missing value ''"),
        ("1,2,3\n1,NA,3\n", r"line 2, column 1: missing value 'NA'"),
        ("1,2,3\n1,nan,3\n", r"line 2, column 1: missing value 'nan'"),
        ("1,2,3\n1,inf,3\n", r"line 2, column 1: 'inf' is not finite"),
        ("1,2,3\n1,1e999,3\n", r"line 2, column 1: 'inf' is not finite"),
        ("1,2,3\n4,5,\n", r"line 2, column 2: missing value ''"),
        ("1,2,3\n4,5,nan\n", r"line 2, column 2: missing value 'nan'"),
        ("1,2,3\n1,1_000,3\n", r"line 2, column 1: '1_000' is not a number"),
        ("1;2;3\n1,5;2;3\n", r"line 2, column 0: '1,5' is not a number \(decimal point"),
        ("x,y\nred,1\nblue,2\n", r"column 'x': 2 different words in 2 rows.*--ignore"),
        ("1,x,3\n1,2,3\n", r"line 1: neither names nor data: 'x'.*--header"),
        ("1,2,3\n1,2,4\n1,2,oops\n", r"line 3, column 2: target 'oops' is not a number"),
        ("1,a\n2,b\n3,c\n", r"column 1: 3 different words in 3 lines.*--task classify"),
        (b"1,2\n\xff\xfe,3\n", "UTF-8"),
        (b"\x80\x02\x03binary", "UTF-8"),
        ("1," + "9" * 200000 + "\n", "line 1: field larger than field limit"),
        ('1,"2"3,4\n', "line 1"),
        ('1,2,3\n1,"2,3\n', "line 2: unexpected end of data"),
    ],
)
def test_csv_mistakes(capsys: pytest.CaptureFixture[str], text: str | bytes, message: str) -> None:
    Path("d.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    error = refused(capsys, "train", "d.csv")
    assert "d.csv" in error
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("x,y\n1,2\n", {"target": "z"}, "no such column in x, y"),
        ("x,x\n1,2\n", {"target": "x"}, "several columns"),
        ("x,y\n1,2\n", {"target": "2"}, "index from -2 to 1"),
        ("1,2\n1,2\n", {"target": "z"}, "no such column in 1, 2"),
        ("x,y\n1,2\n", {"target": "y", "header": "no"}, "--target y"),
        ("x,y\n1,2\n", {"header": "no"}, "line 1, column 0: 'x' is not a number"),
    ],
)
def test_csv_options(text: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(text, **options)


def test_a_long_field_is_quoted_in_part() -> None:
    with pytest.raises(ValueError, match="is not a number") as caught:
        read("1,2\n" + "z" * 1000 + ",2\n")
    assert len(str(caught.value)) < 200


# NPY and NPZ as they should not be


def npy(array: Any) -> bytes:
    np.save("tmp.npy", array, allow_pickle=True)
    content = Path("tmp.npy").read_bytes()
    Path("tmp.npy").unlink()
    return content


def test_npy_mistakes() -> None:
    good = npy(np.zeros((4, 3)))
    lie = good.replace(b"(4, 3)", b"(9, 3)").replace(b"(9, 3), }  ", b"(9, 3), }  ")
    huge = good.replace(b"(4, 3), }      ", b"(400000, 3), } ")
    cases = {
        "expected 312|expected 344": lie,
        "bytes, expected": huge,
        "rows and columns": npy(np.zeros(3)),
        "dtype object": npy(np.array([[{}, 1]], dtype=object)),
        "expected at least one row": npy(np.zeros((0, 3))),
        "one column": npy(np.zeros((3, 1))),
        "complex": npy(np.zeros((3, 2), complex)),
    }
    for message, content in cases.items():
        with pytest.raises(ValueError, match=message):
            read(content)
    for length in range(len(good)):
        with pytest.raises(ValueError, match=r"d\.csv"):
            read(good[:length])
    with pytest.raises(ValueError, match="--target 3"):
        read(good, target="3")
    with pytest.raises(ValueError, match="--target name"):
        read(good, target="name")


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "f2", "<f4", ">f8", "?"])
def test_npy_types(dtype: str) -> None:
    table = read(npy((np.arange(12).reshape(4, 3) % 2).astype(dtype)))
    assert table.X.dtype in (np.uint8, np.float32, np.float64)
    assert table.X.dtype.isnative
    np.testing.assert_array_equal(table.X[1], [1, 0])


def archive(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile("tmp.npz", "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)
    content = Path("tmp.npz").read_bytes()
    Path("tmp.npz").unlink()
    return content


def test_npz_mistakes() -> None:
    X, y = npy(np.zeros((4, 3))), npy(np.zeros(4))
    cases = {
        "no array X; expected X and y, found a": archive({"a.npy": X}),
        "no array y": archive({"X.npy": X}),
        r"y has shape \(5,\)": archive({"X.npy": X, "y.npy": npy(np.zeros(5))}),
        r"y has shape \(\)": archive({"X.npy": X, "y.npy": npy(np.array(1))}),
        "d.csv: X: not a usable NPY array": archive({"X.npy": b"hello", "y.npy": y}),
        "dtype object": archive({"X.npy": X, "y.npy": npy(np.array([None] * 4))}),
        "unknown way": archive({"X.npy": X, "y.npy": y}, zipfile.ZIP_LZMA),
        "damaged NPZ": archive({"X.npy": X, "y.npy": y})[:-10],
    }
    for message, content in cases.items():
        with pytest.raises(ValueError, match=message):
            read(content)
    with pytest.raises(ValueError, match="--target 0"):
        read(archive({"X.npy": X, "y.npy": y}), target="0")


def test_every_flipped_bit_of_an_npz_is_harmless() -> None:
    content = archive({"X.npy": npy(np.ones((2, 2))), "y.npy": npy(np.ones(2))})
    for bit in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            shape = read(bytes(damaged)).X.shape
        except ValueError:
            shape = (2, 2)
        assert shape == (2, 2)


# predict


@pytest.mark.parametrize(
    ("label", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@sum", "'@sum"),
        ("-oak", "'-oak"),
        ("+a", "'+a"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-1.5", "-1.5"),
        ("oak", "oak"),
        ("a=b", "a=b"),
        (np.str_("=x"), "'=x"),
        (np.int64(-3), "-3"),
    ],
)
def test_labels_that_a_spreadsheet_would_run(label: Any, cell: str) -> None:
    assert _commands._cell(label) == cell


def test_formulas_are_escaped_in_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    np.savez("data", X=X, y=np.array(["=cmd()", "-x, y", "ok"])[y])
    assert run(capsys, "train", "data.npz", *FAST, "--save", "model")[0] == 0
    code, output, _ = run(capsys, "predict", "model", "data.npz")
    assert code == 0
    assert output.splitlines()[:3] == ["'=cmd()", '"\'-x, y"', "ok"]
    code, output, _ = run(capsys, "predict", "model", "data.npz", "--probabilities")
    assert code == 0
    assert next(csv.reader(output.splitlines())) == ["label", "'-x, y", "'=cmd()", "ok"]


def test_one_output_for_two_labels(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    net = cbackprop.Network([2, 4, 1], classes=["no", "yes"], rng=0)
    net.train(X, np.where(y > 0, "yes", "no"), epochs=50, learning_rate=1.0)
    net.save("model")
    np.savez("data", X=X)
    code, output, _ = run(capsys, "predict", "model", "data.npz", "--probabilities")
    assert code == 0
    rows = list(csv.reader(output.splitlines()))
    assert rows[0] == ["label", "yes"]
    assert all((float(row[1]) >= 0.5) == (row[0] == "yes") for row in rows[1:])


def test_width_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv", words=False, header=False)
    assert run(capsys, "train", "data.csv", *FAST, "--save", "model")[0] == 0
    message = refused(capsys, "predict", "model", "data.csv")
    assert "3 columns of input, the model expects 2" in message
    assert "--target" in message
    Path("wide.csv").write_text("1,2,3,4\n", encoding="utf-8")
    assert "4 columns" in refused(capsys, "predict", "model", "wide.csv")
    assert "3 columns" in refused(capsys, "predict", "model", "wide.csv", "--target", "3")
    assert "64 columns" in refused(capsys, "predict", "model", "digits")


def test_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv", words=False)
    assert run(capsys, "train", "data.csv", *FAST, "--save", "model")[0] == 0
    command = ["predict", "model", "data.csv", "--target", "-1", "--output", "no/folder.csv"]
    code, output, error = run(capsys, *command)
    assert (code, output) == (1, "")
    assert error == "cbackprop: error: no/folder.csv: not written: No such file or directory\n"


# How training may end


def test_divergence(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.linspace(-1, 1, 50)
    np.savez("data", X=np.column_stack([x, x]) * 1e3, y=x)
    code, output, error = run(
        capsys, "train", "data.npz", "--layers", "--learning-rate", "10", "--save", "model"
    )
    assert code == 1
    assert "cbackprop: error: training diverged, nothing is saved" in error
    assert "Traceback" not in error
    assert "saved" not in output
    assert not Path("model").exists()


def test_a_save_that_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cbackprop.Network, "save", full)
    write_csv("data.csv")
    code, _, error = run(capsys, "train", "data.csv", *FAST, "--save", "model")
    assert code == 1
    assert "--save model: not saved" in error


def test_out_of_memory(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: object, **options: object) -> None:
        raise MemoryError("8 TB for the parameters")

    monkeypatch.setattr(_train_command, "Network", no_memory)
    write_csv("data.csv")
    code, _, error = run(capsys, "train", "data.csv")
    assert code == 1
    assert "out of memory: 8 TB" in error


@pytest.mark.parametrize("save", [False, True])
def test_interrupt_in_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, save: bool
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cbackprop.Network, "train", interrupted)
    write_csv("data.csv")
    code, _, error = run(capsys, "train", "data.csv", *(["--save", "model"] if save else []))
    assert code == 130
    assert "interrupted after 0 mini-batches; " in error
    assert ("is saved: model" if save else "nothing is saved") in error
    assert Path("model").exists() == save
    monkeypatch.setattr(_commands, "load_digits", interrupted)
    assert run(capsys, "demo") == (130, "", "cbackprop: interrupted\n")


# As a process


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cbackprop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_process_exit_codes() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"cbackprop {cbackprop.__version__}\n")
    done = process("train", "nothing.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("cbackprop: error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_process_interrupted() -> None:
    command = ["train", "digits", "--layers", "200", "--epochs", "100000000", "--save", "model"]
    command.append("--progress")
    with subprocess.Popen(
        [sys.executable, "-m", "cbackprop", *command], stderr=subprocess.PIPE, text=True
    ) as training:
        assert training.stderr is not None
        while "epoch" not in training.stderr.readline():
            assert training.poll() is None
        training.send_signal(signal.SIGINT)
        _, error = training.communicate(timeout=30)
    assert training.returncode == 130
    assert "Traceback" not in error
    match = re.search(r"interrupted after (\d+) mini-batches; .* is saved: model", error)
    assert match, error
    assert cbackprop.load("model").steps == int(match[1])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_process_with_a_broken_pipe() -> None:
    net = cbackprop.Network([64, 10], output="softmax", rng=0)
    net.save("model")
    np.savez("data", X=np.zeros((100000, 64), np.uint8))
    with subprocess.Popen(
        [sys.executable, "-m", "cbackprop", "predict", "model", "data.npz"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as predicting:
        assert predicting.stdout is not None
        assert predicting.stderr is not None
        assert predicting.stdout.readline() == "0\n"
        predicting.stdout.close()
        error = predicting.stderr.read()
        assert predicting.wait(timeout=30) == 141
    assert error == ""


def test_bench_prints_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "bench", "--rows", "tiny", "--repeats", 1, "--threads", 1)
    assert code == 0
    name, network, batch, *figures = out.splitlines()[1].split()
    assert (name, network, batch) == ("tiny", "4-64-64-2", "32")
    assert all(float(figure) > 0 for figure in figures)


def test_bench_refuses_no_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--repeats 0" in refused(capsys, "bench", "--repeats", 0)


def test_train_with_another_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--quiet", "--epochs", "2", "--seed", "1"]
    found = [
        run(capsys, "train", "digits", *options, *more)[1]
        for more in ([], ["--optimizer", "sgd", "--learning-rate", "0.1"], ["--optimizer", "adam"])
    ]
    assert found[0] == found[1] != found[2]
    assert "--optimizer" in refused(capsys, "train", "digits", "--optimizer", "adem")


TRAINED = [
    (["--l1", "0.1"], {"l1": 0.1}),
    (["--l2", "0.1"], {"l2": 0.1}),
    (["--weight-decay", "0.1"], {"weight_decay": 0.1}),
    (["--max-norm", "0.5"], {"max_norm": 0.5}),
    (["--clip-norm", "0.01"], {"clip_norm": 0.01}),
    (["--clip-value", "0.001"], {"clip_value": 0.001}),
    (["--input-noise", "0.1"], {"input_noise": 0.1}),
    (["--dropout", "0.5"], {"dropout": 0.5}),
    (["--dropout", "0.1,0.5"], {"dropout": [0.1, 0.5]}),
    (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}),
    (["--validation-split", "0.2"], {"validation_split": 0.2}),
    (["--class-weight", "balanced"], {"class_weight": "balanced"}),
    (["--class-weight", "1=3,2=0.5"], {"class_weight": {1: 3.0, 2: 0.5}}),
    (["--no-shuffle"], {"shuffle": False}),
    (["--init", "he"], {}),
    (["--schedule", "cosine"], {"learning_rate": schedules.Cosine(0.1, 3)}),
    (["--schedule", "one-cycle"], {"learning_rate": schedules.OneCycle(0.1, 3)}),
    (["--schedule", "step:1:0.25"], {"learning_rate": schedules.StepDecay(0.1, 1, 0.25)}),
    (["--schedule", "step:2"], {"learning_rate": schedules.StepDecay(0.1, 2)}),
    (["--schedule", "exponential:0.5"], {"learning_rate": schedules.Exponential(0.1, 0.5)}),
    (["--schedule", "warm-up:3"], {"learning_rate": schedules.WarmUp(0.1, 3)}),
    (["--schedule", "plateau:0.5:1"], {"learning_rate": schedules.ReduceOnPlateau(0.1, 0.5, 1)}),
    (["--schedule", "halve:1"], {"learning_rate": schedules.HalveOnStall(0.1, 1)}),
    (
        ["--schedule", "exponential:0.5", "--optimizer", "adam"],
        {"learning_rate": schedules.Exponential(0.001, 0.5), "optimizer": "adam"},
    ),
    (
        ["--early-stopping", "1", "--validation-split", "0.3"],
        {"early_stopping": cbackprop.EarlyStopping(patience=1), "validation_split": 0.3},
    ),
]


@pytest.mark.parametrize(("options", "arguments"), TRAINED)
def test_options_of_training_are_the_arguments(
    capsys: pytest.CaptureFixture[str], options: list[str], arguments: dict[str, Any]
) -> None:
    X, y = blobs()
    np.savez("data", X=X, y=y)
    command = ["train", "data.npz", "--quiet", "--epochs", "3", "--layers", "8", "--save", "model"]
    assert run(capsys, *command, *options)[::2] == (0, "")
    net = cbackprop.Network(
        [2, 8, 3], output="softmax", rng=0, init="he" if "--init" in options else "scaled"
    )
    net.train(X, y, epochs=3, batch_size=10, **{"learning_rate": 0.1, **arguments})
    found = cbackprop.load("model")
    assert found.history.learning_rate == net.history.learning_rate
    for mine, truth in zip(found.weights, net.weights, strict=True):
        assert mine.tobytes() == truth.tobytes()


def test_an_activation_for_each_layer(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("data", **dict(zip("Xy", blobs(), strict=True)))
    command = ["train", "data.npz", "--quiet", "--layers", "8", "4", "--save", "model"]
    assert run(capsys, *command, "--activation", "leaky_relu(0.2),tanh")[0] == 0
    found = [str(sigma) for sigma in cbackprop.load("model").activations]
    assert found == ["leaky_relu(0.2)", "tanh", "softmax"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dropout", "1.0"], "--dropout = 1.0, expected probabilities below 1"),
        (["--dropout", "0.1,0.2,0.3"], "--dropout has 3 entries, expected 2"),
        (["--dropout", "some"], "argument --dropout: 'some', expected a number"),
        (["--l1", "-1"], "--l1 = -1.0, expected a finite number >= 0"),
        (["--max-norm", "0"], "--max-norm = 0.0, expected a finite number > 0"),
        (["--clip-norm", "1", "--clip-value", "1"], "--clip-value and clip_norm: give one"),
        (["--label-smoothing", "1"], "--label-smoothing = 1.0, expected a number below 1"),
        (["--validation-split", "1"], "--validation-split = 1.0, expected a number below 1"),
        (["--early-stopping"], "--early-stopping looks at 'validation_cost'"),
        (["--early-stopping", "0", "--validation-split", ".2"], "patience = 0"),
        (
            ["--class-weight", "heavy"],
            "--class-weight: 'heavy', expected balanced, or LABEL=WEIGHT",
        ),
        (["--class-weight", "1=3,2"], "expected balanced, or LABEL=WEIGHT"),
        (["--class-weight", "9=3"], "--class-weight of 9, but the labels are [0, 1, 2]"),
        (["--class-weight", "ash=3"], "the labels are integers, 0, 1, 2"),
        (["--sample-weight", "0"], "--sample-weight 0: is for CSV and Parquet files only"),
        (["--start", "none"], "none: No such file"),
        (["--start", "data.npz"], "data.npz: model file: "),
        (["--start", "m", "--layers", "8"], "--layers: is the network's own with --start m"),
        (["--validation", "data.npz", "--validation-split", "0.1"], "--validation and"),
        (["--init", "hee"], "--init = 'hee', expected one of"),
        (["--schedule", "cosin"], "--schedule = 'cosin', expected one of: cosine"),
        (["--schedule", "step"], "--schedule = 'step', expected one of: cosine"),
        (["--schedule", "step:1.5"], "--schedule = 'step:1.5', expected"),
        (["--schedule", "step:x"], "--schedule = 'step:x', expected"),
        (["--schedule", "step:1:2:3"], "--schedule = 'step:1:2:3', expected"),
        (["--optimizer", "lbfgs", "--learning-rate", "1"], "--learning-rate = 1.0 does not go"),
    ],
)
def test_options_of_training_that_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    np.savez("data", **dict(zip("Xy", blobs(), strict=True)))
    layers = [] if "--start" in options and "--layers" not in options else ["--layers", "8"]
    command = ["train", "data.npz", "--quiet", *layers, "--save", "model"]
    assert message in refused(capsys, *command, *options)
    assert not Path("model").exists()


def same_parameters(one: str, two: str) -> bool:
    nets = [cbackprop.load(path) for path in (one, two)]
    return [w.tobytes() for w in nets[0].weights] == [w.tobytes() for w in nets[1].weights]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_goes_on_from_a_model(capsys: pytest.CaptureFixture[str], optimizer: str) -> None:
    write_csv("data.csv")
    command = ["train", "data.csv", "--optimizer", optimizer, "--epochs"]
    form = ["--scale", "standard", "--layers", "8", "--dtype", "float64"]
    assert run(capsys, *command, "4", *form, "--save", "whole")[0] == 0
    assert run(capsys, *command, "2", *form, "--save", "half")[0] == 0
    code, output, _ = run(capsys, *command, "2", "--start", "half", "--save", "half")
    assert code == 0
    assert "network: 2-8-3, sigmoid, softmax, log_likelihood, float64" in output
    assert same_parameters("whole", "half")
    assert len(cbackprop.load("half").history) == 4
    Path("other.csv").write_text("height,width,tree\n0,1,yew\n1,0,elm\n", encoding="utf-8")
    message = refused(capsys, "train", "other.csv", "--start", "half")
    assert "other.csv: label yew (line 2) is not among those trained on (ash, elm, oak)" in message


def test_validation_data(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv("data.csv")
    write_csv("watch.csv", n=30)
    command = ["train", "data.csv", *FAST, "--early-stopping", "2", "--save", "model"]
    code, output, _ = run(capsys, *command, "--validation", "watch.csv")
    assert code == 0
    history = cbackprop.load("model").history
    assert value("validation cost", output) == pytest.approx(history.validation_cost[-1], rel=1e-5)
    net = Network([2, 8, 3], output="softmax", classes=CLASSES, rng=1)
    X, y = blobs()
    X = X.round(6)
    X_watch, y_watch = blobs(30)
    stopping = cbackprop.EarlyStopping(patience=2)
    labels = np.array(CLASSES)
    net.train(
        X, labels[y], epochs=60, batch_size=10, learning_rate=1.0, early_stopping=stopping,
        validation_data=(X_watch.round(6), labels[y_watch]),
    )  # fmt: skip
    assert net.history.validation_cost == history.validation_cost
    assert "standard input is DATA" in refused(capsys, "train", "-", "--validation", "-")


def test_the_weight_of_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    weights = np.random.default_rng(1).integers(0, 5, 60)
    lines = [f"{a:.6f},{w},{b:.6f},{t}\n" for (a, b), w, t in zip(X, weights, y, strict=True)]
    Path("data.csv").write_text("a,w,b,y\n" + "".join(lines), encoding="utf-8")
    command = ["train", "data.csv", *FAST, "--sample-weight", "w", "--save", "model"]
    assert run(capsys, *command)[0] == 0
    net = Network([2, 8, 3], output="softmax", rng=1)
    net.train(X.round(6), y, epochs=60, batch_size=10, learning_rate=1.0, sample_weight=weights)
    net.save("expected")
    assert same_parameters("model", "expected")
    assert run(capsys, "evaluate", "model", "data.csv")[0] == 0
    assert run(capsys, *command, "--test-fraction", "0.5")[0] == 0
    message = refused(capsys, *command, "--sample-weight", "weight")
    assert "--sample-weight weight: no such column in a, w, b, y" in message
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow.csv").read_csv("data.csv")
    parquet.write_table(table, "data.parquet")
    command[1] = "data.parquet"
    assert run(capsys, *command)[0] == 0
    assert same_parameters("model", "expected")


def test_lbfgs_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    np.savez("data", **dict(zip("Xy", blobs(), strict=True)))
    command = ["train", "data.npz", "--quiet", "--layers", "8", "--epochs", "30"]
    code, output, _ = run(capsys, *command, "--optimizer", "lbfgs")
    assert code == 0
    assert value("training accuracy", output) > 0.95


@pytest.mark.parametrize("name", ["book", "std", "tiny", "higgs", "expm"])
def test_the_rival_of_bench_does_the_same_work(name: str) -> None:
    work = replace(_bench.WORKLOADS[name], rows=2 * _bench.WORKLOADS[name].batch)
    X, y, weights = work.data()
    net = _bench.network(work, weights, "float64")
    rival = _bench.NumpyTrainer(work, X, y, weights, "float64")
    for _ in range(2):
        net.train(
            X, y, batch_size=work.batch, optimizer=work.optimizer,
            learning_rate=work.learning_rate, shuffle=False,
        )  # fmt: skip
        rival.epoch(np.arange(work.rows))
    for ours, theirs in zip(net.weights + net.biases, rival.w + rival.b, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


# info and export


def test_info_says_how_the_network_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    path = write_csv("trees.csv")
    options = ["--optimizer", "adam", "--input-scale", "standard", "--save", "trees.model"]
    _, output, _ = run(capsys, "train", path, *FAST, "--learning-rate", "0.01", *options)
    code, about, _ = run(capsys, "info", "trees.model")
    assert code == 0
    assert "360 mini-batches, 60 epochs trained by adam" in about
    cost, accuracy = value("training cost", output), value("training accuracy", output)
    match = re.search(r"^last epoch: cost (\S+), accuracy (\S+)$", about, re.MULTILINE)
    assert match
    assert (float(match[1]), float(match[2])) == pytest.approx((cost, accuracy), rel=1e-3)
    assert re.search(r"^inputs: scale \S+ \.\. \S+, one a column, shift", about, re.MULTILINE)
    assert "labels: ash, elm, oak" in about
    Network([2, 1], rng=0).save("new.model")
    _, about, _ = run(capsys, "info", "new.model")
    assert "0 mini-batches, 0 epochs trained\ninputs: as they are\n" in about


def test_export_writes_what_the_network_writes(capsys: pytest.CaptureFixture[str]) -> None:
    net = Network([2, 3, 2], output="softmax", classes=["yes", "no"], rng=0)
    net.save("a.model")
    code, output, error = run(capsys, "export", "a.model", "a.h")
    assert (code, error) == (0, "")
    assert output == f"written: a.h ({Path('a.h').stat().st_size:,} bytes)\n"
    net.export_c("b.h", name="a")
    assert Path("a.h").read_text() == Path("b.h").read_text().replace('"b.h"', '"a.h"')
    assert run(capsys, "export", "a.model", "x", "--format", "c", "--name", "other")[0] == 0
    assert "other_predict(" in Path("x").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.foo"], "FILE a.foo: its end, '.foo', tells no kind of file, expected one of: .h"),
        (["4.h"], "FILE '4.h', expected a C identifier"),
        (["4.h"], "; give --name"),
        (["a.h", "--name", "a b"], "--name 'a b', expected a C identifier"),
        (["a.h", "--format", "flac"], "argument --format: invalid choice: 'flac'"),
    ],
)
def test_export_refuses(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Network([2, 1], rng=0).save("a.model")
    assert message in refused(capsys, "export", "a.model", *arguments)


def test_export_where_nothing_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Network([2, 1], rng=0).save("a.model")
    code, _, error = run(capsys, "export", "a.model", "nowhere/a.h")
    assert code == 1
    assert "nowhere/a.h: not written: " in error


def test_export_offers_what_networks_have_a_method_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = _export_command._KNOWN.items()
    assert set(_export_command.FORMATS) == {n for n, f in known if hasattr(Network, f.method)}
    form = _export_command.Format(".npz", "stand_in", "NumPy's arrays")
    monkeypatch.setitem(_export_command.FORMATS, "npz", form)
    monkeypatch.setattr(
        Network, "stand_in", lambda net, path: Path(path).write_text("all"), raising=False
    )
    Network([2, 1], rng=0).save("a.model")
    assert "  .npz   npz: NumPy's arrays\n" in run(capsys, "export", "--help")[1]
    assert run(capsys, "export", "a.model", "a.NPZ")[0] == 0
    assert Path("a.NPZ").read_text() == "all"
    message = refused(capsys, "export", "a.model", "a.npz", "--name", "b")
    assert "--name b: is for C headers only; leave it out" in message


# report


def test_report(capfdbinary: Any) -> None:
    pytest.importorskip("matplotlib")
    write_csv("trees.csv")
    assert main(["train", "trees.csv", *FAST, "--save", "trees.model"]) == 0
    assert main(["report", "trees.model", "trees.csv", "-o", "a.html", "--worst", "3"]) == 0
    page = Path("a.html").read_text(encoding="utf-8")
    assert "<title>trees.model on trees.csv</title>" in page
    for part in ("Curves", "Confusion matrix", "Certificate", "elm"):
        assert part in page
    assert page.partition("Largest costs")[2].partition("Certificate")[0].count("<tr>") == 1 + 3
    capfdbinary.readouterr()
    assert main(["report", "trees.model", "trees.csv", "-o", "-", "--title", "<b>"]) == 0
    assert b"<title>&lt;b&gt;</title>" in capfdbinary.readouterr().out


def test_report_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    write_csv("trees.csv")
    assert run(capsys, "train", "trees.csv", *FAST, "--save", "m")[0] == 0
    assert "--output" in refused(capsys, "report", "m", "trees.csv")
    assert "--worst -1" in refused(capsys, "report", "m", "trees.csv", "-o", "x", "--worst", "-1")
    code, _, error = run(capsys, "report", "m", "trees.csv", "-o", "no/folder.html")
    assert code == 1
    assert "no/folder.html: not written: No such file" in error
    assert sorted(os.listdir()) == ["m", "trees.csv"]


def test_export_to_standard_output(capfdbinary: Any) -> None:
    Network([2, 3, 2], output="softmax", rng=0).save("a.model")
    assert main(["export", "a.model", "a.h", "--name", "net"]) == 0
    capfdbinary.readouterr()
    assert main(["export", "a.model", "-", "--format", "c", "--name", "net"]) == 0
    found = capfdbinary.readouterr().out
    assert found.replace(b"model.h", b"a.h") == Path("a.h").read_bytes()


# What shells ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cbackprop ex", ["export"]),
        ("cbackprop train dig", ["digits"]),
        ("cbackprop train data", ["data.csv"]),
        ("cbackprop train digits --cost log_", ["log_cosh", "log_likelihood"]),
        ("cbackprop train digits --optimizer adam", ["adam", "adamw"]),
        ("cbackprop train digits --scale m", ["minmax"]),
        ("cbackprop predict x data", ["data.csv"]),
    ],
)
def test_completion(line: str, offered: list[str]) -> None:
    pytest.importorskip("argcomplete")
    write_csv("data.csv")
    environment = {
        **os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line,
        "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": "offered",
    }  # fmt: skip
    code = "import sys; from cbackprop.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    assert sorted(word.strip() for word in Path("offered").read_text().splitlines()) == offered


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize(("command", "code"), [(["train", "--help"], 0), (["info", "model"], 141)])
def test_nobody_reads(command: list[str], code: int) -> None:
    Network([2, 1], rng=0).save("model")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "cbackprop", *command],
            stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shell")
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("train - <&-", 2, "standard input: empty, expected data (- means standard input)"),
        ("train - </dev/null", 2, "standard input: empty, expected data"),
        ("info model >&-", 2, "standard output is closed; send it to a file or to /dev/null"),
        ("export model - --format c >&-", 2, "standard output is closed"),
        ("info model >/dev/full", 1, "No space left on device"),
        ("export model - --format c >/dev/full", 1, "No space left on device"),
        ("predict model d.npz >/dev/full", 1, "No space left on device"),
        ("train digits --epochs 1 --layers 2>&- >/dev/null", 0, ""),
        ("train no.csv 2>&-", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(command: str, code: int, message: str) -> None:
    if "/dev/full" in command and not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    Network([2, 1], rng=0).save("model")
    np.savez("d.npz", X=np.zeros((50000, 2)))
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m cbackprop {command}', sys.executable],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    if message:
        assert done.stderr.startswith(f"cbackprop: error: {message}")
    assert done.stderr.count("\n") == bool(message)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_what_is_no_file_is_written_to_and_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    Network([2, 1], rng=0).save("model")
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    assert run(capsys, "export", "model", "pipe", "--format", "c", "--name", "net")[0] == 0
    reader.join(timeout=30)
    assert read[0].startswith(b"/* 2 - 1 sigmoid")
    assert Path("pipe").is_fifo()


def test_a_checkpoint_is_gone_on_from(tmp_path, capsys):
    path = str(tmp_path / "run.ckpt")
    train = ["train", "digits", "--layers", "8", "--epochs", "3", "--seed", "0", "--quiet"]
    assert main([*train, "--save", str(tmp_path / "whole")]) == 0
    keep = ["--checkpoint", path, "--checkpoint-every", "50b"]
    assert main([*train, *keep, "--resume", "--save", str(tmp_path / "kept")]) == 0
    assert main([*train, *keep, "--resume", "--save", str(tmp_path / "again")]) == 0
    nets = [load(tmp_path / name) for name in ("whole", "kept", "again")]
    assert len({net.weights[0].tobytes() for net in nets}) == 1
    assert main([*train[:4], "--epochs", "4", *keep, "--resume"]) == 2
    assert "epochs was 3, now 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume needs --checkpoint PATH"),
        (["--checkpoint-every", "3"], "--checkpoint-every needs --checkpoint PATH"),
        (["--checkpoint", "a", "--checkpoint-every", "3x"], "'3x', expected a number of epochs"),
        (["--deterministic"], "--deterministic needs --mpi"),
    ],
)
def test_checkpoints_refused(options, message, capsys):
    with contextlib.suppress(SystemExit):
        assert main(["train", "digits", *options]) == 2
    assert message in capsys.readouterr().err


def test_one_network_on_two_ranks(tmp_path):
    mpiexec = Path(sys.executable).with_name("mpiexec")
    pytest.importorskip("mpi4py")
    if not mpiexec.exists():
        pytest.skip("no mpiexec beside this Python")
    table = np.random.default_rng(0).random((90, 4)).round(3).tolist()
    lines = [",".join(map(str, [*row, "ab"[row[0] > row[1]]])) for row in table]
    (tmp_path / "rows.csv").write_text("x,y,z,weight,kind\n" + "\n".join(lines))
    train = ["train", str(tmp_path / "rows.csv"), "--layers", "8", "--epochs", "2", "--seed", "0"]
    train += [
        "--sample-weight",
        "weight",
        "--class-weight",
        "balanced",
        "--validation-split",
        "0.2",
    ]
    assert main([*train, "--quiet", "--save", str(tmp_path / "one")]) == 0
    command = [str(mpiexec), "-n", "2", sys.executable, "-P", "-m", "mpi4py", "-m", "cbackprop"]
    command += [*train, "--mpi", "--deterministic", "--save", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training cost") == 1
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.weights[0].tobytes() == two.weights[0].tobytes()


def test_ranks_read_their_shares_of_a_streamed_file(tmp_path):
    mpiexec = Path(sys.executable).with_name("mpiexec")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("mpi4py")
    if not mpiexec.exists():
        pytest.skip("no mpiexec beside this Python")
    X = np.random.default_rng(0).normal(size=(301, 3))
    columns = {"a": X[:, 0], "b": X[:, 1], "y": X[:, 2]}
    parquet.write_table(arrow.table(columns), tmp_path / "d", row_group_size=40)
    train = ["train", str(tmp_path / "d"), "--layers", "4", "--epochs", "2", "--batch-size", "16"]
    assert main([*train, "--quiet", "--save", str(tmp_path / "1")]) == 0
    command = [str(mpiexec), "-n", "2", sys.executable, "-P", "-m", "mpi4py", "-m", "cbackprop"]
    command += [*train, "--mpi", "--deterministic", "--stream", "--save", str(tmp_path / "2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "1").weights[0].tobytes() == load(tmp_path / "2").weights[0].tobytes()
