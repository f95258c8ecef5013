"""Data sets that stay on disk: the bits of data in memory, one order for all, exact resume."""

import os
import pickle
import sys
import threading

import numpy as np
import pytest

from cbackprop import Checkpoint, Network, train_many
from cbackprop.datasets import Chunks, open_arrays, open_parquet
from cbackprop.io import tables

RNG = np.random.default_rng(4)
N = 503
X = RNG.normal(size=(N, 4)).astype(np.float32)
LABELS = np.arange(N) % 3
REAL = (X[:, :2] * X[:, 2:]).astype(np.float64)


def network(**changes):
    options = {"activation": "tanh", "output": "softmax", "rng": 5}
    return Network([4, 8, changes.pop("outputs", 3)], **{**options, **changes})


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


def curves(history):
    return {name: curve for name, curve in history.to_dict().items() if name != "seconds"}


def table(path, **columns):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), path, row_group_size=50)
    return str(path)


def inputs(rows=slice(None)):
    return {f"x{i}": X[rows, i] for i in range(4)}


@pytest.fixture
def opened(tmp_path):
    """The same rows as NPY files, two Parquet files, pieces of arrays."""
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", LABELS)
    halves = slice(0, 250), slice(250, None)
    paths = [
        table(tmp_path / f"{i}.parquet", **inputs(rows), y=LABELS[rows])
        for i, rows in enumerate(halves)
    ]
    return {
        "npy": open_arrays(tmp_path / "X.npy", tmp_path / "y.npy", group_rows=50, window_rows=120),
        "parquet": open_parquet(paths, target="y", window_rows=120),
        "pieces": open_arrays(
            [X[h] for h in halves], [LABELS[h] for h in halves], group_rows=50, window_rows=120
        ),
    }


OPTIONS = {
    "plain": {},
    "penalties": {"l1": 0.01, "l2": 0.1},
    "adam": {"optimizer": "adam", "dropout": 0.3, "clip_norm": 0.5},
    "full batch": {"batch_size": 1000},
}


@pytest.mark.parametrize("kind", ["npy", "parquet", "pieces"])
@pytest.mark.parametrize("name", OPTIONS)
def test_in_order_they_are_the_data_in_memory(kind, name, opened):
    options = {"epochs": 3, "batch_size": 7, "shuffle": False, **OPTIONS[name]}
    whole, chunks = network(), network()
    history = whole.train(X, LABELS, **options)
    found = chunks.train(opened[kind], **options)
    assert bits(chunks) == bits(whole)
    assert curves(found) == curves(history) == curves(chunks.history)
    assert chunks.steps == whole.steps


@pytest.mark.parametrize("options", [{}, {"batch_size": 1000}, {"epochs": 4, "l2": 0.3}])
def test_in_one_window_they_are_the_data_in_memory(options):
    whole, chunks = network(), network()
    whole.train(X, LABELS, **options)
    chunks.train(open_arrays(X, LABELS, group_rows=50), **options)
    assert bits(chunks) == bits(whole)


def test_real_targets_and_weights(tmp_path):
    w = RNG.random(N)
    path = table(tmp_path / "t", **inputs(), a=REAL[:, 0], b=REAL[:, 1], w=w)
    data = open_parquet(path, target=["a", "b"], sample_weight="w", window_rows=100)
    assert data.shape == (N, 4)
    options = {"batch_size": 10, "epochs": 2, "shuffle": False, "learning_rate": 0.1}
    whole, chunks = (network(outputs=2, output="identity", dtype="float64") for _ in range(2))
    history = whole.train(X, REAL, sample_weight=w, **options)
    found = chunks.train(data, **options)
    assert bits(whole) == bits(chunks)
    np.testing.assert_allclose(found.score, history.score, rtol=1e-12)
    for got, expected in zip(data.load(), (X, REAL, w), strict=True):
        assert (got == expected).all()


def trained(data, threads=1, parts=1):
    net = network()
    for _ in range(parts):
        net.train(data, epochs=4 // parts, batch_size=7, n_threads=threads)
    return bits(net)


def test_the_order_is_the_seeds_whatever_threads_files_and_calls(opened):
    expected = trained(opened["npy"])
    assert trained(opened["parquet"]) == trained(opened["npy"], threads=3) == expected
    assert trained(opened["pieces"], parts=2) == expected
    smaller = open_arrays(X, LABELS, group_rows=50, window_rows=60)
    assert trained(smaller) != expected  # another window, other bits


def test_both_levels_are_shuffled():
    data = open_arrays(np.arange(100.0)[:, None], np.arange(100), group_rows=5, window_rows=20)

    def order(epoch, rng=0):
        return [y.tolist() for _, y in data.windows(epoch, rng=rng, batch_size=10)]

    assert order(0) == order(0) != order(1) != order(0, rng=1)
    assert [len(window) for window in order(0)] == [20] * 5
    assert sorted(row for window in order(3) for row in window) == list(range(100))
    assert order(0) != [y.tolist() for _, y in data]
    groups = [window[i : i + 5] for window in order(0) for i in range(0, 20, 5)]
    assert all(group == list(range(group[0], group[0] + 5)) for group in groups)

    class Look:
        def __init__(self):
            self.seen = []

        def on_batch_end(self, net, epoch, batch):
            self.seen.append(net.weights[0].tobytes())

    # Rows of a window: a mini-batch is none of the rows that lie together.
    look = Look()
    net = Network([1, 1], output="identity", rng=0)
    net.train(data, batch_size=5, learning_rate=1e-6, callbacks=[look])
    plain = Network([1, 1], output="identity", rng=0)
    first = np.array(order(0)[0][:5], float)
    plain.train(first[:, None], first, learning_rate=1e-6, shuffle=False)
    assert look.seen[0] != plain.weights[0].tobytes()


def test_the_windows_are_the_blocks_of_an_epoch(opened):
    for data in opened.values():
        net, by_hand = network(), network()
        net.train(data, epochs=3, batch_size=7)
        for epoch in range(3):
            by_hand.train(list(data.windows(epoch, rng=5, batch_size=7)), batch_size=7)
        assert bits(net) == bits(by_hand)


def test_saved_as_npy_they_are_the_same(tmp_path):
    words = np.array(["ash", "elm", "oak"])[LABELS]
    path = table(tmp_path / "t", **inputs(), y=words, w=np.arange(N) + 0.5)
    data = open_parquet(path, target="y", sample_weight="w", window_rows=120)
    names = [tmp_path / name for name in "Xyw"]
    data.save_npy(*names)
    again = open_arrays(*names, group_rows=50, window_rows=120)
    assert [np.load(name).dtype for name in names] == [np.float32, words.dtype, np.float64]
    for one, other in zip(data.load(), again.load(), strict=True):
        assert one.dtype == other.dtype
        assert (one == other).all()
    assert trained(again) == trained(data)
    with pytest.raises(TypeError, match="paths: 2 given, expected 3, of X, y and sample_weight"):
        data.save_npy(*names[:2])


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ranks_read_the_windows_of_one_process(ranks, opened):
    for data in opened.values():
        alone = list(data.windows(2, rng=7, batch_size=7))
        each = [
            list(data.windows(2, rng=7, batch_size=7, rank=r, ranks=ranks)) for r in range(ranks)
        ]
        for window, *parts in zip(alone, *each, strict=True):
            sizes = [len(part[0]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            for i in range(2):
                assert (np.concatenate([part[i] for part in parts]) == window[i]).all()


@pytest.mark.parametrize("ranks", [1, 2, 3, 700])
def test_shares_are_the_whole(ranks, opened):
    for data in opened.values():
        shares = [data.share(rank, ranks) for rank in range(ranks)]
        assert sum(map(len, shares)) == N
        loaded = [share.load() for share in shares]
        assert (np.concatenate([y for _, y in loaded]) == LABELS).all()
        assert (np.concatenate([x for x, _ in loaded]) == X).all()


def test_split_labels_and_scaling(opened):
    for data in opened.values():
        train, test = data.split(0.1)
        assert (len(train), len(test)) == (453, 50)
        rows = {row.tobytes() for part in (train, test) for row in part.load()[0]}
        assert len(rows) == N
        assert data.labels().tolist() == [0, 1, 2]
        scale, shift = data.scaling()
        scaled = X * scale + shift
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-6)
        scale, shift = data.scaling("minmax")
        scaled = X * scale + shift
        np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[0] * 4, [1] * 4],
                                   atol=1e-6)  # fmt: skip
    net = network()
    history = net.train(train, epochs=2, validation_data=test.load())
    assert len(history.validation_cost) == 2


def test_words_of_all_windows_are_the_classes(tmp_path):
    words = np.array(["ash", "elm", "oak"])[np.sort(LABELS)]  # a window knows one or two of them
    path = table(tmp_path / "t", **inputs(), tree=words)
    net = network()
    net.train(open_parquet(path, target="tree", window_rows=50), batch_size=10)
    assert net.classes.tolist() == ["ash", "elm", "oak"]
    whole = network()
    whole.train(X, words, batch_size=10, shuffle=False)
    again = network()
    again.train(open_parquet(path, target="tree", window_rows=50), batch_size=10, shuffle=False)
    assert bits(again) == bits(whole)


def test_columns_of_all_kinds_have_the_bits_of_their_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    from decimal import Decimal

    columns = {
        "flag": LABELS == 1, "small": LABELS.astype(np.uint8), "long": LABELS.astype(np.int64) - 1,
        "money": [Decimal(i) / 4 for i in range(N)],
    }  # fmt: skip
    path = table(tmp_path / "t", **columns, y=LABELS)
    data = open_parquet(path, target="y")
    assert data.dtype == np.float64
    expected = np.stack([LABELS == 1, LABELS, LABELS - 1, np.arange(N) / 4], axis=1)
    assert (data.load()[0] == expected).all()
    assert open_parquet(path, target="y", features=["small", "flag"]).dtype == np.uint8
    assert open_parquet(path, target="y", features=["small"], dtype="float32").dtype == np.float32


def test_resumed_is_unbroken(tmp_path, opened):
    data, path = opened["parquet"], tmp_path / "c"
    options = {"epochs": 5, "batch_size": 7, "optimizer": "adam"}
    whole = network()
    history = whole.train(data, **options)

    class Killed(Exception):
        pass

    class Kill:
        def on_batch_end(self, net, epoch, batch):
            if (epoch, batch) == (3, 40):
                raise Killed

    broken = network()
    with pytest.raises(Killed):
        broken.train(data, checkpoint=path, callbacks=[Kill()], **options)
    for net in (broken, network(rng=9)):
        found = net.train(opened["parquet"], checkpoint=path, resume=True, **options)
        assert bits(net) == bits(whole)
        assert curves(found) == curves(history) == curves(net.history)
    complete = network().train(data, checkpoint=path, resume=True, **options)
    assert curves(complete) == curves(history)
    other = open_arrays(X[:-1], LABELS[:-1], window_rows=120)
    for changed, more, message in (
        (other, {}, "data was"),
        (data, {"class_weight": {0: 2.0}}, "class_weight was None, now"),
        (data, {"batch_size": 8}, "batch_size was 7, now 8"),
    ):
        net = network()
        with pytest.raises(ValueError, match=f"is of another training: {message}"):
            net.train(changed, checkpoint=path, resume=True, **{**options, **more})
        assert net.steps == 0
    for plan in (Checkpoint(path, every_batches=3), Checkpoint(path, every_seconds=1)):
        with pytest.raises(ValueError, match="is written after epochs; give every_epochs="):
            network().train(data, checkpoint=plan)
    with pytest.raises(ValueError, match="checkpoint with blocks is not there"):
        network().train([(X, LABELS)], checkpoint=path)


def test_many_networks_in_processes_are_sent_the_paths_only(opened):
    from concurrent.futures import ProcessPoolExecutor

    data = opened["parquet"]
    assert len(pickle.dumps(data)) < 3000
    specs = [{"sizes": [4, 8, 3], "rng": i} for i in range(2)]
    with ProcessPoolExecutor(2) as pool:
        results = train_many(specs, data, None, executor=pool, output="softmax")
        found = {i: bits(net) for i, net, _ in results}
    for i in range(2):
        net = Network([4, 8, 3], output="softmax", rng=i)
        net.train(data)
        assert found[i] == bits(net)


def test_what_stays_on_disk_is_not_all_in_memory():
    asked = []

    class Slices:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            asked.append(rows.stop - rows.start)
            return X[rows]

    y = np.asarray(LABELS)
    data = open_arrays(Slices(), y, group_rows=50, window_rows=100)
    network().train(data, batch_size=10)
    assert max(asked) <= 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x1": [*X[:-3, 1], np.nan, 1.0, 1.0]}, r"row 500, column 'x1': nan is no finite number"),
        ({"x1": [*X[:-3, 1].tolist(), None, 1.0, 1.0]}, r"row 500, column 'x1': missing value"),
        ({"y": [*LABELS[:-3].tolist(), None, 1, 1]}, r"row 500, column 'y': missing value"),
        ({"x1": ["a"] * N}, r"column 'x1' holds string, expected numbers; name the others in"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(change, message, tmp_path):
    path = table(tmp_path / "t", **{**inputs(), "y": LABELS, **change})
    with pytest.raises(ValueError, match=f"t: {message}"):
        network().train(open_parquet(path, target="y", window_rows=100), shuffle=False)


def test_files_that_are_none_or_change(tmp_path, opened):
    (tmp_path / "junk").write_bytes(b"PAR1 and junk PAR1")
    with pytest.raises(ValueError, match="damaged Parquet file"):
        open_parquet(tmp_path / "junk", target="y")
    with pytest.raises(ValueError, match="not a usable NPY array"):
        open_arrays(tmp_path / "junk", LABELS)
    for header in (b"{'descr': '<f4', 'shape': (3,", b"{'descr': ('<f4', (2,)), 'shape': (3, 4), "
                   b"'fortran_order': False}\n"):  # fmt: skip
        content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header
        (tmp_path / "junk").write_bytes(content)
        with pytest.raises(ValueError, match="junk: not a usable NPY array"):
            open_arrays(tmp_path / "junk", LABELS)
        with pytest.raises(ValueError, match="junk: not a usable NPY array"):
            tables.read_table(str(tmp_path / "junk"))
    with pytest.raises(FileNotFoundError):
        open_parquet(tmp_path / "absent", target="y")
    np.save(tmp_path / "F.npy", np.asfortranarray(X))
    with pytest.raises(ValueError, match=r"is saved column by column; save numpy\.ascontig"):
        open_arrays(tmp_path / "F.npy", LABELS)
    net, short = network(), tmp_path / "short.npy"
    short.write_bytes((tmp_path / "X.npy").read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"short.npy: the file ends \d+ numbers too early"):
        net.train(open_arrays(short, tmp_path / "y.npy"))
    for name in ("X.npy", "y.npy"):  # as many bytes, in another type
        array = np.load(tmp_path / name)
        np.save(tmp_path / name, array.view("i4" if name == "X.npy" else "f8"))
        os.utime(tmp_path / name, ns=(1, 1))
    with pytest.raises(ValueError, match=r"y.npy has changed since it was opened; open it again"):
        net.train(opened["npy"])
    table(tmp_path / "0.parquet", **inputs(slice(0, 30)), y=LABELS[:30])
    with pytest.raises(ValueError, match=r"0.parquet has changed since it was opened; open it ag"):
        net.train(opened["parquet"])
    assert net.classes is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: open_parquet(p, target="z"), ValueError, r"no column 'z' in x0, x1, x2, x3, y"),
        (lambda p: open_parquet(p, target="y", features=["x0", "y"]), ValueError, r"names 'y', wh"),
        (lambda p: open_parquet(p, target="y", features=3), TypeError, r"features = 3, expected a"),
        (lambda p: open_parquet([], target="y"), TypeError, r"paths = \[\], expected a path"),
        (lambda p: open_parquet(p, target="y", dtype="int8"), ValueError, r"dtype = 'int8'"),
        (lambda p: open_parquet(p, target="y", window_rows=0), ValueError, r"window_rows = 0"),
        (lambda p: open_arrays(X, LABELS[:-1]), ValueError, r"y has shape \(502,\), expected 503"),
        (lambda p: open_arrays(X[0], LABELS), ValueError, r"X has 1 dimensions"),
        (lambda p: open_arrays([X, X], [LABELS]), ValueError, r"y is a list of 1 arrays, X of 2"),
        (lambda p: open_arrays(X * 1j, LABELS), TypeError, r"X has dtype complex64"),
        (lambda p: open_arrays(X, LABELS).split(1.5), ValueError, r"fraction = 1.5 of 503 rows"),
        (lambda p: open_arrays(X, LABELS).share(3, 3), ValueError, r"rank = 3, expected an int"),
        (lambda p: open_arrays(X, REAL).labels(), ValueError, r"y has 2 columns, expected labels"),
        (lambda p: network().train(open_arrays(X, LABELS).share(0, 900)), ValueError, r"X has no"),
        (lambda p: open_arrays(X, LABELS).scaling("z"), ValueError, r"kind = 'z'"),
        (lambda p: network().train(open_arrays(X, LABELS), LABELS), TypeError, r"X is Chunks: giv"),
        (lambda p: network().predict(open_arrays(X, LABELS)), TypeError, r"X is Chunks: give"),
    ],
)
def test_arguments_that_are_refused(call, error, message, tmp_path):
    path = table(tmp_path / "t", **inputs(), y=LABELS)
    with pytest.raises(error, match=message):
        call(path)


def test_whoever_leaves_early_leaves_no_thread():
    data = open_arrays(X, LABELS, group_rows=50, window_rows=100)
    assert isinstance(data, Chunks)

    class Stop:
        def on_batch_end(self, net, epoch, batch):
            return True

    class Fail:
        def on_batch_end(self, net, epoch, batch):
            raise KeyError

    def readers():
        return [t for t in threading.enumerate() if t.name.startswith("cbackprop-reader")]

    network().train(data, callbacks=[Stop()])
    assert not readers()
    with pytest.raises(KeyError) as caught:
        network().train(data, callbacks=[Fail()])
    assert not readers(), caught  # whose frames are still there


def test_whoever_leaves_does_not_wait_for_the_window():
    arrived, go, taken = threading.Event(), threading.Event(), []

    class Slow:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            taken.append(rows.start)
            if rows.start == 450:
                arrived.set()
                assert go.wait(60)
            return X[rows]

    blocks = iter(open_arrays(Slow(), LABELS, group_rows=1, window_rows=400))
    next(blocks)
    assert arrived.wait(60)
    timer = threading.Timer(1, go.set)
    timer.start()
    blocks.close()  # while the second window is being read
    timer.join()
    assert max(taken) <= 451


@pytest.mark.ordinary("AddressSanitizer keeps what is freed for a while")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_peak_memory_is_that_of_two_windows(tmp_path):
    pytest.importorskip("pyarrow")
    from tests.campaigns.out_of_core import measured, write

    write(tmp_path, "small", 1, 1000, inputs=20)
    write(tmp_path, "large", 16, 100_000, inputs=20)
    # Two windows of 1 MB, and what pyarrow's allocator keeps.
    for end, most in ((".parquet", 80), ("", 24)):
        found = measured(tmp_path / f"small{end}", tmp_path / f"large{end}", 12_500)
        assert found["MB"] == 128
        assert found["MiB above"] < most


def test_targets_of_several_types_are_of_one(tmp_path):
    real = REAL[:, 0]
    halves = slice(0, 250), slice(250, None)
    y = [real[halves[0]].astype(np.float32), real[halves[1]]]
    paths = [table(tmp_path / str(i), **inputs(h), y=y[i]) for i, h in enumerate(halves)]
    for data in (
        open_parquet(paths, target="y", window_rows=120),
        open_arrays([X[h] for h in halves], y, window_rows=120),
    ):
        windows = list(data.windows(0, rng=0, shuffle=False))
        assert {window[1].dtype for window in windows} == {np.dtype(float)}
        np.testing.assert_array_equal(np.concatenate([w[1] for w in windows]), np.concatenate(y))


def test_a_share_is_told_from_another(tmp_path):
    data = open_arrays(X[:500], LABELS[:500], group_rows=50)
    digests = {
        chunks._digest() for chunks in (data.share(0, 2), data.share(1, 2), *data.split(0.5))
    }
    assert len(digests) == 4
    options = {"checkpoint": tmp_path / "a", "resume": True}
    network().train(data.share(0, 2), **options)
    with pytest.raises(ValueError, match="is of another training: data was"):
        network().train(data.share(1, 2), **options)


def test_a_rank_decodes_a_group_once(tmp_path):
    path = table(tmp_path / "t", **inputs(), y=LABELS)
    data = open_parquet(path, target="y", window_rows=10)
    source, opened = data._source, []
    pieces = source.pieces
    source.pieces = lambda *group: opened.append(group) or pieces(*group)
    parts = [
        list(data.windows(0, rng=0, shuffle=False, batch_size=5, rank=r, ranks=2)) for r in (0, 1)
    ]
    assert len(opened) == 2 * len(source.lengths)
    found = [np.concatenate([a[0], b[0]]) for a, b in zip(*parts, strict=True)]
    np.testing.assert_array_equal(np.concatenate(found), X)


def test_one_path_for_two_arrays_is_refused(tmp_path, opened):
    with pytest.raises(ValueError, match="expected different ones"):
        opened["npy"].save_npy(tmp_path / "a", tmp_path / "a")
