"""PyTorch, eager: nn.Sequential, the fused optimiser, one index_select an epoch."""

import torch
import torch.nn.functional as F

LABEL = "PyTorch, eager"
LAYERS = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def cost(work, out, y):
    """Mean over samples of the cost summed over outputs; out is z^L of the stable pairs."""
    if work.cost == "log_likelihood":
        return F.cross_entropy(out, y)
    if work.cost == "cross_entropy":
        return F.binary_cross_entropy_with_logits(out, y, reduction="sum") / len(y)
    return 0.5 * F.mse_loss(out, y, reduction="sum") / len(y)


def build(work, X, y, weights, threads, dtype):
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    layers = []
    for l, (w, b) in enumerate(weights):
        linear = torch.nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        layers.append(linear)
        if l < len(weights) - 1:
            layers.append(LAYERS[work.activation]())
        elif work.output == "sigmoid" and work.cost == "quadratic":
            layers.append(torch.nn.Sigmoid())
    model = torch.nn.Sequential(*layers)
    kind = torch.optim.Adam if work.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=work.learning_rate, fused=True)
    return work, model, optimizer, torch.from_numpy(X), torch.from_numpy(y)


def run(state, orders, shuffle):
    work, model, optimizer, X, Y = state
    for order in orders:
        index = torch.from_numpy(order)
        xs, ys = X[index].split(work.batch), Y[index].split(work.batch)
        for x, y in zip(xs, ys, strict=True):
            optimizer.zero_grad(set_to_none=True)
            cost(work, model(x), y).backward()
            optimizer.step()


def parameters(state):
    linear = [layer for layer in state[1] if isinstance(layer, torch.nn.Linear)]
    return [(l.weight.detach().numpy(), l.bias.detach().numpy()) for l in linear]
