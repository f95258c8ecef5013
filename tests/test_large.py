"""More than 2^31 numbers in one array: a sparse file, mapped into memory."""

import numpy as np
import pytest

from cbackprop import Network

COLUMNS, ROWS = 2048, 2**20 + 8


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_more_than_two_to_the_31_numbers(tmp_path, n_threads):
    path = tmp_path / "X"
    with path.open("wb") as file:
        file.truncate(ROWS * COLUMNS)
    X = np.memmap(path, np.uint8, "r+", shape=(ROWS, COLUMNS))
    assert X.size > 2**31
    last = np.random.default_rng(0).integers(0, 256, (8, COLUMNS), dtype=np.uint8)
    X[-8:] = last
    net = Network([COLUMNS, 2, 3], output="softmax", input_scale=1 / 255, rng=0)
    rows = np.r_[0:4, ROWS - 12 : ROWS]
    a = net.predict(X, n_threads=n_threads)
    assert a[rows].tobytes() == net.predict(np.asarray(X[rows])).tobytes()
    # Rows of weight 0 change nothing: training on all is training on the last eight.
    y, weight = np.arange(ROWS) % 3, np.zeros(ROWS)
    weight[-8:] = 1
    few = Network([COLUMNS, 2, 3], output="softmax", input_scale=1 / 255, rng=0)
    options = {"batch_size": 8, "shuffle": False, "learning_rate": 0.5}
    net.train(X, y, sample_weight=weight, n_threads=n_threads, **options)
    few.train(last, y[-8:], n_threads=1, **options)
    assert net.weights[0].tobytes() == few.weights[0].tobytes()
    with pytest.raises(ValueError, match="y has 5 rows"):
        net.gradients(X, y[:5])
