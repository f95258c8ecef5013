from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from cbackprop._engine import Engine, Rows, Targets

_Array = NDArray[Any]
_Derivatives = tuple[
    float, list[_Array], list[_Array], Sequence[_Array], Sequence[_Array], Sequence[_Array]
]

def derive(
    engine: Engine, x: Rows, y: Targets, given: bool, weights: Any, threads: int
) -> _Derivatives | None: ...
def quick(
    engine: Engine, x: Any, y: Any, given: bool, low: float, high: float, classes: _Array | None
) -> _Derivatives | None: ...
