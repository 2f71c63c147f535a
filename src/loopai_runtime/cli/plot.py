"""Pictures for `--plot`: the only importer of matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from loopai_runtime.flows.analysis import Analysis
    from loopai_runtime.synthesis.abstain import Offload
    from loopai_runtime.validation.estimate import Estimate

_SUFFIXES = (".png", ".svg", ".pdf")


def require_plotting(path: Path) -> None:
    """Before the work is done: raises MissingExtra, or UsageError for a file that no picture can be written to."""
    from loopai_runtime.errors import MissingExtra, UsageError

    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot {path} is not a picture", hint=f"one of {', '.join(_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"no such folder: {path.parent}", hint=f"mkdir -p {path.parent}")
    if find_spec("matplotlib") is None:
        raise MissingExtra("--plot", "plot")


def offload_curve(offload: Offload, path: Path, title: str) -> None:
    """Estimate of what is answered by the share answered, with its lower bound, target and chosen threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    shares = [100 * point.coverage for point in offload.curve]
    axes.plot(shares, [100 * point.accuracy for point in offload.curve], "o-", label="accuracy out of fold")
    axes.plot(shares, [100 * point.lower_bound for point in offload.curve], ":", label="its lower bound")
    axes.axhline(100 * offload.target_accuracy, color="0.6", linewidth=1, label="target")
    if offload.threshold is not None:
        axes.axvline(100 * offload.coverage, color="0.3", linestyle="--", linewidth=1, label="safe offload")
    axes.set(xlabel="inputs answered, %", ylabel="right, %", title=f"{title}: {offload.verdict}", xlim=(0, 102))
    axes.legend(loc="lower left")
    figure.savefig(path)


MOST_LABELS = 8


def traffic(analysis: Analysis, path: Path) -> None:
    """Volume, latency, accuracy with its interval and the mix of labels, day by day."""
    from matplotlib.figure import Figure

    from loopai_runtime.flows.analysis import by_day

    days = by_day(analysis)
    names = [day.day[5:] for day in days]
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(f"{analysis.task_id or 'all tasks'}, {analysis.days[0]} to {analysis.days[-1]} (UTC)")
    volume, latency, accuracy, labels = figure.subplots(2, 2).flat
    volume.bar(names, [day.group.count for day in days], color="0.7", label="executions")
    volume.bar(names, [day.group.errors + day.group.timeouts for day in days], color="tab:red", label="failed")
    volume.set(title="volume", ylabel="executions")
    volume.legend()
    summaries = [day.group.summary() for day in days]
    for quantile, line in (("p50", "-"), ("p95", "--"), ("p99", ":")):
        latency.plot(names, [summary[f"{quantile}_ms"] for summary in summaries], line, marker="o", label=quantile)
    latency.set(title="latency", ylabel="ms")
    latency.legend()
    _accuracy(accuracy, [(name, day.accuracy) for name, day in zip(names, days, strict=True)])
    _mix(labels, names, analysis)
    for axes in (volume, latency, accuracy, labels):
        axes.tick_params(axis="x", labelrotation=45 if len(names) > 5 else 0)
    figure.savefig(path)


def _accuracy(axes: Axes, days: list[tuple[str, Estimate | None]]) -> None:
    known = [(name, one, one.value) for name, one in days if one is not None and one.value is not None]
    axes.set(title="accuracy, 95 % interval", ylabel="right, %")
    if not known:
        axes.text(0.5, 0.5, "nothing was checked", ha="center", transform=axes.transAxes)
        return
    values = [100 * value for _, _, value in known]
    below = [100 * (value - one.low) for _, one, value in known]
    above = [100 * (one.high - value) for _, one, value in known]
    axes.errorbar([name for name, _, _ in known], values, yerr=[below, above], fmt="o", capsize=4)


def _mix(axes: Axes, names: list[str], analysis: Analysis) -> None:
    from loopai_runtime.flows.analysis import label_mix

    axes.set(title="answers", ylabel="share, %")
    mix = list(label_mix(analysis).items())
    shown = mix[:MOST_LABELS]
    if len(mix) > MOST_LABELS:
        rest = [sum(counts) for counts in zip(*(counts for _, counts in mix[MOST_LABELS:]), strict=True)]
        shown.append(("others", rest))
    bottom = [0.0] * len(names)
    totals = [max(1, sum(counts)) for counts in zip(*(counts for _, counts in mix), strict=True)]
    for label, counts in shown:
        shares = [100 * count / total for count, total in zip(counts, totals, strict=True)]
        axes.bar(names, shares, bottom=bottom, label=label.replace("$", r"\$"))
        bottom = [a + b for a, b in zip(bottom, shares, strict=True)]
    if shown:
        axes.legend(fontsize="small")
