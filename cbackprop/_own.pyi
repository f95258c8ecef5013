from typing import Any, Self

class Failures:
    @property
    def address(self) -> int: ...
    def take(self) -> BaseException | None: ...

class Own:
    in_python: bool
    def __new__(
        cls, name: str, kind: str, forward: Any, backward: Any, bits: int, failures: Failures
    ) -> Self: ...
    @property
    def address(self) -> int: ...

class Functions:
    failures: Failures
    layers: list[Own | None]
    cost: Own | None
    def __init__(self, activations: Any, cost: Any, bits: int) -> None: ...
    @property
    def in_python(self) -> bool: ...
