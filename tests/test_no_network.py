"""The package opens no network connection: every module is imported and used where none may be."""

import subprocess
import sys

import pytest

USE = """
import pkgutil, sys

def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        raise SystemExit(f"network: {event} {arguments}")

sys.addaudithook(refuse)
import cbackprop
from cbackprop import Network, certify, load, train_many
from cbackprop.cli import main
from cbackprop.datasets import load_digits

seen = 0
for module in pkgutil.walk_packages(cbackprop.__path__, "cbackprop."):
    if module.name.endswith("__main__"):
        continue
    try:
        __import__(module.name)
    except ImportError as error:  # an extra that is not installed
        assert "pip install" in str(error), (module.name, error)
    seen += 1
assert seen > 40, seen
SOMETHING
digits = load_digits()
net = Network([64, 10, 10], input_scale=digits.input_scale, rng=0)
net.train(digits.X_train, digits.y_train, n_threads=2, progress=True)
certify(net, digits.X_train[:4], digits.y_train[:4])
net.save("net")
load("net").evaluate(digits.X_test, digits.y_test)
for _ in train_many([{"sizes": [64, 10]}] * 2, digits.X_train, digits.y_train):
    pass
cbackprop.show_config()
assert main(["info", "net"]) == 0
assert main(["demo"]) == 0
"""


def run(folder, something=""):
    command = [sys.executable, "-c", USE.replace("SOMETHING", something)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_nothing_touches_the_network(tmp_path):
    used = run(tmp_path)
    assert used.returncode == 0, used.stderr


@pytest.mark.parametrize(
    "something",
    ["import socket; socket.socket()", "import socket; socket.getaddrinfo('localhost', 1)"],
)
def test_it_would_be_seen(something, tmp_path):
    assert "network: socket." in run(tmp_path, something).stderr
