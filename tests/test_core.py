"""The C core where this machine never goes: other CPUs, a system that refuses, a draw of chance
that nobody will see. Its files are compiled with the system's answers replaced: tests/core/."""

import itertools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"
pytestmark = pytest.mark.skipif(
    not SOURCES.is_dir() or sys.platform != "linux" or shutil.which("gcc") is None,
    reason="the C sources, Linux and GCC are needed",
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A program of tests/core, compiled, as a function of its words that gives its lines."""
    folder = tmp_path_factory.mktemp("core")

    def of(name, *words):
        program = folder / name
        if not program.exists():
            # CFLAGS: those of tests.campaigns.code_coverage, which counts what is run here.
            flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I.", "-Isrc"]
            flags += shlex.split(os.environ.get("CFLAGS", ""))
            command = ["gcc", *flags, f"tests/core/{name}.c", "-o", program, "-lm", "-pthread"]
            subprocess.run(command, cwd=ROOT, check=True)
        command = [program, *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=100
        ).stdout.splitlines()

    return of


# Bits of cpuid: FMA, OSXSAVE and AVX; AVX2; AVX-512 F, DQ, BW and VL; of XCR0: SSE and AVX;
# AVX-512's three.
LEAF_1 = 1 << 12 | 1 << 27 | 1 << 28
AVX2, AVX512 = 1 << 5, 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31
YMM, ZMM = 0x6, 0xE6
LEAF_7 = AVX2 | AVX512


def without_one(bits):
    """All bits, and all but one for each that is set."""
    return [bits, *(bits & ~(1 << k) for k in range(32) if bits >> k & 1)]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64's way to ask its CPU")
def test_each_cpu_gets_the_widest_table_that_it_can_run(answers):
    leaves_1 = [None, *without_one(LEAF_1)]
    leaves_7 = [None, 0, *without_one(LEAF_7)]
    systems = [*without_one(ZMM), YMM, 0]
    cpus = list(itertools.product(systems, leaves_1, leaves_7, [None, 0, 1 << 5]))
    words = ["-" if part is None else f"{part:x}" for cpu in cpus for part in cpu]
    lines = answers("dispatch", *words)
    assert len(lines) == len(cpus) > 500
    seen = set()
    for (system, leaf_1, leaf_7, leaf_7_1), line in zip(cpus, lines, strict=True):
        avx2 = leaf_1 == LEAF_1 and system & YMM == YMM and (leaf_7 or 0) & AVX2 != 0
        avx512 = avx2 and system == ZMM and leaf_7 & AVX512 == AVX512
        bf16 = avx512 and leaf_7_1 == 1 << 5
        table = "avx512" if avx512 else "avx2" if avx2 else "portable"
        # Of each name: 0 when it was chosen, -2 when it is known and not for here, else -1.
        names = ["01" if avx512 else "-20", "01" if avx2 else "-20", "01", "-20", "-10"]
        assert line.split() == [table, str(int(bf16)), "0", *names], (system, leaf_1, leaf_7)
        seen.add((table, bf16))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("refused", "four"),
    [("nothing", 4), ("affinity", 4), ("atfork", 1), ("attributes", 1), ("memory", 1)],
)
def test_a_team_is_what_the_system_grants(answers, refused, four):
    # The caller and at most 1,024 workers; without any, the caller alone.
    most = 1025 if four > 1 else 1
    assert answers("pool", refused) == [f"{four} 1", f"{most} 1"]


def test_a_thread_that_cannot_be_made_is_done_without(answers):
    assert answers("pool", "thread") == ["2 1", "2 1"]


def index_of_words(words, key):
    """(index, stream, purpose) of which Philox4x32-10 makes these words: its rounds, undone."""
    low = 2**32 - 1
    m0, m1 = 0xD2511F53, 0xCD9E8D57
    k0, k1 = key & low, key >> 32
    y = list(words)
    for step in reversed(range(10)):
        c0, c1 = (k0 + step * 0x9E3779B9) & low, (k1 + step * 0xBB67AE85) & low
        x0, x2 = y[3] * pow(m0, -1, 2**32) & low, y[1] * pow(m1, -1, 2**32) & low
        y = [x0, y[0] ^ m1 * x2 >> 32 ^ c0, x2, y[2] ^ m0 * x0 >> 32 ^ c1]
    return y[0] | y[1] << 32, y[2], y[3]


def test_the_centre_of_the_disc_is_drawn_again(answers):
    # Of both coordinates 53 bits are 2^52, the middle: one draw in 2^106, and ln 0 without a look.
    centre, key = [1 << 31, 0, 1 << 31, 0], 12345
    index, stream, purpose = index_of_words(centre, key)
    drawn, pair, following = answers("rng", key, purpose, stream, index)
    assert drawn == " ".join(map(str, centre))
    assert pair == following
    assert all(0 < abs(float.fromhex(x)) < 10 for x in pair.split())


def test_readers_who_come_at_once_are_all_counted(answers):
    assert answers("readers") == ["1 1 0 0"]
