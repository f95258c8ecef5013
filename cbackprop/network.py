"""Network: the face of the package. It validates, then hands over to the compiled core."""

# Annotations stay text: numpy.random is a third of the import time and often unused.
from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from cbackprop import (
    _blocks,
    _derivatives,
    _engine,
    _gate,
    _monitors,
    _options,
    _run,
    _short,
    _threads,
    _training,
    _updates,
    costs,
    initializers,
    optimizers,
)
from cbackprop import _validation as check
from cbackprop._exchange import Exchange
from cbackprop._progress import Progress
from cbackprop.activations import Activation
from cbackprop.callbacks import Checkpoint, EarlyStopping
from cbackprop.history import History
from cbackprop.initializers import Initializer
from cbackprop.optimizers import Optimizer

if TYPE_CHECKING:
    from pathlib import Path

    from cbackprop.io.columns import Columns

Array = NDArray[Any]


class Gradients(NamedTuple):
    """What `Network.gradients` and `pullback` return; one entry a layer.

    Attributes
    ----------
    cost : float
        Mean cost of the samples; NaN from `pullback`, which knows no cost.
    nabla_w, nabla_b : list of arrays
        dC/dw^l (n_l, n_{l-1}) and dC/db^l (n_l,) of the mean cost: BP4 and BP3.
    z : sequence of arrays
        Weighted inputs (m, n_l), without the input layer.
    a : sequence of arrays
        Activations (m, n_l); ``a[0]`` is the input as the network sees it.
    delta : sequence of arrays
        Errors dC/dz^l (m, n_l) of each sample, not divided by m: BP1 and BP2.
    """

    cost: float
    nabla_w: list[Array]
    nabla_b: list[Array]
    z: Sequence[Array]
    a: Sequence[Array]
    delta: Sequence[Array]


class Network(Exchange):
    """A fully-connected feed-forward network, trained by backpropagation.

    Parameters
    ----------
    sizes : sequence of int
        Neurons in each layer, input first: ``[784, 30, 10]``.
    activation : str or Activation, or a list with one for each hidden layer
        identity, sigmoid, tanh, relu, leaky_relu, elu, selu, softplus, silu, gelu, softsign,
        hard_tanh, sine, exp, softmax; or "leaky_relu(0.2)", "elu(0.5)". Default: sigmoid.
    output : str or Activation
        Activation of the output layer. Default: sigmoid.
    cost : str or Cost, optional
        quadratic, cross_entropy, log_likelihood, absolute, huber, log_cosh, quantile,
        poisson, hinge, squared_hinge; or "huber(0.5)", "quantile(0.9)". Default: the
        output's partner, log_likelihood for softmax, else quadratic.
    init : str or callable
        Initial weights: scaled (w ~ N(0, 1/n_in), b = 0), book (both N(0, 1)), book_scaled
        (w ~ N(0, 1/n_in), b ~ N(0, 1)), glorot, he, lecun, orthogonal (orthonormal rows or
        columns), zeros, or a callable ``(n_in, n_out, generator) -> (w, b)``.
    dtype : str or dtype
        float32 or float64.
    input_scale, input_shift : float or array (n_0,)
        The input layer sees ``X * input_scale + input_shift``; saved with the network.
    classes : sequence, optional
        The label of each output, where labels are not 0 .. n_L - 1; by default the sorted
        distinct labels of the first training.
    rng : int, SeedSequence or Generator, optional
        Seed of the initial weights and of every shuffle. Default: fresh entropy.

    Raises
    ------
    ValueError, TypeError
        An argument is refused, with its name, its value and the remedy.

    Notes
    -----
    The mathematics is chapter 2 of M. Nielsen, *Neural Networks and Deep Learning*, with
    the error of the output layer in the general form (2.15). The same seed and data give
    the same bits for any number of threads and any kernel table.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> y = np.array([0, 1, 1, 0])
    >>> net = Network([2, 8, 2], activation="tanh", output="softmax", rng=1)
    >>> history = net.train(X, y, epochs=500, batch_size=4, learning_rate=1.0)
    >>> net.classify(X).tolist()
    [0, 1, 1, 0]
    """

    _warns = True  # of layers that do not learn

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str | Activation | Sequence[str | Activation] = "sigmoid",
        output: str | Activation = "sigmoid",
        cost: str | costs.Cost | None = None,
        init: str | Initializer = "scaled",
        dtype: Any = "float32",
        input_scale: float | Sequence[float] | Array = 1.0,
        input_shift: float | Sequence[float] | Array = 0.0,
        classes: Sequence[Any] | Array | None = None,
        rng: int | np.random.SeedSequence | np.random.Generator | None = None,
    ) -> None:
        self.sizes = check.layer_sizes(sizes)
        self.activations = check.layer_activations(activation, output, len(self.sizes) - 2)
        last = self.activations[-1]
        if last.name == "softmax" and self.sizes[-1] == 1:
            raise ValueError(
                "output = 'softmax' with one output neuron is always 1; use output='sigmoid', "
                "or one neuron a class"
            )
        self.cost = costs.get(
            costs.DEFAULT_COST.get(last.name, "quadratic") if cost is None else cost
        )
        costs.check_pair(last, self.cost)
        self.init = initializers.check(init)
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"dtype = {dtype!r}, expected 'float32' or 'float64'") from None
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype = {dtype!r}, expected 'float32' or 'float64'")
        self.input_scale = check.input_transform(
            "input_scale", input_scale, self.sizes[0], self.dtype
        )
        self.input_shift = check.input_transform(
            "input_shift", input_shift, self.sizes[0], self.dtype
        )
        self.classes = None if classes is None else check.class_labels(classes, self.sizes[-1])
        self._given_classes = self.classes
        self._key = check.random_key(rng)
        self._columns: Columns | None = None  # of the tables it was trained on, by the command line
        self._start()
        self.reset()

    def _start(self) -> None:
        """Arena, the two ways to hold it and the input transform as the core reads it."""
        bits = 8 * self.dtype.itemsize
        codes = [(sigma.code, sigma.parameter or 0.0) for sigma in self.activations]
        cost = (self.cost.code, self.cost.parameter or 0.0)
        stable = self.cost.stable_with(self.activations[-1])
        own = None
        if self.cost.own is not None or any(sigma.own is not None for sigma in self.activations):
            from cbackprop import _own

            own = _own.Functions(self.activations, self.cost, bits)
        self._engine = _engine.Engine(self.sizes, codes, cost, stable, bits, own)
        busy = "network is busy: it is being {} in another thread"
        self._alone = _engine.Hold(self._engine, True, busy.format("used"))
        self._again = _engine.Hold(self._engine, True, busy.format("used"), True)
        self._beside = _engine.Hold(self._engine, False, busy.format("trained"))
        self._quick = self._engine.quick
        self._plans: list[_short.Plan] = []  # of the last ordinary train calls
        transform = (self.input_scale, 1), (self.input_shift, 0)
        if any(np.any(x != n) if isinstance(x, np.ndarray) else x != n for x, n in transform):
            padded = np.zeros((2, self.sizes[0] + 16), self.dtype)
            padded[0, : self.sizes[0]] = self.input_scale
            padded[1, : self.sizes[0]] = self.input_shift
            self._engine.set_transform(padded)

    def reset(self) -> None:
        """Start afresh: initial weights from the seed, no epochs, no history."""
        with self._alone:
            if hasattr(self, "_position"):
                _run.refuse_inside(self)
            pairs = []
            for l, panels in enumerate(self._panels(), start=1):
                n_in, n_out = self.sizes[l - 1 : l + 1]
                w, b = initializers.initial(self.init, self._key, l, n_in, n_out)
                pairs.append((panels, _engine.packed(w, b, panels)))
            position, history = _run.Position(self.sizes), History()
            _engine.replace(pairs)
            self.classes, self._position, self.history = self._given_classes, position, history

    # ---- parameters -------------------------------------------------------------------

    def _panels(self) -> list[Array]:
        return [self._engine.panels(l) for l in range(1, len(self.sizes))]

    def _unpacked(self) -> list[tuple[Array, Array]]:
        pairs = [
            _engine.unpack(panels, n)
            for panels, n in zip(self._panels(), self.sizes[1:], strict=True)
        ]
        for w, b in pairs:
            w.flags.writeable = b.flags.writeable = False
        return pairs

    def _assign(self, weights: list[Array], biases: list[Array]) -> None:
        triples = zip(weights, biases, self._panels(), strict=True)
        _engine.replace([(panels, _engine.packed(w, b, panels)) for w, b, panels in triples])

    @property
    def weights(self) -> list[Array]:
        """w^l (n_l, n_{l-1}) of each layer: read-only copies. Assign a list to replace all."""
        return [w for w, b in self._unpacked()]

    @weights.setter
    def weights(self, values: Sequence[Array]) -> None:
        shapes: list[tuple[int, ...]] = [(b, a) for a, b in itertools.pairwise(self.sizes)]
        arrays = check.network_arrays("weights", values, shapes, self.dtype)
        with self._alone:
            self._assign(arrays, self.biases)

    @property
    def biases(self) -> list[Array]:
        """b^l (n_l,) of each layer: read-only copies. Assign a list to replace all."""
        return [b for w, b in self._unpacked()]

    @biases.setter
    def biases(self, values: Sequence[Array]) -> None:
        arrays = check.network_arrays("biases", values, [(n,) for n in self.sizes[1:]], self.dtype)
        with self._alone:
            self._assign(self.weights, arrays)

    def set_weights(self, layer: int, w: Array | None = None, b: Array | None = None) -> None:
        """Replace ``weights[layer]``, ``biases[layer]``, or both.

        Raises
        ------
        ValueError
            A shape does not fit or a value is not finite; nothing has changed.

        Examples
        --------
        >>> net = Network([2, 1], rng=0)
        >>> net.set_weights(0, w=[[1.0, -1.0]], b=[0.5])
        >>> net.weights[0].tolist(), net.biases[0].tolist()
        ([[1.0, -1.0]], [0.5])
        """
        layer = check.integer("layer", layer, 0, len(self.sizes) - 2)
        shape = (self.sizes[layer + 1], self.sizes[layer])
        if w is not None:
            w = check.network_array("w", w, shape, self.dtype)
        if b is not None:
            b = check.network_array("b", b, shape[:1], self.dtype)
        with self._alone:
            panels = self._engine.panels(layer + 1)
            old_w, old_b = _engine.unpack(panels, shape[0])
            _engine.pack(old_w if w is None else w, old_b if b is None else b, panels)

    @property
    def steps(self) -> int:
        """Mini-batches trained since the start."""
        return self._position.steps

    # ---- data through the gate ---------------------------------------------------------

    def _rows(self, X: Any, *, some: bool = True) -> tuple[Array, Any]:
        rows = _gate.rows_of(X, self._engine)
        if rows is not None:
            return X, rows
        array = check.features("X", X, self.sizes[0], self.dtype, some=some)
        return array, _engine.Rows(array, self._engine)

    def _targets(
        self, y: Any, m: int, classes: Array | None = None, name: str = "y"
    ) -> check.Target:
        known = self.classes if classes is None else classes
        return check.targets(
            y, m, self.sizes[-1], self.activations[-1], self.cost, known, self.dtype, name
        )

    def _threads(self, n_threads: int | None, rows: int, passes: int) -> int:
        if n_threads is not None:
            n_threads = check.integer("n_threads", n_threads, 1, 1024)
        if self._engine.in_python:  # one thread at a time may run Python
            return 1
        return _threads.worthwhile(self.sizes, rows, passes) if n_threads is None else n_threads

    # ---- training -----------------------------------------------------------------------

    def train(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: str | Optimizer | optimizers.LBFGS = "sgd",
        learning_rate: float | Callable[[int], float] | Any | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        weight_decay: float | None = None,
        label_smoothing: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        input_noise: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        early_stopping: bool | EarlyStopping | None = None,
        monitor: Sequence[str | Callable[[Any, Array], float]] = (),
        sample_weight: Any = None,
        class_weight: dict[Any, float] | str | None = None,
        shuffle: bool = True,
        callbacks: Sequence[Any] = (),
        progress: bool | None = None,
        n_threads: int | None = None,
        compute: str | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        resume: bool = False,
        comm: Any = None,
        deterministic: bool = False,
    ) -> History:
        """Train by mini-batch gradient descent; call again to go on.

        Parameters
        ----------
        X : array-like (n, n_0), Chunks, or iterable of (X, y) or (X, y, sample_weight)
            uint8, float32 and float64 are read in place, whatever their strides. For data larger
            than memory: what `cbackprop.datasets.open_parquet` and ``open_arrays`` return; or an
            iterable, of which an epoch is all blocks in turn, rows shuffled within their block;
            each epoch iterates afresh. A broken epoch of either is not finished by the next call.
            Of an iterable, give ``classes`` to the network where the first block may lack a label.
        y : array-like, optional
            Labels (n,); or targets (n, n_L), one-hot or real; or real targets (n,) for one
            output. None: X is Chunks, or an iterable of blocks.
        epochs : int
            Passes over the data.
        batch_size : int
            Samples in a mini-batch; the last one of an epoch may be short. Larger than the
            data: full batch.
        optimizer : str or Optimizer
            sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, amsgrad, nadam, lion,
            rprop, or an object of `cbackprop.optimizers`. What it remembers goes on in the
            next call; another one starts fresh. "lbfgs" (with SciPy) takes all of the data at
            once, whatever ``batch_size``; an epoch is one of its iterations, fewer where it
            converges.
        learning_rate : float, callable or schedule, optional
            eta, > 0; or ``epoch -> eta``, epochs counted from 0 over the network's life; or
            an object of `cbackprop.schedules`. Default: the optimiser's own, 0.01 for sgd,
            0.001 for adam.
        l1, l2 : float
            lambda of the book's ``(lambda / n) sum |w|`` and ``(lambda / 2n) sum w^2``. The penalty
            is not part of the cost.
        weight_decay : float, optional
            Decoupled: weights and biases are multiplied by 1 - eta weight_decay at each step.
            Default: the optimiser's own, 0.01 for adamw, else 0.
        label_smoothing : float
            Targets become (1 - s) y + s / n_L: of labels and one-hot targets, 0 <= s < 1.
        dropout : float, or a sequence of the input's and each hidden layer's
            The probability with which a neuron is left out of a sample's training, 0 <= p < 1,
            to the nearest 1/65536; the others grow by 1 / (1 - p), so that predictions need
            nothing (Srivastava et al. 2014). One number is for the hidden layers. Cost and
            score are of the network as it was trained, with neurons left out.
        input_noise : float
            Standard deviation of normal noise added to the input as the network sees it, after
            ``input_scale`` and ``input_shift``; other noise for every sample and epoch.
        max_norm : float, optional
            After each step, the weights into each neuron are scaled down to this Euclidean
            norm where they are longer (Srivastava et al. 2014), in all layers; biases are free.
        clip_norm : float, optional
            The gradient of all layers together is scaled down to this Euclidean norm where it is
            longer (R. Pascanu et al. 2013). As in ``clip_value``, penalties are part of the
            gradient, but for sgd's l2.
        clip_value : float, optional
            Every element of the gradient is kept within -clip_value .. clip_value.
        validation_data : (X, y), optional
            Evaluated after each epoch.
        validation_split : float
            This part of the rows is held out as validation data: of labels, the same part of
            each. Which rows is a function of the seed alone.
        early_stopping : bool or EarlyStopping, optional
            True: stop when the validation cost has not fallen for 10 epochs, and put the best
            weights back.
        monitor : sequence of str and callables
            More curves for ``History.monitored``, measured after each epoch: the book's
            "evaluation_cost", "evaluation_accuracy" (on the validation data), "training_cost",
            "training_accuracy" (on all of X; R^2 where targets are real); and metrics of your
            own, ``function(y, a) -> number``, with y and `predict`'s outputs of the validation
            data, under the function's name.
        sample_weight : array-like (n,), optional
            >= 0. The mean over a mini-batch, and that of cost and score over the epoch, become
            weighted means; a weight of 0 is as if the row were absent, a mini-batch of weight 0
            is skipped.
        class_weight : dict or "balanced", optional
            Label -> weight, 1 where absent; "balanced": n / (classes * rows of the label), as
            scikit-learn's. Multiplies sample_weight.
        shuffle : bool
            A new order each epoch, a function of seed and epoch alone. A full batch has none.
        callbacks : sequence
            Objects with ``on_epoch_end(net, history)``, ``on_batch_end(net, epoch, batch)``
            (both counted from 0) or both; True from one of them stops.
        progress : bool, optional
            Say on standard error how it goes: a bar where tqdm is installed (``pip install
            "cbackprop[progress]"``), in terminals and notebooks; else a line. Default: no.
        n_threads : int, optional
            Default: of what the process may use, as many as turn out fastest, by timing
            while training runs. The result does not depend on it.
        compute : "bf16", optional
            Multiply numbers rounded to bfloat16, in layers and mini-batches where that is worth
            it: both widths and the mini-batch 32 or more. Weights, sums, the optimiser and
            everything else stay float32. Some 1.8 times as fast for wide layers, with 8 bits
            where float32 has 24. For float32 networks on CPUs with AVX512_BF16; refused
            elsewhere. Default: products in the network's dtype.
        checkpoint : path or Checkpoint, optional
            Write down how far this call is: after each epoch, or as the `Checkpoint` says. The
            file is replaced when a new one is whole and on disk; it is a model file too.
        resume : bool
            Where the checkpoint is there, go on from it, to the end that this call would have come
            to: weights and history are the same to the bit, but for the seconds. ``epochs`` counts
            from the call's start. A call that is complete is read and not trained again.
        comm : mpi4py.MPI.Comm, optional
            Train one network on all ranks of this communicator, each of which calls ``train`` with
            the rows it holds, as many as it likes or none; those of all ranks, in their order, are
            the data, with their sample_weight; of blocks, the ranks' first ones are the first,
            and so on. Each mini-batch is shared out, so ``batch_size`` is that of all ranks. The
            network of rank 0 is the one that is trained; all ranks end with it. ``validation_data``
            are whole on every rank. Start with ``mpiexec -n 2 python script.py``.
        deterministic : bool
            With comm: the bits of one process, whatever the number of ranks, for more messages and
            for BP4 on every rank. Default: the same within rounding, and the same bits for the same
            number of ranks.

        Returns
        -------
        History
            The epochs of this call; ``net.history`` has all.

        Raises
        ------
        ValueError, TypeError
            An argument is refused, or X or y holds NaN or infinity, or the checkpoint is of another
            training; nothing has changed.
        ModelFileError
            The checkpoint is damaged, or is no checkpoint; nothing has changed.
        OSError
            A checkpoint cannot be written or read; the older one is untouched, and weights stand at
            a whole number of mini-batches.
        DivergenceError
            Weights or cost did not stay finite; the weights are those of the last finite epoch.
        KeyboardInterrupt
            Weights stand at a whole number of mini-batches; the next call first finishes
            the broken epoch.
        RuntimeError
            The network is in use in another thread.

        Warns
        -----
        LearningWarning
            In the last epoch no error reached a layer, or ||delta|| there was less than 1e-5 or
            more than 1e5 of the output layer's; or no error came through the outputs in the last
            two, and their cost stood still.

        Examples
        --------
        Blocks from a generator, made anew for each epoch:

        >>> class Blocks:
        ...     def __iter__(self):
        ...         for seed in range(3):
        ...             X = np.random.default_rng(seed).random((100, 2))
        ...             yield X, X.sum(axis=1)
        >>> net = Network([2, 4, 1], output="identity", rng=0)
        >>> len(net.train(Blocks(), epochs=5, learning_rate=0.1))
        5
        """
        if comm is not None:
            from cbackprop import _comm

            if not isinstance(comm, _comm.Exchange):
                given = {k: v for k, v in locals().items() if k not in ("self", "X", "y", "_comm")}
                return _comm.train(self, X, y, given)
        arguments = (
            epochs, batch_size, optimizer, l1, l2, weight_decay, label_smoothing, dropout,
            input_noise, max_norm, clip_norm, clip_value, validation_data, validation_split,
            early_stopping, monitor, sample_weight, class_weight, shuffle, callbacks, progress,
            n_threads, compute,
        )  # fmt: skip
        keeper = _options.keeper(checkpoint, resume)
        again = None
        if comm is None and keeper is None:
            again = _short.again(self._plans, self, X, y, learning_rate, arguments)
        if again is not None:
            return again
        epochs = check.integer("epochs", epochs, 1)
        batch_size = check.integer("batch_size", batch_size, 1)
        lbfgs = None
        if isinstance(optimizer, optimizers.LBFGS) or optimizer == "lbfgs":
            lbfgs = optimizers.LBFGS() if isinstance(optimizer, str) else optimizer
            optimizer = "sgd"
            from cbackprop import _lbfgs

            _lbfgs.refuse(
                {
                    "learning_rate": learning_rate, "l1": l1, "weight_decay": weight_decay,
                    "dropout": dropout, "input_noise": input_noise, "max_norm": max_norm,
                    "clip_norm": clip_norm, "clip_value": clip_value, "compute": compute,
                },
                callbacks,
            )  # fmt: skip
        rule, rate = optimizers.with_rate(optimizer, learning_rate)
        if weight_decay is not None:
            rule = optimizers.with_weight_decay(rule, weight_decay)
        l1, l2 = check.real("l1", l1, 0), check.real("l2", l2, 0)
        drops = _options.dropout(dropout, len(self.sizes) - 2)
        noise = check.real("input_noise", input_noise, 0)
        clip = _options.limit("clip_value", clip_value)
        most, longest = _options.limit("clip_norm", clip_norm), _options.limit("max_norm", max_norm)
        if clip_value is not None and clip_norm is not None:
            raise ValueError("clip_value and clip_norm: give one of them")
        bf16 = _options.is_bf16(compute, self._engine)
        _options.callbacks(callbacks)
        blocks = y is None and not hasattr(X, "__array__") and hasattr(X, "__iter__")
        if y is None and not blocks:
            raise TypeError("y is missing; expected labels or targets, or X an iterable of (X, y)")
        validated = validation_data is not None or bool(validation_split)
        stopping = _options.early_stopping(early_stopping, validated)
        monitors = _monitors.checked(monitor, validated)
        if isinstance(rate, float) and rate * rule.row[-1] >= 1:
            raise ValueError(
                f"weight_decay = {rule.row[-1]:g} with learning_rate = {rate!r} would turn the "
                "weights' sign; expected learning_rate * weight_decay < 1"
            )
        shown = None
        if progress is not None and check.flag("progress", progress):
            shown = Progress(epochs)
        showing = contextlib.nullcontext() if shown is None else shown
        options: tuple[Any, ...] = (
            drops, noise, epochs, rule, rate, l1, l2, clip, most, longest,
            check.flag("shuffle", shuffle), (X, y),
            monitors, shown, stopping, callbacks, bf16, comm, batch_size,
            keeper,
        )  # fmt: skip
        if keeper is not None and lbfgs:
            raise ValueError(
                "checkpoint with optimizer 'lbfgs' is not there; call net.save in a callback"
            )
        if blocks and lbfgs:
            raise ValueError("optimizer 'lbfgs' needs all rows at once, not blocks")
        if blocks:
            given = {"l1": l1, "l2": l2, "validation_split": validation_split}
            given["sample_weight"] = sample_weight
            _blocks.refuse(X, given, class_weight, monitors)
            _blocks.refuse_iterator(X, epochs)
            _blocks.refuse_checkpoint(X, keeper)
            _options.steps_of_decay(rule, rate, l2, len(X) if l2 else 1)
            self._check_validation(validation_data, self.classes, None)

            def filled(X: Any, y: Any, sample: Any) -> _run.Call:
                data = self._data(X, y, sample, class_weight, label_smoothing, 0.0, batch_size,
                                  epochs, n_threads, comm)  # fmt: skip
                return _run.Call._make((*data[:-1], validation_data, *options))

            if keeper is not None:
                keeper.more = {"class_weight": class_weight, "label_smoothing": label_smoothing}
            blank = _run.Call._make((*[None] * 8, validation_data, *options))
            blank = blank._replace(batch_size=batch_size)
            with showing:
                return _blocks.run(self, blank, X, filled)
        with contextlib.nullcontext() if keeper is None else keeper.seed(self):
            data = self._data(
                X, y, sample_weight, class_weight, label_smoothing, validation_split, batch_size,
                epochs, n_threads, comm,
            )  # fmt: skip
        call = _run.Call(*data, *options)
        if validation_data is not None:
            if validation_split:
                raise ValueError("validation_data and validation_split: give one of them")
            self._check_validation(validation_data, call.target.classes, call.target.score)
            call = call._replace(validation=validation_data)
        if lbfgs:
            with showing:
                return _lbfgs.run(self, call, lbfgs)
        _options.steps_of_decay(rule, rate, l2, len(call.X) if comm is None else comm.total)
        with showing:
            history = _run.run(self, call)
        if comm is None and keeper is None:
            with contextlib.suppress(MemoryError):  # training stands; the next goes the long way
                _short.keep(self._plans, self, arguments, call, batch_size, label_smoothing)
        return history

    def _data(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Any,
        label_smoothing: float,
        validation_split: float,
        batch_size: int,
        epochs: int,
        n_threads: int | None,
        comm: Any,
    ) -> tuple[Any, ...]:
        """The fields of a `_run.Call` that depend on the data, checked."""
        ranks = _options.ALONE if comm is None else comm
        array, rows = self._rows(X)
        target = self._targets(y, len(array))
        weights = _options.weights(sample_weight, class_weight, target, self.sizes[-1], ranks)
        chosen = validation = None
        if validation_split:
            chosen, held_out = ranks.split(validation_split, target.array, self._key)
            check.refuse_nonfinite("X", array, self.dtype)
            parts = array[held_out], check.as_array("y", y)[held_out]
            validation = ranks.whole(parts[0]), ranks.whole(parts[1])
        target = _options.smoothed(label_smoothing, target, self.sizes[-1], self.dtype)
        n = len(array) if chosen is None else len(chosen)
        left = None if weights is None or chosen is None else weights[chosen]
        if left is not None and not any(ranks.of_rows(bool(left.any()))):
            raise ValueError("sample_weight of all rows that validation_split leaves is 0")
        batch_size = min(batch_size, n)
        if n_threads is None and not self._engine.in_python:
            threads, guess = _threads.choice(self.sizes, batch_size, epochs * n)
        else:
            threads, guess = self._threads(n_threads, batch_size, 6), 0
        return array, rows, target, chosen, weights, batch_size, threads, guess, validation

    def _check_validation(self, pair: Any, classes: Array | None, kind: int | None) -> None:
        if pair is None:
            return
        if not (isinstance(pair, Sequence) and len(pair) == 2):
            raise TypeError("validation_data: expected a pair (X, y)")
        checked = check.features("X of validation_data", pair[0], self.sizes[0], self.dtype)
        self._scored("y of validation_data", pair[1], len(checked), classes, kind)
        check.refuse_nonfinite("X of validation_data", checked, self.dtype)

    def _scored(
        self, name: str, y: Any, m: int, classes: Array | None, kind: int | None
    ) -> check.Target:
        """Targets with the kind of score that training has, where one is given."""
        n = self.sizes[-1]
        target = self._targets(_options.as_numbers(name, y, kind, n), m, classes, name)
        return _options.as_trained(name, target, kind, n)

    def _refuse_scaled(self, X: Array) -> NoReturn:
        raise ValueError(
            "X * input_scale + input_shift is not finite in "
            f"{self.dtype}; expected a smaller input_scale or input_shift"
        )

    # ---- use -----------------------------------------------------------------------------

    def predict(self, X: Any, *, out: Array | None = None, n_threads: int | None = None) -> Array:
        """Activations of the output layer, (n, n_L), in the network's dtype.

        Parameters
        ----------
        X : array-like (n, n_0)
        out : array (n, n_L), optional
            C-contiguous, of the network's dtype; filled and returned.
        n_threads : int, optional

        Raises
        ------
        ValueError, TypeError
            X does not fit, or holds NaN or infinity.

        Examples
        --------
        >>> Network([2, 3, 1], rng=0).predict([[0.0, 1.0], [1.0, 1.0]]).shape
        (2, 1)
        """
        if out is None and n_threads is None and (a := self._quick(X)) is not None:
            return a
        array, rows = self._rows(X, some=False)
        shape = (len(array), self.sizes[-1])
        if out is None:
            out = np.empty(shape, self.dtype)
        elif not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"out = {type(out).__name__}, expected an array")
        elif (
            out.shape != shape
            or out.dtype != self.dtype
            or not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned)
        ):
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}, expected a writeable "
                f"C-contiguous array {shape} of {self.dtype}"
            )
        if len(array):
            filled = np.empty_like(out) if np.may_share_memory(out, array) else out
            with self._beside:
                threads = self._threads(n_threads, len(array), 2)
                _, _, bad = self._engine.survey(rows, None, 0, filled, threads)
            if bad:
                check.refuse_nonfinite("X", array, self.dtype)
                self._refuse_scaled(array)
            if filled is not out:
                out[...] = filled
        return out

    def classify(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The label of each row, (n,): of the largest output, or of output >= 1/2 (with the
        hinge costs, 0) where there is one.

        Labels are those of the first training or of ``classes``; before either, indices.

        Examples
        --------
        >>> net = Network([1, 2], output="softmax", rng=0)
        >>> history = net.train([[-1.0], [1.0]], ["low", "high"], epochs=100, learning_rate=1.0)
        >>> net.classify([[-2.0], [3.0]]).tolist()
        ['low', 'high']
        """
        a = self.predict(X, n_threads=n_threads)
        index = (
            (a[:, 0] >= self.cost.threshold).astype(np.intp)
            if a.shape[1] == 1
            else a.argmax(axis=1)
        )
        return index if self.classes is None else self.classes[index]

    def evaluate(self, X: Any, y: Any, *, n_threads: int | None = None) -> dict[str, float]:
        """Mean cost, and accuracy for labels or R^2 for real targets.

        Returns
        -------
        dict
            ``{"cost", "accuracy"}`` for labels, one-hot and, with cross_entropy, 0/1
            targets (a row is right when every output is on its side of 1/2); else
            ``{"cost", "r2"}``, R^2 a mean over outputs as scikit-learn's.

        Examples
        --------
        >>> net = Network([1, 1], output="identity", rng=0)
        >>> net.set_weights(0, w=[[2.0]], b=[0.0])
        >>> net.evaluate([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0])
        {'cost': 0.0, 'r2': 1.0}
        """
        with self._beside:
            return self._evaluate(X, y, n_threads)

    def _evaluate(
        self, X: Any, y: Any, n_threads: int | None, kind: int | None = None
    ) -> dict[str, float]:
        """As `evaluate`; ``kind`` of score where it is not the targets' own."""
        array, rows = self._rows(X)
        target = self._scored("y", y, len(array), None, kind)
        threads = self._threads(n_threads, len(array), 2)
        targets = target.core
        cost, sums, bad = self._engine.survey(rows, targets, target.score, None, threads)
        if bad:
            check.refuse_nonfinite("X", array, self.dtype)
            self._refuse_scaled(array)
        name, variance = _run.score_terms(target)
        return {"cost": cost / len(array), name: _training.mean_score(sums / len(array), variance)}

    def gradients(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        per_sample: bool = False,
        n_threads: int | None = None,
    ) -> Gradients:
        """The four equations for all of X as one mini-batch; nothing is trained.

        Parameters
        ----------
        X, y
            As for `train`.
        sample_weight : array-like (m,), optional
            >= 0: cost, nabla_w and nabla_b are weighted means; ``delta`` is the weight times
            the sample's error. A row of weight 0 goes through the network with the input 0.
        per_sample : bool
            nabla_w (m, n_l, n_{l-1}) and nabla_b (m, n_l) are of each sample's own cost, times its
            weight; their mean is what they are without.
        n_threads : int, optional

        Returns
        -------
        Gradients
            Of the mean cost, in the network's dtype.

        Examples
        --------
        >>> net = Network([2, 3, 1], rng=0)
        >>> g = net.gradients([[0.0, 1.0], [1.0, 1.0]], [[0.0], [1.0]], per_sample=True)
        >>> g.nabla_w[0].shape, g.nabla_b[0].shape
        ((2, 3, 2), (2, 3))
        """
        if sample_weight is None and n_threads is None and not per_sample:
            low, high = self.cost.targets
            quick = _derivatives.quick(self._engine, X, y, False, low, high, self.classes)
            if quick is not None:
                return Gradients._make(quick)
        array, rows = self._rows(X)
        target = self._targets(y, len(array))
        weights = _options.weights(sample_weight, None, target, self.sizes[-1])
        g = self._derive(array, rows, target.core, False, weights, n_threads)
        if not per_sample:
            return g
        # BP4 before its mean: a^{l-1}_k delta^l_j
        pairs = zip(g.delta, g.a, strict=False)
        nabla_w = [delta[:, :, None] * a[:, None, :] for delta, a in pairs]
        return g._replace(nabla_w=nabla_w, nabla_b=[delta.copy() for delta in g.delta])

    def pullback(self, X: Any, v: Any, *, n_threads: int | None = None) -> Gradients:
        """The four equations for a dC/da^L that the caller gives; nothing is trained.

        For costs that the network does not know: a policy gradient, a physical residual, a
        network behind this one.

        Parameters
        ----------
        X : array-like (n, n_0)
        v : array-like (n, n_L), or (n,) for one output
            dC/da^L of each sample, not divided by n.
        n_threads : int, optional

        Returns
        -------
        Gradients
            delta^L_j = sum_k v_k da_k/dz_j, (2.15); then as of `gradients`: nabla_w and
            nabla_b are means over the samples, so v = dC/da of the network's own cost gives
            what `gradients` gives. ``cost`` is NaN.

        Raises
        ------
        ValueError, TypeError
            X or v does not fit, or holds NaN or infinity.

        Examples
        --------
        >>> net = Network([2, 3, 1], rng=0)
        >>> X, y = [[0.0, 1.0], [1.0, 1.0]], [[0.0], [1.0]]
        >>> g = net.pullback(X, net.predict(X) - y)  # dC/da of the quadratic cost
        >>> bool(np.allclose(g.nabla_w[0], net.gradients(X, y).nabla_w[0]))
        True
        """
        if n_threads is None:
            quick = _derivatives.quick(self._engine, X, v, True, -math.inf, math.inf, None)
            if quick is not None:
                return Gradients._make(quick)
        array, rows = self._rows(X)
        slopes = check.slopes("v", v, len(array), self.sizes[-1], self.dtype)
        return self._derive(array, rows, _engine.Targets(slopes), True, None, n_threads)

    def input_gradient(self, X: Any, y: Any, *, n_threads: int | None = None) -> Array:
        """dC/dX of each sample's own cost, (n, n_0): BP2 carried one layer further.

        Parameters
        ----------
        X, y
            As for `train`.
        n_threads : int, optional

        Returns
        -------
        array (n, n_0)
            (w^1)^T delta^1, times ``input_scale``: of X as it was given, not divided by n.

        Examples
        --------
        >>> net = Network([3, 4, 2], rng=0)
        >>> net.input_gradient(np.eye(3), np.eye(3, 2)).shape
        (3, 3)
        """
        return self._into_input(self.gradients(X, y, n_threads=n_threads))

    def jacobian(self, X: Any, *, n_threads: int | None = None) -> Array:
        """da^L_k/dX_j of each sample, (n, n_L, n_0): one `pullback` an output.

        Examples
        --------
        >>> net = Network([2, 1], output="identity", rng=0)
        >>> bool(np.allclose(net.jacobian([[0.3, 0.7]])[0], net.weights[0]))
        True
        """
        array, _ = self._rows(X)
        result = np.empty((len(array), self.sizes[-1], self.sizes[0]), self.dtype)
        for k in range(self.sizes[-1]):
            v = np.zeros((len(array), self.sizes[-1]), self.dtype)
            v[:, k] = 1
            result[:, k] = self._into_input(self.pullback(array, v, n_threads=n_threads))
        return result

    def _into_input(self, g: Gradients) -> Array:
        result = g.delta[0] @ self.weights[0] * self.input_scale
        return result.astype(self.dtype, copy=False)

    def hessian_vector_product(self, X: Any, y: Any, v: Any) -> Array:
        """H v, H the second derivatives of the mean cost by all parameters.

        Exact to rounding, in float64: the R-operator of B. A. Pearlmutter, *Fast Exact
        Multiplication by the Hessian*, 1994, carries derivatives along v through forward and BP1 to
        BP4. It takes the time of two to five calls of `gradients` in float64, and at least 0.2 ms.

        Parameters
        ----------
        X, y
            As for `train`.
        v : array-like (P,)
            One number a parameter: w^1 row by row, b^1, w^2, and so on.

        Returns
        -------
        array (P,), float64

        Raises
        ------
        ValueError, TypeError
            X, y or v does not fit or is not finite; or a function of your own refuses complex
            numbers, from which its second derivative is found.

        Examples
        --------
        >>> net = Network([1, 1], output="identity", rng=0)  # C = (w x + b - y)^2 / 2
        >>> net.hessian_vector_product([[3.0]], [[1.0]], [1.0, 0.0]).tolist()  # x^2, x
        [9.0, 3.0]
        """
        from cbackprop import _hessian

        vector = check.parameter_vector("v", v, self.sizes)
        check.twice_differentiable([*self.activations, self.cost])
        net = self if self.dtype == np.float64 else self._in_float64()
        return _hessian.product(net, X, y, vector)

    def apply_gradients(
        self,
        g: Gradients | tuple[Sequence[Array], Sequence[Array]],
        *,
        optimizer: str | Optimizer = "sgd",
        learning_rate: float | None = None,
    ) -> None:
        """One step of an optimiser with gradients from anywhere.

        Parameters
        ----------
        g : Gradients, or a pair (nabla_w, nabla_b)
            dC/dw^l (n_l, n_{l-1}) and dC/db^l (n_l,), one array a layer.
        optimizer : str or Optimizer
            As for `train`; what it remembers is shared with it.
        learning_rate : float, optional
            eta, > 0. Default: the optimiser's own.

        Raises
        ------
        ValueError, TypeError
            A gradient does not fit or is not finite; nothing has changed.
        RuntimeError
            The network is in use in another thread.

        Examples
        --------
        >>> net = Network([2, 3, 1], rng=0)
        >>> X, y = [[0.0, 1.0], [1.0, 1.0]], [[0.0], [1.0]]
        >>> before = net.evaluate(X, y)["cost"]
        >>> net.apply_gradients(net.gradients(X, y), optimizer="adam", learning_rate=0.1)
        >>> net.evaluate(X, y)["cost"] < before
        True
        """
        rule, eta = optimizers.with_rate(optimizer, learning_rate)
        if not isinstance(eta, float):
            raise TypeError(f"learning_rate = {learning_rate!r}, expected a number")
        nabla_w: Sequence[Array]
        nabla_b: Sequence[Array]
        if isinstance(g, Gradients) and _updates.in_order(self._engine, g.nabla_w, g.nabla_b):
            nabla_w, nabla_b = g.nabla_w, g.nabla_b
        else:
            nabla_w, nabla_b = check.gradients(g, self.sizes, self.dtype)
        with self._alone:
            _run.refuse_inside(self)
            state = _run.state_for(self, rule, eta)
            if not _updates.apply_gradients(
                self._engine, self._position, state, rule, eta, nabla_w, nabla_b
            ):
                raise ValueError("g holds NaN or infinity; nothing has changed")

    def _derive(
        self,
        array: Array,
        rows: Any,
        y: Any,
        given: bool,
        weights: Array | None,
        n_threads: int | None,
    ) -> Gradients:
        with self._beside:
            threads = self._threads(n_threads, len(array), 6)
            return self._derived(array, rows, y, given, weights, threads)

    def _derived(
        self, array: Array, rows: Any, y: Any, given: bool, weights: Array | None, threads: int
    ) -> Gradients:
        """BP1 to BP4; the caller holds the network."""
        found = _derivatives.derive(self._engine, rows, y, given, weights, threads)
        if found is None:
            check.refuse_nonfinite("X", array, self.dtype)
            self._refuse_scaled(array)
        return Gradients._make(found)

    # ---- a network as a value ---------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the network to a file; `cbackprop.load` reads it. The path is used as given.

        Raises
        ------
        OSError
            The file cannot be written; an older file of that name is untouched.
        """
        from cbackprop.io import model_file

        path = check.path("path", path)
        with self._beside:
            data = model_file.dumps(self)
        model_file.write(path, data)

    def export_c(self, path: str | Path, *, name: str | None = None, samples: Any = None) -> None:
        """Write the network as one C99 header, which C++ takes as well.

        It predicts and classifies, allocates nothing, and needs ``math.h`` alone of what has to be
        linked. Its functions are named after the file: ``model_predict``, ``model_classify``,
        ``model_label``, ``model_self_test``. The same bits as `predict` wherever C's fma is exact;
        the header's first lines tell how it is used.

        Parameters
        ----------
        path : str or Path
            Used as given.
        name : str, optional
            What the names in the header begin with; default: the file's name without its end.
        samples : array-like (n, n_0), optional
            Rows for the self-test. Default: five of random numbers.

        Raises
        ------
        ValueError, TypeError
            An activation is your own; the name is no C identifier; samples do not fit, or the
            output for one of them is not finite.
        OSError
            The file cannot be written; an older file of that name is untouched.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> net = Network([4, 8, 3], output="softmax", rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.export_c(f"{folder}/model.h")
        ...     "int model_classify(" in pathlib.Path(folder, "model.h").read_text()
        True
        """
        from pathlib import Path

        from cbackprop.io import c_header, model_file

        path = Path(check.path("path", path))
        name = check.c_name(name, path)
        check.written_in_c(self.activations)
        if samples is not None:
            samples = check.features("samples", samples, self.sizes[0], self.dtype)
            check.refuse_nonfinite("samples", samples, self.dtype)
        with self._beside:
            text = c_header.dumps(self, name, path.name, samples)
        model_file.write(path, text.encode())

    def __getstate__(self) -> bytes:
        from cbackprop.io import model_file

        with self._beside:
            return model_file.dumps(self)

    def __setstate__(self, data: bytes) -> None:
        from cbackprop.io import model_file

        model_file.restore(self, data)

    def _in_float64(self) -> Network:
        """A float64 network with the same parameters and functions."""
        copy = Network(
            self.sizes,
            activation=self.activations[:-1],
            output=self.activations[-1],
            cost=self.cost,
            init="zeros",
            dtype="float64",
            input_scale=self.input_scale,
            input_shift=self.input_shift,
            classes=self.classes,
            rng=0,
        )
        copy.weights, copy.biases = self.weights, self.biases
        return copy

    def _rows_of_summary(self) -> list[tuple[int, int, str, int]]:
        """(layer, neurons, activation, parameters) of each layer, the input first."""
        rows = [(0, self.sizes[0], "(input)", 0)]
        for l, sigma in enumerate(self.activations, start=1):
            rows.append((l, self.sizes[l], str(sigma), self.sizes[l] * (self.sizes[l - 1] + 1)))
        return rows

    def summary(self) -> str:
        """The layers, their activations and parameters as a text table.

        Examples
        --------
        >>> print(Network([784, 30, 10], rng=0).summary())
        layer   neurons  activation        parameters
            0       784  (input)                    0
            1        30  sigmoid               23,550
            2        10  sigmoid                  310
        23,860 parameters of float32, cost quadratic
        """
        rows = self._rows_of_summary()
        lines = [f"{'layer':>5}  {'neurons':>8}  {'activation':<16}{'parameters':>12}"]
        lines += [f"{l:>5}  {n:>8}  {sigma:<16}{count:>12,}" for l, n, sigma, count in rows]
        total = sum(row[-1] for row in rows)
        lines.append(f"{total:,} parameters of {self.dtype}, cost {self.cost}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        from html import escape

        rows = self._rows_of_summary()
        body = "".join(
            f"<tr><td>{l}</td><td>{n}</td><td>{escape(sigma)}</td><td>{count:,}</td></tr>"
            for l, n, sigma, count in rows
        )
        total = sum(row[-1] for row in rows)
        return (
            "<table><thead><tr><th>layer</th><th>neurons</th><th>activation</th>"
            f"<th>parameters</th></tr></thead><tbody>{body}</tbody></table>"
            f"<p>{total:,} parameters of {self.dtype}, cost {escape(str(self.cost))}, "
            f"{self.steps:,} mini-batches trained</p>"
        )

    def __repr__(self) -> str:
        hidden = [str(sigma) for sigma in self.activations[:-1]]
        activation = hidden[0] if len(set(hidden)) == 1 else hidden
        return (
            f"Network({list(self.sizes)}, activation={activation!r}, "
            f"output={str(self.activations[-1])!r}, cost={str(self.cost)!r}, "
            f"dtype={self.dtype.name!r})"
        )
