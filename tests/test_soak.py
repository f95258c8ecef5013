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
