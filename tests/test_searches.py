"""Searches by scikit-learn over joblib's processes and a Dask cluster."""

import contextlib
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from cbackprop import _threads
from cbackprop.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(120, 6))
CASES = {
    "classifier": (
        MLPClassifier((8,), max_iter=6, random_state=0),
        (X[:, 0] > X[:, 1]).astype(int),
    ),
    "regressor": (
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=6, random_state=0),
        X[:, 0] * X[:, 1],
    ),
}
GRID = {"alpha": [1e-4, 1.0], "solver": ["adam", "sgd"]}


@contextlib.contextmanager
def backend(name):
    if name == "loky":
        with joblib.parallel_config("loky", n_jobs=2):
            yield
        return
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        yield


def search(kind):
    estimator, y = CASES[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GridSearchCV(estimator, GRID, cv=3).fit(X, y)


def threads_and_rows(rows):
    # Workers make searches fast only as long as they share the cores out.
    return _threads.available(), len(rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["loky", "dask"])
def test_a_search_in_other_processes_is_the_search_in_this_one(name):
    alone = {kind: search(kind) for kind in CASES}
    with backend(name):
        found = {kind: search(kind) for kind in CASES}
        told = joblib.Parallel()(joblib.delayed(threads_and_rows)(X) for _ in range(4))
    for kind, one in alone.items():
        other = found[kind]
        for part in ("mean_test_score", "std_test_score", "split0_test_score"):
            assert (one.cv_results_[part] == other.cv_results_[part]).all()
        assert one.best_params_ == other.best_params_
        pairs = zip(
            [*one.best_estimator_.coefs_, *one.best_estimator_.intercepts_],
            [*other.best_estimator_.coefs_, *other.best_estimator_.intercepts_],
            strict=True,
        )
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    assert {rows for _, rows in told} == {len(X)}
    assert 2 * max(threads for threads, _ in told) <= max(2, _threads.available())
