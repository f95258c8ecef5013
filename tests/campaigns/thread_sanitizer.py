"""The ways to share work among threads under ThreadSanitizer:

    python -m tests.campaigns.thread_sanitizer [--seconds 60] [--again]

Builds C core and Cython modules with -fsanitize=thread as `sanitize.py` does, and runs
`threaded.py` there with the runtime preloaded. Nothing is suppressed. Without address space
randomisation (setarch -R): the runtime of gcc 12 does not know where newer kernels put things.
Exits with 66 where there was a report. ``--again`` takes the build that is there.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.campaigns import sanitize


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    folder, environment = sanitize.build("thread", options.again)
    # OpenBLAS is not compiled for this; NumPy's products stay in their thread.
    environment |= {
        "OPENBLAS_NUM_THREADS": "1",
        "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:history_size=7",
    }
    program = Path(__file__).with_name("threaded.py")
    command = ["setarch", "-R", folder / "bin" / "python", "-P", program, str(options.seconds)]
    status = subprocess.run(command, env=environment, check=False).returncode
    print("ThreadSanitizer: no report" if status == 0 else f"ThreadSanitizer: exit status {status}")
    return status


if __name__ == "__main__":
    sys.exit(main())
