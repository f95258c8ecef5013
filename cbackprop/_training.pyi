from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop._engine import Engine, Rows, Targets
from cbackprop._updates import State
from cbackprop.history import History
from cbackprop.optimizers import Optimizer

def train(
    engine: Engine,
    x: Rows,
    y: Targets,
    here: Any,
    shape: tuple[int, ...],
    first: int,
    epochs: int,
    batch_size: int,
    state: State,
    rule: Optimizer,
    rates: NDArray[np.float64],
    chosen: NDArray[np.int64] | None,
    weights: NDArray[np.float64] | None,
    drops: Sequence[int] | None,
    noise: float,
    l1: float,
    l2: float,
    clip: float,
    clip_norm: float,
    max_norm: float,
    bf16: bool,
    key: int,
    shuffled: bool,
    score: int,
    threads: int,
    guess: int,
    variance: NDArray[np.float64] | None,
    histories: Sequence[History],
    validated: bool,
    on_batch: Callable[[int, int], bool] | None,
    before: tuple[int, int, int] | None,
    ranks: Any = None,
) -> tuple[str, Any]: ...
def norms_of(engine: Engine, squares: NDArray[np.float64]) -> list[list[float]]: ...
def mean_score(means: NDArray[np.float64], variance: NDArray[np.float64] | None) -> float: ...
