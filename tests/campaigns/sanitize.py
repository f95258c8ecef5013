"""The suite in a build that watches itself: under AddressSanitizer and UndefinedBehaviorSanitizer,
or another one; or without optimisation, with Cython's bounds checks and assertions.

    python -m tests.campaigns.sanitize [--sanitize address,undefined | --debug] [--again] [FILE ...]

Run from a clone. Makes a virtual environment of its own in build/, builds the package there and
runs each file of tests in a process of its own, so that what ends one ends no other, with the
sanitizer's runtime preloaded. Reports are counted as they are written, those of processes that a
test starts and forgets included. Leaks are not looked for: the interpreter keeps memory until it
ends. Tests marked `ordinary` are skipped. ``--again`` takes the build that is there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
DEBUG = "debug"


def build(kind: str, again: bool = False) -> tuple[Path, dict[str, str]]:
    """The folder of an environment whose Python has the package so built, and what to set for it.

    kind: sanitizers, separated by commas, or "debug".
    """
    folder = ROOT / "build" / kind.replace(",", "-")
    python = folder / "bin" / "python"
    switch = {"CBACKPROP_DEBUG": "1"} if kind == DEBUG else {"CBACKPROP_SANITIZE": kind}
    environment = {**os.environ, **switch}
    if not again:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        # A copy, so that no object of another build is taken for one of this.
        source = folder / "source"
        leave = shutil.ignore_patterns("build", ".venv", ".git", "*.so")
        shutil.copytree(ROOT, source, ignore=leave)
        command = [python, "-m", "pip", "install", "-q", f"{source}[test]"]
        subprocess.run(command, env=environment, check=True)
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    if kind == DEBUG:
        return folder, environment
    runtimes = [
        subprocess.run(
            [os.environ.get("CC", "gcc"), f"-print-file-name={RUNTIMES[name]}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name in kind.split(",")
    ]
    environment |= {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"
        f":log_path={reports}/address",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:log_path={reports}/undefined",
    }
    return folder, environment


def reported(folder: Path) -> list[str]:
    """The reports so far; that memory was refused, which some tests ask for, is none."""
    refused = re.compile(r"^==\d+==WARNING: .* failed to allocate .*\n", re.M)
    files = sorted((folder / "reports").iterdir())
    texts = [refused.sub("", file.read_text(errors="replace")) for file in files]
    return [text for text in texts if text.strip()]


def run_module(name: str, words: list[str], again: bool = False) -> int:
    """Run a campaign on the package so built; its exit status, or 1 where there were reports."""
    folder, environment = build("address,undefined", again)
    command = [folder / "bin" / "python", "-m", name, *words]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    found = reported(folder)
    print(*found, f"address,undefined: {len(found)} reports", sep="\n")
    return status or bool(found)


class Part:
    """The tests of one file, and what became of them.

    What fails is asked once more by itself, for a test may wait too long on a busy machine; those
    that pass then are named too.
    """

    def __init__(self, folder: Path, environment: dict[str, str], minutes: float, words: str):
        self.words, self.name = words, Path(words.split("::")[0]).stem
        self.folder, self.environment, self.seconds = folder, environment, 60 * minutes
        began = time.monotonic()
        cases, failed = self.run("first")
        self.failed, self.at_last = failed, list[str]()
        if failed:
            again, self.failed = self.run("second", "--last-failed")
            self.at_last = [name for name in failed if name not in self.failed]
            cases = max(cases, again, key=len)  # the first may have come to no end
        self.tests = len(cases)
        self.skipped = sum(case.find("skipped") is not None for case in cases)
        passed = self.tests - self.skipped - len(self.failed)
        print(f"{self.name}: {passed} passed, {len(self.at_last)} of them at the second time, "
              f"{self.skipped} skipped, {len(self.failed)} failed, "
              f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip

    def run(self, which: str, *more: str) -> tuple[list[ElementTree.Element], list[str]]:
        """The tests, and the names of those that failed."""
        log = self.folder / f"{self.name}.{which}.log"
        results = log.with_suffix(".xml")
        results.unlink(missing_ok=True)
        command = [self.folder / "bin" / "python", "-P", "-m", "pytest", "-q", self.words, *more]
        command += [
            "-o",
            f"cache_dir={log.with_name('cache') / self.name}",
            f"--junit-xml={results}",
        ]
        with log.open("wb") as file:
            try:
                status: int | str = subprocess.run(
                    command, cwd=ROOT, env=self.environment, stdout=file, stderr=file,
                    check=False, timeout=self.seconds,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                status = f"more than {self.seconds:g} seconds"
        cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
        failed = [
            f"{self.words.split('::')[0]}::{case.get('name')}"
            for case in cases
            if case.find("failure") is not None or case.find("error") is not None
        ]
        if status not in (0, 5) and not failed:  # 5: no test was asked for
            cases.append(ElementTree.Element("testcase"))
            failed = [f"{self.words}: ended with {status}"]
        return cases, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sanitize", default="address,undefined", dest="kind")
    parser.add_argument("--debug", action="store_const", const=DEBUG, dest="kind")
    parser.add_argument("--again", action="store_true", help="take the build that is there")
    parser.add_argument("--minutes", type=float, default=20, help="the most for one file")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    folder, environment = build(options.kind, options.again)
    files = options.files or [
        str(file.relative_to(ROOT)) for file in sorted((ROOT / "tests").glob("test_*.py"))
    ]
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        parts = list(
            pool.map(lambda words: Part(folder, environment, options.minutes, words), files)
        )
    reports, failed = reported(folder), [name for part in parts for name in part.failed]
    at_last = [f"at the second time: {name}" for part in parts for name in part.at_last]
    print(*reports, *at_last, *failed, sep="\n")
    tests, skipped = sum(part.tests for part in parts), sum(part.skipped for part in parts)
    print(f"{options.kind}: {tests:,} tests of {len(parts)} files in "
          f"{(time.monotonic() - began) / 60:.0f} minutes: {tests - skipped - len(failed):,} "
          f"passed, {len(at_last)} of them at the second time, {skipped} skipped, "
          f"{len(failed)} failed; {len(reports)} reports")  # fmt: skip
    return 1 if failed or reports else 0


if __name__ == "__main__":
    sys.exit(main())
