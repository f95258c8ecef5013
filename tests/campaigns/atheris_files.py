"""Hostile files by coverage: Atheris chooses mutants that reach new lines of the readers.

    python -m tests.campaigns.atheris_files [FORMAT] [--seconds T] [--seed S]

FORMAT as in hostile_files, model by default; a model file's digest is computed anew before it is
read, so that what is behind it is reached. Needs atheris from PyPI. Prints how many were executed
and what was neither read nor refused.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cbackprop", "json"]):
    from tests.campaigns import hostile_files, mutants


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("format", nargs="?", default="model", choices=list(hostile_files.READERS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = hostile_files.READERS[options.format][0]()
    count = hostile_files.Count(options.format)
    prepare = mutants.sealed if options.format == "model" else bytes

    def one(data):
        count.read(prepare(data))
        if count.findings:
            raise RuntimeError(count.findings[-1])  # Atheris ends and keeps the bytes

    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(files):
            (Path(folder) / str(i)).write_bytes(data)
        flags = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-timeout=10"]
        flags += ["-rss_limit_mb=512", "-verbosity=0", "-print_final_stats=1"]
        # The driver ends the process when the time is over, without a return.
        pid = os.fork()
        if pid == 0:
            atheris.Setup([sys.argv[0], *flags, folder], one)
            atheris.Fuzz()
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
