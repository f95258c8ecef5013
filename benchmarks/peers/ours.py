"""cbackprop's Network.train, all its checks included."""

from cbackprop._bench import network

LABEL = "cbackprop"


def build(work, X, y, weights, threads, dtype):
    return work, network(work, weights, dtype), X.astype(dtype), y, threads


def run(state, orders, shuffle):
    work, net, X, y, threads = state
    net.train(
        X, y, epochs=len(orders), batch_size=work.batch, optimizer=work.optimizer,
        learning_rate=work.learning_rate, shuffle=shuffle, n_threads=threads,
    )  # fmt: skip


def parameters(state):
    return list(zip(state[1].weights, state[1].biases, strict=True))
