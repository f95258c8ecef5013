"""The compiled tiles, read back: nothing in a loop over k touches the stack."""

import re
import shutil
import subprocess

import pytest

from cbackprop import _engine

TILE = re.compile(r"<((?:rows|columns|pairs)_\d+x\d+)>:$")
# A loop ends in a condition; what merely lies elsewhere comes back by a plain jmp.
JUMP = re.compile(r"\tj(?!mp)\w+\s+([0-9a-f]+) <")


def tiles() -> list[tuple[str, list[tuple[int, str]]]]:
    """(name, [(address, instruction)]) of every tile function in the extension."""
    command = ["objdump", "-d", "--no-show-raw-insn", _engine.__file__]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for function in text.split("\n\n"):
        head, _, body = function.partition("\n")
        name = TILE.search(head)
        if name:
            lines = [line.split(":", 1) for line in body.splitlines() if ":" in line]
            found.append((name[1], [(int(at, 16), code) for at, code in lines]))
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


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump (binutils)")
def test_no_tile_touches_the_stack_in_its_loop_over_k() -> None:
    found = tiles()
    if not found:
        pytest.skip("the extension is stripped, not x86-64, or built without optimisation")
    offenders, loops = set(), 0
    for name, code in found:
        for body in inner_loops(code):
            if not any("fmadd" in line or "dpbf16" in line for line in body):
                continue
            loops += 1
            if any(re.search(r"\(%r[sb]p", line) for line in body):
                offenders.add(name)
    assert loops >= len(found) // 2
    assert not offenders
