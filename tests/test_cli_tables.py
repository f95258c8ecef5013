"""The command line on tables as people have them: words, gaps, headers, Parquet, standard input."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cbackprop
from cbackprop import ModelFileError, Network
from cbackprop.cli import main
from cbackprop.io import model_file, tables
from cbackprop.io.columns import Columns


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
    assert code == 2, error
    assert error.startswith("cbackprop: error: ")
    assert error.count("\n") == 1
    return error


def read(text: str | bytes, **options: Any) -> tables.Table:
    Path("d.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return tables.read_table("d.csv", **options)


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


HEADER = "width,colour,height,tree\n"


def trees(n: int = 60) -> list[str]:
    """Lines whose tree is told by colour and height alone: red ones are ash, else by height."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(n):
        colour, tall = ("red", "green", "blue")[i % 3], (i // 3) % 2
        tree = "ash" if colour == "red" or tall else "elm"
        lines.append(f"{rng.normal():.3f},{colour},{100 * tall + rng.normal():.3f},{tree}\n")
    return lines


def write_trees(name: str = "trees.csv", *more: str) -> None:
    Path(name).write_text(HEADER + "".join([*trees(), *more]), encoding="utf-8")


FAST = ["--layers", "8", "--activation", "tanh", "--epochs", "60", "--scale", "standard"]


# Words


def test_words_become_an_input_each() -> None:
    table = read("a,b,y\nred,1,0\nblue,2,1\nred,3,0\ngreen,4,1\nblue,5,1\nred,6,0\ngreen,7,1\n")
    np.testing.assert_array_equal(
        table.X[:4], [[0, 0, 1, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 1, 0, 4]]
    )
    assert table.columns is not None
    assert table.columns.titles() == ["a=blue", "a=green", "a=red", "b"]
    assert table.columns.hot.tolist() == [True, True, True, False]
    assert table.columns.target == "y"


def test_words_are_kept_with_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees()
    code, output, error = run(capsys, "train", "trees.csv", *FAST, "--save", "m")
    assert (code, error) == (0, "")
    assert "trees.csv: 60 rows, 5 inputs, 2 classes\n" in output
    assert "training accuracy: 1.0000\n" in output
    net = cbackprop.load("m")
    np.testing.assert_array_equal(np.asarray(net.input_scale)[1:4], 1)
    np.testing.assert_array_equal(np.asarray(net.input_shift)[1:4], 0)
    assert "accuracy: 1\n" in run(capsys, "evaluate", "m", "trees.csv")[1]
    assert "passed" in run(capsys, "certify", "m", "trees.csv", "--rows", "2")[1]
    about = run(capsys, "info", "m")[1]
    assert "columns: width, colour=blue, colour=green, colour=red, height\ntarget: tree\n" in about

    # Columns are found by name, in whatever order, and others are no matter.
    Path("new.csv").write_text("height,note,colour,width\n1,x,red,0\n0,y,green,0\n100,z,blue,0\n")
    code, output, _ = run(capsys, "predict", "m", "new.csv")
    assert (code, output.split()) == (0, ["ash", "elm", "ash"])
    # Without names they count in the order of training, the target's column or not.
    Path("new.csv").write_text("0,red,1\n0,green,0\n0,blue,100\n")
    assert run(capsys, "predict", "m", "new.csv")[1].split() == ["ash", "elm", "ash"]

    Path("new.csv").write_text("width,colour,height\n0,red,1\n0,gren,0\n")
    message = refused(capsys, "predict", "m", "new.csv")
    assert "new.csv: line 3, column 'colour': 'gren' is no category" in message
    assert "(blue, green, red); did you mean 'green'?; " in message
    Path("new.csv").write_text("width,color,height\n0,red,1\n0,red,0\n")
    assert "no column 'colour', which" in refused(capsys, "predict", "m", "new.csv")
    assert "did you mean 'color'?" in refused(capsys, "predict", "m", "new.csv")
    Path("new.csv").write_text("width,colour,height,trees\n0,red,1,ash\n0,red,0,ash\n")
    message = refused(capsys, "evaluate", "m", "new.csv")
    assert "no column 'tree', the target of the training; did you mean 'trees'?" in message
    Path("new.csv").write_text("width,colour,height,tree\n0,red,1,ash\n0,red,0,oak\n")
    message = refused(capsys, "evaluate", "m", "new.csv")
    assert "new.csv: label oak (line 3) is not among those trained on (ash, elm)" in message


def test_numbers_as_categories(capsys: pytest.CaptureFixture[str]) -> None:
    text = "plot,x,y\n" + "".join(f"{i % 3},{i},{i % 2}\n" for i in range(12))
    assert read(text).X.shape == (12, 2)
    table = read(text, categorical=["plot"])
    assert table.X.shape == (12, 4)
    assert table.columns is not None
    assert table.columns.words == {0: ("0", "1", "2")}
    assert read(text, categorical=["0"], header="yes").columns == table.columns
    # A column named so may hold words that mean "nothing" elsewhere.
    table = read("g,x,y\nNA,1,0\nB,2,1\nNA,3,0\nB,4,1\n", categorical=["g"])
    assert table.columns is not None
    assert table.columns.words == {0: ("B", "NA")}
    Path("d.csv").write_text(text)
    message = refused(capsys, "train", "d.csv", "--categorical", "plott")
    assert "--categorical plott: no such column in plot, x, y; did you mean 'plot'?" in message
    message = refused(capsys, "train", "digits", "--categorical", "3")
    assert "--categorical 3: is for CSV and Parquet files only" in message


def test_names_are_no_categories(capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"n{i},{i % 5},{i % 2}\n" for i in range(30))
    Path("d.csv").write_text("id,x,y\n" + rows)
    message = refused(capsys, "train", "d.csv")
    assert "column 'id': 30 different words in 30 rows" in message
    assert run(capsys, "train", "d.csv", "--ignore", "id", "--save", "m")[0] == 0
    assert cbackprop.load("m").sizes[0] == 1
    assert run(capsys, "predict", "m", "d.csv")[0] == 0
    assert "no column is left" in refused(capsys, "train", "d.csv", "--ignore", "id,x")


@pytest.mark.parametrize("text", ["1,5", "$5", "12%", "1.000,25", "3 000"])
def test_what_people_take_for_numbers_is_no_category(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        read("a;b\n" + f"{text};x\n2;z\n{text};x\n{text};z\n" * 3)


# Missing values


def test_missing_values_are_refused_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees("trees.csv", ",red,1,ash\n")
    message = refused(capsys, "train", "trees.csv")
    assert "trees.csv: line 62, column 'width': missing value ''; " in message
    assert "--missing mean or --missing drop" in message
    write_trees("trees.csv", "0,NA,1,ash\n")
    assert "line 62, column 'colour': missing value 'NA'" in refused(capsys, "train", "trees.csv")


def test_the_mean_is_learned_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees("trees.csv", "?,red,100,ash\n", "0,,0,elm\n")
    table = tables.read_table("trees.csv", missing="mean")
    assert np.isnan(table.X[60:]).sum() == 1 + 3
    means = np.nanmean(table.X, axis=0)
    code, output, _ = run(capsys, "train", "trees.csv", *FAST, "--missing", "mean", "--save", "m")
    assert code == 0
    assert "62 rows, 5 inputs" in output
    net = cbackprop.load("m")
    assert net._columns is not None
    np.testing.assert_allclose(net._columns.fill, means, rtol=1e-12)
    assert "missing values: mean\n" in run(capsys, "info", "m")[1]
    Path("gap.csv").write_text("width,colour,height\n,red,0\n1,null,1\n")
    Path("whole.npy").unlink(missing_ok=True)
    X = np.array([[means[0], 0, 0, 1, 0], [1, *means[1:4], 1]])
    code, output, _ = run(capsys, "predict", "m", "gap.csv", "--probabilities")
    assert code == 0
    found = np.array([line.split(",")[1:] for line in output.splitlines()[1:]], np.float32)
    np.testing.assert_array_equal(found, net.predict(X))


def test_only_rows_to_train_on_make_the_mean(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    X[::5, 0] = np.nan
    np.save("d.npy", np.column_stack([X, np.arange(40) % 2]))
    command = ["train", "d.npy", "--missing", "mean", "--test-fraction", "0.5", "--save", "m"]
    assert run(capsys, *command)[0] == 0
    net = cbackprop.load("m")
    rows = np.sort(np.random.default_rng(0).permutation(40)[20:])
    assert net._columns is not None
    np.testing.assert_allclose(net._columns.fill, np.nanmean(X[rows], axis=0), rtol=1e-12)
    assert "row 0, column 0: missing value" in refused(capsys, "train", "d.npy")
    assert run(capsys, "evaluate", "m", "d.npy")[0] == 0


def test_rows_with_gaps_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees("trees.csv", "?,red,100,ash\n", "0,,0,elm\n", "1,red,0,\n")
    code, output, _ = run(capsys, "train", "trees.csv", *FAST, "--missing", "drop", "--save", "m")
    assert code == 0
    assert "60 rows, 5 inputs, 2 classes; 3 with missing values left out" in output
    code, output, error = run(capsys, "evaluate", "m", "trees.csv")
    assert (code, output[-12:]) == (0, "accuracy: 1\n")
    assert error == "cbackprop: note: trees.csv: 3 rows with missing values are left out\n"
    message = refused(capsys, "predict", "m", "trees.csv")
    assert "line 62, column 'width': missing value '?'; " in message
    assert "train with --missing mean" in message
    Path("d.csv").write_text("a,b,y\n" + ",1,0\n1,,1\n" * 5)
    message = refused(capsys, "train", "d.csv", "--missing", "drop")
    assert "every row has missing values" in message


@pytest.mark.parametrize("rule", ["refuse", "mean"])
def test_a_target_is_never_made_up(capsys: pytest.CaptureFixture[str], rule: str) -> None:
    for gap in ("", "?"):
        write_trees("trees.csv", f"0,red,1,{gap}\n")
        message = refused(capsys, "train", "trees.csv", "--missing", rule)
        assert f"line 62, column 'tree': missing value '{gap}' in the target" in message
        assert "--missing drop" in message


def test_a_column_of_nothing_has_no_mean(capsys: pytest.CaptureFixture[str]) -> None:
    Path("d.csv").write_text("a,b,y\n" + ",1,0\n,2,1\n" * 5)
    message = refused(capsys, "train", "d.csv", "--missing", "mean")
    assert "a: no row to train on has a value; leave it out with --ignore" in message


# Header or not


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b,y\np,q,x\nr,s,z\np,q,x\nr,s,z\n", True),  # words that do not come again
        ("p,q,x\nr,s,z\np,q,x\nr,s,z\np,q,x\n", False),  # words that do
        ("1,q,x\n2,s,z\n3,q,x\n4,s,z\n5,q,x\n", False),
        ("n,q,x\n2,s,z\n3,s,x\n4,s,z\n5,s,x\n", True),
        ('"","a","y"\n"1",5,0\n"2",6,1\n', True),  # R's row names
        ("a,b,y\n,1,0\n2,,1\n3,3,0\n", True),  # gaps below the names
        ("\ufeffa;b;y\r\n1;2;0\r\n3;4;1\r\n", True),
        ("2019,2020,y\n1,2,0\n3,4,1\n", True),
        ("a|b|y\n1|2|0\n3|4|1\n", True),
    ],
)
def test_headers_are_told_from_data(text: str, header: bool) -> None:
    table = read(text, missing="mean", task="classify")
    assert table.columns is not None
    assert (table.columns.names is not None) == header
    assert len(table.X) == len(text.splitlines()) - header


def test_a_known_header_is_one_whatever_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees()
    assert run(capsys, "train", "trees.csv", *FAST, "--save", "m")[0] == 0
    Path("new.csv").write_text("height,colour,width\n")
    assert "no lines of data below the header" in refused(capsys, "predict", "m", "new.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,a\n1,2,3\n4,5,6\n", r"several columns have the name 'a' \(column 0 and column 2"),
        ("a,b,y\n1,2,3\n\xe9,5,6\n".encode("latin-1"), r"line 3: byte 0xe9 is no text in UTF-8"),
        ("a,b,y\n1,2,3\n".encode("utf-16"), r"text in UTF-16; .* saved again as UTF-8"),
        (b"\x7fELF\0\0\0", r"no NPY, NPZ, IDX or Parquet file, and no text in UTF-8"),
        (b"PAR1 and junk PAR1", r"damaged Parquet file"),
        ("a,b,y\n1,2,3\n1e39,5,6\n", r"line 3, column 'a': '1e\+39' is too large \(over 1e38\)"),
        ("a,b,y\n1,2,3\n1,5,-1e39\n", r"line 3, column 'y': '-1e39' is too large"),
        ('a,b\n1,2\n3,"4\n', r"line 3: unexpected end of data, a quote is not closed"),
        ('a,b,y\n"1\n1",2,3\n4,5,6\n', r"line 2, column 'a': '1\\n1' is not a number"),
        ("a,b,y\n1,2,3\n" + "1,2,3\n" * 2000 + "oops,2,3\n", r"line 2003, column 'a': 'oops'"),
        ("a,b,y\n1,2,3\n" + "1,2,3\n" * 2000 + "2,3\n", r"line 2003: 2 fields, expected 3"),
    ],
)
def test_files_that_are_refused(
    capsys: pytest.CaptureFixture[str], content: str | bytes, message: str
) -> None:
    if b"PAR1" in (content if isinstance(content, bytes) else b""):
        pytest.importorskip("pyarrow")
    Path("d.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    error = refused(capsys, "train", "d.csv")
    assert re.search(r"d\.csv: " + message, error), error


def test_an_excel_workbook_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import zipfile

    with zipfile.ZipFile("d.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "d.xlsx: an Excel workbook; save the sheet as CSV" in refused(capsys, "train", "d.xlsx")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "digit: No such file or directory; did you mean 'digits'?"),
        ("no.csv", "no.csv: No such file or directory; check its name and the folder"),
        (".", ".: Is a directory; expected a file"),
    ],
)
def test_files_that_are_not_there(
    capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    assert message in refused(capsys, "train", name)


def test_a_file_that_is_named_like_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    Path("missing.csv").write_text("a,y\n1,2\n,3\n")
    assert "error: missing.csv: line 3" in refused(capsys, "train", "missing.csv")


# Scaling


def test_minmax_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    X = np.random.default_rng(0).normal(size=(30, 3)) * [1, 100, 0] + [0, 1000, 7]
    np.savez("d", X=X, y=np.arange(30) % 2)
    assert run(capsys, "train", "d.npz", "--scale", "minmax", "--save", "m")[0] == 0
    net = cbackprop.load("m")
    seen = X * net.input_scale + net.input_shift
    np.testing.assert_allclose(seen.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(seen.max(axis=0), [1, 1, 0], atol=1e-12)
    assert run(capsys, "train", "d.npz", "--scale", "none", "--save", "m")[0] == 0
    assert cbackprop.load("m").input_scale == 1
    assert run(capsys, "train", "digits", "--epochs", "1", "--scale", "none", "--save", "m")[0] == 0
    assert cbackprop.load("m").input_scale == 1


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_what_cannot_be_scaled_is_constant(kind: str) -> None:
    X = np.full((10, 3), [0.1, 1e9 + 0.1, 0.0])
    X[::2, 2] = 1e-320
    scale, shift = tables.scaling(kind, X)
    np.testing.assert_array_equal(scale, 1)
    np.testing.assert_allclose(X * scale + shift, 0, atol=1e-6)


# Standard input


def test_csv_on_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_trees()
    content = Path("trees.csv").read_bytes()
    piped(monkeypatch, content)
    code, output, _ = run(capsys, "train", "-", *FAST, "--save", "m")
    assert code == 0
    assert output.startswith("standard input: 60 rows, 5 inputs")
    for command in (["evaluate", "m", "-"], ["certify", "m", "-"], ["predict", "m", "-"]):
        piped(monkeypatch, content)
        assert run(capsys, *command)[0] == 0
    piped(monkeypatch, content + b"1,2\n")
    assert "standard input: line 62: 2 fields" in refused(capsys, "train", "-")
    piped(monkeypatch, b"")
    assert "standard input: empty" in refused(capsys, "train", "-")
    assert "--test -: standard input is DATA" in refused(capsys, "train", "-", "--test", "-")
    assert "--save '-': a model is a file" in refused(capsys, "train", "trees.csv", "--save", "-")
    assert sorted(os.listdir()) == ["m", "trees.csv"]


@pytest.mark.parametrize("kind", ["npy", "npz", "gzip"])
def test_arrays_on_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    stream = io.BytesIO(b"\x1f\x8b" if kind == "gzip" else b"")
    if kind == "npy":
        np.save(stream, np.column_stack([X, y]))
    elif kind == "npz":
        np.savez(stream, X=X, y=y)
    piped(monkeypatch, stream.getvalue())
    if kind == "gzip":
        assert "standard input: IDX images or gzip" in refused(capsys, "train", "-")
        return
    code, output, _ = run(capsys, "train", "-")
    assert code == 0
    assert "20 rows, 3 inputs, 2 classes" in output


# Parquet


def test_parquet_says_what_csv_says(capsys: pytest.CaptureFixture[str]) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [line.strip().split(",") for line in trees()]
    columns = {
        "width": [float(row[0]) for row in rows],
        "colour": [row[1] for row in rows],
        "height": [float(row[2]) for row in rows],
        "tree": [row[3] for row in rows],
    }
    table = arrow.table(columns)
    parquet.write_table(table, "trees.parquet")
    parquet.write_table(
        table.set_column(1, "colour", table.column("colour").dictionary_encode()), "coded.parquet"
    )
    write_trees()
    for name in ("trees.csv", "trees.parquet", "coded.parquet"):
        assert run(capsys, "train", name, *FAST, "--save", name + ".model")[0] == 0
    expected = cbackprop.load("trees.csv.model")
    for name in ("trees.parquet", "coded.parquet"):
        found = cbackprop.load(name + ".model")
        assert found._columns == expected._columns
        for ours, theirs in zip(found.weights, expected.weights, strict=True):
            assert ours.tobytes() == theirs.tobytes()
    predicted = [run(capsys, "predict", "trees.csv.model", f"trees.{end}")
                 for end in ("csv", "parquet")]  # fmt: skip
    assert predicted[0][0] == 0
    assert predicted[0] == predicted[1]


def test_parquet_types_and_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    import datetime
    import decimal

    table = arrow.table(
        {
            "flag": [True, False, None, True],
            "count": arrow.array([1, 2, 3, 4], arrow.uint8()),
            "price": [decimal.Decimal("1.25")] * 4,
            "number": ["1", " 2", "3", "4.5"],
            "y": [0, 1, 0, 1],
        }
    )
    parquet.write_table(table, "d.parquet")
    read_in = tables.read_table("d.parquet", missing="mean")
    np.testing.assert_array_equal(
        read_in.X, [[1, 1, 1.25, 1], [0, 2, 1.25, 2], [np.nan, 3, 1.25, 3], [1, 4, 1.25, 4.5]]
    )
    assert read_in.y is not None
    assert read_in.y.tolist() == [0, 1, 0, 1]
    assert "row 2, column 'flag': missing value" in refused(capsys, "train", "d.parquet")
    dropped = tables.read_table("d.parquet", missing="drop")
    assert (len(dropped.X), dropped.dropped) == (3, 1)
    dated = table.append_column("when", [[datetime.date(2026, 1, 1)] * 4])
    parquet.write_table(dated, "d.parquet")
    message = refused(capsys, "train", "d.parquet", "--target", "y")
    assert "column 'when': holds date32[day], expected numbers or text" in message
    assert run(capsys, "train", "d.parquet", "--target", "y", "--ignore", "when,flag")[0] == 0
    parquet.write_table(table.set_column(4, "y", [[0, None, 0, 1]]), "d.parquet")
    message = refused(capsys, "train", "d.parquet", "--missing", "mean")
    assert "row 1, column 'y': missing value in the target" in message
    dropped = tables.read_table("d.parquet", missing="drop")
    assert dropped.y is not None
    assert (dropped.X[:, 1].tolist(), dropped.y.tolist()) == ([1, 4], [0, 1])
    parquet.write_table(table.slice(0, 0), "d.parquet")
    assert "0 rows of 5 columns" in refused(capsys, "train", "d.parquet")


def test_an_unknown_word_in_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_trees()
    assert run(capsys, "train", "trees.csv", *FAST, "--save", "m")[0] == 0
    table = arrow.table({"width": [1, 2], "colour": ["red", "pink"], "height": ["1", "tall"]})
    parquet.write_table(table, "d.parquet")
    message = refused(capsys, "predict", "m", "d.parquet")
    assert "d.parquet: row 1, column 'colour': 'pink' is no category" in message
    parquet.write_table(table.set_column(1, "colour", [["red", "red"]]), "d.parquet")
    message = refused(capsys, "predict", "m", "d.parquet")
    assert "d.parquet: row 1, column 'height': 'tall' is not a number" in message


def write_numbers(name: str, n: int = 300, **more: Any) -> None:
    """A Parquet file of three inputs, a label told by the first, and a real target."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    columns = {
        "a": X[:, 0], "b": X[:, 1] * 100, "c": X[:, 2], **more,
        "tree": np.where(X[:, 0] > 0, "ash", "elm"), "height": X[:, 0] - X[:, 1],
    }  # fmt: skip
    parquet.write_table(arrow.table(columns), name, row_group_size=50)


LABELS_OF_TREES = ["--target", "tree", "--ignore", "height", "--scale", "standard"]


def test_a_streamed_file_is_the_file_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    write_numbers("d.parquet")
    common = ["train", "d.parquet", *LABELS_OF_TREES, "--layers", "4", "--epochs", "3"]
    outputs = []
    for name, more in (("m", []), ("s", ["--stream"])):
        code, output, error = run(capsys, *common, *more, "--save", name)
        assert (code, error) == (0, "")
        outputs.append(output.replace("saved: s", "saved: m"))
    assert outputs[0] == outputs[1]
    memory, stream = cbackprop.load("m"), cbackprop.load("s")
    assert stream._columns == memory._columns
    assert stream.classes is not None
    assert stream.classes.tolist() == ["ash", "elm"]
    np.testing.assert_allclose(stream.input_scale, memory.input_scale, rtol=1e-12)
    for w, v in zip(stream.weights, memory.weights, strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-4, atol=1e-6)
    assert run(capsys, "predict", "m", "d.parquet") == run(capsys, "predict", "s", "d.parquet")
    code, output, error = run(capsys, *common, "--stream", "--test-fraction", "0.1")
    assert (code, error) == (0, "")
    assert "d.parquet: 270 rows, 3 inputs, 2 classes; 30 rows held out\n" in output
    assert "test accuracy: " in output


def test_streamed_targets_matrices_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    write_numbers("d.parquet")
    reals = ["train", "d.parquet", "--ignore", "tree", "--epochs", "1", "--stream", "--save", "m"]
    assert "3 inputs, 1 real target\n" in run(capsys, *reals)[1]
    code, output, error = run(
        capsys, "train", "d.parquet", "--start", "m", "--epochs", "2", "--stream",
        "--validation", "d.parquet", "--checkpoint", "c", "--save", "m",
    )  # fmt: skip
    assert code == 0
    assert "inputs reach" in error
    assert "validation r2: " in output
    assert len(cbackprop.load("m").history) == 3
    matrix = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    matrix[:, -1] = matrix[:, 0] > 0
    np.save("d.npy", matrix)
    for target, what in (("-1", "2 classes"), ("0", "1 real target")):
        command = ["train", "d.npy", "--target", target, "--epochs", "2"]
        memory = run(capsys, *command)
        assert f"d.npy: 200 rows, 3 inputs, {what}\n" in memory[1]
        assert run(capsys, *command, "--stream") == memory


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--missing", "mean"], "--missing with --stream is not there; fill the gaps in the file"),
        (["--categorical", "a"], "--categorical with --stream is not there; leave such columns"),
        (["--validation-split", "0.1"], "--validation-split with --stream is not there; name a"),
        (["--ignore", "a"], "column 'tree' holds string, expected numbers; name the others in fe"),
        (["--target", "trees"], "--target trees: no such column in a, b, c, tree, height; did you"),
        (["--ignore", "tree", "--test-fraction", "2"], "fraction = 2.0 of 300 rows"),
    ],
)
def test_what_a_streamed_file_cannot_have(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    write_numbers("d.parquet")
    assert message in refused(capsys, "train", "d.parquet", "--stream", *options)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cbackprop.io import parquet

    write_numbers("d.parquet")
    command = ["train", "d.parquet", *LABELS_OF_TREES, "--epochs", "1"]
    free = parquet.free_memory()
    assert free is None or free > 2**20
    monkeypatch.setattr(parquet, "free_memory", lambda: 300 * 5 * 8 - 1)
    message = refused(capsys, *command)
    assert "d.parquet: 300 rows of 5 columns are 1.2e-05 GB as numbers, more than the" in message
    assert "train with --stream, or split the file" in message
    assert run(capsys, *command, "--stream")[0] == 0
    monkeypatch.setattr(parquet, "free_memory", lambda: 300 * 5 * 8)
    assert run(capsys, *command)[0] == 0


def test_files_that_cannot_be_streamed(capsys: pytest.CaptureFixture[str]) -> None:
    write_trees()
    for name in ("trees.csv", "digits"):
        message = refused(capsys, "train", name, "--stream")
        assert f"{name}: --stream reads Parquet and NPY files; leave it out" in message


def test_parquet_without_pyarrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path("d.parquet").write_bytes(b"PAR1PAR1")
    message = refused(capsys, "train", "d.parquet")
    assert 'd.parquet: Parquet needs pyarrow: pip install "cbackprop[data]"' in message


# What the model file keeps


def test_columns_go_through_file_copy_and_pickle() -> None:
    net = Network([3, 2], output="softmax", rng=0)
    net._columns = Columns(2, ("a", "b"), {1: ("x", "y")}, "mean", "t", (0.5, 0.25, 0.75))
    assert model_file.loads(model_file.dumps(net))._columns == net._columns
    plain = Network([3, 2], output="softmax", rng=0)
    assert plain._columns is model_file.loads(model_file.dumps(plain))._columns is None


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["a"]},
        {"names": ["a", "a"]},
        {"names": ["a", 1]},
        {"words": {"1": []}},
        {"words": {"2": ["x", "y"]}},
        {"words": {"one": ["x", "y"]}},
        {"words": {"1": "xy"}},
        {"words": [1]},
        {"missing": "guess"},
        {"target": 1},
        {"fill": [0.5]},
        {"fill": [0.5, 0.5, "x"]},
        {"fill": 3},
    ],
)
def test_columns_that_do_not_fit_are_damage(change: dict[str, Any]) -> None:
    net = Network([3, 2], output="softmax", rng=0)
    columns = Columns(2, ("a", "b"), {1: ("x", "y")}, "mean", "t", (0.5, 0.25, 0.75))

    class Changed:
        def to_json(self) -> dict[str, Any]:
            return {**columns.to_json(), **change}

    net._columns = Changed()  # type: ignore[assignment]
    with pytest.raises(ModelFileError):
        model_file.loads(model_file.dumps(net))
