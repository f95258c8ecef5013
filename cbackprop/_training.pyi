from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop._engine import Engine, Rows, Targets

def train(
    engine: Engine,
    x: Rows,
    y: Targets,
    position: tuple[int, int, float],
    sums: NDArray[np.float64],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    l2: float,
    key: int,
    shuffled: bool,
    score: int,
    threads: int,
) -> tuple[
    str,
    tuple[int, int, float],
    int,
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    Any,
]: ...
