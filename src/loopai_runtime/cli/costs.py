"""How `loopai analyze --cost` prints what tasks cost and save."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.costs import Costs
    from loopai_runtime.layout import Layout


def show(layout: Layout, task: str | None, days: int | None, model: str | None, output: Output) -> None:
    """One task in full, or a line for each."""
    from loopai_runtime.cli import render
    from loopai_runtime.flows.costs import all_costs, costs

    if task is None:
        found = all_costs(layout, days=days, model=model)
        if output is Output.TABLE:
            render.rows([_line(one) for one in found], output, title="costs, in US dollars")
        elif output is Output.CSV:
            render.rows([_flat(one) for one in found], output)
        else:
            render.rows([one.as_dict() for one in found], output)
        return
    one = costs(layout, task, days=days, model=model)
    if output is Output.TABLE:
        _report(one)
    elif output is Output.CSV:
        render.rows([_flat(one)], output)
    else:
        render.document(one.as_dict(), output)


def _flat(one: Costs) -> dict[str, Any]:
    """Without what is itself a list or an object."""
    return {name: value for name, value in one.as_dict().items() if not isinstance(value, dict | list)}


def _line(one: Costs) -> dict[str, str]:
    month = one.month
    return {
        "task": one.task_id,
        "spent": _usd(one.spent_usd),
        "executions": f"{one.traffic.executions:,}",
        "saved": _usd(one.saved_usd),
        "break-even": _break_even(one),
        "saved a month": _usd(month.saved_usd if month else None),
    }


def _report(one: Costs) -> None:
    from loopai_runtime.cli import render

    since = f" since {one.since}" if one.since else ""
    table = [
        {
            "for": line.purpose,
            "model": line.model,
            "calls": f"{line.calls:,}",
            "tokens in": f"{line.prompt_tokens:,}",
            "tokens out": f"{line.completion_tokens:,}",
            "spent": _usd(line.usd),
        }
        for line in one.lines
    ]
    if table:
        render.rows(table, Output.TABLE, title=f"{one.task_id}: {_usd(one.spent_usd)} spent on models{since}")
    else:
        render.out(f"{one.task_id}: nothing spent on models{since}")
    if one.unsettled_usd:
        render.out(f"of which {_usd(one.unsettled_usd)} set aside by calls under way, or whose process died")
    for sentence in _sentences(one):
        render.out(sentence)


def _sentences(one: Costs) -> list[str]:
    traffic, call, month = one.traffic, one.call, one.month
    said = [
        f"the program answered {traffic.answered:,} of {traffic.executions:,} inputs"
        + (f", the oracle {traffic.deferred:,}" if traffic.deferred else "")
    ]
    if call is None:
        return [*said, f"what a model would have cost is not known: {one.unknown}"]
    what = "calls" if call.basis == "measured" else "executions"
    said.append(
        f"{call.model} takes {_usd(call.usd)} for one input, {_usd(one.avoided_usd)} for those ({call.basis} on "
        f"{call.n:,} {what}: {call.prompt_tokens:,.0f} tokens in, {call.completion_tokens:,.0f} out)"
    )
    said.append(f"saved, less all that was spent: {_usd(one.saved_usd)}")
    if traffic.executions:
        when = (
            f"after {one.break_even_calls:,} inputs" if one.break_even_calls is not None else "never at this rate"
        )
        reached = "; there were more" if _reached(one) else ""
        said.append(f"making it ({_usd(one.making_usd)}) is paid for {when}{reached}")
    if month is not None:
        said.append(
            f"a month at this traffic (seen for {traffic.days:.3g} days): {month.executions:,.0f} inputs, "
            f"{_usd(month.model_usd)} from the model, {_usd(month.running_usd)} as it is, "
            f"{_usd(month.saved_usd)} saved"
        )
    return said


def _break_even(one: Costs) -> str:
    if one.break_even_calls is None:
        return "–" if one.gain_usd is None else "never"
    return f"{one.break_even_calls:,}" + (" (reached)" if _reached(one) else "")


def _reached(one: Costs) -> bool:
    return one.break_even_calls is not None and one.traffic.executions >= one.break_even_calls


def _usd(value: float | None) -> str:
    """`$12.34`; small sums with two digits that count."""
    if value is None:
        return "–"
    sign, size = ("-" if value < 0 else ""), abs(value)
    digits = 2 if size >= 0.1 or not size else 1 - math.floor(math.log10(size))
    return f"{sign}${size:,.{digits}f}"
