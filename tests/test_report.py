"""The report: one file, everything in it, nothing in it that runs; read by a real browser."""

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from cbackprop import History, Network, certify, report
from cbackprop.datasets import load_digits

matplotlib = pytest.importorskip("matplotlib")

EVIL = '"><script>document.title="run"</script><img src=x onerror=alert(1)>'
NAMES = [EVIL, "$1 & $2", "中文 \0 null"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Tags, the addresses they name, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "data")]
        assert not [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    net = Network([64, 20, 10], output="softmax", input_scale=data.input_scale, rng=0)
    history = net.train(data.X_train, data.y_train, epochs=5, learning_rate=0.5)
    return net, history, data.X_test, data.y_test


def hostile():
    """Class names that break out of HTML wherever they are not escaped."""
    X = np.random.default_rng(0).random((60, 3))
    y = np.array(NAMES, dtype=object)[np.arange(60) % 3]
    net = Network([3, 4, 3], output="softmax", classes=NAMES, rng=0)

    def metric(y, a):
        return 0.5

    metric.__name__ = EVIL
    history = net.train(X, y, epochs=2, validation_data=(X, y), monitor=[metric])
    return net, history, X, y


def test_what_it_says_of_the_digits(digits, tmp_path):
    net, history, X, y = digits
    path = report(net, history, X, y, path=tmp_path / "digits.html", settings={"who": "me"})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    scores = net.evaluate(X, y)
    assert f"cost {scores['cost']:.4f}, accuracy {scores['accuracy']:.4f}" in page.text
    assert str(certify(net, X[:5], y[:5]).residuals[0].checked) in page.text
    assert "whome" in page.text and "optimizersgd" in page.text and "batch_size32" in page.text
    # The matrix holds every sample; its diagonal those that are right.
    matrix = re.search(r'<table class="matrix">.*?</table>', text)[0]
    cells = [int(n) for n in re.findall(r"<td[^>]*>([\d,]+)</td>", matrix)]
    counts = np.array(cells).reshape(10, 10)
    assert counts.sum() == len(X)
    assert np.trace(counts) == round(scores["accuracy"] * len(X))


def test_the_worst_are_the_samples_with_the_largest_costs(digits, tmp_path):
    net, history, X, y = digits
    path = report(net, history, X, y, path=tmp_path / "digits.html", worst=3)
    text = path.read_text(encoding="utf-8")
    costs = -np.log(net.predict(X)[np.arange(len(X)), y].astype(float))
    rows = np.argsort(-costs)[:3]
    said = re.findall(r"row (\d+): (\d), predicted (\d); cost ([\d.]+)", text)
    assert [int(row) for row, *_ in said] == rows.tolist()
    for i, (_, label, decided, cost) in zip(rows, said, strict=True):
        assert (int(label), int(decided)) == (y[i], net.classify(X[i : i + 1])[0])
        assert float(cost) == pytest.approx(costs[i], rel=0.01)
    images = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(images) == 3
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(images[0])))[..., 0]
    shown = X[rows[0]].reshape(8, 8) / 16
    assert np.allclose(pixels, shown, atol=0.01)


def test_nothing_comes_from_elsewhere_and_nothing_runs(tmp_path):
    net, history, X, y = hostile()
    path = report(
        net, history, X, y, path=tmp_path / f"{EVIL[:9]}.html".replace("/", ""), title=EVIL,
        settings={EVIL: EVIL},
    )  # fmt: skip
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.addresses and all(a.startswith("data:image/") for a in page.addresses)
    assert page.text.count(EVIL) >= 5  # title, heading, classes, settings: as they are
    assert "$1 & $2" in page.text and "中文 � null" in page.text
    for address in page.addresses:
        picture = base64.b64decode(address.partition(",")[2])
        assert b"<script" not in picture
    assert "default-src 'none'" in html.unescape(path.read_text(encoding="utf-8"))


def test_names_that_are_no_unicode(digits, tmp_path):
    path = tmp_path / "report.html"
    report(*digits, path=path, settings={"file": "menu\udce9.csv"})
    assert "menu\\udce9.csv" in path.read_text(encoding="utf-8")


def test_the_same_twice(digits, tmp_path):
    first, second = (report(*digits, path=tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_real_targets_have_no_confusion_matrix(tmp_path):
    X = np.linspace(0, 1, 40)[:, None]
    net = Network([1, 5, 1], output="identity", rng=0)
    history = net.train(X, X[:, 0] ** 2, epochs=3)
    path = report(net, history, X, X[:, 0] ** 2, path=tmp_path / "r.html", worst=2)
    page = Page(path.read_text(encoding="utf-8"))
    assert "Confusion" not in page.text
    assert "R²" in page.text
    costs = (net.predict(X)[:, 0] - X[:, 0] ** 2) ** 2 / 2
    assert f"{costs.max():.4g}" in page.text


def test_many_classes_leave_the_mistakes(tmp_path):
    net = Network([1, 40], output="softmax", init="zeros")  # says 0
    net.set_weights(0, b=np.eye(40)[0])
    X, y = np.zeros((42, 1)), np.r_[np.arange(40), 7, 7]
    history = net.train(X, y, learning_rate=1e-6)
    text = report(net, history, X, y, path=tmp_path / "m.html").read_text(encoding="utf-8")
    assert 'class="matrix' not in text
    assert "<tr><td>7</td><td>0</td><td>3</td></tr>" in text


def test_numbers_that_are_one_or_very_large(tmp_path):
    X = np.array([[1.0]])
    net = Network([1, 1], output="identity", rng=0)
    history = net.train(X, [0.5])
    net.set_weights(0, w=[[1e20]])
    text = report(net, history, X, [0.5], path=tmp_path / "r.html").read_text(encoding="utf-8")
    assert "On this 1 sample: cost 5e+39, R² " in text
    assert " 1 epoch in " in text and " 1 mini-batch in all" in text


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"image_shape": (3, 3)}, ValueError, "image_shape .* 9 pixels but the input has 64"),
        ({"worst": 0}, ValueError, "worst = 0"),
        ({"settings": [1]}, TypeError, "settings = "),
        ({"history": History()}, ValueError, "no epoch"),
        ({"history": None}, TypeError, "history is a NoneType, expected a History"),
        ({"net": History()}, TypeError, "net is a History, expected a Network"),
        ({"certificate": True}, TypeError, "certificate is a bool, expected a Certificate"),
        ({"y": [1]}, ValueError, "y has 1 rows"),
    ],
)
def test_refused_before_a_file_is_there(digits, tmp_path, more, error, message):
    given = dict(zip(("net", "history", "X", "y"), digits, strict=True)) | more
    with pytest.raises(error, match=message):
        report(**given, path=tmp_path / "never.html")
    assert not list(tmp_path.iterdir())


def test_a_report_leaves_no_figure_and_imports_no_pyplot(tmp_path):
    code = (
        "import sys; from cbackprop import Network, report\n"
        "net = Network([1, 2], output='softmax', rng=0)\n"
        "X, y = [[0.0], [1.0]], [0, 1]\n"
        "report(net, net.train(X, y), X, y, path='r.html')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path)


# In a browser. The page beside it looks into the report, which itself runs nothing.
LOOK = """<!DOCTYPE html><iframe src="report.html" width="1000" height="900"></iframe><pre></pre>
<script>addEventListener("load", () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument
  const root = page.documentElement
  document.querySelector("pre").textContent = JSON.stringify({
    title: page.title, images: [...page.images].map(i => i.naturalWidth),
    scripts: page.scripts.length, wide: root.scrollWidth - root.clientWidth, height: root.scrollHeight,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map(e => e.name)
      .filter(name => !name.startsWith("data:")),
    cells: [...page.querySelectorAll(".matrix th")].map(cell => cell.textContent),
  })
})</script>"""  # noqa: E501


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_browser_shows_it(tmp_path):
    net, history, X, y = hostile()
    report(net, history, X, y, path=tmp_path / "report.html", title=EVIL)
    (tmp_path / "look.html").write_text(LOOK, encoding="utf-8")
    command = [
        CHROMIUM, "--headless=new", "--disable-gpu", "--allow-file-access-from-files",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
        "--timeout=30000", "--dump-dom",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # which root has not
    command.append((tmp_path / "look.html").as_uri())
    # Without a sanitizer's runtime, in which a browser does not come to an end.
    own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    run = subprocess.run(command, capture_output=True, timeout=120, check=True, env=own)
    dom = run.stdout.decode("utf-8")
    found = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", dom, re.S)[1]))
    assert found["title"] == EVIL  # text, which has not run
    assert found["images"] and min(found["images"]) > 0  # every picture can be read
    assert (found["scripts"], found["loaded"]) == (0, [])
    assert found["wide"] <= 0  # nothing stands out of the page
    assert found["height"] > 1000
    assert found["cells"][1:4] == [EVIL, "$1 & $2", "中文 � null"]
