"""What scikit-learn's own tests of its MLPs ask for, asked of ours.

Its test files are run as they are installed, with our classes in the place of its own
(`test_their_own_tests`). What reads private names of its implementation is asked here in other
words, and so is what its files leave open. Its tests, and where they are answered:

| scikit-learn's test | answered by |
|---|---|
| test_mlp.py: all but the four below | `test_their_own_tests` runs them |
| test_fit: a network by hand; assigns to a class that is not fitted | `test_a_step_by_hand` |
| test_gradient: calls `_loss_grad_lbfgs` | `test_gradients_are_differences` |
| test_learning_rate_warmstart: reads `_optimizer` | `test_rates_after_warm_start` |
| test_adaptive_learning_rate: reads `_optimizer` | `test_adaptive_rates_fall_until_it_stops` |
| test_base.py: binary_log_loss and log_loss at 1; private functions | `test_losses_at_certainty` |
| test_base.py: poisson_loss; a private function | `test_poisson_is_the_deviance` |
| test_stochastic_optimizers.py: updates of sgd and adam; private classes | \
`test_sklearn.py::test_full_batches_train_as_theirs`, `test_rates_that_change_train_as_theirs` |
| test_rbm.py | not an MLP |
"""

import math
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

import joblib  # noqa: E402
from sklearn import neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning  # noqa: E402
from sklearn.metrics import mean_poisson_deviance  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_validate  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler, scale  # noqa: E402
from sklearn.utils import get_tags  # noqa: E402

from cbackprop import sklearn as mine  # noqa: E402
from cbackprop.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
KINDS = ["MLPClassifier", "MLPRegressor"]
POISSON = "loss" in theirs.MLPRegressor().get_params()

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SWAPPED = """
import sys
import sklearn.neural_network
from cbackprop.sklearn import MLPClassifier, MLPRegressor
sklearn.neural_network.MLPClassifier = MLPClassifier
sklearn.neural_network.MLPRegressor = MLPRegressor
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
PRIVATE = {
    "test_fit",
    "test_gradient",
    "test_learning_rate_warmstart",
    "test_adaptive_learning_rate",
}


def both(kind, *arguments, **options):
    return [getattr(room, kind)(*arguments, **options) for room in (mine, theirs)]


def weights(mlp):
    return mlp.coefs_ + mlp.intercepts_


def equal(a, b, **bounds):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_allclose(x, y, **bounds)


def test_their_own_tests(tmp_path):
    pytest.importorskip("sklearn.neural_network.tests.test_mlp")
    command = [sys.executable, "-P", "-c", SWAPPED, "-q", "-p", "no:cacheprovider", "-rA"]
    command += ["--pyargs", "sklearn.neural_network.tests.test_mlp"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    outcome = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) \S*::(\w+)", run.stdout, re.M)
    passed = [name for what, name in outcome if what == "PASSED"]
    assert {name for what, name in outcome if what in ("FAILED", "ERROR")} == PRIVATE, run.stdout
    assert len(passed) > 45
    assert "test_mlp_warm_start_with_early_stopping" in passed


# ---- in place of those that read private names ---------------------------------------------


def test_a_step_by_hand():
    # x = (1, 2), w^1 = (0.5, -0.25), b^1 = 0: z = 0, a = 1/2. w^2 = 4, b^2 = -2: z = 0,
    # a = 1/2, y = 0: delta^2 = 1/2; delta^1 = 4 * 1/2 * 1/4 = 1/2. One sample, so alpha counts
    # whole: w^2 - eta (1/2 * 1/2 + 0.1 * 4) = 4 - 0.1 * 0.65; w^1 - eta (x / 2 + 0.1 w^1).
    mlp = MLPClassifier((1,), "logistic", solver="sgd", momentum=0, alpha=0.1,
                        learning_rate_init=0.1)  # fmt: skip
    X = np.array([[1.0, 2.0]])
    mlp.partial_fit(X, [0], classes=[0, 1])
    mlp.coefs_ = [np.array([[0.5], [-0.25]]), np.array([[4.0]])]
    mlp.intercepts_ = [np.array([0.0]), np.array([-2.0])]
    assert mlp.predict_proba(X).tolist() == [[0.5, 0.5]]
    mlp.partial_fit(X, [0])
    np.testing.assert_allclose(mlp.coefs_[1], [[3.935]], rtol=1e-12)
    np.testing.assert_allclose(mlp.intercepts_[1], [-2.05], rtol=1e-12)
    np.testing.assert_allclose(mlp.coefs_[0], [[0.445], [-0.3475]], rtol=1e-12)
    np.testing.assert_allclose(mlp.intercepts_[0], [-0.05], rtol=1e-12)
    squares = 16 + 0.5**2 + 0.25**2  # of the weights before the step
    assert mlp.loss_ == pytest.approx(math.log(2) + 0.05 * squares, rel=1e-12)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("labels", [2, 3])
def test_gradients_are_differences(activation, labels):
    rng = np.random.default_rng(1)
    X, y = rng.random((6, 5)), np.arange(6) % labels
    mlp = MLPClassifier((4,), activation, solver="lbfgs", max_iter=1, random_state=1).fit(X, y)
    net, h = mlp.network_, 1e-6
    found = net.gradients(X, y).nabla_w
    for layer, w in enumerate(net.weights):
        for j, k in np.ndindex(w.shape):
            costs = []
            for step in (h, -h):
                moved = w.copy()
                moved[j, k] += step
                net.set_weights(layer, w=moved)
                costs.append(net.evaluate(X, y)["cost"])
            net.set_weights(layer, w=w)
            assert found[layer][j, k] == pytest.approx((costs[0] - costs[1]) / 2 / h, abs=1e-8)


@pytest.mark.parametrize("rate", ["constant", "invscaling"])
def test_rates_after_warm_start(rate):
    X, y = [[3, 2], [1, 6], [5, 6], [-2, -4]], [1, 1, 1, 0]
    mlp = MLPClassifier(4, solver="sgd", learning_rate=rate, max_iter=1, power_t=0.25,
                        warm_start=True)  # fmt: skip
    for _ in range(2):
        mlp.fit(X, y)
    mlp.partial_fit(X, y)  # goes on with the rate that the second fit ended at
    last = 0.001 if rate == "constant" else 0.001 / 9**0.25
    assert mlp.network_.history.learning_rate == pytest.approx([0.001, 0.001, last])


def test_adaptive_rates_fall_until_it_stops(capsys):
    mlp = MLPClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive",
                        random_state=0, verbose=True).fit([[3, 2], [1, 6]], [1, 0])  # fmt: skip
    rates = mlp.network_.history.learning_rate
    assert rates[0] == 0.001
    assert rates[-1] < 1e-6 < rates[-1] * 5
    assert mlp.n_iter_ < 3000
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == (
        "Training loss did not improve more than tol=0.500000 for 10 consecutive epochs. "
        "Learning rate too small. Stopping."
    )
    assert sum("Setting learning rate to" in line for line in said) == 5


def test_losses_at_certainty():
    X = np.array([[1.0], [-1.0]])
    for y in ([0, 1], [[1, 0], [0, 1]]):
        mlp = MLPClassifier((1,), "identity", solver="sgd", alpha=0).partial_fit(
            X, y, classes=[0, 1]
        )
        mlp.coefs_ = [np.full((1, 1), -1e3), np.full_like(mlp.coefs_[1], 1e3)]
        mlp.partial_fit(X, y)
        assert math.isfinite(mlp.loss_)
    three = MLPClassifier((1,), "identity", solver="sgd", alpha=0)
    three.partial_fit(X, [0, 1], classes=[0, 1, 2])
    three.coefs_ = [np.full((1, 1), 1e3), np.array([[1e3, 0.0, -1e3]])]
    three.partial_fit(X, [2, 0])
    assert math.isfinite(three.loss_)


@pytest.mark.skipif(not POISSON, reason="this scikit-learn has no loss='poisson'")
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_poisson_is_the_deviance(columns, weighted):
    rng = np.random.default_rng(0)
    X = rng.random((60, 3))
    y = rng.poisson(np.exp(X[:, :columns] * 2)).astype(float)
    y = y[:, 0] if columns == 1 else y
    w = rng.random(60) + 0.1 if weighted else None
    options = {"hidden_layer_sizes": (5,), "max_iter": 30, "random_state": 1, "batch_size": 60,
               "alpha": 0.3}  # fmt: skip
    for solver in ({"solver": "lbfgs"}, {"solver": "sgd", "learning_rate_init": 0.01}):
        pair = both("MLPRegressor", "poisson", **options, **solver)
        for mlp in pair:
            mlp.fit(X, y, sample_weight=w)
        assert pair[0].out_activation_ == pair[1].out_activation_ == "exp"
        np.testing.assert_allclose(pair[0].predict(X), pair[1].predict(X), rtol=1e-4)
        assert pair[0].loss_ == pytest.approx(pair[1].loss_, rel=1e-6)
    plain = MLPRegressor("poisson", **{**options, "alpha": 0}, solver="lbfgs").fit(X, y)
    if columns == 1:
        assert plain.loss_ == pytest.approx(mean_poisson_deviance(y, plain.predict(X)) / 2)


# ---- what its files leave open -------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize(
    "rate", [{"learning_rate": "invscaling"}, {"learning_rate": "adaptive", "tol": 0.05}]
)
@pytest.mark.parametrize("nesterov", [True, False])
def test_rates_that_change_train_as_theirs(rate, momentum, nesterov):
    X, y = scale(CANCER[0]), CANCER[1]
    pair = both("MLPClassifier", (6,), solver="sgd", momentum=momentum, max_iter=60,
                nesterovs_momentum=nesterov, learning_rate_init=0.1, random_state=0,
                batch_size=len(X), n_iter_no_change=2, **rate)  # fmt: skip
    for mlp in pair:
        mlp.fit(X, y)
    equal(*pair, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=1e-9)
    assert pair[0].n_iter_ == pair[1].n_iter_
    for mlp in pair:
        for _ in range(4):
            mlp.partial_fit(X, y)
    equal(*pair, rtol=1e-7, atol=1e-9)
    assert pair[0].t_ == pair[1].t_


@pytest.mark.parametrize("data", [IRIS, CANCER, make_multilabel_classification(90, random_state=1)])
def test_the_rows_held_out_are_theirs(data):
    X, y = scale(data[0]), data[1]
    n = len(X) - math.ceil(len(X) * 0.2)
    pair = both("MLPClassifier", (6,), early_stopping=True, validation_fraction=0.2, max_iter=25,
                solver="sgd", learning_rate_init=0.3, random_state=5, batch_size=n)  # fmt: skip
    for mlp in pair:
        mlp.fit(X, y)
    assert pair[0].validation_scores_ == pair[1].validation_scores_
    assert pair[0].n_iter_ == pair[1].n_iter_
    equal(*pair, rtol=1e-7, atol=1e-9)


def test_a_class_of_one_sample_may_stop_early():
    # Held-out rows are stratified for two classes, not for more: as there.
    X, y = scale(IRIS[0]), IRIS[1].copy()
    y[0] = 7
    MLPClassifier((3,), early_stopping=True, max_iter=3, random_state=0).fit(X, y)


def test_warm_start_keeps_the_best_of_all_fits():
    X, y = scale(CANCER[0]), CANCER[1]
    mlp = MLPClassifier((5,), early_stopping=True, warm_start=True, max_iter=60, random_state=0)
    best = [w.copy() for w in weights(mlp.fit(X, y))]
    mlp.set_params(solver="sgd", learning_rate_init=30.0, max_iter=2).fit(X, y)
    assert mlp.best_validation_score_ == max(mlp.validation_scores_)
    if mlp.validation_scores_.index(mlp.best_validation_score_) < len(mlp.validation_scores_) - 2:
        assert all((a == b).all() for a, b in zip(weights(mlp), best, strict=True))
    else:
        pytest.fail("the second fit was to be worse")


def test_diverging_with_early_stopping_ends_at_the_best():
    X, y = IRIS
    mlp = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1.0, max_iter=20,
                       early_stopping=True, random_state=0)  # fmt: skip
    with pytest.warns(ConvergenceWarning, match=r"Training ended: .*not finite after epoch"):
        mlp.fit(X, y)
    assert math.isnan(mlp.validation_scores_[-1])
    assert len(mlp.loss_curve_) == len(mlp.validation_scores_) == mlp.n_iter_
    assert mlp.t_ == mlp.n_iter_ * 135
    assert np.isfinite(mlp.predict(X)).all()
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="lbfgs", random_state=0).fit(1e200 * X, y)


def test_lbfgs_ends_and_warns_as_theirs():
    X, y = scale(DIABETES[0]), DIABETES[1] / 100
    for options in ({"max_fun": 10}, {"max_iter": 7}, {"tol": 10.0}, {"max_iter": 3000}):
        heard = []
        pair = both("MLPRegressor", hidden_layer_sizes=(3,), solver="lbfgs", alpha=3.0,
                    random_state=0, **options)  # fmt: skip
        for mlp in pair:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                mlp.fit(X, y)
            heard.append([str(w.message) for w in caught])
        if options != {"max_iter": 3000}:
            assert heard[0] == heard[1], options
            assert pair[0].n_iter_ == pair[1].n_iter_
        assert heard[0] == [] or options.keys() & {"max_fun", "max_iter"}
        assert pair[0].loss_ == pytest.approx(pair[1].loss_, rel=1e-3)
        for name in ("loss_curve_", "best_loss_", "validation_scores_"):
            assert hasattr(pair[0], name) == hasattr(pair[1], name), name


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_and_tags_are_theirs(kind):
    X, y = scale(IRIS[0]), IRIS[1]
    own, other = both(kind, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    tags = get_tags(own)
    if kind == "MLPRegressor":  # it takes several targets, and theirs does not say so
        tags.target_tags.multi_output = get_tags(other).target_tags.multi_output
    assert tags == get_tags(other)
    for mlp in (own, other):
        mlp.fit(X, y)
    public = {n for n in vars(other) if n.endswith("_") and not n.startswith("_")}
    assert {n for n in public if not hasattr(own, n)} == set()
    for name in public - {"coefs_", "intercepts_", "loss_", "loss_curve_", "best_loss_"}:
        np.testing.assert_array_equal(getattr(own, name), getattr(other, name), err_msg=name)
    assert type(own.loss_) is float
    assert isinstance(own.coefs_, list)
    assert own.coefs_[0].shape == other.coefs_[0].shape


def test_weights_may_be_written_into():
    # Pruning by mlp.coefs_[0][...] = 0 is done to scikit-learn's, and must not be lost.
    X, y = scale(IRIS[0]), IRIS[1]
    pair = both("MLPClassifier", (6,), solver="lbfgs", random_state=0, max_iter=10)
    for mlp in pair:
        mlp.fit(X, y)
        before = mlp.predict_proba(X)
        mlp.coefs_[0][:2] = 0
        mlp.coefs_[1] *= 0.5
        mlp.intercepts_[1] = np.array([1.0, 2.0, 3.0])
        assert np.abs(mlp.predict_proba(X) - before).max() > 0.1
    np.testing.assert_allclose(*(mlp.predict_proba(X) for mlp in pair), rtol=1e-3, atol=1e-6)
    again = pickle.loads(pickle.dumps(pair[0]))
    assert (again.predict_proba(X) == pair[0].predict_proba(X)).all()
    assert (pair[0].network_.weights[0][:, :2] == 0).all()
    mlp = pair[0]
    old = mlp.coefs_[0]
    mlp.set_params(solver="sgd", momentum=0).partial_fit(X, y)
    assert 0 < np.abs(mlp.coefs_[0] - old).max() < 0.1
    mlp.coefs_[0] = np.zeros((3, 3))
    with pytest.raises(ValueError, match="weights"):
        mlp.predict(X)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_no_warning_that_is_not_theirs(kind):
    X, y = scale(IRIS[0]), IRIS[1]
    for options in ({"activation": "relu", "learning_rate_init": 1.0}, {"activation": "logistic"}):
        mlp = getattr(mine, kind)(
            hidden_layer_sizes=(5,) * 9, max_iter=40, random_state=0, **options
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(X, y)


@pytest.mark.filterwarnings("error")
def test_a_column_of_labels_is_taken_and_said():
    X, y = IRIS
    mlp = MLPClassifier((3,), max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning), pytest.warns(DataConversionWarning):
        mlp.fit(X, y[:, None])


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    mlp = MLPClassifier((3,), max_iter=2, early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(X, IRIS[1])
        mlp.predict(X)
    assert mlp.feature_names_in_.tolist() == list("abcd")
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        mlp.predict(X.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        mlp.predict(X[list("dcba")])


def test_pandas_come_out_of_a_pipeline():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((5,), solver="lbfgs", random_state=0))
    pipeline.set_output(transform="pandas").fit(X, IRIS[1])
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")
    assert pipeline.score(X, IRIS[1]) > 0.9


def test_metadata_is_routed():
    X, y = scale(CANCER[0]), CANCER[1]
    w = (y == 1).astype(float) + 0.01
    with sklearn.config_context(enable_metadata_routing=True):
        mlp = MLPClassifier((3,), max_iter=20, random_state=0)
        mlp.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        mlp.set_partial_fit_request(sample_weight=True, classes=True)
        assert mlp.get_metadata_routing().fit.requests == {"sample_weight": True}
        found = cross_validate(mlp, X, y, params={"sample_weight": w}, cv=3, return_estimator=True)
        plain = cross_validate(clone(mlp), X, y, params={"sample_weight": w * 0 + 1}, cv=3,
                               return_estimator=True)  # fmt: skip
    for a, b in zip(found["estimator"], plain["estimator"], strict=True):
        assert any((x != y).any() for x, y in zip(weights(a), weights(b), strict=True))


def test_searches_in_other_processes():
    X, y = load_digits(n_class=3, return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=20, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__solver": ["adam", "sgd"]}
    searches = []
    for jobs in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            searches.append(GridSearchCV(pipeline, grid, cv=3, n_jobs=jobs).fit(X, y))
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    assert (scores[0] == scores[1]).all()
    assert (searches[0].predict_proba(X) == searches[1].predict_proba(X)).all()


def test_inside_other_estimators():
    X, y = scale(IRIS[0]), IRIS[1]
    mlp = MLPClassifier((5,), solver="lbfgs", random_state=0)
    one = OneVsRestClassifier(mlp).fit(X, y)
    assert one.score(X, y) > 0.95
    assert len(one.estimators_) == 3
    calibrated = CalibratedClassifierCV(mlp, cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert calibrated.score(X, y) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_html_and_text_of_an_estimator(kind):
    own, other = both(kind, hidden_layer_sizes=(5,), alpha=0.5)
    assert repr(own) == repr(other)
    html = own._repr_html_()
    assert kind in html and "alpha" in html
    assert "not fitted" in html.lower()
    fitted = own.set_params(max_iter=1).fit(*IRIS)
    assert (
        "not fitted"
        not in re.sub(r"<style>.*?</style>", "", fitted._repr_html_(), flags=re.S).lower()
    )


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_files_of_joblib_and_clones_go_on(solver, tmp_path):
    X, y = scale(IRIS[0]), IRIS[1]
    mlp = MLPClassifier((5,), solver=solver, max_iter=5, random_state=0).fit(X, y)
    joblib.dump(mlp, tmp_path / "mlp")
    again = joblib.load(tmp_path / "mlp")
    for one in (mlp, again):
        one.partial_fit(X, y)
    assert all((a == b).all() for a, b in zip(weights(mlp), weights(again), strict=True))
    assert again.loss_curve_ == mlp.loss_curve_
    assert not hasattr(clone(mlp), "coefs_")
    assert clone(mlp).get_params() == mlp.get_params()


def test_predictions_from_several_threads():
    X, y = scale(IRIS[0]), IRIS[1]
    mlp = MLPClassifier((300, 300), max_iter=5, random_state=0, n_threads=1).fit(X, y)
    mlp.coefs_[0][0] = 0  # looked at, and written into
    X = np.tile(X, (20, 1))
    expected = mlp.predict_proba(X)
    with joblib.parallel_config("threading", n_jobs=4):
        found = joblib.Parallel()(joblib.delayed(mlp.predict_proba)(X) for _ in range(200))
    assert all((p == expected).all() for p in found)


def test_partial_fit_knows_its_classes():
    X, y = scale(IRIS[0]), IRIS[1]
    mlp = MLPClassifier((5,), random_state=0, warm_start=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        mlp.partial_fit(X[:50], y[:50])
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
        _ = MLPClassifier(solver="lbfgs").partial_fit


def test_no_hidden_layer_begins_as_theirs():
    X, y = scale(IRIS[0]), IRIS[1]
    pair = both("MLPClassifier", (), "logistic", max_iter=3, batch_size=150, random_state=0,
                epsilon=1e-20)  # fmt: skip
    for mlp in pair:
        mlp.fit(X, y)
    equal(*pair, rtol=1e-6, atol=1e-9)


def test_without_scikit_learn_the_extra_is_named():
    code = "import sys; sys.modules['sklearn'] = None\ntry:\n    import cbackprop.sklearn\n"
    code += "except ImportError as e:\n    print(e)\n"
    code += "sys.modules['scipy.optimize'] = None\nfrom cbackprop import Network\ntry:\n"
    code += "    Network([1, 1]).train([[0.0]], [[0.0]], optimizer='lbfgs')\n"
    code += "except ImportError as e:\n    print(e)\n"
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    first, second = run.stdout.splitlines()
    assert first.startswith(
        'cbackprop.sklearn needs scikit-learn: pip install "cbackprop[sklearn]"'
    )
    assert second.startswith("optimizer 'lbfgs' needs SciPy: pip install \"cbackprop[lbfgs]\"")


@pytest.mark.filterwarnings("error")
def test_lbfgs_of_float32_ends_without_a_warning():
    X, y = scale(CANCER[0]).astype(np.float32), CANCER[1]
    for kind, target in ((MLPClassifier, y), (MLPRegressor, X[:, 0])):
        mlp = kind(hidden_layer_sizes=(5,), solver="lbfgs", tol=0.0, alpha=10.0, random_state=0,
                   max_iter=2000)  # fmt: skip
        mlp.fit(X, target)
        assert mlp.n_iter_ < 2000


def test_dropout_does_not_go_with_lbfgs():
    with pytest.raises(ValueError, match=r"dropout = 0.5 does not go with optimizer 'lbfgs'"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(*IRIS)


def test_lbfgs_ends_at_the_iteration_of_theirs():
    X, y = scale(CANCER[0]), CANCER[1]
    pair = both("MLPClassifier", (3,), "tanh", solver="lbfgs", tol=0.0, alpha=100, random_state=0)
    for mlp in pair:
        mlp.fit(X, y)
    assert pair[0].n_iter_ == pair[1].n_iter_ < 30
    assert pair[0].loss_ == pytest.approx(pair[1].loss_, rel=1e-9)
