"""What the suite executes of C, Cython and Python:

    python -m tests.campaigns.code_coverage [--tables avx2,portable] [--keep FOLDER]
                                       [--only-report] [pytest arguments]

Run from a clone, with GCC, gcov and coverage (the `test` extra). Copies the clone to a temporary
folder, builds it there with CBACKPROP_COVERAGE=1 and runs the tests, with every process that they
start. Those of kernels take each table this CPU has by themselves; `--tables` runs the whole suite
on each table named, as CBACKPROP_ISA caps it. Then, for each file:

- C: branches of `src/`, by gcov, of every object file they were compiled into. A branch of a
  kernel counts once for each table and precision, and once for each size of tile: all of them
  must be taken. Those of headers that Cython modules include count once.
- Cython: lines, by gcov's counts of the C that Cython wrote, which says where it comes from.
- Python: lines and branches, by coverage.py; what is left out stands in `pyproject.toml`.

NEON's table does not run here and is not counted. `--keep` leaves build and data in FOLDER; what
it holds already counts too, so that the tests may be run in parts.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ("build", ".venv", ".git", "*.so", "_*.c", "__pycache__")
# The compiled code is another one: its instructions and stack accesses say nothing.
MEASURED = ("test_disassembly", "test_instructions")


def build(folder: Path) -> None:
    """A copy of the clone, compiled with gcov's counters."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*OUT), dirs_exist_ok=True)
    command = [sys.executable, "setup.py", "-q", "build_clib", "build_ext", "--inplace"]
    environment = {**os.environ, "CBACKPROP_COVERAGE": "1", "CC": os.environ.get("CC", "gcc")}
    subprocess.run(command, cwd=folder, env=environment, check=True)


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "COVERAGE_FILE": str(folder / "coverage" / "data"),
        # tests/core is compiled by the tests: one count with setup.py's objects of the same files.
        "CFLAGS": f"-O0 --coverage -fprofile-update=atomic -dumpdir {folder}/build/temp.core/",
        **more,
    }


def run_suite(folder: Path, table: str, words: list[str]) -> int:
    tests = words or ["tests", *(f"--ignore=tests/{name}.py" for name in MEASURED)]
    command = [sys.executable, "-P", "-m", "coverage", "run", "-m", "pytest", "-q", *tests]
    environment = environment_of(folder, CBACKPROP_ISA=table)
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def tables(folder: Path) -> list[str]:
    """Kernel tables that run here, the widest first."""
    program = "from cbackprop import _engine; print(*_engine.kernel_names(), _engine.__file__)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=environment_of(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    *names, file = run.stdout.split()
    assert Path(file).is_relative_to(folder), f"measured would be {file}"
    return names


def gcov(folder: Path):
    """Yield (object, gcov's account of a source file in it)."""
    for notes in sorted(folder.glob("build/temp*/**/*.gcno")):
        command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", notes]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        for account in json.loads(run.stdout)["files"]:
            yield notes.stem, account


def c_branches(accounts):
    """Source file -> {(object, line, number): how often taken}; and {(function, object): calls}."""
    taken, calls = defaultdict(Counter), defaultdict(Counter)
    for name, account in accounts:
        file = os.path.normpath(account["file"])
        if not file.startswith("src/"):
            continue
        # Headers that many Cython modules include: a call from one of them is enough.
        where = name if name.startswith("kernels_") or file.endswith(".c") else ""
        for line in account["lines"]:
            for number, branch in enumerate(line["branches"]):
                taken[file][where, line["line_number"], number] += branch["count"]
        if where:  # of other headers only what is called is compiled
            for function in account["functions"]:
                calls[file][function["demangled_name"], name] += function["execution_count"]
    return taken, calls


MARK = re.compile(r'\s*/\* "(cbackprop/\w+\.(?:pyx|pxd))":(\d+)$')


def cython_lines(accounts, folder):
    """Source file -> {line: was executed}."""
    found = defaultdict(Counter)
    for name, account in accounts:
        if account["file"] != f"cbackprop/{name}.c":
            continue
        source = (folder / account["file"]).read_text(encoding="utf-8").splitlines()
        mark, marks = None, {}
        for number, text in enumerate(source, 1):
            # Each statement says where it comes from; what follows the last one is Cython's own.
            if text == "}" or text.endswith("/* function exit code */"):
                mark = None
            elif match := MARK.match(text):
                mark = match[1], int(match[2])
            marks[number] = mark
        for line in account["lines"]:
            if marks.get(line["line_number"]):
                file, number = marks[line["line_number"]]
                found[file][number] += line["count"]
    return found


def listed(numbers) -> str:
    return ", ".join(map(str, sorted(numbers)))


def row(name: str, done: int, total: int, missing: str) -> None:
    share = f"{100 * done / total:6.1f} %" if total else "       -"
    print(f"{name:34} {done:6} of {total:6} {share}  {missing}".rstrip())


def show_c(accounts) -> tuple[int, int]:
    taken, calls = c_branches(accounts)
    print("\nC core: branches taken, in every object; lines with others, functions never called")
    for file in sorted(taken):
        missing = defaultdict(set)
        for (where, line, _), count in taken[file].items():
            if not count:
                missing[line].add(where.removeprefix("kernels_"))
        never = [f"{name} ({where})" for (name, where), n in sorted(calls[file].items()) if not n]
        text = [f"{line} ({' '.join(sorted(w))})" for line, w in sorted(missing.items())]
        row(file, sum(map(bool, taken[file].values())), len(taken[file]), "; ".join(text + never))
    every = [count for counts in taken.values() for count in counts.values()]
    row("C core", sum(map(bool, every)), len(every), "")
    return sum(map(bool, every)), len(every)


def show_cython(accounts, folder) -> tuple[int, int]:
    found = cython_lines(accounts, folder)
    print("\nCython: lines executed; lines that were not")
    for file in sorted(found):
        missing = [line for line, count in found[file].items() if not count]
        row(file, len(found[file]) - len(missing), len(found[file]), listed(missing))
    every = [count for counts in found.values() for count in counts.values()]
    row("Cython", sum(map(bool, every)), len(every), "")
    return sum(map(bool, every)), len(every)


def show_python(folder) -> tuple[int, int]:
    environment = environment_of(folder)
    report = folder / "coverage" / "python.json"
    for words in (["combine", "-q", "--append"], ["json", "-q", "-o", report]):
        subprocess.run(
            [sys.executable, "-P", "-m", "coverage", *words],
            cwd=folder, env=environment, check=words[0] != "combine",
        )  # fmt: skip
    found = json.loads(report.read_text(encoding="utf-8"))
    print("\nPython: lines and branches executed; lines, and ways from line to line, that were not")
    for file, account in found["files"].items():
        lines = account["missing_lines"]
        missing = [str(line) for line in lines]
        missing += [f"{a}->{b}" for a, b in account["missing_branches"] if b not in lines]
        row(file, *of(account["summary"]), ", ".join(missing))
    row("Python", *of(found["totals"]), "")
    return of(found["totals"])


def of(summary) -> tuple[int, int]:
    return (
        summary["covered_lines"] + summary["covered_branches"],
        summary["num_statements"] + summary["num_branches"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", help="separated by commas; without it, the widest")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--only-report", action="store_true", help="of what --keep has")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        (folder / "coverage").mkdir(parents=True, exist_ok=True)
        (folder / "build" / "temp.core").mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("cbackprop/*.so")):
            build(folder)
        status = 0
        if not options.only_report:
            for table in options.tables.split(",") if options.tables else tables(folder)[:1]:
                print(f"\nCBACKPROP_ISA={table}", flush=True)
                status |= run_suite(folder, table, words)
        accounts = list(gcov(folder))
        show_c(accounts)
        cython = show_cython(accounts, folder)
        python = show_python(folder)
        row("Python and Cython", *(a + b for a, b in zip(cython, python, strict=True)), "")
    return status


if __name__ == "__main__":
    sys.exit(main())
