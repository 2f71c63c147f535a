"""Pictures for `--plot`: the only importer of matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.synthesis.abstain import Offload

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
    """Accuracy of what is answered by the share answered, with its lower bound, target and chosen threshold."""
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
