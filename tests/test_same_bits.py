"""A part of tests/campaigns/same_bits.py: golden hashes, whatever the threads and the table."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from campaigns import same_bits, trainings


def test_a_part_of_all_trainings_has_its_golden_hashes():
    assert same_bits.campaign([1, 3], part=9, show=lambda text: None) == []


def test_every_training_has_a_golden_hash(dtype):
    golden = json.loads(same_bits.GOLDEN.read_text(encoding="utf-8"))
    assert golden[dtype].keys() == trainings.plans(dtype).keys()


@pytest.mark.parametrize("threads", [2, 7])
def test_the_hashes_of_optimisers(threads, dtype):
    golden = json.loads(same_bits.GOLDEN.read_text(encoding="utf-8"))
    plans = trainings.plans(dtype)
    names = [name for name in plans if name.startswith("optimizer")]
    assert len(names) == 11
    assert {n: plans[n](threads)[:16] for n in names} == {n: golden[dtype][n] for n in names}


def test_hashes_on_every_table(table, dtype):
    golden = json.loads(same_bits.GOLDEN.read_text(encoding="utf-8"))
    plans = trainings.plans(dtype)
    names = [name for name in plans if name.startswith(("optimizer", "extra", "output"))]
    assert len(names) > 11 + 2 * len(trainings.EXTRAS) + 50
    assert {n: plans[n](2)[:16] for n in names} == {n: golden[dtype][n] for n in names}
