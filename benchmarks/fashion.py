"""Fashion-MNIST at the book's settings, and with adam and dropout, on the uint8 images:
python benchmarks/fashion.py   (needs the four IDX files: Debian's dataset-fashion-mnist)
"""

import time
from typing import Any

from cbackprop import Network
from cbackprop.datasets import Dataset, load_fashion_mnist


def book(data: Dataset, hidden: int, cost: str, eta: float, l2: float) -> tuple[float, float]:
    """Test accuracy and seconds of the book's training: 30 epochs, mini-batches of 10."""
    net = Network([784, hidden, 10], cost=cost, input_scale=data.input_scale, rng=0)
    options = {"batch_size": 10, "learning_rate": eta, "l2": l2}
    return result(net, data, options)


def relu_with_dropout(data: Dataset) -> tuple[float, float]:
    """Test accuracy and seconds: 784-100-10, adam at 0.001, dropout 0.2, mini-batches of 100."""
    net = Network(
        [784, 100, 10], activation="relu", output="softmax", init="he",
        input_scale=data.input_scale, rng=0,
    )  # fmt: skip
    return result(net, data, {"batch_size": 100, "optimizer": "adam", "dropout": 0.2})


def result(net: Network, data: Dataset, options: dict[str, Any]) -> tuple[float, float]:
    start = time.perf_counter()
    net.train(data.X_train, data.y_train, epochs=30, **options)
    seconds = time.perf_counter() - start
    return net.evaluate(data.X_test, data.y_test)["accuracy"], seconds


def main() -> None:
    data = load_fashion_mnist()
    # The book's rates: 3.0 for the quadratic cost (chapter 1), 0.5 for the cross-entropy
    # with lambda = 5 (chapter 3).
    for hidden in (30, 100):
        for cost, eta, l2 in (("quadratic", 3.0, 0.0), ("cross_entropy", 0.5, 5.0)):
            accuracy, seconds = book(data, hidden, cost, eta, l2)
            print(
                f"784-{hidden}-10 {cost:<14} eta {eta} lambda {l2}: "
                f"test accuracy {accuracy:.4f}, 30 epochs in {seconds:.1f} s",
                flush=True,
            )
    accuracy, seconds = relu_with_dropout(data)
    print(
        f"784-100-10 relu, softmax, adam 0.001, dropout 0.2, batch 100: test accuracy "
        f"{accuracy:.4f}, 30 epochs in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
