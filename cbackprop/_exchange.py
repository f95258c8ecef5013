"""What `Network` gives to other programs and takes from them; each format has a module of io."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check

if TYPE_CHECKING:
    from cbackprop.activations import Activation
    from cbackprop.costs import Cost
    from cbackprop.network import Network

Array = NDArray[Any]


class Exchange:
    """Import and export, a part of `Network`. A format's module is imported when it is used."""

    def _write(self, save: Callable[[Network, str], None], path: Any) -> None:
        net = cast("Network", self)
        path = check.path("path", path)
        with net._beside:
            save(net, path)

    def export_onnx(self, path: str | PathLike[str]) -> None:
        """Write the network as an ONNX graph, for onnxruntime and others.

        The input "X" (N, n_0) and the output "Y" (N, n_L) are of the network's dtype; the graph
        scales and shifts X itself, and is of opset 17. Where the network has labels, the
        metadata's "classes" is a JSON list of them.

        Parameters
        ----------
        path : path
            As for `save`.

        Raises
        ------
        ModelFileError
            The network has a function of your own, or more than 2 GB of weights.
        ImportError
            onnx is not installed: ``pip install "cbackprop[onnx]"``.
        OSError
            As from `save`.

        Notes
        -----
        gelu in float64 takes its error function in float32, as onnxruntime has no other, and
        stands to 1e-7.
        """
        from cbackprop.io import onnx_write

        self._write(onnx_write.save, path)

    @classmethod
    def from_onnx(
        cls,
        path: str | PathLike[str],
        *,
        cost: str | Cost | None = None,
        classes: Sequence[Any] | Array | None = None,
    ) -> Network:
        """A network from an ONNX graph of fully-connected layers.

        Parameters
        ----------
        path : path
            A file with one input and one output and, between them, a chain of Gemm, MatMul, and
            Add, Sub, Mul and Div with constants, and of activations this package has, however
            exporters write them. Data in other files is not read.
        cost, classes : optional
            As for `Network`. Default: what `export_onnx` noted, or `Network`'s own.

        Raises
        ------
        ModelFileError
            The file is damaged, or holds something else, which is named.
        ImportError
            onnx is not installed: ``pip install "cbackprop[onnx]"``.
        """
        from cbackprop.io import onnx_read

        path = check.path("path", path)
        return onnx_read.load(cast("type[Network]", cls), path, {"cost": cost, "classes": classes})

    def to_torch(self) -> dict[str, Array]:
        """Weights and biases as the state_dict of an ``nn.Sequential``, in arrays.

        Its modules are ``Linear, activation, Linear, activation, ...``, so the names are
        "0.weight", "0.bias", "2.weight" and so on; identity takes a place as well (nn.Identity).
        ``input_scale`` and ``input_shift`` become part of the first layer.

        Returns
        -------
        dict of str to array

        Examples
        --------
        With PyTorch: ``model.load_state_dict({name: torch.from_numpy(x) for name, x in
        net.to_torch().items()})``.

        >>> from cbackprop import Network
        >>> state = Network([2, 3, 1], rng=0).to_torch()
        >>> {name: array.shape for name, array in state.items()}
        {'0.weight': (3, 2), '0.bias': (3,), '2.weight': (1, 3), '2.bias': (1,)}
        """
        from cbackprop.io import torch_state

        net = cast("Network", self)
        with net._beside:
            return torch_state.save(net)

    @classmethod
    def from_torch(
        cls,
        state: Mapping[str, Any] | Sequence[Any] | str | PathLike[str] | Any,
        *,
        activation: str | Activation | Sequence[str | Activation] | None = None,
        output: str | Activation | None = None,
        cost: str | Cost | None = None,
        input_scale: float | Sequence[float] | Array | None = None,
        input_shift: float | Sequence[float] | Array | None = None,
        classes: Sequence[Any] | Array | None = None,
    ) -> Network:
        """A network from the weights of PyTorch's Linear layers.

        Parameters
        ----------
        state : mapping, sequence, module or path
            An nn.Sequential; a state_dict, of tensors or arrays, its layers in order, or another
            module, whose state_dict is taken; a list of arrays w1, b1, w2, b2, ...; or the path
            of a .safetensors file, whose layers are ordered by the numbers in their names. A
            Linear without bias has zeros.
        activation, output : optional
            As for `Network`. An nn.Sequential says them, identity where it ends with a Linear, as
            classifiers do that are trained on logits: give output="softmax" for probabilities.
            Nothing else does, so they are needed.
        cost, input_scale, input_shift, classes : optional
            As for `Network`.

        Raises
        ------
        ModelFileError
            Something in it is not of a chain of Linear layers and activations.
        ValueError
            An activation or output is needed and not given.
        TypeError
            It is none of these.

        Examples
        --------
        >>> from cbackprop import Network
        >>> net = Network([2, 3, 1], activation="relu", output="identity", rng=0)
        >>> again = Network.from_torch(net.to_torch(), activation="relu", output="identity")
        >>> again.predict([[0.5, 1.0]]) == net.predict([[0.5, 1.0]])
        array([[ True]])
        """
        from cbackprop.io import torch_state

        settings = {
            "activation": activation, "output": output, "cost": cost, "classes": classes,
            "input_scale": input_scale, "input_shift": input_shift,
        }  # fmt: skip
        return torch_state.load(cast("type[Network]", cls), state, settings)

    @classmethod
    def from_sklearn(
        cls,
        mlp: Any,
        *,
        input_scale: float | Array | None = None,
        input_shift: float | Array | None = None,
    ) -> Network:
        """A network from a fitted MLPClassifier or MLPRegressor, scikit-learn's or ours.

        Weights, activations, cost and labels are taken; the optimiser's state and the penalty
        ``alpha`` are not. Where scikit-learn decides between two classes by one output,
        `predict` is the probability of the second.

        Parameters
        ----------
        mlp : estimator
            After ``fit``; of a Pipeline its last step, of a search its ``best_estimator_``.
            scikit-learn itself is not needed.
        input_scale, input_shift : optional
            As for `Network`. Behind a StandardScaler: ``1 / scaler.scale_`` and
            ``-scaler.mean_ / scaler.scale_``.

        Raises
        ------
        ModelFileError
            It is not fitted, or has a loss that no network here has.
        TypeError
            It is no such estimator.
        """
        from cbackprop.io import sklearn_mlp

        settings = {"input_scale": input_scale, "input_shift": input_shift}
        given = {name: value for name, value in settings.items() if value is not None}
        return sklearn_mlp.load(cast("type[Network]", cls), mlp, given)

    def to_npz(self, path: str | PathLike[str]) -> None:
        """Write weights, biases and settings as arrays for ``numpy.load``: w1, b1, w2, b2, ...

        History and optimiser are not kept; `save` keeps them.

        Raises
        ------
        ModelFileError
            The network has a function of your own.
        OSError
            As from `save`.

        Examples
        --------
        >>> import numpy as np
        >>> from cbackprop import Network
        >>> Network([2, 1], rng=0).to_npz("example.npz")
        >>> np.load("example.npz")["w1"].shape
        (1, 2)
        >>> Network.from_npz("example.npz").sizes
        (2, 1)
        """
        from cbackprop.io import npz

        self._write(npz.save, path)

    @classmethod
    def from_npz(
        cls,
        path: str | PathLike[str],
        *,
        activation: str | Activation | Sequence[str | Activation] | None = None,
        output: str | Activation | None = None,
        cost: str | Cost | None = None,
        classes: Sequence[Any] | Array | None = None,
    ) -> Network:
        """A network from an NPZ file with w1 (n_1, n_0), b1 (n_1,), w2 and so on.

        Parameters
        ----------
        path : path
            A file of `to_npz`, or of ``numpy.savez`` with these names. Objects are never read.
        activation, output, cost, classes : optional
            As for `Network`. Default: what the file says, or `Network`'s own.

        Raises
        ------
        ModelFileError
            The file is damaged or holds other arrays.
        """
        from cbackprop.io import npz

        given = {"activation": activation, "output": output, "cost": cost, "classes": classes}
        return npz.load(cast("type[Network]", cls), check.path("path", path), given)

    def to_book_json(self, path: str | PathLike[str]) -> None:
        """Write the JSON file of the book's ``network2.py``, whose ``load`` reads it.

        ``input_scale`` and ``input_shift`` become part of the first layer.

        Raises
        ------
        ModelFileError
            A layer is not sigmoid, or the cost neither quadratic nor cross_entropy.
        OSError
            As from `save`.

        Examples
        --------
        >>> from cbackprop import Network
        >>> Network([2, 3, 1], rng=0).to_book_json("example.json")
        >>> Network.from_book_json("example.json").sizes
        (2, 3, 1)
        """
        from cbackprop.io import book_json

        self._write(book_json.save, path)

    @classmethod
    def from_book_json(cls, path: str | PathLike[str], *, dtype: Any = np.float64) -> Network:
        """A network from a JSON file of the book's ``network2.py``.

        Parameters
        ----------
        path : path
            A file of its ``save``, or of `to_book_json`.
        dtype : dtype
            float64, as the book computes, or float32.

        Raises
        ------
        ModelFileError
            The file is not such a network.
        """
        from cbackprop.io import book_json

        return book_json.load(cast("type[Network]", cls), check.path("path", path), dtype)
