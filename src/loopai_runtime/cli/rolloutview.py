"""A rollout drawn for a terminal: the evidence as bars, what is missing, and the answers that differ."""

from __future__ import annotations

import math
from typing import Any

from loopai_runtime.cli.options import Output

_BAR = 30
_WIDTH = 60


def draw(found: dict[str, Any]) -> None:
    """`found`: as `flows.standing.shown` has it."""
    from loopai_runtime.cli.render import out, printable, rows

    for line in _lines(found):
        out(printable(line))
    old, new = f"v{found['incumbent']} says", f"v{found['candidate']} says"
    if found["disagreements"]:
        out("\nlatest answers that differ")
        columns = {"input": "input", "incumbent": old, "candidate": new, "oracle": "oracle", "better": "better"}
        rows([_compared(each, found) for each in found["disagreements"]], Output.TABLE, columns)
    if found["history"]:
        out("\nhistory")
        for change in found["history"]:
            out(printable(_change(change)))


def _lines(found: dict[str, Any]) -> list[str]:
    seen, errors = found["evidence"], found["errors"]
    old, new = f"v{found['incumbent']}", f"v{found['candidate']}"
    needed, waiting, dropped = seen["e_value_needed"], seen["waiting_for_labels"], found["dropped"]
    return [
        f"{found['task_id']} {old} -> {new}: {found['state'].replace('_', ' ')}, {_serving(found, old, new)}",
        *([f"  {found['reason']}"] if found["reason"] else []),
        "",
        f"  {'not worse by ' + _percent(found['delta']):24} {bar(seen['e_value'], needed)}",
        f"  {'worse':24} {bar(seen['e_value_worse'], needed)}",
        "",
        f"  shadowed   {found['shadowed']:,}" + (f"; {dropped:,} were too many" if dropped else ""),
        f"  differed   {found['differed']:,}{_rate(seen)}",
        f"  labels     {seen['labels']:,} used, {seen['labels_left']:,} left: {seen['better']:,} for {new}, "
        f"{seen['worse']:,} for {old}, {seen['neither']:,} for neither"
        + (f"; {waiting:,} not asked yet" if waiting else ""),
        f"  failed     {errors['candidate']:,} where only {new} did, {errors['incumbent']:,} where only {old} did",
        f"  slow       {found['over_latency']:,} where only {new} took longer than its target",
        f"  stage      {duration(seen['dwell_s'])} of {duration(seen['dwell_wanted_s'])} at {found['stage']} %",
        f"  next       {_next(found)}",
    ]


def _serving(found: dict[str, Any], old: str, new: str) -> str:
    if found["state"] == "running":
        return f"{new} serves {found['stage']} % of the requests" if found["stage"] else f"{new} is in shadow"
    return f"{new if found['state'] in ('watching', 'promoted') else old} serves"


def bar(e_value: float, needed: float) -> str:
    """An e-value as the part of the way to what is needed, by its logarithm: each label adds about as much."""
    share = math.log(max(1.0, e_value)) / math.log(needed) if needed > 1 else 1.0
    filled = int(_BAR * min(1.0, share))
    return f"[{'#' * filled}{'-' * (_BAR - filled)}] e-value {_number(e_value)} of {needed:.3g}"


def _number(e_value: float) -> str:
    return f"{e_value:.3g}" if e_value < 1e6 else "over 1,000,000"


def duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def _next(found: dict[str, Any]) -> str:
    seen = found["evidence"]
    if found["ended_at"]:
        return f"nothing: it ended at {found['ended_at'][:19]}Z"
    if found["state"] == "watching":
        return f"watched for the rest of the time, ready to go back to v{found['incumbent']}"
    if seen["next"] != "hold":
        return f"{_verb(seen['next'])}: {seen['why']}"
    outlook = seen["outlook"]
    if outlook is None:
        return f"hold ({seen['why']}); no decision can be foreseen yet"
    return f"hold ({seen['why']}); {_verb(outlook['action'])} in about {duration(outlook['in_s'])} at this traffic"


def _verb(action: str) -> str:
    return action.replace("_", " ")


def _rate(seen: dict[str, Any]) -> str:
    if seen["differing"] is None:
        return ""
    return f" ({_percent(seen['differing'])} of them; at most {_percent(seen['differing_at_most'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _compared(each: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    label = each.get("label")
    better = {1: f"v{found['candidate']}", -1: f"v{found['incumbent']}", 0: "neither"}
    shown = {name: _short(each.get(name)) for name in ("input", "incumbent", "candidate")}
    oracle = _short(each.get("oracle")) if label is not None else "not asked"
    return {**shown, "oracle": oracle, "better": "" if label is None else better[label]}


def _short(value: Any) -> str:
    from loopai_runtime.cli.render import cell

    if isinstance(value, dict) and len(value) == 1:  # the one field says nothing
        value = next(iter(value.values()))
    text = " ".join(cell(value).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _change(change: dict[str, Any]) -> str:
    why = f": {change['reason']}" if change.get("reason") else ""
    return f"  {change['at'][:19]}Z {change['event']}, {change['stage']} %{why}"
