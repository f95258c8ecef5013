"""History: what training recorded, an entry an epoch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


def figure(value: float) -> str:
    """A cost or a score in words; of a training that diverges, not forty digits."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


@dataclass(repr=False)
class History:
    """Curves of a training run, one entry an epoch.

    Attributes
    ----------
    cost, score : list of float
        Means over the epoch as it was trained: each mini-batch before its own update. The
        score is the accuracy for labels, R^2 for real targets (``score_name`` says which).
    validation_cost, validation_score : list of float
        After the epoch, on ``validation_data``; empty without it.
    delta_norms : list of list of float
        ||delta^l|| of each layer after the input: the root mean square over samples, "the
        speed of learning" of the book's chapter 5. Looked at in every eighth mini-batch of the
        epoch from the first on, in up to 128 samples each.
    dead_units : list of list of float
        Of each layer after the input, the share of neurons whose error was 0 in all of those.
    monitored : dict of list of float
        The curves that ``monitor`` asked for.
    learning_rate : list of float
    seconds : list of float
        Wall-clock time of the epoch's training.

    Examples
    --------
    >>> from cbackprop import Network
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 0, 0, 1]
    >>> net = Network([2, 4, 3, 2], output="softmax", rng=0)
    >>> history = net.train(X, y, epochs=5)
    >>> history.score_name, len(history.cost), len(history.delta_norms[-1])
    ('accuracy', 5, 3)
    >>> list(history.to_dict())[:3]
    ['score_name', 'cost', 'score']
    """

    score_name: str = "accuracy"
    cost: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    delta_norms: list[list[float]] = field(default_factory=list)
    dead_units: list[list[float]] = field(default_factory=list)
    monitored: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cost)

    def __repr__(self) -> str:
        # Not the curves: in notebooks, what train returns is what a cell shows.
        if not self.cost:
            return "<History of no epoch>"
        epochs = "1 epoch" if len(self) == 1 else f"{len(self):,} epochs"
        return f"<History of {epochs}: {self._figures()}>"

    def to_dict(self) -> dict[str, Any]:
        """The curves as plain lists by name."""
        return asdict(self)

    def plot(self, what: str | Sequence[str] = ("cost", "score"), *, ax: Any = None) -> Any:
        """Draw curves over the epochs, with matplotlib: ``pip install "cbackprop[plot]"``.

        Parameters
        ----------
        what : str or sequence of str
            cost, score, learning_rate, seconds, or a curve of ``monitored``: one panel each.
            Validation curves stand beside those of training.
        ax : matplotlib Axes, or a sequence of them
            As many as curves. Default: a new figure.

        Returns
        -------
        Axes, or array of Axes
            One for a name, an array for a sequence.

        Raises
        ------
        ValueError
            There is no such curve, or no epoch; ``ax`` has another number of axes.
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib; matplotlib.use("Agg")  # without a screen
        >>> from cbackprop import Network
        >>> history = Network([1, 1], rng=0).train([[0.0], [1.0]], [0, 1], epochs=3)
        >>> history.plot("cost").get_ylabel()
        'cost'
        >>> [ax.get_ylabel() for ax in history.plot(["score", "learning_rate"])]
        ['accuracy', 'learning rate']
        """
        from cbackprop import plotting

        return plotting.plot_history(self, what, ax=ax)

    def plot_delta_norms(self, *, ax: Any = None) -> Any:
        """Draw ||delta^l|| of each layer over the epochs, on a logarithmic axis: how fast each
        layer learns, as in the book's chapter 5.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        Axes
            Norms of 0 are gaps.

        Raises
        ------
        ValueError, ImportError
            As from `plot`.
        """
        from cbackprop import plotting

        return plotting.plot_delta_norms(self, ax=ax)

    def line(self, epochs: int) -> str:
        """The last epoch in one line."""
        return f"epoch {len(self)}/{epochs}  {self._figures()}"

    def _figures(self) -> str:
        """The last epoch's, in words."""
        text = f"cost {figure(self.cost[-1])}"
        if self.score:  # one made by hand need not have it
            text += f"  {self.score_name} {figure(self.score[-1])}"
        if self.validation_cost:
            text += f"  validation cost {figure(self.validation_cost[-1])}"
            text += f"  {self.score_name} {figure(self.validation_score[-1])}"
        for name, curve in self.monitored.items():
            text += f"  {name} {figure(curve[-1])}"
        return text
