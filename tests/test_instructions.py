"""Instructions a training step executes, counted by callgrind: a regression that no noise hides.

Counted with the AVX2 table, which valgrind can run, on one thread. The bounds are a twentieth
above what GCC 12 gave; a compiler that needs more is a reason to look, then to raise them.
"""

import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ordinary("another build has other instructions")

PROGRAM = """
import sys
import numpy as np
from cbackprop import Network, _bench
work = _bench.WORKLOADS[sys.argv[1]]
X, y, weights = work.data()
n = 20 * work.batch
net = _bench.network(work, weights, "float32")
net.train(X[:n], y[:n], epochs=int(sys.argv[2]), batch_size=work.batch, n_threads=1)
"""


def instructions(row: str, epochs: int, log: str) -> int:
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={log}"]
    command += [sys.executable, "-P", "-c", PROGRAM, row, str(epochs)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    counted = re.search(r"Collected : (\d+)", run.stderr)
    assert counted
    return int(counted[1])


@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind")
@pytest.mark.parametrize(("row", "most"), [("book", 258_000), ("tiny", 232_000)])
def test_a_step_takes_no_more_instructions(row, most, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CBACKPROP_ISA", "avx2")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    few, many = (instructions(row, epochs, str(tmp_path / "out")) for epochs in (2, 12))
    assert (many - few) / 200 <= most
