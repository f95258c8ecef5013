"""A pipeline and a grid search over the digits, with scikit-learn's MLPClassifier and with ours in
turn: python -m benchmarks.grid_search
"""

import statistics
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cbackprop.sklearn import MLPClassifier as Ours

GRID = {
    "mlpclassifier__hidden_layer_sizes": [(50,), (100,)],
    "mlpclassifier__alpha": [1e-4, 1e-2],
}
REPEATS = 5


def search(kind: type) -> tuple[float, float]:
    """Seconds and the best score."""
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), kind(random_state=0, max_iter=60))
    start = time.perf_counter()
    found = GridSearchCV(pipeline, GRID, cv=3).fit(X.astype(np.float32), y)
    return time.perf_counter() - start, found.best_score_


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    times: dict[type, list[float]] = {Ours: [], Theirs: []}
    for _ in range(REPEATS):
        for kind, seconds in times.items():
            one, score = search(kind)
            seconds.append(one)
            print(f"{kind.__module__:<42} {one:6.2f} s  score {score:.4f}", flush=True)
    ratio = statistics.median(times[Theirs]) / statistics.median(times[Ours])
    print(f"ours is {ratio:.1f} times as fast")


if __name__ == "__main__":
    main()
