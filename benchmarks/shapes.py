"""python -m benchmarks.shapes: does the speed hold for every size of network and data set?

Plain SGD in float32 through Network.train on the installed package, every network in a process
of its own, a sample of each in turn (seconds: about, of one sample):

- parameters: time a step from 10^3 to 10^8 parameters, three layers of one width, batch 128;
- widths, depths: Gflop/s of two layers 64 to 4096 wide, and of 1 to 20 layers 256 wide;
- outputs: Gflop/s of 256-256-n for 1 to 1024 real outputs (ten everywhere else);
- rows: nanoseconds a sample and memory for 10^4 to 10^7 memory-mapped rows of 32 bytes;
- threads: the default against one and two threads, on the rows of python -m benchmarks.

Writes shapes.json, SHAPES.md and plots (matplotlib).
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.__main__ import compare
from cbackprop._bench import WORKLOADS

BATCH = 128
PARAMETERS = [10 ** (e / 2) for e in range(6, 17)]
WIDTHS = (64, 128, 256, 512, 1000, 1024, 1025, 2048, 4096)
DEPTHS = range(1, 21)
OUTPUTS = (1, 4, 16, 64, 256, 1024)
ROWS = (10**4, 10**5, 10**6, 10**7)
MAPPED = "32-64-64-1", 256  # sizes and batch
LINEAR_FROM = 10**5
SGD = [name for name, work in WORKLOADS.items() if work.optimizer == "sgd"]


def layers(width, depth):
    return "-".join([*[str(width)] * (depth + 1), "10"])


def flops(r):
    products = [a * b for a, b in itertools.pairwise(r["sizes"])]
    return r["batch"] * (6 * sum(products) - 2 * products[0])


# ---- measuring ---------------------------------------------------------------------


def networks(points, options):
    """points: name -> sizes."""
    commands = {
        name: ["benchmarks.shape", sizes, str(BATCH), str(options.seconds)]
        for name, sizes in points.items()
    }
    found, missing = compare(commands, options.repeats)
    for r in found.values():
        r["gflops"] = flops(r) / r["least"] / 1e3
    return found, missing


def parameters(options):
    most = 10**6 if options.quick else 10**8
    widths = [round((p / 3) ** 0.5) for p in PARAMETERS if p <= most]
    return networks({str(n): layers(n, 3) for n in widths}, options)


def widths(options):
    most = 512 if options.quick else 4096
    return networks({str(n): layers(n, 2) for n in WIDTHS if n <= most}, options)


def depths(options):
    most = 3 if options.quick else 20
    return networks({str(d): layers(256, d) for d in DEPTHS if d <= most}, options)


def outputs(options):
    return networks({str(n): f"256-256-{n}" for n in OUTPUTS}, options)


def rows(options):
    counts = [n for n in ROWS if n <= (10**5 if options.quick else 10**7)]
    sizes, batch = MAPPED
    width = int(sizes.split("-")[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "X")
        rng = np.random.default_rng(0)
        with file.open("wb") as f:
            for _ in range(0, counts[-1], 10**4):
                f.write(rng.integers(0, 256, (10**4, width), np.uint8))
        commands = {
            str(n): ["benchmarks.shape", sizes, str(batch), str(options.seconds), str(n), str(file)]
            for n in counts
        }
        found, missing = compare(commands, options.repeats)
    for r in found.values():
        steps = -(-r["rows"] // batch)
        r["ns"] = r["least"] * 1e3 * steps / r["rows"]
        r["file_mb"] = r["rows"] * width / 2**20
    return found, missing


def threads(options):
    found, missing = {}, {}
    for row in ("book", "std") if options.quick else SGD:
        commands = {
            key: ["benchmarks.worker", "ours", row, key, "float32", str(options.seconds)]
            for key in ("1", "2", "None")
        }
        found[row], lost = compare(commands, options.repeats)
        missing |= {f"{row} {key}": error for key, error in lost.items()}
    return found, missing


PARTS = {f.__name__: f for f in (parameters, widths, depths, outputs, rows, threads)}


# ---- what the samples say ----------------------------------------------------------


def exponent(found):
    """Of time ~ P^exponent, by least squares in the logarithms."""
    p, t = ([np.log(r[key]) for r in found] for key in ("parameters", "least"))
    return float(np.polyfit(p, t, 1)[0]) if len(p) > 1 else None


def line(found):
    """c of time = c P: the geometric mean."""
    return float(np.exp(np.mean([np.log(r["least"] / r["parameters"]) for r in found])))


def worst_fall(found):
    """The lowest ratio of Gflop/s to those of the shape before, and the two names."""
    pairs = itertools.pairwise(found.items())
    return min(((b["gflops"] / a["gflops"], i, j) for (i, a), (j, b) in pairs), default=None)


def peak(found):
    """Of both cores: the highest, as the times are the least."""
    return max((s.get("peak_2", 0) for r in found.values() for s in r["samples"]), default=0)


def share(found, r):
    rate = peak(found)
    return r["gflops"] / rate if rate else None


def percent(x):
    return "" if x is None else f"{x:.0%}"


def parameters_section(found):
    lines = ["| width | parameters | us a step | Gflop/s | of the peak |", "|---|---|---|---|---|"]
    for name, r in found.items():
        lines.append(
            f"| {name} | {r['parameters']:,} | {r['least']:,.1f} ({r['median']:,.1f}) "
            f"| {r['gflops']:.0f} | {percent(share(found, r))} |"
        )
    large = [r for r in found.values() if r["parameters"] > LINEAR_FROM]
    if len(large) > 1:
        c = line(large)
        off = max((r["least"] / (c * r["parameters"]) - 1 for r in large), key=abs)
        lines += [
            "",
            f"Above 10^5 parameters: time grows as P^{exponent(large):.3f} (over all: "
            f"P^{exponent(list(found.values())):.3f}); worst deviation from a line through the "
            f"origin {off:+.1%}.",
        ]
    return lines


def shapes_section(found):
    lines = ["| | parameters | us a step | Gflop/s | of the peak |", "|---|---|---|---|---|"]
    for name, r in found.items():
        lines.append(
            f"| {name} | {r['parameters']:,} | {r['least']:,.1f} "
            f"({r['median']:,.1f}) | {r['gflops']:.0f} | {percent(share(found, r))} |"
        )
    fall = worst_fall(found)
    if fall:
        lines += [
            "",
            f"Worst ratio to the one before: {fall[0]:.2f} (from {fall[1]} to {fall[2]}).",
        ]
    return lines


def rows_section(found):
    lines = [
        "Peak memory counts the file's pages in the page cache, which the system takes back at "
        "need; the last column is without them.",
        "",
        "| rows | ns a sample | first epoch, ns | file MB | peak MB | less the file |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['rows']:,} | {r['ns']:.0f} | {r['first_epoch'] / r['rows'] * 1e9:.0f} "
        f"| {r['file_mb']:.0f} | {r['rss_mb']:.0f} | {r['rss_mb'] - r['file_mb']:.0f} |"
        for r in found.values()
    ]
    ns = [r["ns"] for r in found.values()]
    return [*lines, "", f"Highest to lowest: {max(ns) / min(ns):.2f}."]


def threads_section(found):
    lines = [
        "Medians (and least), microseconds a step; ratio of the default to the better of one and "
        "two threads.",
        "",
        "| row | 1 | 2 | default | ratio of medians | of the least |",
        "|---|---|---|---|---|---|",
    ]
    for row, r in found.items():
        if len(r) < 3:
            continue
        each = [f"{r[k]['median']:,.1f} ({r[k]['least']:,.1f})" for k in ("1", "2", "None")]
        ratios = [f"{r['None'][k] / min(r['1'][k], r['2'][k]):.2f}" for k in ("median", "least")]
        lines.append(f"| {row} | {' | '.join([*each, *ratios])} |")
    return lines


SECTIONS = {
    "parameters": ("Time a step against the number of parameters", parameters_section),
    "widths": ("Widths, two layers", shapes_section),
    "depths": ("Numbers of layers, 256 wide", shapes_section),
    "outputs": ("Numbers of outputs, 256-256-n", shapes_section),
    "rows": ("Memory-mapped rows, 32-64-64-1, batch 256", rows_section),
    "threads": ("The default number of threads", threads_section),
}
PLOTS = {
    "parameters": ("parameters",),
    "widths": ("widths", "depths", "outputs"),
    "rows": ("rows",),
}


def page(report):
    lines = [
        "# Shapes",
        "",
        f"`{report['command']}`, {report['date']}, {report['machine']}; "
        + ", ".join(f"{k} {v}" for k, v in report["versions"].items())
        + f". Plain SGD, float32, relu, batch {BATCH} and the default number of threads unless "
        "said; least (and median) of the samples; the peak is that of both cores, the highest "
        "measured beside them.",
    ]
    for part, (title, section) in SECTIONS.items():
        if report["parts"].get(part):
            lines += ["", f"## {title}", "", *section(report["parts"][part])]
    for plot, parts in PLOTS.items():
        if any(report["parts"].get(part) for part in parts):
            lines += ["", f"![{plot}](shapes-{plot}.png)"]
    for key, error in report["missing"].items():
        lines += ["", f"Not run: {key}: {' '.join(error)}"]
    return "\n".join(lines) + "\n"


def plot_parameters(pyplot, found):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    all_ = list(found.values())
    large = [r for r in all_ if r["parameters"] > LINEAR_FROM]
    p = [r["parameters"] for r in all_]
    left.loglog(p, [r["least"] for r in all_], "o", label="cbackprop")
    c = line(large or all_)
    left.loglog(p, [c * x for x in p], color="black", linewidth=0.8, label="linear")
    left.set(xlabel="parameters", ylabel="microseconds a step")
    left.legend()
    if peak(found):
        right.semilogx(p, [share(found, r) for r in all_], "o-")
        right.set(ylim=(0, 1), xlabel="parameters", ylabel="fraction of both cores' peak")
    return figure


def plot_widths(pyplot, *founds):
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), sharey=True)
    labels = ("width of two layers", "number of layers, 256 wide", "outputs of 256-256-n")
    for ax, found, label in zip(axes, founds, labels, strict=True):
        x = [int(name) for name in found]
        ax.plot(x, [r["gflops"] for r in found.values()], "o-")
        if found and peak(found):
            ax.axhline(peak(found), color="black", linewidth=0.8)
            ax.annotate("measured peak", (x[0], peak(found)), (0, -11), textcoords="offset points")
        ax.set(xlabel=label)
    axes[0].set_xscale("log", base=2)
    axes[2].set_xscale("log", base=2)
    axes[0].set(ylabel="Gflop/s", ylim=(0, None))
    return figure


def plot_rows(pyplot, found):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    n = [r["rows"] for r in found.values()]
    ns = [r["ns"] for r in found.values()]
    left.semilogx(n, ns, "o-")
    left.set(ylim=(0, 1.15 * max(ns)), xlabel="rows", ylabel="nanoseconds a sample")
    right.semilogx(n, [r["rss_mb"] for r in found.values()], "o-", label="peak")
    own = [r["rss_mb"] - r["file_mb"] for r in found.values()]
    right.semilogx(n, own, "s-", label="less the mapped file")
    right.set(ylim=(0, None), xlabel="rows", ylabel="memory, MB")
    right.legend()
    return figure


def plots(report, out):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    draw = {"parameters": plot_parameters, "widths": plot_widths, "rows": plot_rows}
    for plot, parts in PLOTS.items():
        found = [report["parts"].get(part, {}) for part in parts]
        if any(found):
            figure = draw[plot](pyplot, *found)
            figure.tight_layout()
            figure.savefig(out / f"shapes-{plot}.png", dpi=120)
            pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run of the small ones")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="about, of one sample")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.quick:
        options.repeats, options.seconds = 2, 0.05
    report = {"parts": {}, "missing": {}}
    for part in options.parts.split(","):
        found, missing = PARTS[part](options)
        report["parts"][part] = found
        report["missing"] |= {f"{part} {key}": error for key, error in missing.items()}
        if found:
            print("\n".join([part, *SECTIONS[part][1](found), ""]), flush=True)
    report["machine"] = machine.name()
    report["versions"] = {"Python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in ("cbackprop", "numpy")
    }
    report["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    report["command"] = " ".join(["python -m benchmarks.shapes", *sys.argv[1:]])
    (options.out / "shapes.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (options.out / "SHAPES.md").write_text(page(report), encoding="utf-8")
    plots(report, options.out)


if __name__ == "__main__":
    main()
