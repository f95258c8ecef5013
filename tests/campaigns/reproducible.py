"""Two wheels from one source distribution: the same SHA-256 wherever and whenever they are built.

    python -m tests.campaigns.reproducible [--out DIRECTORY]

Builds the source distribution, unpacks it into two folders whose names differ in length, and
builds a wheel in each, with another umask, locale and time of day; needs `build`, setuptools and
Cython. Then says what a wheel weighs, and reads its bill of materials with cyclonedx-python-lib
where that is installed.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EPOCH = "1750000000"


def built(kind: str, source: Path, out: Path, **environment: str) -> Path:
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "-o", out, source]
    # Build tools are read from their own environment, this package from nowhere.
    subprocess.run(
        command, check=True, cwd=out.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, **environment},
    )  # fmt: skip
    (file,) = out.iterdir()
    return file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def compare(a: Path, b: Path) -> None:
    """Names what differs, in bytes or in the entry of the archive."""
    with zipfile.ZipFile(a) as one, zipfile.ZipFile(b) as two:
        names = [[entry.filename for entry in file.infolist()] for file in (one, two)]
        if names[0] != names[1]:
            print("other names, or another order")
        for name in sorted(set(names[0]) & set(names[1])):
            if one.read(name) != two.read(name):
                print(f"other bytes: {name}")
            entries = [(e.date_time, oct(e.external_attr >> 16))
                       for e in (one.getinfo(name), two.getinfo(name))]  # fmt: skip
            if entries[0] != entries[1]:
                print(f"other time or mode: {name}, {entries}")


def weigh(wheel: Path) -> None:
    """The largest files, compressed, and their share."""
    with zipfile.ZipFile(wheel) as file:
        entries = sorted(file.infolist(), key=lambda entry: -entry.compress_size)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {len(entries)} files")
    for entry in entries[:8]:
        print(
            f"{entry.compress_size / 1e3:8.0f} kB of {entry.file_size / 1e3:6.0f}  {entry.filename}"
        )


def read_bill(wheel: Path) -> bool:
    """Whether the bill of materials is in its place and, where it can be checked, valid."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [n for n in file.namelist() if ".dist-info/sboms/" in n]
        text = file.read(name).decode()
        record = next(n for n in file.namelist() if n.endswith(".dist-info/RECORD"))
        assert f"\n{name}," in file.read(record).decode()
    parts = [part["name"] for part in json.loads(text)["components"]]
    print(f"{name}: {', '.join(parts)}")
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except ImportError as missing:
        print(f"not validated: {missing}")
        return True
    print("not valid: " + repr(error) if error else "valid CycloneDX 1.6")
    return error is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keeps the wheel there")
    options = parser.parse_args()
    wheels: list[Path] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sdist").mkdir()
        source = built("sdist", ROOT, folder / "sdist")
        places = (("a", 0o022, "UTC", "C"), ("another_place", 0o077, "Asia/Tokyo", "C.UTF-8"))
        for name, mask, zone, locale in places:
            old = os.umask(mask)
            place = folder / name / "source"
            place.mkdir(parents=True)
            with tarfile.open(source) as file:
                file.extractall(place, filter="data")
            (unpacked,) = place.iterdir()
            (folder / name / "out").mkdir()
            wheels.append(built("wheel", unpacked, folder / name / "out", TZ=zone, LC_ALL=locale))
            os.umask(old)
            print(f"{digest(wheels[-1])}  {name}, {time.strftime('%H:%M:%S')}", flush=True)
        wheel, other = wheels
        same = digest(wheel) == digest(other)
        if not same:
            compare(wheel, other)
        weigh(wheel)
        valid = read_bill(wheel)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / wheel.name).write_bytes(wheel.read_bytes())
    print("the same" if same else "NOT the same")
    return 0 if same and valid else 1


if __name__ == "__main__":
    sys.exit(main())
