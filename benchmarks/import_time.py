"""What `import cbackprop` costs on top of `import numpy`: python -m benchmarks.import_time

Fresh processes in turn, so that what else the machine does meets both alike.
"""

import argparse
import os
import statistics
import subprocess
import sys

# Compiled files are read, as in any installed package: not having them is another cost.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
CODE = {"numpy": "import numpy", "numpy, cbackprop": "import numpy, cbackprop"}


def seconds(code: str) -> float:
    """How long it takes in a fresh interpreter, by the interpreter's own clock."""
    code = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return float(run.stdout)


def modules(repeats: int) -> list[tuple[float, str]]:
    """Least milliseconds of each module's own code, as `-X importtime` sees it."""
    least: dict[str, float] = {}
    command = [sys.executable, "-P", "-X", "importtime", "-c", "import numpy; import cbackprop"]
    for _ in range(repeats):
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        lines = run.stderr
        found = [line.split("|") for line in lines.splitlines() if "|" in line]
        names = [name.strip() for _, _, name in found]
        for own, _, name in found[names.index("numpy") + 1 :]:
            took = float(own.partition(":")[2]) / 1e3
            least[name.strip()] = min(took, least.get(name.strip(), took))
    return sorted(((took, name) for name, took in least.items()), reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--modules", type=int, default=12, help="how many of them to list")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CODE}
    for code in CODE.values():
        seconds(code)  # the files are read once before
    for _ in range(options.repeats):
        for name, code in CODE.items():
            times[name].append(seconds(code))
    for name, took in times.items():
        print(f"import {name}: median {1e3 * statistics.median(took):.1f} ms, "
              f"least {1e3 * min(took):.1f} ms")  # fmt: skip
    alone, both = times.values()
    beyond = 1e3 * statistics.median(b - a for a, b in zip(alone, both, strict=True))
    print(f"beyond NumPy: median {beyond:.1f} ms, least {1e3 * (min(both) - min(alone)):.1f} ms")
    for took, name in modules(5)[: options.modules]:
        print(f"{took:6.2f} ms  {name}")


if __name__ == "__main__":
    main()
