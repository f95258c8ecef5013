"""Measures the package that is installed, not the uncompiled folder beside this one."""

import sys
from pathlib import Path

_checkout = Path(__file__).parent.parent
for _entry in [e for e in sys.path if Path(e or ".").resolve() == _checkout.resolve()]:
    sys.path.remove(_entry)
    sys.path.append(_entry)
