"""Long runs, each one command: python -m tests.campaigns.NAME. They take the installed package."""

import benchmarks  # noqa: F401 - puts this checkout last on the path
