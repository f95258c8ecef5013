"""Short runs of tests/campaigns/soak.py and leaks.py."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

sys.path.append(str(Path(__file__).parent))

from campaigns import leaks, soak


def test_random_use_against_numpy():
    machines, steps = soak.soak(0)
    assert machines == 20
    assert steps > 200


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.ordinary("AddressSanitizer keeps for a while what is freed")
def test_networks_leave_nothing_behind():
    assert leaks.growth(2000) < 2**20


def machine(seed=0, sigma="tanh"):
    use = soak.Use()
    use.begin("rmsprop", sigma, seed)
    return use


def test_soak_sees_what_is_no_rounding(monkeypatch):
    update = soak.reference.update
    use = machine()
    with monkeypatch.context() as patch:
        patch.setattr(soak.reference, "update", lambda *given: update(*given) * (1 + 1e-12))
        with pytest.raises(AssertionError):
            use.train(1, 1)
    use, mean = machine(), soak.reference.bias_gradient
    monkeypatch.setattr(soak.reference, "bias_gradient", lambda delta: mean(delta) * (1 + 1e-12))
    with pytest.raises(AssertionError):
        use.apply(7)


def test_soak_knows_amplified_rounding():
    """An output's bias whose gradient in the first mini-batch cancels to nothing: RMSprop's step
    there is made of roundings, in the engine, in NumPy and in long double."""
    use, judged = machine(), soak.Use.judged
    for seed in range(20):
        use.begin("rmsprop", "tanh", seed)
        low, high = -9.0, 9.0
        for _ in range(80):
            b = use.net.biases[-1].copy()
            b[0] = (low + high) / 2
            use.net.set_weights(2, b=b)
            use.model.theta[-1] = b
            if use.model.gradient(slice(0, soak.BATCH))[0][-1][0] > 0:
                high = b[0]
            else:
                low = b[0]
        use.model.stand()
        use.train(3, 1)
    assert soak.Use.judged > judged + 5
