"""One-row predict from Python, one rival a process: python -m benchmarks.predict PEER SIZES."""

import itertools
import json
import resource
import sys
import timeit

import numpy as np

PEERS = ("ours", "onnxruntime", "numpy", "torch")
SIZES = ("4-64-64-2", "784-128-64-10")


def parameters(sizes):
    rng = np.random.default_rng(7)
    return [
        ((rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32), np.zeros(b, np.float32))
        for a, b in itertools.pairwise(sizes)
    ]


def ours(sizes, weights):
    import cbackprop

    net = cbackprop.Network(sizes, activation="relu", output="identity", rng=0)
    net.weights, net.biases = [w for w, _ in weights], [b for _, b in weights]
    return net.predict


def with_numpy(sizes, weights):
    layers = [(np.ascontiguousarray(w.T), b) for w, b in weights]

    def predict(x):
        for w, b in layers[:-1]:
            x = np.maximum(x @ w + b, 0)
        w, b = layers[-1]
        return x @ w + b

    return predict


def with_torch(sizes, weights):
    import torch

    torch.set_num_threads(1)
    layers = []
    for w, b in weights:
        linear = torch.nn.Linear(w.shape[1], w.shape[0])
        linear.weight.data, linear.bias.data = torch.from_numpy(w), torch.from_numpy(b)
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).eval()

    def predict(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return predict


def with_onnxruntime(sizes, weights):
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, initial, name = [], [], "x"
    for l, (w, b) in enumerate(weights):
        initial += [numpy_helper.from_array(w, f"w{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{l}", f"b{l}"], [f"z{l}"], transB=1))
        name = f"z{l}"
        if l < len(weights) - 1:
            nodes.append(helper.make_node("Relu", [name], [f"a{l}"]))
            name = f"a{l}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, sizes[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, sizes[-1]])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(None, {"x": x})[0]


def main():
    peer, text = sys.argv[1:3]
    sizes = [int(n) for n in text.split("-")]
    weights = parameters(sizes)
    build = {
        "ours": ours,
        "numpy": with_numpy,
        "torch": with_torch,
        "onnxruntime": with_onnxruntime,
    }
    predict = build[peer](sizes, weights)
    x = np.random.default_rng(0).random((1, sizes[0]), np.float32)
    assert np.allclose(predict(x), with_numpy(sizes, weights)(x), atol=1e-5)
    timeit.timeit(lambda: predict(x), number=2000)
    print(json.dumps({"label": peer}), flush=True)
    for _ in sys.stdin:
        us = min(timeit.repeat(lambda: predict(x), number=1000, repeat=5)) * 1e3
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"us": us, "rss_mb": peak / 1024}), flush=True)


if __name__ == "__main__":
    main()
