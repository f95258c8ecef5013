"""The compiled code, read back: nothing in a tile's loop over k touches the stack, and nothing
outside the tables of a CPU needs that CPU."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cbackprop import _engine

TILE = re.compile(r"<((?:rows|columns|asking|pairs)_\d+x\d+)>:$")
# A loop ends in a condition; what merely lies elsewhere comes back by a plain jump.
JUMP = re.compile(r"\t(?:j(?!mp)\w+|b\.\w+|cbn?z\s+\w+,)\s+([0-9a-f]+) <")
# x86's and ARM's.
MULTIPLY_ADD = re.compile(r"\t(?:vfmadd|vdpbf16|fmla)")
STACK = re.compile(r"\(%rsp|-0x[0-9a-f]+\(%rbp\)|\[sp\b")
# A v in front, but for two instructions of the 80286, or registers that came with AVX.
AVX = re.compile(r"^(?!ver[rw])v|%[yz]mm\d|%k[0-7]\b")
pytestmark = pytest.mark.ordinary("another build has other instructions")
needs_objdump = pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump (binutils)")


def functions(file: str | Path, objdump: str) -> list[tuple[str, list[tuple[int, str]]]]:
    """(heading, [(address, instruction)]) of every function in the extension `file`."""
    command = [objdump, "-d", "--no-show-raw-insn", file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for function in text.split("\n\n"):
        head, _, body = function.strip().partition("\n")
        lines = [line.split(":", 1) for line in body.splitlines() if ":\t" in line]
        found.append((head, [(int(at, 16), code) for at, code in lines]))
    return found


def inner_loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """Bodies of the loops that hold no other loop."""
    spans = []
    for at, instruction in code:
        jump = JUMP.search(instruction)
        if jump and code[0][0] <= int(jump[1], 16) < at:
            spans.append((int(jump[1], 16), at))
    inner = [s for s in spans if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    return [[text for at, text in code if a <= at <= b] for a, b in inner]


def loops_that_touch_the_stack(
    file: str | Path, objdump: str = "objdump"
) -> tuple[int, int, set[str]]:
    """Tiles in `file`, their loops over k, and the tiles whose loops use the stack."""
    found = [(TILE.search(head), code) for head, code in functions(file, objdump)]
    tiles = [(name[1], code) for name, code in found if name]
    loops = [
        (name, body)
        for name, code in tiles
        for body in inner_loops(code)
        if any(MULTIPLY_ADD.search(line) for line in body)
    ]
    offenders = {name for name, body in loops if any(STACK.search(line) for line in body)}
    return len(tiles), len(loops), offenders


@needs_objdump
def test_no_tile_touches_the_stack_in_its_loop_over_k() -> None:
    tiles, loops, offenders = loops_that_touch_the_stack(_engine.__file__)
    if not tiles:
        pytest.skip("the extension is stripped, of another format, or built without optimisation")
    assert loops >= tiles // 2
    assert not offenders


SOURCES = Path(__file__).resolve().parent.parent / "src"


@needs_objdump
@pytest.mark.skipif(platform.machine() != "x86_64", reason="a source for x86-64")
@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang")
@pytest.mark.skipif(not SOURCES.is_dir(), reason="the C sources are not here")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("table", "switches", "expected"),
    [  # forward of 1 to 6 rows, BP4 of 2 to 6 and 5, 6, of one vector and of two; so with 12
        ("avx2", ["-mavx2"], 26),
        ("avx512", ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"], 50),
    ],
)
def test_nor_does_clang_s(table, switches, expected, bits, tmp_path) -> None:
    command = ["clang", "-std=c11", "-O3", "-ffp-contract=off", *switches, "-mfma", "-mprfchw"]
    command += ["-mprefer-vector-width=512", "-Wno-psabi"]
    command += ["-c", SOURCES / f"kernels_{table}_f{bits}.c", "-o", tmp_path / "tiles.o"]
    subprocess.run(command, check=True)
    tiles, loops, offenders = loops_that_touch_the_stack(tmp_path / "tiles.o")
    assert tiles == expected
    assert loops >= tiles
    assert not offenders


def code_for_avx(file: Path) -> list[range]:
    """Where in `file` the functions of the sources kernels_avx*.c lie."""
    command = ["objdump", "-t", file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    source, found = "", []
    for line in text.splitlines():
        # The symbols of a source follow its name; those of several come last, under no name.
        fields = line.split()
        if " df *ABS*" in line:
            source = fields[-1] if fields[-1].endswith(".c") else ""
        elif source.startswith("kernels_avx") and " F .text" in line:
            found.append(range(int(fields[0], 16), int(fields[0], 16) + int(fields[4], 16)))
    return found


@needs_objdump
def test_only_the_tables_of_avx_hold_its_instructions() -> None:
    allowed = code_for_avx(Path(_engine.__file__))
    if not allowed:
        pytest.skip("the extension is stripped, or not for x86-64")
    inside, outside = 0, set()
    for file in Path(_engine.__file__).parent.glob("*.so"):
        own = file.name == Path(_engine.__file__).name
        for head, code in functions(file, "objdump"):
            in_table = own and code and any(code[0][0] in span for span in allowed)
            found = any(AVX.search(text.strip()) for _, text in code)
            inside += bool(found and in_table)
            if found and not in_table:
                outside.add(f"{file.name} {head}")
    assert inside > 300
    assert not outside
