"""scikit-learn's classes over again: its own checks, its behaviour, its results."""

import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn import neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler, scale  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from cbackprop import sklearn as mine  # noqa: E402
from cbackprop.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
KINDS = ["MLPClassifier", "MLPRegressor"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::cbackprop.LearningWarning"),
]


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
@pytest.mark.filterwarnings("ignore")
def test_check_estimator(estimator, check):
    check(estimator)


def both(kind, *arguments, **options):
    return [getattr(room, kind)(*arguments, **options) for room in (mine, theirs)]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_and_defaults_are_theirs(kind):
    own, other = both(kind)
    parameters = other.get_params()
    assert {name: own.get_params()[name] for name in parameters} == parameters
    extra = set(own.get_params()) - set(parameters)
    assert extra == {"dropout", "cost", "n_threads"} | (
        {"class_weight"} if kind == "MLPClassifier" else set()
    )


# Where eps counts, Adam is PyTorch's here and the paper's second form there.
SMALL = {"epsilon": 1e-20}

CASES = [
    ("MLPClassifier", IRIS, {}),
    ("MLPClassifier", CANCER, {}),
    ("MLPRegressor", DIABETES, {}),
    ("MLPClassifier", IRIS, {"activation": "logistic", "alpha": 0.5}),
    ("MLPRegressor", (DIABETES[0], np.stack([DIABETES[1], -DIABETES[1]], 1)), {"alpha": 2.0}),
    ("MLPClassifier", make_multilabel_classification(80, 6, random_state=0), {}),
]


@pytest.mark.parametrize(("kind", "data", "options"), CASES)
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam", **SMALL},
        {"solver": "sgd"},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0, "learning_rate": "invscaling"},
        {"solver": "sgd", "momentum": 0},
    ],
)
def test_full_batches_train_as_theirs(kind, data, options, solver):
    # The same initial weights, and one mini-batch an epoch: no order of samples comes in.
    X, y = scale(data[0]), data[1] / 100 if kind == "MLPRegressor" else data[1]
    pair = both(kind, hidden_layer_sizes=(7, 5), batch_size=len(X), max_iter=20, random_state=3,
                **options, **solver)  # fmt: skip
    for mlp in pair:
        mlp.fit(X, y)
    own, other = pair
    for a, b in zip(own.coefs_ + own.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
    # ours counts the penalty with the weights after the epoch, theirs before
    np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=2e-2)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(own, name) == getattr(other, name), name
    np.testing.assert_allclose(own.predict(X), other.predict(X), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_samples_train_as_theirs(kind):
    X, y = scale(CANCER[0]), CANCER[1]
    w = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    pair = both(kind, batch_size=len(X), max_iter=10, random_state=3, alpha=1.0,
                **SMALL)  # fmt: skip
    for mlp in pair:
        mlp.fit(X, y, sample_weight=w)
    for a, b in zip(pair[0].coefs_, pair[1].coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


# With several real targets scikit-learn gives the line search a loss that is not its gradient's.
@pytest.mark.parametrize(("kind", "data", "options"), CASES[:4] + CASES[5:])
def test_lbfgs_is_as_good_as_theirs(kind, data, options):
    X, y = scale(data[0]), data[1] / 100 if kind == "MLPRegressor" else data[1]
    pair = both(
        kind, hidden_layer_sizes=(7,), solver="lbfgs", max_iter=15, random_state=3, **options
    )
    for mlp in pair:
        mlp.fit(X, y)
    for a, b in zip(pair[0].coefs_, pair[1].coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert pair[0].loss_ == pytest.approx(pair[1].loss_, rel=1e-5)
    assert pair[0].n_iter_ == pair[1].n_iter_


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("rate", ["constant", "adaptive"])
def test_it_stops_where_nothing_improves(early, rate):
    X, y = scale(IRIS[0]), IRIS[1]
    options = {"tol": 0.02, "n_iter_no_change": 3, "learning_rate": rate, "solver": "sgd"}
    mlp = MLPClassifier((5,), random_state=1, early_stopping=early, max_iter=2000, **options)
    mlp.fit(X, y)
    assert mlp.n_iter_ < 2000
    assert len(mlp.loss_curve_) == mlp.n_iter_
    curve = np.array(mlp.validation_scores_ if early else mlp.loss_curve_)
    if early:
        assert mlp.best_loss_ is None
        assert mlp.best_validation_score_ == curve.max()
    else:
        assert mlp.best_loss_ == curve.min()
        assert mlp.validation_scores_ is None
    if rate == "constant":
        last = curve[-4:]  # the last that improved, and more than 3 that did not
        assert (abs(np.diff(last)) < 0.1).all()


def test_early_stopping_keeps_the_best_weights():
    X, y = scale(CANCER[0]), CANCER[1]
    mlp = MLPClassifier((5,), early_stopping=True, random_state=1, max_iter=300).fit(X, y)
    assert mlp.best_validation_score_ == max(mlp.validation_scores_)
    again = clone(mlp).fit(X, y)
    assert again.validation_scores_ == mlp.validation_scores_
    assert all((a == b).all() for a, b in zip(mlp.coefs_, again.coefs_, strict=True))


def test_warnings_are_theirs():
    X, y = IRIS
    with pytest.warns(ConvergenceWarning, match=r"Stochastic Optimizer: Maximum iterations \(3\)"):
        MLPClassifier(max_iter=3).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 2 iter"):
        MLPClassifier(max_iter=2, solver="lbfgs").fit(X, y)
    with pytest.warns(UserWarning, match=r"It is going to be clipped"):
        MLPClassifier(max_iter=3, batch_size=1000).fit(X, y)


def test_partial_fit_is_an_epoch():
    X, y = scale(IRIS[0]), IRIS[1]
    whole = MLPClassifier((5,), solver="sgd", max_iter=6, random_state=2, batch_size=20)
    parts = clone(whole)
    whole.fit(X, y)
    for _ in range(6):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    assert all((a == b).all() for a, b in zip(whole.coefs_, parts.coefs_, strict=True))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 900
    with pytest.raises(ValueError, match="not the same as on last call"):
        parts.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        parts.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(X, y)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


def test_warm_start_goes_on():
    X, y = scale(IRIS[0]), IRIS[1]
    mlp = MLPClassifier((5,), max_iter=5, warm_start=True, random_state=2).fit(X, y)
    before = mlp.loss_curve_[-1]
    mlp.fit(X, y)
    assert len(mlp.loss_curve_) == 10
    assert mlp.loss_curve_[5] < mlp.loss_curve_[0]
    assert mlp.loss_curve_[5] == pytest.approx(before, rel=0.1)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        mlp.fit(X, y % 2)


def test_labels_of_any_kind_and_probabilities():
    X, y = scale(IRIS[0]), np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
    mlp = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    assert mlp.score(X, y) > 0.95
    p = mlp.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (mlp.classes_[p.argmax(axis=1)] == mlp.predict(X)).all()
    np.testing.assert_allclose(np.exp(mlp.predict_log_proba(X)), p)
    two = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y == "setosa")
    assert two.predict_proba(X).shape == (150, 2)
    assert two.score(X, y == "setosa") == 1


def test_sparse_input_and_float32():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = scale(IRIS[0]).astype(np.float32), IRIS[1]
    dense = MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    other = MLPClassifier((5,), max_iter=5, random_state=0).fit(sparse.csr_matrix(X), y)
    assert (dense.predict_proba(X) == other.predict_proba(sparse.csc_matrix(X))).all()
    assert dense.predict_proba(X).dtype == dense.coefs_[0].dtype == np.float32


def test_our_own_parameters():
    X, y = scale(CANCER[0]), CANCER[1]
    mlp = MLPClassifier(
        (8, 8), activation=["relu", "gelu"], solver="nadam", dropout=0.2, class_weight="balanced",
        n_threads=1, max_iter=50, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert mlp.score(X, y) > 0.95
    assert [str(s) for s in mlp.network_.activations] == ["relu", "gelu", "sigmoid"]
    plain = clone(mlp).set_params(class_weight=None).fit(X, y)
    assert (plain.coefs_[0] != mlp.coefs_[0]).any()
    robust = MLPRegressor(cost="huber(0.5)", max_iter=50, random_state=0).fit(X, y)
    assert str(robust.network_.cost) == "huber(0.5)"


def test_what_users_do_with_estimators():
    X, y = IRIS
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), solver="lbfgs", random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 10.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
    again = pickle.loads(pickle.dumps(search))
    assert (again.predict(X) == search.predict(X)).all()
    assert "MLPClassifier" in pipeline._repr_html_()
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9


def test_weights_may_be_assigned():
    X, y = IRIS
    mlp = MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    mlp.coefs_ = [0 * w for w in mlp.coefs_]
    mlp.intercepts_ = [0 * b for b in mlp.intercepts_]
    np.testing.assert_allclose(mlp.predict_proba(X), 1 / 3)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    assert not hasattr(MLPClassifier(), "coefs_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"alpha": -1},
            r"The 'alpha' parameter of MLPClassifier must be a float in the range "
            r"\[0.0, inf\). Got -1 instead",
        ),
        ({"hidden_layer_sizes": -1}, r"'hidden_layer_sizes' parameter .* \[1, inf\). Got -1"),
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, got \[3, 0\]"),
        ({"learning_rate_init": 0}, r"'learning_rate_init' parameter .* \(0.0, inf\)"),
        ({"momentum": 2}, r"'momentum' parameter"),
        ({"learning_rate": "odd"}, r"a str among \{.*'adaptive'.*\}. Got 'odd'"),
        ({"solver": "adan"}, r"'adan'.*did you mean 'adam'"),
        ({"activation": "taanh"}, r"'taanh'.*did you mean 'tanh'"),
        ({"batch_size": 0}, r"'batch_size' parameter .* an int in the range \[1, inf\). Got 0"),
        ({"shuffle": "no"}, r"'shuffle' parameter of MLPClassifier must be an instance of 'bool'"),
        ({"early_stopping": True, "validation_fraction": 0.005}, r"test_size|too small"),
    ],
)
def test_parameters_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(*IRIS)


def test_divergence_is_a_value_error():
    X, y = DIABETES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
            MLPRegressor(solver="sgd", learning_rate_init=1e3).fit(X * 1e30, y * 1e30)
