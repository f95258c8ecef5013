"""Types as a user meets them, and stubs that say what the compiled modules have."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cbackprop

pytest.importorskip("mypy")

FOLDER = Path(cbackprop.__file__).parent
STUBS = sorted(f"cbackprop.{path.stem}" for path in FOLDER.glob("*.pyi"))

TYPICAL = """
from pathlib import Path

import numpy as np

import cbackprop
from cbackprop import (
    Certificate, DivergenceError, EarlyStopping, History, LearningWarning, ModelFileError, Network,
    activations, certify, costs, datasets, load, optimizers, report, schedules, show_config,
    train_many,
)

X = np.zeros((20, 4), np.float32)
y = np.arange(20) % 3
net = Network([4, 8, 3], activation="tanh", output="softmax", dtype="float64", rng=0,
              input_scale=[1, 2, 3, 4], classes=["a", "b", "c"])
hist: History = net.train(
    X, y, epochs=2, batch_size=5, optimizer=optimizers.Adam(beta1=0.8),
    learning_rate=schedules.Cosine(0.1, 10), validation_split=0.1, l2=0.1, dropout=[0.0, 0.2],
    early_stopping=EarlyStopping(patience=3), class_weight="balanced", n_threads=1,
)
net.train(X.tolist(), [0, 1] * 10, learning_rate=lambda epoch: 0.1 / (1 + epoch))
net.train(((X, y) for _ in range(2)), epochs=1)
costs_: list[float] = hist.cost
norms: list[list[float]] = hist.delta_norms
a: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = net.predict(X, n_threads=1)
scores: dict[str, float] = net.evaluate(X, y)
g = net.gradients(X, y)
first = g.nabla_w[0].sum() + g.cost
net.apply_gradients(g, optimizer="sgd", learning_rate=0.1)
net.pullback(X, np.zeros((20, 3)))
v = net.hessian_vector_product(X, y, np.zeros(67))
J = net.jacobian(X), net.input_gradient(X, y)
net.weights = [w * 2 for w in net.weights]
net.set_weights(0, b=np.zeros(8))
certificate: Certificate = certify(net, X, y)
if not certificate.passed:
    raise SystemExit(str(certificate))
net.save("model.cbp")
net.save(Path("model.cbp"))
again: Network = load("model.cbp")
net.export_c(Path("model.h"))
try:
    Network.from_onnx("model.onnx")
except (ModelFileError, DivergenceError) as error:
    print(error)
for index, trained, result in train_many([{"sizes": [4, 3]}], X, y, epochs=1):
    print(index, trained, result)
swish = activations.register("swish", lambda z: z * z, lambda z, a: 2 * z)
Network([4, 3], activation=[], output=swish, cost=costs.huber(0.5))
print(cbackprop.__version__, show_config()["kernels"], LearningWarning)
report(net, hist, X, y, path="report.html")
data = datasets.load_digits()
print(data.X_train.shape, np.argmax(a, axis=1))
"""

WRONG = {
    "Network(4)": "arg-type",
    "Network([4, 2], rng='seed').train(X, y, epochs='ten')": "arg-type",
    "Network([4, 2]).predict(X).no_such_method()": "attr-defined",
    "Network([4, 2]).trains(X, y)": "attr-defined",
    "cbackprop.certifies": "attr-defined",
}


def mypy(*arguments, cwd):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def check(text, folder):
    (folder / "typical.py").write_text(text, encoding="utf-8")
    return mypy("mypy", "--strict", "--cache-dir", folder / "cache", "typical.py", cwd=folder)


def test_typical_calls_pass_strictly_and_wrong_ones_do_not(tmp_path):
    run = check(TYPICAL, tmp_path)
    assert run.returncode == 0, run.stdout
    run = check(TYPICAL + "".join(f"{line}\n" for line in WRONG), tmp_path)
    first = TYPICAL.count("\n") + 1
    for line, (text, code) in enumerate(WRONG.items(), start=first):
        assert re.search(rf"typical.py:{line}: error: .*\[{code}\]", run.stdout), (text, run.stdout)


def test_the_package_says_that_it_is_typed():
    assert (FOLDER / "py.typed").is_file()


def test_every_compiled_module_that_python_imports_has_a_stub():
    compiled = {path.name.partition(".")[0] for path in FOLDER.glob("_*.so")}
    wanted = set()
    for path in FOLDER.rglob("*.py"):
        for names in re.findall(
            r"from cbackprop import (\([^)]*\)|.*)", path.read_text(encoding="utf-8")
        ):
            wanted |= set(re.findall(r"\w+", names.partition("#")[0])) & compiled
    assert wanted
    assert {f"cbackprop.{name}" for name in wanted} <= set(STUBS)


def test_stubs_say_what_the_modules_have(tmp_path):
    # What only other compiled modules use, and what Cython adds, is in no stub.
    options = ["--concise", "--ignore-missing-stub", "--ignore-disjoint-bases"]
    run = mypy("mypy.stubtest", *options, *STUBS, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
