"""Faults of saving: every system call of a save fails, or is the last of the process.

    python -m tests.campaigns.save_faults [WRITER ...]

WRITER: save, to_npz, export_onnx, export_c, to_book_json; all of them without any. Each writes over
an older file and where there is none, in a process of its own that strace attaches to, with ENOSPC,
EIO and EACCES from each call that knows files, and with SIGKILL before each call whatever; and with
a limit of the file's size, where the system writes a part. Afterwards the older file or the new one
must be there, whole; the caller must have been told by an OSError with the path he gave, or the
file be the new one; nothing else may lie in the folder, unless the process was killed. Prints what
came of each call and exits with 1 if anything was otherwise. Needs Linux, strace, and the right to
trace.
"""

import argparse
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cbackprop import Network
from cbackprop.io import c_header

WRITERS = ["save", "to_npz", "export_onnx", "export_c", "to_book_json"]
FAULTS = ["ENOSPC", "EIO", "EACCES", "SIGKILL"]
# The calls that know files; the others (memory, time) have no such errors.
FILES = {
    *("openat", "open", "close", "write", "pwrite64", "fsync", "fdatasync", "lseek", "ftruncate"),
    *("rename", "renameat2", "unlink", "fchmod", "chmod", "fstat", "newfstatat", "ioctl"),
}
END = "/end-of-the-save"


class Save:
    """A writer, what it writes, and the older file or None."""

    def __init__(self, writer, older, folder):
        self.writer, self.folder, self.path = writer, Path(folder), Path(folder) / "model.h"
        self.net, before = (Network([3, 4, 2], rng=seed, output="sigmoid") for seed in (1, 2))
        self.files = []
        # Which files of the installation export_c looks into varies with what others do there.
        c_header.metadata.version = functools.cache(c_header.metadata.version)
        for net in (before, self.net):
            getattr(net, writer)(self.path)
            self.files.append(self.path.read_bytes())
        assert self.files[0] != self.files[1]
        self.older = self.files[0] if older else None

    def prepare(self):
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        if self.older is not None:
            self.path.write_bytes(self.older)

    def child(self, limit=None):
        """A process that saves as soon as its pipe is closed; its answer comes by another."""
        start, answer = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start[1])
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            os.write(answer[1], b".")
            os.read(start[0], 1)
            try:
                getattr(self.net, self.writer)(self.path)
                text = b"saved"
            except BaseException as error:
                text = f"{type(error).__mro__[-4:-3]} {error}".encode()
            os.access(END, os.F_OK)
            os.write(answer[1], text or b"?")
            os._exit(0)
        os.close(start[0])
        os.close(answer[1])
        os.read(answer[0], 1)  # it has done what a process does after a fork
        return pid, start[1], answer[0]

    def run(self, *options, limit=None):
        """Save under strace with these options; what the process said, and strace's log."""
        self.prepare()
        pid, start, answer = self.child(limit)
        log = self.folder.parent / "log"
        log.unlink(missing_ok=True)
        command = ["strace", "-q", "-o", str(log), "-p", str(pid), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            # Not until strace shows the call in which the process waits: before that it may be
            # attached and not yet look, and where the machine is busy the save be over by then.
            while not log.exists() or not log.stat().st_size:
                if tracer.poll() is not None:
                    raise RuntimeError(tracer.stderr.read().decode())
                time.sleep(0.002)
            os.close(start)
            with os.fdopen(answer) as stream:
                said = stream.read()
            _, code = os.waitpid(pid, 0)
            tracer.wait()
        killed = os.WIFSIGNALED(code) and os.WTERMSIG(code) == signal.SIGKILL
        return "killed" if killed else said, log.read_text()

    def calls(self):
        """The calls of an undisturbed save, each with how often it was made until then."""
        said, log = self.run()
        assert said == "saved", said
        made, found = Counter(), []
        for line in log.splitlines():
            if END in line:
                # The temporary file's name is drawn when all is ready to be written; before
                # that, export_c reads files of the package.
                drawn = [name for name, _ in found[::-1]].index("getrandom") + 1
                return found[-drawn:]
            name = re.match(r"[a-z0-9_]+(?=\()", line)
            if name:
                made[name[0]] += 1
                found.append((name[0], made[name[0]]))
        raise RuntimeError(log)

    def judge(self, said):
        """What came of it, old, new or none, and what is wrong with that."""
        there = self.path.read_bytes() if self.path.exists() else None
        kind = {self.files[1]: "new", self.older: "old" if self.older else "none"}.get(there)
        others = [path.name for path in self.folder.iterdir() if path != self.path]
        if kind is None:
            return "part", "neither the older nor the new file"
        if said == "killed":
            return kind, None
        if others:
            return kind, f"left {others}"
        if said == "saved":
            return kind, None if kind == "new" else "no error, not saved"
        if "OSError" not in said or str(self.path) not in said or ".model.h" in said:
            return kind, f"error {said!r}"
        return kind.upper(), None


def grid(save):
    """One line a call: what each fault there led to. Yields the line and what was wrong."""
    save.run()  # whatever the first save imports, in this process it is not imported
    for name, n in save.calls():
        cells, wrong = [], []
        for fault in FAULTS:
            kill = fault == "SIGKILL"
            if not kill and name not in FILES:
                cells.append("")
                continue
            what = "signal" if kill else "error"
            said, log = save.run("-e", f"inject={name}:{what}={fault}:when={n}")
            kind, bad = save.judge(said)
            if "INJECTED" not in log and not kill:
                bad = "the fault did not come"
            if kill and said != "killed":
                bad = "it was not killed"
            cells.append(kind)
            if bad:
                wrong.append(f"{save.writer}, {name} {n}, {fault}: {bad}")
        yield f"  {name + ' ' + str(n):16}" + "".join(f"{cell:>8}" for cell in cells), wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("writers", nargs="*", metavar="WRITER")
    options = parser.parse_args()
    total, findings = Counter(), []
    print("old, new, none: the file afterwards; in capitals where the caller got an OSError")
    for writer in options.writers or WRITERS:
        for older in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "folder"
                place.mkdir()
                save = Save(writer, older, place)
                print(f"{writer}, {'over an older file' if older else 'first'}")
                print(" " * 18 + "".join(f"{fault:>8}" for fault in FAULTS))
                for line, wrong in grid(save):
                    print(line, flush=True)
                    total.update(line.split()[2:])
                    findings += wrong
                for limit in (1, len(save.files[1]) // 2, len(save.files[1]) - 1):
                    said, _ = save.run(limit=limit)
                    kind, bad = save.judge(said)
                    print(f"  only {limit} bytes of {len(save.files[1])}: {kind}")
                    total[kind] += 1
                    findings += (
                        [f"{writer}, {limit} bytes: {bad}"] if bad or said == "saved" else []
                    )
    print(f"{total.total()} faults: {dict(total)}; {len(findings)} otherwise")
    for finding in findings:
        print(finding)
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
