"""`loopai evaluate`: versions against known answers. `loopai why`: what decided one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.evaluate import Evaluation, Score


def register(app: typer.Typer) -> None:
    app.command("evaluate", rich_help_panel=options.AUTHOR)(evaluate)
    app.command("why", rich_help_panel=options.AUTHOR)(why)


def evaluate(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK[@V…] GOLD", help="A task, versions as task@1,2 or task@1 task@2, then the file."
        ),
    ],
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under", min=0, max=1, help="Exit 3 if the accuracy is below this.", show_default=False
        ),
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Of a CSV that is not UTF-8.")] = "utf-8",
    workers: Annotated[int | None, typer.Option("--workers", min=1, max=64, show_default=False)] = None,
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Score versions on labelled rows, side by side.

    The rows (CSV, JSONL or JSON) are ones that the versions were not made from.
    """
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import as_json, out, progress
    from loopai_runtime.errors import UsageError
    from loopai_runtime.flows.evaluate import evaluate as run_flow
    from loopai_runtime.flows.evaluate import read_gold
    from loopai_runtime.flows.measure import open_pool

    if len(refs) < 2:
        raise UsageError("give a task and a file of labelled rows", hint="loopai evaluate TASK GOLD.csv")
    settings = options.settings(data_dir, config, execution__worker_count=workers)
    store = ArtifactStore(settings.layout)
    versions = [store.read(ref) for given in refs[:-1] for ref in several(given)]
    if len({stored.artifact.task_id for stored in versions}) > 1:
        raise UsageError("versions of different tasks cannot be compared")
    rows = read_gold(Path(refs[-1]), versions[0].artifact, settings.layout, encoding)
    with open_pool(settings.config) as pool, progress("evaluating", len(rows) * len(versions)) as advance:
        result = run_flow(pool, versions, rows, settings.config, lambda done: advance(done, None))
    if output is Output.TABLE:
        _report(versions[0].artifact.task_id, result)
    elif output is Output.JSON:
        task_id = versions[0].artifact.task_id
        out(
            as_json(
                {
                    "task_id": task_id,
                    "versions": [s.as_dict() for s in result.scores],
                    "differences": result.differences,
                }
            )
        )
    else:
        from loopai_runtime.cli.render import rows as print_rows

        print_rows([_flat(score) for score in result.scores], output)
    if fail_under is not None:
        result.require(fail_under)


def several(ref: str) -> list[str]:
    """`task@1,2` names two versions of one task."""
    task, _, tail = ref.partition("@")
    return [f"{task}@{part}" for part in tail.split(",")] if "," in tail else [ref]


def _flat(score: Score) -> dict[str, Any]:
    accuracy = score.accuracy
    return {
        "version": score.version,
        "rows": score.rows,
        "answered": score.answered,
        "errors": score.errors,
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "p50_ms": score.latency.p50,
        "p99_ms": score.latency.p99,
    }


def _report(task_id: str, result: Evaluation) -> None:
    from loopai_runtime.cli import render

    render.rows(
        [
            {
                "version": f"v{s.version}",
                "accuracy": f"{s.accuracy['value']:.1%}",
                "interval": f"{s.accuracy['low']:.1%} – {s.accuracy['high']:.1%}",
                "answered": f"{s.answered} of {s.rows}",
                "errors": str(s.errors),
                "latency": f"{s.latency.p50:.2f} / {s.latency.p99:.2f} ms",
            }
            for s in result.scores
        ],
        Output.TABLE,
        {
            "version": "version",
            "accuracy": "accuracy",
            "interval": "95 % interval",
            "answered": "answered",
            "errors": "errors",
            "latency": "p50 / p99",
        },
        title=task_id,
    )
    for score in result.scores:
        _report_labels(score, f"v{score.version}" if len(result.scores) > 1 else "")
    if len(result.scores) > 1:
        _report_differences(result)


def _report_labels(score: Score, name: str) -> None:
    from loopai_runtime.cli import render

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    if score.labels:
        table = [
            {
                "label": s.label,
                "precision": share(s.precision),
                "recall": share(s.recall),
                "f1": share(s.f1),
                "rows": s.support,
            }
            for s in score.labels
        ]
        render.rows(table, Output.TABLE, {k: k for k in table[0]}, title=f"{name} by label".strip())
    if score.confusion:
        columns = {"expected": "right answer", "output": "was answered", "count": "times"}
        render.rows(score.confusion[:15], Output.TABLE, columns, title=f"{name} mistakes".strip())


def _report_differences(result: Evaluation) -> None:
    from loopai_runtime.cli import render

    render.out(f"rows on which the versions differ: {len(result.differences)}")
    shown = [
        {"row": d["row"], "expected": d["expected"], **d["outputs"], "input": render.cell(d["input"])[:80]}
        for d in result.differences[:20]
    ]
    if shown:
        render.rows(shown, Output.TABLE)


def why(
    ref: options.TaskRef,
    text: Annotated[str, typer.Argument(metavar="INPUT", help="The input as JSON, or - for stdin.")],
    output: options.OutputFormat = Output.TABLE,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
) -> None:
    """Show what decided one answer.

    Words and their weights, the rule that held, or the steps that were taken.
    """
    from contextlib import ExitStack

    from loopai_runtime.cli import render
    from loopai_runtime.cli.inputs import argument, open_executor
    from loopai_runtime.flows.execute import Request

    settings = options.settings(data_dir, config)
    with ExitStack() as stack:
        executor = open_executor(stack, settings, ref, workers=1, record=False)
        value = argument(text, executor.artifact.input_schema)
        result = executor.run(Request(value))
        if result.failure is not None:
            raise result.failure
        reasons = executor.explain(value)
    line = result.line()
    if output is not Output.TABLE:
        full = {"task_id": executor.artifact.task_id, "version": line["version"], "output": line["output"]}
        full |= {"confidence": line.get("confidence"), "why": reasons}
        render.document(full, output)
        return
    confidence = f" (confidence {line['confidence']:.3f})" if "confidence" in line else ""
    answer = render.as_json(line["output"], indent=None)
    render.out(f"{executor.artifact.task_id} v{line['version']} answers {answer}{confidence}")
    if reasons is None:
        render.out("this program cannot say why; loopai show --code prints it")
    elif isinstance(reasons, list) and reasons and all(isinstance(r, dict) for r in reasons):
        render.rows(reasons, Output.TABLE)
    else:
        render.out(render.as_json(reasons))
