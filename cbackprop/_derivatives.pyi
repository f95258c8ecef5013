from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from cbackprop._engine import Engine, Rows, Targets

Array = NDArray[Any]

def derive(
    engine: Engine, x: Rows, y: Targets, given: bool, weights: Any, threads: int
) -> tuple[
    float, list[Array], list[Array], Sequence[Array], Sequence[Array], Sequence[Array], bool
]: ...
