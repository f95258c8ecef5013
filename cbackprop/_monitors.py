"""Curves besides cost and score: those that `train(monitor=...)` asks for, and the warning
that a layer does not learn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from cbackprop import _registration as registration
from cbackprop._names import unknown
from cbackprop.exceptions import LearningWarning
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

# The book's, of network2.SGD.
NAMES = ("evaluation_cost", "evaluation_accuracy", "training_cost", "training_accuracy")

# ||delta^l|| in terms of ||delta^L||: so far apart, a layer learns nothing, or only noise.
VANISHED, EXPLODED = 1e-5, 1e5


class Monitor(NamedTuple):
    """A curve: its name, and the user's metric or None for a cost or score."""

    name: str
    metric: Callable[[Any, Array], float] | None


def checked(values: Any, validated: bool) -> list[Monitor]:
    """Monitors from names of the book's curves and functions (y, a) -> number."""
    if values == ():
        return []
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(
            f"monitor = {values!r}, expected a list of names and functions (y, a) -> number"
        )
    monitors: list[Monitor] = []
    for value in values:
        if callable(value):
            registration.function("monitor", value, "y", "a")
            name = getattr(value, "__name__", type(value).__name__)
            monitor = Monitor(name, value)
        elif isinstance(value, str) and value in NAMES:
            monitor = Monitor(value, None)
        else:
            raise unknown("monitor", value, NAMES)
        if not validated and not monitor.name.startswith("training"):
            raise ValueError(
                f"monitor: {monitor.name!r} is measured on validation data: give "
                "validation_data= or validation_split="
            )
        if monitor.name in [other.name for other in monitors]:
            raise ValueError(
                f"monitor: two of them are called {monitor.name!r}; give functions names (def)"
            )
        monitors.append(monitor)
    return monitors


def look(
    net: Network,
    monitors: Sequence[Monitor],
    training: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
    kind: int | None,
    histories: Sequence[History],
) -> None:
    """One entry more in each curve, from the weights as they are."""
    found: dict[str, dict[str, float]] = {}
    for name, metric in monitors:
        if metric is None:
            part, what = name.split("_")
            X, y = training if part == "training" else validation or ((), ())
            if part not in found:
                with net._beside:
                    found[part] = net._evaluate(X, y, None, kind)
            scores = {"cost": found[part]["cost"]}
            scores["accuracy"] = found[part].get("accuracy", found[part].get("r2", 0.0))
            value = scores[what]
        else:
            assert validation is not None
            X, y = validation
            result = metric(y, net.predict(X))
            try:
                value = float(result)
            except (TypeError, ValueError):
                raise TypeError(f"monitor: {name} returned {result!r}, expected a number") from None
        for history in histories:
            history.monitored.setdefault(name, []).append(value)


def warn_of_layers(history: History, stacklevel: int = 4) -> None:
    """Say once what the last epoch shows: a layer that no error reaches, or too large a one."""
    norms, dead = history.delta_norms[-1], history.dead_units[-1]
    last = norms[-1]
    costs = history.cost[-2:]
    # No error at all: the network fits, or, where a cost stands still, its outputs are dead.
    if not last and len(costs) == 2 and costs[1] > 0 and math.isclose(*costs, rel_tol=1e-9):
        warnings.warn(
            f"layer {len(norms)}, the output, does not learn: no error goes through its neurons, "
            "all of which are where their activation is flat; try another output, another init or "
            "a smaller learning_rate",
            LearningWarning,
            stacklevel=stacklevel,
        )
        return
    if not last or (VANISHED * last <= min(norms) and max(norms) <= EXPLODED * last):
        return
    for l, (norm, share) in enumerate(zip(norms[:-1], dead[:-1], strict=True), start=1):
        if not math.isfinite(norm):
            continue
        if share == 1:
            text, remedy = (
                "no error reaches any of its neurons",
                ("try a smaller learning_rate, activation='leaky_relu' or init='he'"),
            )
        elif norm < VANISHED * last:
            text, remedy = (
                f"||delta|| is {norm:.1e}, that of the output layer {last:.1e}",
                (
                    "its learning has vanished; try activation='relu' or 'tanh', init='glorot' or "
                    "'he', or fewer layers"
                ),
            )
        elif norm > EXPLODED * last:
            text, remedy = (
                f"||delta|| is {norm:.1e}, that of the output layer {last:.1e}",
                ("its learning has exploded; try smaller initial weights or clip_norm"),
            )
        else:
            continue
        message = f"layer {l} does not learn: {text}: {remedy}"
        warnings.warn(message, LearningWarning, stacklevel=stacklevel)
        return
