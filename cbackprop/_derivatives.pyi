from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from cbackprop._engine import Engine, Rows, Targets

Array = NDArray[Any]
Derivatives = tuple[
    float, list[Array], list[Array], Sequence[Array], Sequence[Array], Sequence[Array]
]

def derive(
    engine: Engine, x: Rows, y: Targets, given: bool, weights: Any, threads: int
) -> Derivatives | None: ...
def quick(
    engine: Engine, x: Any, y: Any, given: bool, low: float, high: float, classes: Array | None
) -> Derivatives | None: ...
