"""A seeded part of tests/campaigns/hostile_calls.py, and what the whole of it has found."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cbackprop import Network, _options
from cbackprop import _validation as check

sys.path.append(str(Path(__file__).parent))

from campaigns import hostile_calls


def test_arrays_of_every_kind():
    outcomes, wrong = hostile_calls.campaign(1, 1, share=0.15)
    assert not wrong
    assert outcomes["taken"] > 300  # not all are refused


@pytest.mark.parametrize(
    ("sizes", "error", "match"),
    [
        (np.array(5), ValueError, "sizes has 0 dimensions"),
        (np.ones((3, 2), int), ValueError, "sizes has 2 dimensions"),
        (np.ma.masked_array([5, 4, 3]), TypeError, "sizes is a masked array"),
        (np.array([5, 4], "m8[s]"), TypeError, r"sizes\[0\] = .*timedelta64"),
    ],
)
def test_sizes_that_are_no_list_of_integers(sizes, error, match):
    with pytest.raises(error, match=match):
        Network(sizes)


@pytest.mark.parametrize("name", ["input_scale", "input_shift"])
def test_scales_are_refused_by_name(name):
    for value, match in [
        (np.ma.masked_array([1.0, 2.0]), "is a masked array"),
        ([[1.0], [2.0, 3.0]], "is not a rectangular array"),
        (np.full(2, np.finfo("g").max, "g"), "contains .*, expected finite"),
    ]:
        with pytest.raises((ValueError, TypeError), match=f"{name} {match}"):
            Network([2, 1], **{name: value})


def test_classes_without_end_are_counted_first():
    labels = np.broadcast_to(np.array(["a"], object), 2**40)
    with pytest.raises(ValueError, match="classes has shape"):
        Network([2, 3], classes=labels)


def test_rows_of_validation_data_are_counted_first():
    net = Network([2, 1], rng=0)
    X = np.broadcast_to(np.ones(2), (2**40, 2))
    with pytest.raises(ValueError, match="y of validation_data has 3 rows"):
        net.train(np.ones((4, 2)), np.zeros((4, 1)), validation_data=(X, np.zeros((3, 1))))


def test_labels_in_half_precision():
    nets = [Network([2, 3], output="softmax", rng=0) for _ in range(2)]
    X = np.random.default_rng(0).random((6, 2))
    for net, dtype in zip(nets, ("float16", "int64"), strict=True):
        net.train(X, (np.arange(6) % 3).astype(dtype))
    assert nets[0].weights[0].tobytes() == nets[1].weights[0].tobytes()


def test_set_weights_names_its_arguments():
    net = Network([2, 3], rng=0)
    with pytest.raises(ValueError, match=r"^w has shape \(2, 3\), expected \(3, 2\)"):
        net.set_weights(0, w=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^b contains values that are not finite"):
        net.set_weights(0, b=[1.0, np.nan, 1.0])


def test_masked_arrays_are_not_filled():
    net = Network([2, 1], rng=0)
    out = np.ma.masked_array(np.empty((1, 1), np.float32))
    with pytest.raises(TypeError, match="out = MaskedArray"):
        net.predict(np.ones((1, 2)), out=out)


def test_weights_beyond_float64_are_named():
    weight = np.full(4, np.finfo("g").max, "g")
    if weight.dtype.itemsize == 8:
        pytest.skip("long double is double here")
    with pytest.raises(ValueError, match=r"sample_weight\[0\] = inf, expected a finite"):
        Network([2, 1]).train(np.ones((4, 2)), np.zeros((4, 1)), sample_weight=weight)


def test_copies_of_x_have_the_bits_of_x_in_place():
    # In a float64 network, numbers below the least normal one of float32 are read as 0.
    net = Network([2, 1], output="identity", dtype="float64", rng=0)
    net.set_weights(0, w=[[1e40, 1e40]])
    x = np.full((1, 2), 1e-40, np.float32)
    assert net.predict(x.astype(">f4")).tobytes() == net.predict(x).tobytes()


def test_weights_that_are_not_aligned_are_copied():
    weight = np.zeros(8 * 4 + 1, np.uint8)[1:].view(np.float64)
    weight[:] = 1, 2, 0, 1
    assert not weight.flags.aligned
    net = Network([2, 1], output="identity", rng=0)
    target = check.targets(np.zeros((4, 1)), 4, 1, net.activations[-1], net.cost, None, net.dtype)
    found = _options.weights(weight, None, target, 1)
    assert found.flags.aligned and found.tolist() == [1, 2, 0, 1]
