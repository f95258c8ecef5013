from typing import Any

from cbackprop._run import Call
from cbackprop.history import History
from cbackprop.network import Network

class Plan: ...

def again(
    plans: list[Plan], net: Network, x: Any, y: Any, learning_rate: Any, given: tuple[Any, ...]
) -> History | None: ...
def keep(
    plans: list[Plan],
    net: Network,
    given: tuple[Any, ...],
    call: Call,
    batch_size: int,
    smoothing: float,
) -> None: ...
