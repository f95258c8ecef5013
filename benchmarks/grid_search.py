"""A pipeline and a grid search, with scikit-learn's class and with ours in turn:

    python -m benchmarks.grid_search [--table digits,cancer,wine,diabetes,fashion] [--seeds 5]

The tables come with scikit-learn; fashion is 6,000 images of Fashion-MNIST where Debian's
dataset-fashion-mnist is installed.
"""

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cbackprop import sklearn as ours
from cbackprop.datasets import load_fashion_mnist

BUNDLED = {
    "digits": datasets.load_digits,
    "cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


def table(name: str) -> tuple[Any, Any]:
    """X in float32, and y; real targets in units of their deviation."""
    if name == "fashion":
        data = load_fashion_mnist()
        return data.X_train[:6000].astype(np.float32), data.y_train[:6000]
    X, y = BUNDLED[name](return_X_y=True)
    return X.astype(np.float32), (y - y.mean()) / y.std() if name == "diabetes" else y


def search(module: Any, name: str, X: Any, y: Any, seed: int) -> tuple[float, float]:
    """Seconds and the best score."""
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    mlp = getattr(module, kind)(random_state=seed, max_iter=20 if name == "fashion" else 60)
    grid: dict[str, list[Any]] = {f"{kind.lower()}__alpha": [1e-4, 1e-2]}
    if name != "fashion":
        grid[f"{kind.lower()}__hidden_layer_sizes"] = [(50,), (100,)]
    start = time.perf_counter()
    found = GridSearchCV(make_pipeline(StandardScaler(), mlp), grid, cv=3).fit(X, y)
    return time.perf_counter() - start, found.best_score_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", default="digits,cancer,wine,diabetes")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in options.table.split(","):
        X, y = table(name)
        print(f"{name}: {X.shape[0]} rows of {X.shape[1]}")
        runs: dict[Any, list[tuple[float, float]]] = {ours: [], neural_network: []}
        for seed in range(options.seeds):
            for module, results in runs.items():
                results.append(search(module, name, X, y, seed))
        for module, results in runs.items():
            seconds, scores = zip(*results, strict=True)
            deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
            text = (
                f"median {statistics.median(seconds):7.2f} s, score {statistics.mean(scores):.4f}"
            )
            print(f"  {module.__name__:<24} {text}, deviation {deviation:.4f}", flush=True)
        mine, theirs = ([s for s, _ in results] for results in runs.values())
        ratio = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
        print(f"  ours is {ratio:.1f} times as fast", flush=True)


if __name__ == "__main__":
    main()
