"""From the samples of a run to a page and two plots."""

import statistics

from cbackprop._bench import WORKLOADS


def best_rival(found):
    rivals = {key: r for key, r in found.items() if not key.startswith("ours")}
    return min(rivals, key=lambda key: rivals[key]["median"]) if rivals else None


def headline(found):
    return found.get("ours None") or found.get("ours") or found.get("ours 1")


def peak(found, name="peak_2"):
    rates = [s[name] for r in found.values() for s in r["samples"] if name in s]
    return max(rates, default=None)  # what disturbs can only lower it


def rows(report):
    """(name, ours, best rival's key, ratio of medians) of each row that has both."""
    for name, found in report["rows"].items():
        ours, rival = headline(found), best_rival(found)
        if ours and rival:
            yield name, ours, rival, found[rival]["median"] / ours["median"]


def page(report, stem):
    lines = ["# Results", ""]
    lines += [
        f"`{report['command']}`, {report['date']}, {report['machine']}; "
        + ", ".join(f"{k} {v}" for k, v in report["versions"].items())
        + ". Microseconds a step (expm: an epoch; predict: a call), median and (least) of the "
        "samples, all rivals in turn in one run, each at the better of its thread counts; ours "
        "with `n_threads=None` unless said.",
        "",
        "| row | ours | 1 thread | 2 threads | best rival | | ratio | Gflop/s | of the peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, ours, rival, ratio in rows(report):
        found = report["rows"][name]
        each = [
            f"{found[key]['median']:,.1f}" if key in found else "" for key in ("ours 1", "ours 2")
        ]
        rate = share = ""
        if name in WORKLOADS:
            gflops = WORKLOADS[name].flops() / ours["median"] / 1e3
            rate = f"{gflops:.0f}"
            share = f"{gflops / peak(found):.0%}" if peak(found) else ""
        lines.append(
            f"| {name} | {ours['median']:,.1f} ({ours['least']:,.1f}) | {each[0]} | {each[1]} "
            f"| {found[rival]['median']:,.1f} ({found[rival]['least']:,.1f}) | {rival} "
            f"| **{ratio:.2f}** | {rate} | {share} |"
        )
    lines += [
        "",
        "## All rivals",
        "",
        "| row | rival, threads | median | least | first call, s | peak MB |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for name, found in report["rows"].items():
        for key, r in found.items():
            first = f"{r['first_call']:.1f}" if "first_call" in r else ""
            lines.append(
                f"| {name} | {key} | {r['median']:,.1f} | {r['least']:,.1f} | {first} "
                f"| {r['rss_mb']:.0f} |"
            )
    states = [s for found in report["rows"].values() for r in found.values() for s in r["samples"]]
    if any("peak_1" in s for s in states):
        one, two, far = (
            [s[k] for s in states if k in s] for k in ("peak_1", "peak_2", "latency_ns")
        )
        lines += [
            "",
            f"Measured peak: one core {max(one):.0f} Gflop/s, both at once {max(two):.0f} "
            f"(median {statistics.median(two):.0f}, where something disturbed); a cache line from "
            f"core to core in {min(far):.0f} to {max(far):.0f} ns (median "
            f"{statistics.median(far):.0f}).",
        ]
    for key, error in report["missing"].items():
        lines.append(f"\nNot run: {key}: {' '.join(error)}")
    return "\n".join(lines) + f"\n\n![ratios]({stem}-ratios.png)\n![peak]({stem}-peak.png)\n"


def plots(report, out, stem):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pairs = list(rows(report))
    if not pairs:
        return
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(pairs) + 1.2))
    bars = axes.barh([p[0] for p in pairs], [p[3] for p in pairs], color="#3b6ea5")
    axes.bar_label(bars, [f"{p[3]:.1f}x  {p[2]}" for p in pairs], padding=4, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(0, 1.35 * max(p[3] for p in pairs))
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the best rival (median)")
    figure.tight_layout()
    figure.savefig(out / f"{stem}-ratios.png", dpi=120)
    trained = [p for p in pairs if p[0] in WORKLOADS and peak(report["rows"][p[0]])]
    if not trained:
        return
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for label, pick, marker in (
        ("cbackprop", lambda p: p[1], "o"),
        ("best rival", lambda p: report["rows"][p[0]][p[2]], "s"),
    ):
        points = sorted(
            (
                WORKLOADS[p[0]].parameters(),
                WORKLOADS[p[0]].flops() / pick(p)["median"] / 1e3 / peak(report["rows"][p[0]]),
                p[0],
            )
            for p in trained
        )
        axes.plot([q[0] for q in points], [q[1] for q in points], marker, label=label)
        if label == "cbackprop":
            for x, y, name in points:
                axes.annotate(name, (x, y), textcoords="offset points", xytext=(4, 5), fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_xlabel("parameters")
    axes.set_ylabel("fraction of both cores' measured peak")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / f"{stem}-peak.png", dpi=120)


def write(report, out, stem):
    name = "RESULTS.md" if stem == "results" else "RESULTS-float64.md"
    (out / name).write_text(page(report, stem), encoding="utf-8")
    plots(report, out, stem)
