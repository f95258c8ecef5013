"""PyTorch, torch.compile of one whole step: cost, gradients and update in one graph."""

import torch

from benchmarks.peers.torch_eager import cost

LABEL = "PyTorch, compiled"
FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "identity": lambda z: z,
}


def build(work, X, y, weights, threads, dtype):
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    stable = work.cost in ("log_likelihood", "cross_entropy")
    last = FUNCTIONS["identity" if stable else work.output]
    n = len(weights)

    def loss(parameters, x, y):
        a = x
        for l in range(n):
            z = torch.nn.functional.linear(a, parameters[2 * l], parameters[2 * l + 1])
            a = (last if l == n - 1 else FUNCTIONS[work.activation])(z)
        return cost(work, a, y)

    def step(parameters, moments, rates, x, y):
        with torch.no_grad():
            grads = torch.func.grad(loss)(parameters, x, y)
            for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                if work.optimizer == "sgd":
                    p.sub_(g, alpha=work.learning_rate)
                else:
                    first, second = moments[2 * i], moments[2 * i + 1]
                    first.lerp_(g, 0.1)
                    second.lerp_(g * g, 0.001)
                    p.sub_(rates[0] * first / ((second * rates[1]).sqrt() + 1e-8))

    parameters = [torch.from_numpy(p.copy()) for pair in weights for p in pair]
    moments = [torch.zeros_like(p) for p in parameters for _ in range(2)]
    compiled = torch.compile(step, fullgraph=True, dynamic=False)
    return {
        "work": work, "step": compiled, "parameters": parameters, "moments": moments,
        "X": torch.from_numpy(X), "y": torch.from_numpy(y), "steps": 0,
    }  # fmt: skip


def run(state, orders, shuffle):
    work, step = state["work"], state["step"]
    for order in orders:
        index = torch.from_numpy(order)
        xs, ys = state["X"][index].split(work.batch), state["y"][index].split(work.batch)
        for x, y in zip(xs, ys, strict=True):
            state["steps"] += 1
            t = state["steps"]
            rates = None
            if work.optimizer == "adam":
                rates = torch.tensor([work.learning_rate / (1 - 0.9**t), 1 / (1 - 0.999**t)])
            step(state["parameters"], state["moments"], rates, x, y)


def parameters(state):
    p = [q.numpy() for q in state["parameters"]]
    return list(zip(p[::2], p[1::2], strict=True))
