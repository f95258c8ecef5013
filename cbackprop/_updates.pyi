from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import NDArray

from cbackprop._engine import Engine
from cbackprop.optimizers import Optimizer

_Array = NDArray[Any]

class State:
    name: str
    planes: int
    steps: int
    product: float
    def __new__(cls, engine: Engine, rule: Optimizer, eta: float) -> Self: ...
    def panels(self, k: int, l: int) -> _Array: ...

def in_order(engine: Engine, nabla_w: Any, nabla_b: Any) -> bool: ...
def apply_gradients(
    engine: Engine,
    here: Any,
    state: State,
    rule: Optimizer,
    eta: float,
    nabla_w: Sequence[_Array],
    nabla_b: Sequence[_Array],
) -> bool: ...
