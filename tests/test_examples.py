"""The examples of the documentation do what they say."""

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples are not here")


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_listed_and_tested():
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    assert names == [
        "decision_regions", "first_layer", "learning_slowdown", "numba_functions",
        "physics_informed", "policy_gradient", "two_costs",
    ]  # fmt: skip
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}.py]({name}.py)" in text for name in names)


def test_policy_gradient():
    before, after = example("policy_gradient").main()
    assert before < 50
    assert after > 180


def test_physics_informed():
    assert example("physics_informed").main() < 2e-3


def test_policy_gradient_is_the_gradient():
    module = example("policy_gradient")
    rng = np.random.default_rng(1)
    net = module.Network([4, 5, 2], activation="tanh", output="softmax", dtype="float64", rng=0)
    states, actions, alive = module.episodes(net, rng)
    g = module.gradient(net, states, actions, alive)

    to_come = alive[::-1].cumsum(axis=0)[::-1]
    expected = np.where(alive, to_come, 0).sum(axis=1) / np.maximum(1, alive.sum(axis=1))
    advantage = (to_come - expected[:, None])[alive] / module.STEPS

    def cost():
        taken = net.predict(states[alive])[np.arange(alive.sum()), actions[alive]]
        return -(advantage * np.log(taken)).mean()

    w = net.weights[0]
    h = 1e-6
    moved = w.copy()
    moved[2, 1] += h
    net.set_weights(0, w=moved)
    above = cost()
    moved[2, 1] -= 2 * h
    net.set_weights(0, w=moved)
    assert g.nabla_w[0][2, 1] == pytest.approx((above - cost()) / (2 * h), rel=1e-6)


def test_numba_functions():
    pytest.importorskip("numba")
    difference, _, cost = example("numba_functions").main(epochs=3)
    assert difference < 1e-12
    assert cost[-1] < cost[0] / 2


@pytest.fixture
def drawn(monkeypatch):
    """Runs an example that draws; gives its names."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    yield lambda name: runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    pyplot.close("all")
    assert shown == [[1]]


def test_decision_regions(drawn):
    scores = drawn("decision_regions")["scores"]
    assert scores["[]"] < 0.8
    assert scores["[24, 24]"] > 0.98


def test_first_layer(drawn):
    names = drawn("first_layer")
    assert min(names["accuracy"].values()) > 0.93


def test_learning_slowdown(drawn):
    names = drawn("learning_slowdown")
    assert names["ratio"]["sigmoid"] < 0.01
    assert names["ratio"]["relu"] > 0.1
    assert names["score"]["relu"] > names["score"]["sigmoid"] + 0.5


def test_two_costs(drawn):
    names = drawn("two_costs")
    slow, fast = names["outputs"]["quadratic"], names["outputs"]["cross_entropy"]
    assert slow[0] == fast[0] > 0.98
    assert slow[50] > 0.9 > 0.2 > fast[50]
