"""The gate for what only ``train`` takes: the split, weights, dropout, smoothing, callbacks.
Messages are of the kind that `_validation` gives."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine
from cbackprop._names import meant
from cbackprop._validation import (
    ARGMAX,
    SQUARED_ERROR,
    Target,
    as_array,
    dense_targets,
    flag,
    real,
)
from cbackprop.callbacks import Checkpoint, EarlyStopping

Array = NDArray[Any]


def specs(values: Any, common: dict[str, Any], known: Collection[str]) -> list[dict[str, Any]]:
    """The arguments of each network that `train_many` trains; ``known`` are their names."""
    for name in common:
        if name not in known:
            raise TypeError(
                f"train_many got {name!r}, which neither Network nor train takes"
                f"{meant(name, known)}"
            )
    if isinstance(values, Mapping | str) or not isinstance(values, Iterable):
        raise TypeError(f"specs = {values!r}, expected a list of dicts")
    jobs = []
    for i, spec in enumerate(values):
        if not isinstance(spec, Mapping):
            raise TypeError(f"specs[{i}] = {spec!r}, expected a dict of arguments")
        for name in spec:
            if name not in known:
                raise TypeError(
                    f"specs[{i}] has {name!r}, which neither Network nor train takes"
                    f"{meant(name, known)}"
                )
        job = {**common, **spec}
        if "sizes" not in job:
            raise ValueError(f"specs[{i}] has no 'sizes'")
        jobs.append(job)
    return jobs


def executor(value: Any) -> None:
    """None, or what hands out futures."""
    if value is not None and not callable(getattr(value, "submit", None)):
        raise TypeError(
            f"executor = {value!r}, expected a concurrent.futures.Executor; None: threads"
        )


class Alone:
    """What one process says where several would ask each other, as `_comm.Exchange` does."""

    def of_rows(self, value: Any) -> list[Any]:
        return [value]

    def whole(self, array: Array) -> Array:
        return array

    def split(self, fraction: float, array: Array, key: int) -> tuple[Array, Array]:
        return split(fraction, array, key)


ALONE = Alone()


def split(fraction: float, y: Array, key: int) -> tuple[Array, Array]:
    """Indices (int64) of the rows to train on and of those held out: of labels, the same part
    of each. A function of the seed and of the targets."""
    fraction = real("validation_split", fraction, 0)
    n = len(y)
    if fraction >= 1:
        raise ValueError(f"validation_split = {fraction!r}, expected a number below 1")
    generator = np.random.default_rng([key, 1])
    labels = y if y.ndim == 1 else np.zeros(n, np.int32)
    parts = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        parts.append(rows[: round(fraction * len(rows))])
    held_out = np.sort(np.concatenate(parts)).astype(np.int64)
    chosen = np.setdiff1d(np.arange(n, dtype=np.int64), held_out)
    if not len(held_out) or not len(chosen):
        raise ValueError(
            f"validation_split = {fraction!r} of {n} rows leaves {len(held_out)} to validate on "
            f"and {len(chosen)} to train on; expected at least one each"
        )
    return chosen, held_out


def as_numbers(name: str, y: Any, kind: int | None, n_out: int) -> Any:
    """y; whole numbers as real ones, where the training of one output has seen those."""
    if kind != SQUARED_ERROR or n_out > 1:
        return y
    array = as_array(name, y)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def as_trained(name: str, target: Target, kind: int | None, n_out: int) -> Target:
    """The targets with the kind of score that training has: the rows of a part may all happen
    to be one-hot where others are several labels at once, or real numbers."""
    if kind is None or target.score == kind:
        return target
    if kind == SQUARED_ERROR or target.score == ARGMAX:
        if kind == SQUARED_ERROR and target.array.ndim == 1 and n_out == 1:
            raise ValueError(f"{name} holds labels, but the network is trained on real numbers")
        dense = dense_targets(target, n_out)
        return Target(dense, _engine.Targets(dense), target.classes, kind)
    if target.score == SQUARED_ERROR:
        raise ValueError(
            f"{name} holds real numbers, but the network is trained on labels, whose score is the "
            "accuracy; expected labels or rows of 0 and 1"
        )
    return target  # several labels at once, where all rows of the training have one


def early_stopping(value: Any, validated: bool) -> Any:
    """None or an EarlyStopping, from None, a bool or an EarlyStopping."""
    if value is None or value is False:
        return None
    stopping = EarlyStopping() if value is True else value
    if not isinstance(stopping, EarlyStopping):
        raise TypeError(f"early_stopping = {value!r}, expected True or an EarlyStopping")
    if stopping.monitor.startswith("validation") and not validated:
        raise ValueError(
            f"early_stopping looks at {stopping.monitor!r}: give validation_data= or "
            "validation_split=, or EarlyStopping(monitor='cost')"
        )
    return stopping


def callbacks(values: Any) -> None:
    """A sequence of objects with on_epoch_end, on_batch_end or both."""
    if values == ():
        return
    if not isinstance(values, Sequence):
        raise TypeError(f"callbacks = {values!r}, expected a list of objects")
    for value in values:
        if isinstance(value, type):
            raise TypeError(
                f"callbacks: {value!r} is a class; make an object: {value.__name__}(...)"
            )
        methods = [getattr(value, name, None) for name in ("on_epoch_end", "on_batch_end")]
        if not any(map(callable, methods)):
            raise TypeError(
                f"callbacks: {value!r} has no method on_epoch_end(net, history), nor "
                "on_batch_end(net, epoch, batch)"
            )


def limit(name: str, value: Any) -> float:
    """A number above 0; None: no limit."""
    return math.inf if value is None else real(name, value, 0, open_end=True)


def is_bf16(compute: Any, engine: _engine.Engine) -> bool:
    """Whether products are to be in bfloat16, which this network and CPU must be able to."""
    if compute is None:
        return False
    if compute != "bf16":
        raise ValueError(
            f"compute = {compute!r}, expected 'bf16', or None for products in the network's dtype"
        )
    if engine.dtype != np.float32:
        raise ValueError(
            f"compute = 'bf16' needs a float32 network, this one is {engine.dtype}; leave it out, "
            "or build the network with dtype='float32'"
        )
    if not engine.has_bf16:
        raise ValueError(
            "compute = 'bf16' needs a CPU with AVX512_BF16 and the avx512 kernels, here: "
            f"{engine.kernels_name}; leave it out to train in float32"
        )
    return True


def dropout(value: Any, n_hidden: int) -> list[int] | None:
    """Of the input and each hidden layer, in 65536ths; None where nothing is dropped."""
    if type(value) is float and value == 0:
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if len(value) != n_hidden + 1:
            raise ValueError(
                f"dropout has {len(value)} entries, expected {n_hidden + 1}: the input's, then "
                "one for each hidden layer; or one number for all hidden layers"
            )
        parts = [real(f"dropout[{i}]", p, 0) for i, p in enumerate(value)]
    else:
        parts = [0.0] + [real("dropout", value, 0)] * n_hidden
    for p in parts:
        if p >= 1:
            raise ValueError(f"dropout = {value!r}, expected probabilities below 1")
    drops = [min(65535, round(65536 * p)) for p in parts]
    return drops if any(drops) else None


def weights(
    sample: Any, by_class: Any, target: Target, n_out: int, ranks: Any = ALONE
) -> Array | None:
    """float64 (n,) of the rows from sample_weight and class_weight; None where all are 1."""
    if sample is None and by_class is None:
        return None
    n, result = len(target.array), None
    if sample is not None:
        result = as_array("sample_weight", sample)
        if result.shape != (n,) or result.dtype.kind not in "biuf":
            raise ValueError(
                f"sample_weight: {result.dtype} of shape {result.shape}, expected numbers ({n},)"
            )
        with np.errstate(over="ignore"):  # beyond float64 is found and named below
            result = np.require(result, np.float64, ["C", "ALIGNED"])
        if not np.isfinite(result).all() or (result < 0).any():
            i = int(np.flatnonzero(~(np.isfinite(result) & (result >= 0)))[0])
            raise ValueError(f"sample_weight[{i}] = {result[i]}, expected a finite number >= 0")
        if not any(ranks.of_rows(bool(result.any()))):
            raise ValueError("sample_weight is 0 everywhere; expected a weight above 0")
    if by_class is None:
        return result
    if target.array.ndim != 1:
        raise ValueError("class_weight needs labels (n,); give sample_weight= for other targets")
    count = np.bincount(target.array, minlength=max(2, n_out))
    if isinstance(by_class, str) and by_class == "balanced":
        count = sum(ranks.of_rows(count))
        present = count > 0
        each = np.where(present, count.sum() / (present.sum() * np.maximum(count, 1)), 0.0)
    elif isinstance(by_class, dict):
        labels = list(range(len(count)) if target.classes is None else target.classes.tolist())
        for label in by_class:
            if label not in labels:
                raise ValueError(f"class_weight of {label!r}, but the labels are {labels}")
        each = np.array(
            [real(f"class_weight[{x!r}]", by_class.get(x, 1.0), 0) for x in labels], np.float64
        )
    else:
        raise ValueError(f"class_weight = {by_class!r}, expected 'balanced' or a dict")
    result = each[target.array] * (1.0 if result is None else result)
    if not any(ranks.of_rows(bool(result.any()))):
        raise ValueError("class_weight leaves every row the weight 0")
    return result


def smoothed(amount: Any, target: Target, n_out: int, dtype: np.dtype[Any]) -> Target:
    """Targets (1 - s) y + s / n_L where s > 0; scores stay those of the labels."""
    amount = real("label_smoothing", amount, 0)
    if amount == 0:
        return target
    if amount >= 1:
        raise ValueError(f"label_smoothing = {amount!r}, expected a number below 1")
    if target.score != ARGMAX:
        raise ValueError("label_smoothing needs labels or one-hot targets, one output a class")
    dense = (1 - amount) * dense_targets(target, n_out) + amount / n_out
    dense = dense.astype(dtype)
    return Target(dense, _engine.Targets(dense), target.classes, ARGMAX)


def steps_of_decay(rule: Any, rate: Any, l2: float, n: int) -> None:
    """l2 that leaves the weights' sign alone, where sgd's step is known."""
    if rule.name == "sgd" and isinstance(rate, float) and rate * l2 >= n:
        raise ValueError(
            f"l2 = {l2!r} with learning_rate = {rate!r} and {n} samples would turn the weights' "
            "sign; expected learning_rate * l2 < samples"
        )


def keeper(checkpoint: Any, resume: Any) -> Any:
    """What writes the checkpoints of a call, or None."""
    if checkpoint is None:
        if resume is not False:
            raise ValueError(f"resume = {resume!r} without checkpoint=; give the path of one")
        return None
    from cbackprop.io.checkpoint import Keeper

    plan = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    return Keeper(plan, flag("resume", resume))
