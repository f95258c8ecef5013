"""Other programs' files and objects: round trips, and one clear error for what does not fit."""

import contextlib
import json

import numpy as np
import pytest

from cbackprop import ModelFileError, Network, activations, costs
from cbackprop.book import network2

RNG = np.random.default_rng(7)
X = RNG.normal(size=(50, 4))
NAMES = [*activations.ACTIVATIONS, "leaky_relu(0.2)", "elu(0.5)"]
SCALES = {"input_scale": [0.5, 2.0, -1.0, 0.3], "input_shift": [0.1, 0.0, -0.2, 1.0]}


def network(activation="sigmoid", output="softmax", dtype="float32", sizes=(4, 7, 5, 3), **more):
    # exp of exp overflows, so its weights are small.
    more = {"rng": 5, "init": "scaled" if activation == "exp" else "book", **more}
    return Network(list(sizes), activation=activation, output=output, dtype=dtype, **more)


def rows(net):
    return X.astype(net.dtype)


def agrees(ours, theirs, bound=1e-6):
    """Equal labels, and values to 1e-6 of the largest."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= bound * max(1.0, np.abs(ours).max())
    assert (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).all()


def same(net, again):
    assert again.sizes == net.sizes and again.activations == net.activations
    assert again.cost == net.cost and again.dtype == net.dtype
    for a, b in zip(net.weights + net.biases, again.weights + again.biases, strict=True):
        assert a.tobytes() == b.tobytes()
    assert again.predict(rows(net)).tobytes() == net.predict(rows(net)).tobytes()


# ---- ONNX ---------------------------------------------------------------------------------


def run(path, X):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx")


@pytest.mark.parametrize("as_output", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_onnx_out_and_in_with_every_activation(name, as_output, dtype, tmp_path, onnx):
    net = network(**({"output": name} if as_output else {"activation": name}), dtype=dtype)
    path = tmp_path / "net.onnx"
    net.export_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    agrees(net.predict(rows(net)), run(path, rows(net)))
    same(net, Network.from_onnx(path))


def costs_and_outputs():
    for cost in costs.COSTS:
        for output in activations.ACTIVATIONS:
            try:
                Network([1, 2], output=output, cost=cost)
            except ValueError:
                continue
            yield cost, output


@pytest.mark.parametrize(("cost", "output"), list(costs_and_outputs()))
def test_every_cost_and_output_comes_back(cost, output, tmp_path, onnx):
    net = network(cost=cost, output=output)
    for out, back in ((net.export_onnx, Network.from_onnx), (net.to_npz, Network.from_npz)):
        out(tmp_path / "net")
        same(net, back(tmp_path / "net"))


@pytest.mark.parametrize("classes", [["ape", "bee", "猫"], [30, -10, 20], None])
@pytest.mark.parametrize("scales", [SCALES, {"input_scale": 1 / 3}, {"input_shift": 0.25}])
def test_onnx_scales_and_labels(classes, scales, dtype, tmp_path, onnx):
    net = network(dtype=dtype, classes=classes, **scales)
    path = tmp_path / "net.onnx"
    net.export_onnx(path)
    agrees(net.predict(rows(net)), run(path, rows(net)))
    again = Network.from_onnx(path)
    same(net, again)
    assert (again.classify(rows(net)) == net.classify(rows(net))).all()
    model = onnx.load(path)
    kinds = [node.op_type for node in model.graph.node][:3]
    assert ("Mul" in kinds) == ("input_scale" in scales)
    metadata = {p.key: p.value for p in model.metadata_props}
    assert json.loads(metadata.get("classes", "null")) == classes


def text_model(body, onnx, opset=17, shape="N,2", more=""):
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}, "other" : 1]> '
        f"g (float[{shape}] x) => (float[N,2] y) "
        f"<float[2,2] w = {{1, 2, -3, 4}}, float[2] b = {{0.5, -1}}, float one = {{1}}, "
        f"float[1] two = {{2}}, float[3] three = {{1, 2, 3}} {more}> {{ {body} }}"
    )
    return onnx.parser.parse_model(text)


FOREIGN = {
    "MatMul and Add": "p = MatMul(x, w) z = Add(b, p) y = Tanh(z)",
    "MatMul alone": "y = MatMul(x, w)",
    "Gemm with factors": "z = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b) y = Relu(z)",
    "Gemm without C": "z = Gemm(x, w) y = Softmax(z)",
    "weights transposed": "t = Transpose(w) y = MatMul(x, t)",
    "two layers at once": "p = MatMul(x, w) q = Gemm(p, w, b) y = Sigmoid(q)",
    "scales first": "s = Sub(x, b) d = Div(s, two) e = Mul(b, d) y = Gemm(e, w, b)",
    "from below": "s = Sub(b, x) z = Gemm(s, w) t = Sub(one, z) y = Relu(t)",
    "scales between": "z = Gemm(x, w, b) a = Tanh(z) s = Mul(a, b) t = Add(s, one) y = Gemm(t, w)",
    "scales after": "z = Gemm(x, w, b) s = Mul(z, b) t = Add(s, one) y = Sigmoid(t)",
    "scales at the end": "z = MatMul(x, w) s = Add(z, b) y = Div(s, two)",
    "silu the other way": "z = Gemm(x, w) s = Sigmoid(z) y = Mul(s, z)",
    "passes": "f = Flatten(x) i = Identity(f) z = Gemm(i, w) d = Dropout(z) y = Relu(d)",
    "leaky default": "z = Gemm(x, w) y = LeakyRelu(z)",
    "elu default": "z = Gemm(x, w) y = Elu(z)",
    "constant node": "c = Constant <value_float = 3.0> () z = Gemm(x, w) y = Mul(z, c)",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_graphs_of_other_programs(name, tmp_path, onnx):
    onnx.save(text_model(FOREIGN[name], onnx), tmp_path / "net.onnx")
    net = Network.from_onnx(tmp_path / "net.onnx")
    agrees(net.predict(rows(net)[:, :2]), run(tmp_path / "net.onnx", rows(net)[:, :2]))


@pytest.mark.parametrize("opset", [9, 13, 20])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("ReLU()", "relu"),
        ("GELU()", "gelu"),
        ("SiLU()", "silu"),
        ("Hardtanh()", "hard_tanh"),
        ("ELU(0.5)", "elu(0.5)"),
        ("LeakyReLU(0.2)", "leaky_relu(0.2)"),
        ("Softmax(1)", "softmax"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of this older exporter, which needs onnx alone
def test_what_pytorch_exports(theirs, ours, opset, tmp_path, onnx):
    torch = pytest.importorskip("torch")
    nn, path = torch.nn, tmp_path / "net.onnx"
    sigma = eval(f"nn.{theirs}", {"nn": nn})
    parts = [nn.Linear(4, 6), sigma, nn.Dropout(0.2), nn.Linear(6, 5, bias=False), sigma]
    model = nn.Sequential(nn.Flatten(), *parts, nn.Linear(5, 3), nn.Softmax(dim=-1)).eval()
    x = torch.from_numpy(X.astype(np.float32))
    torch.onnx.export(model, (x,), path, opset_version=opset, dynamo=False)
    net = Network.from_onnx(path)
    assert [str(sigma) for sigma in net.activations] == [ours, ours, "softmax"]
    agrees(model(x).detach().numpy(), net.predict(x.numpy()))


REFUSED = {
    "other domain's activation": ("z = Gemm(x, w) y = other.Relu(z)", "Relu"),
    "conv": ("y = Conv(x, w)", "Conv"),
    "other domain": ("y = other.Gemm(x, w)", "Gemm"),
    "unknown activation": ("z = Gemm(x, w) y = HardSwish(z)", "HardSwish"),
    "LogSoftmax": ("z = Gemm(x, w) y = LogSoftmax(z)", "LogSoftmax"),
    "two in a row": ("z = Gemm(x, w) a = Tanh(z) y = Relu(a)", "Relu"),
    "activation of the input": ("a = Tanh(x) y = Gemm(a, w)", "Tanh"),
    "other limits": ("z = Gemm(x, w) y = Clip(z, one, two)", "Clip"),
    "other axis": ("z = Gemm(x, w) y = Softmax <axis = 0> (z)", "Softmax"),
    "skip connection": ("z = Gemm(x, w) a = Relu(z) c = Gemm(a, w) y = Add(c, a)", "Gemm and Add"),
    "no layer": ("y = Add(x, one)", "no Gemm"),
    "nothing": ("", "nothing"),
    "circle": ("z = Gemm(c, w) c = Relu(z)", "nothing"),
    "scale at the end": ("z = Gemm(x, w) a = Relu(z) y = Mul(a, two)", "after the last"),
    "wrong bias": ("z = Gemm(x, w, three) y = Relu(z)", "shape"),
    "wrong scale": ("s = Mul(x, three) y = Gemm(s, w)", "broadcast|shape"),
    "transA": ("y = Gemm <transA = 1> (x, w)", "Gemm"),
    "weights first": ("y = MatMul(w, x)", "MatMul"),
    "vector weights": ("y = MatMul(x, b)", "matrix"),
    "zero": ("o = Constant <value_float = 0.0> () s = Div(x, o) y = Gemm(s, w)", "finite"),
    "training": ("t = Constant <value = bool {1}> () r = Constant <value_float = 0.5> () "
                 "d = Dropout(x, r, t) y = Gemm(d, w)", "Dropout"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_graphs_that_are_no_such_networks(name, tmp_path, onnx):
    body, what = REFUSED[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(text_model(body, onnx).SerializeToString())
    with pytest.raises(ModelFileError, match=what) as caught:
        Network.from_onnx(path)
    assert str(path) in str(caught.value)


def test_onnx_data_in_other_files_is_not_read(tmp_path, onnx):
    model = text_model("y = Gemm(x, w)", onnx)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="another file"):
        Network.from_onnx(tmp_path / "net.onnx")


def damaged(data, seed):
    """Copies with a byte changed, lost or added."""
    rng = np.random.default_rng(seed)
    for i in rng.integers(0, len(data), 300):
        yield data[:i]
        yield data[:i] + bytes([rng.integers(256)]) + data[i + 1 :]
        yield data[:i] + data[i + 1 :]


@pytest.mark.parametrize("format", ["onnx", "npz", "book_json"])
@pytest.mark.filterwarnings("ignore:.*")  # NumPy's, of headers that end too soon
def test_damage_is_one_clear_error_or_none(format, tmp_path, onnx):
    path = tmp_path / "net"
    net = network("sigmoid", "sigmoid", sizes=(4, 3, 2), classes=[5, 7])
    {"onnx": net.export_onnx}.get(format, getattr(net, f"to_{format}", None))(path)
    raised = 0
    for data in damaged(path.read_bytes(), 0):
        path.write_bytes(data)
        with contextlib.suppress(ModelFileError):
            getattr(Network, f"from_{format}")(path)
            continue
        raised += 1
    assert raised > 300


@pytest.mark.parametrize("format", ["onnx", "npz", "book_json"])
def test_files_that_are_something_else(format, tmp_path, onnx):
    read = getattr(Network, f"from_{format}")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    for data in (b"", b"PK\3\4" * 9, b"\x80\x04." * 9, b"[" * 100_000, b"{}", b"\xff" * 99):
        (tmp_path / "net").write_bytes(data)
        with pytest.raises(ModelFileError):
            read(tmp_path / "net")


def test_functions_of_your_own_are_refused(tmp_path, onnx):
    activations.register("cube_for_files", lambda z: z**3, lambda z, a: 3 * z**2)
    net = network("cube_for_files")
    for write in (net.export_onnx, net.to_npz):
        with pytest.raises(ModelFileError, match="function of your own"):
            write(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


# ---- PyTorch ------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [{}, SCALES])
@pytest.mark.parametrize("name", NAMES)
def test_torch_state_out_and_in(name, dtype, scales):
    inside = ["tanh", "tanh"] if name == "exp" else name
    net = network(inside, name, dtype=dtype, **scales)
    again = Network.from_torch(net.to_torch(), activation=inside, output=name)
    agrees(net.predict(rows(net)), again.predict(rows(net)), 1e-5 if scales else 0)


@pytest.mark.parametrize("scales", [{}, SCALES])
def test_torch_predicts_the_same(dtype, scales):
    torch = pytest.importorskip("torch")
    net = network(["relu", "tanh"], "sigmoid", dtype=dtype, **scales)
    nn = torch.nn
    layers = [nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3), nn.Sigmoid()]
    model = nn.Sequential(*layers).to(getattr(torch, dtype))
    model.load_state_dict({k: torch.from_numpy(x) for k, x in net.to_torch().items()})
    with torch.no_grad():
        agrees(net.predict(rows(net)), model(torch.from_numpy(rows(net))).numpy())
    for state in (model, model.state_dict(), list(model.state_dict().values())):
        again = Network.from_torch(state, activation=["relu", "tanh"], output="sigmoid")
        assert again.dtype == net.dtype
        agrees(net.predict(rows(net)), again.predict(rows(net)))


def test_torch_files_are_read_in_the_order_of_their_numbers(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    net = network("relu", sizes=(4, 4, 4, 4, 4, 4, 4, 4))
    numpy.save_file(net.to_torch(), tmp_path / "net.safetensors")
    again = Network.from_torch(tmp_path / "net.safetensors", activation="relu", output="softmax")
    same(net, again)  # "10.weight" comes after "2.weight"
    words = [("in.weight", np.eye(4)), ("mid.weight", np.eye(4)), ("out.weight", np.eye(4))]
    numpy.save_file(dict(words), tmp_path / "words.safetensors")
    with pytest.raises(ModelFileError, match="order of layers"):
        Network.from_torch(tmp_path / "words.safetensors")
    (tmp_path / "net.pt").write_bytes(b"PK\3\4" * 99)
    with pytest.raises(ModelFileError, match="pickle"):
        Network.from_torch(tmp_path / "net.pt")


W, B = np.ones((3, 4)), np.zeros(3)


@pytest.mark.parametrize(
    ("state", "error", "what"),
    [
        ({"0.weight": W, "1.weight": B}, ModelFileError, "batch normalisation"),
        ({"0.weight": np.ones((3, 4, 2, 2))}, ModelFileError, "Linear"),
        ({"0.weight": W, "0.bias": B[:2]}, ModelFileError, "biases"),
        ({"0.weight": W, "2.weight": W}, ModelFileError, "weights"),
        ({"0.weight": W, "1.bias": B}, ModelFileError, "no 1.weight"),
        ({"0.weight": W.astype(int)}, ModelFileError, "dtype"),
        ({"0.weight": W * np.nan}, ModelFileError, "finite"),
        ({}, ModelFileError, "shapes"),
        ([W, B, W], ModelFileError, "3 arrays"),
        (7, TypeError, "int"),
    ],
)
def test_torch_states_that_do_not_fit(state, error, what):
    with pytest.raises(error, match=what):
        Network.from_torch(state, activation="relu", output="identity")


def test_torch_modules_say_their_activations(dtype):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    between = [
        nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.3), nn.ELU(0.5), nn.SELU(), nn.SiLU(),
        nn.GELU(), nn.Softplus(), nn.Softsign(), nn.Hardtanh(), nn.Softmax(dim=1), nn.Softmax(-1),
        nn.Identity(), nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.ReLU())), nn.Sequential(),
    ]  # fmt: skip
    layers = [layer for one in between for layer in (nn.Linear(4, 4), one)]
    model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(4, 3)).to(getattr(torch, dtype)).eval()
    net = Network.from_torch(model)
    assert str(net.activations[3]) == "leaky_relu(0.3)"
    assert [str(sigma) for sigma in net.activations[-4:]] == ["identity", "relu", *["identity"] * 2]
    rows = torch.from_numpy(X.astype(dtype))
    with torch.no_grad():
        agrees(net.predict(rows.numpy()), model(rows).numpy())
    # What is given stands before what the modules say.
    net = Network.from_torch(model, output="softmax")
    assert [str(net.activations[i]) for i in (0, -1)] == ["relu", "softmax"]


def test_activations_that_nothing_says_are_asked_for():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    two = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = two[0], two[2]

    for state in (two.state_dict(), Own(), list(two.parameters())):
        with pytest.raises(ValueError, match="activation is missing: weights do not say it"):
            Network.from_torch(state, output="identity")
        with pytest.raises(ValueError, match="output is missing: weights do not say it"):
            Network.from_torch(state, activation="relu")
    for kind, message in (
        (nn.LogSoftmax(1), "LogSoftmax.* is no activation here"),
        (nn.Softplus(2.0), "Softplus.* is no activation here"),
        (nn.GELU("tanh"), "GELU.* is no activation here"),
        (nn.Hardtanh(0, 6), "Hardtanh.* is no activation here"),
        (nn.Softmax(0), "Softmax.* is no activation here"),
        (nn.Sequential(nn.ReLU(), nn.Tanh()), r"Tanh\(\) does not follow a Linear"),
    ):
        with pytest.raises(ModelFileError, match=f"{message}.*; give activation= and output="):
            Network.from_torch(nn.Sequential(nn.Linear(4, 3), kind))
    with pytest.raises(ModelFileError, match="batch normalisation"):
        Network.from_torch(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))


def test_torch_linear_without_bias():
    net = Network.from_torch({"0.weight": W}, output="identity")
    np.testing.assert_allclose(net.predict(X), X @ W.T)


# ---- scikit-learn -------------------------------------------------------------------------


def fitted(kind, library="sklearn.neural_network", **changes):
    module = pytest.importorskip(library)
    made = {"hidden_layer_sizes": (6, 5), "max_iter": 15, "random_state": 1, "tol": 0.0, **changes}
    targets = {
        "two classes": np.where(X[:, 0] > 0, "yes", "no"),
        "three classes": np.digitize(X[:, 0], [-0.5, 0.5]) + 10,
        "classes as floats": np.digitize(X[:, 0], [-0.5, 0.5]) + 1.0,
        "several labels": (X[:, :2] > 0).astype(int),
        "real": X[:, 0] * X[:, 1],
        "two real": X[:, :2] ** 2,
    }
    name = "MLPRegressor" if "real" in kind else "MLPClassifier"
    return getattr(module, name)(**made).fit(X, targets[kind])


KINDS = ["two classes", "three classes", "classes as floats", "several labels", "real", "two real"]


@pytest.mark.parametrize("library", ["sklearn.neural_network", "cbackprop.sklearn"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*converge")
def test_sklearn_predicts_the_same(kind, activation, library):
    mlp = fitted(kind, library, activation=activation)
    net = Network.from_sklearn(mlp)
    assert net.dtype == np.float64
    if "real" in kind:
        np.testing.assert_allclose(net.predict(X), mlp.predict(X).reshape(50, -1), rtol=1e-9)
        return
    probabilities = mlp.predict_proba(X)
    if kind == "two classes":
        probabilities = probabilities[:, 1:]
    np.testing.assert_allclose(net.predict(X), probabilities, rtol=1e-9)
    if kind != "several labels":
        assert (net.classify(X) == mlp.predict(X)).all()
    known = {"two classes": "cross_entropy", "several labels": "cross_entropy"}
    assert str(net.cost) == known.get(kind, "log_likelihood")


@pytest.mark.filterwarnings("ignore:.*converge")
def test_sklearn_of_ours_with_activations_of_its_own():
    mlp = fitted("real", "cbackprop.sklearn", activation=["gelu", "elu(0.5)"], cost="huber(0.5)")
    net = Network.from_sklearn(mlp)
    assert [str(sigma) for sigma in net.activations] == ["gelu", "elu(0.5)", "identity"]
    assert str(net.cost) == "huber(0.5)"
    np.testing.assert_allclose(net.predict(X)[:, 0], mlp.predict(X), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*converge")
def test_sklearn_behind_a_scaler():
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    far = X * [1, 10, 100, 0.1] + [5, -3, 0, 1]
    whole = pipeline.make_pipeline(preprocessing.StandardScaler(), fitted("real"))
    whole.fit(far, X[:, 0])
    scaler, mlp = whole
    net = Network.from_sklearn(
        mlp, input_scale=1 / scaler.scale_, input_shift=-scaler.mean_ / scaler.scale_
    )
    agrees(net.predict(far)[:, 0], whole.predict(far))


@pytest.mark.filterwarnings("ignore:.*converge")
def test_sklearn_objects_that_do_not_fit():
    neural = pytest.importorskip("sklearn.neural_network")
    with pytest.raises(ModelFileError, match="not fitted"):
        Network.from_sklearn(neural.MLPRegressor())
    with pytest.raises(TypeError, match="MLPClassifier"):
        Network.from_sklearn([1])
    for name in ("Pipeline", "GridSearchCV"):
        holder = type(name, (), {"fit": None})()
        with pytest.raises(TypeError, match=f"mlp is a {name}, .*MLPRegressor: a Pipeline's \\[-1"):
            Network.from_sklearn(holder)
    with pytest.raises(TypeError, match=r"mlp is the class MLPRegressor, .*; fit an object of it"):
        Network.from_sklearn(neural.MLPRegressor)
    mlp = fitted("real")
    mlp.loss = "absolute_error"
    with pytest.raises(ModelFileError, match="absolute_error"):
        Network.from_sklearn(mlp)


@pytest.mark.filterwarnings("ignore:.*converge")
def test_sklearn_with_exponential_outputs():
    neural = pytest.importorskip("sklearn.neural_network")
    try:
        mlp = neural.MLPRegressor("poisson", hidden_layer_sizes=(3,), max_iter=20, random_state=0)
    except TypeError:
        pytest.skip("this scikit-learn has no loss='poisson'")
    X = np.linspace(0, 1, 30)[:, None]
    mlp.fit(X, np.arange(30) % 4)
    net = Network.from_sklearn(mlp)
    assert (str(net.activations[-1]), str(net.cost)) == ("exp", "poisson")
    np.testing.assert_allclose(net.predict(X)[:, 0], mlp.predict(X), rtol=1e-12)


# ---- NPZ ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_npz_out_and_in(name, dtype, tmp_path):
    net = network(name, name, dtype=dtype, classes=["ape", "bee", "猫"], **SCALES)
    net.to_npz(tmp_path / "net.npz")
    again = Network.from_npz(tmp_path / "net.npz")
    same(net, again)
    assert again.classes.tolist() == net.classes.tolist()
    with np.load(tmp_path / "net.npz") as file:
        assert (file["w2"] == net.weights[1]).all()


def test_npz_of_weights_alone(tmp_path):
    net = network("relu", "softmax", sizes=(4, 5, 3))
    (w1, w2), (b1, b2) = net.weights, net.biases
    np.savez(tmp_path / "net.npz", w1=w1, b1=b1, w2=w2, b2=b2)
    same(net, Network.from_npz(tmp_path / "net.npz", activation="relu", output="softmax"))
    np.savez(tmp_path / "other.npz", coef=w1, intercept=b1)
    with pytest.raises(ModelFileError, match="expected w1, b1"):
        Network.from_npz(tmp_path / "other.npz")
    np.savez(tmp_path / "object.npz", w1=np.array([None]), b1=b1)
    with pytest.raises(ModelFileError, match="dtype object"):
        Network.from_npz(tmp_path / "object.npz")


# ---- the book's JSON ----------------------------------------------------------------------


@pytest.mark.parametrize("cost", ["quadratic", "cross_entropy"])
@pytest.mark.parametrize("scales", [{}, SCALES])
def test_book_json_out_and_in(cost, scales, dtype, tmp_path):
    path = tmp_path / "net.json"
    net = network("sigmoid", "sigmoid", cost=cost, dtype=dtype, **scales)
    net.to_book_json(path)
    again = Network.from_book_json(path, dtype=dtype)
    assert again.cost == net.cost
    agrees(net.predict(rows(net)), again.predict(rows(net)), 1e-6 if scales else 0)
    book = network2.load(str(path))  # network2's own classes read the same file
    a = np.array([book.feedforward(x[:, None])[:, 0] for x in X])
    agrees(net.predict(rows(net)), a)
    book.save(str(path))
    assert Network.from_book_json(path).dtype == np.float64


@pytest.mark.parametrize("changes", [{"activation": "tanh"}, {"output": "softmax"}])
def test_book_json_holds_the_books_networks_only(changes, tmp_path):
    net = network(**{"activation": "sigmoid", "output": "sigmoid", **changes})
    with pytest.raises(ModelFileError, match="use save or to_npz"):
        net.to_book_json(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


# ---- nothing is imported before it is used ----------------------------------------------------


def test_formats_are_imported_when_used():
    import subprocess
    import sys

    code = "import sys, cbackprop; print([m for m in sys.modules if m.startswith('cbackprop.io')])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
