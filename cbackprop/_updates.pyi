from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from cbackprop._engine import Engine
from cbackprop.optimizers import Optimizer

Array = NDArray[Any]

class State:
    name: str
    planes: int
    steps: int
    product: float
    def __init__(self, engine: Engine, rule: Optimizer, eta: float) -> None: ...
    def panels(self, k: int, l: int) -> Array: ...

def in_order(engine: Engine, nabla_w: Any, nabla_b: Any) -> bool: ...
def apply_gradients(
    engine: Engine,
    here: Any,
    state: State,
    rule: Optimizer,
    eta: float,
    nabla_w: Sequence[Array],
    nabla_b: Sequence[Array],
) -> bool: ...
