from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

def choose_kernels(name: str) -> int: ...
def kernels_in_use() -> str: ...
def kernel_names() -> list[str]: ...
def vector_function(name: str, x: Array) -> Array: ...
def random_normal(key: int, stream: int, n: int) -> NDArray[np.float64]: ...
def random_uniform(key: int, stream: int, n: int) -> NDArray[np.float64]: ...
def unpack(panels: Array, n_out: int) -> tuple[Array, Array]: ...
def pack(w: Array, b: Array, panels: Array) -> None: ...

class Rows:
    def __init__(
        self,
        array: Array,
        bias: bool = False,
        scale: Array | None = None,
        shift: Array | None = None,
    ) -> None: ...

class Targets:
    def __init__(self, array: Array) -> None: ...

class Workspace: ...

class Engine:
    sizes: tuple[int, ...]
    activations: tuple[int, ...]
    arena: Array
    def __init__(
        self, sizes: Any, activations: Any, cost: int, stable: bool, bits: int
    ) -> None: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def panels(self, l: int) -> Array: ...
    def survey(
        self, x: Rows, y: Targets | None, score: int, out: Array | None, threads: int
    ) -> tuple[float, NDArray[np.float64], bool]: ...
    def derive(
        self, x: Rows, y: Targets, score: int, threads: int
    ) -> tuple[
        NDArray[np.float64],
        list[Array],
        list[Array],
        list[Array],
        list[Array],
        list[Array],
        bool,
    ]: ...
