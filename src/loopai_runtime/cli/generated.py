"""A version that `generate` made, as people read it: a table of what was tried, and words about what won."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from loopai_runtime.flows.generated import Generated


def report(made: Generated) -> None:
    """The table of what won and what lost, by how much, on how many examples."""
    from loopai_runtime.cli import render

    rows = [
        {
            "": "→" if candidate["won"] else "",
            "program": candidate["name"],
            "accuracy": _percent(candidate["accuracy"], candidate["standard_error"]),
            "size": _size(candidate["bytes"]),
            "call": "" if candidate["microseconds"] is None else f"{candidate['microseconds']:.0f} µs",
            "verdict": candidate["verdict"],
        }
        for candidate in made.artifact.candidates
    ]
    judged = made.artifact.judged
    title = (
        f"{made.artifact.task_id}: judged on {judged['examples']} examples, each by programs that had not seen it"
    )
    render.rows(rows, Output.TABLE, title=title)
    if made.artifact.abstain is not None:
        curve(made)


def curve(made: Generated) -> None:
    """How often what is answered is right, by how much is answered."""
    from loopai_runtime.cli import render

    offload = made.synthesis.offload
    rows = [
        {
            "answered": f"{point.coverage:.1%}",
            "right": f"{point.accuracy:.2%}",
            "at least": f"{point.lower_bound:.2%}",
            "score from": f"{point.threshold:.4f}",
        }
        for point in offload.curve
    ]
    title = f"what is answered, by the score it starts at; lower bounds with {offload.confidence:.0%} confidence"
    render.rows(rows, Output.TABLE, title=title)


def _percent(value: float | None, error: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" + (f" ± {error * 100:.1f}" if error is not None else "")


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1024:.1f} KB" if size >= 1024 else f"{size} B"


def conclude(made: Generated) -> None:
    """In words, on stderr: how good it is, what became of it, and what to type next."""
    from loopai_runtime.cli.render import say

    artifact, gate = made.artifact, made.gate
    ref = f"{artifact.task_id}@{artifact.version}"
    for warning in made.examples.warnings[:10]:
        say(f"warning: {warning}")
    for note in made.notes:
        say(note)
    say(
        f"{ref}: {artifact.learner} program, {_size(artifact.complexity_metrics.bytes)}; {_promise(made)}; "
        f"p99 {gate.p99_ms:.2f} ms (target {gate.latency_target_ms:g})"
    )
    offload = made.synthesis.offload
    if artifact.confidence_kind == "accuracy_bound":
        say(
            f"safe offload at {offload.target_accuracy:.1%} accuracy, {offload.confidence:.0%} confidence: "
            f"{offload.coverage:.1%} of inputs. Verdict: {offload.verdict}"
        )
    if artifact.abstain is not None:
        threshold = artifact.abstain.threshold
        where = (
            "on every input" if threshold is None else f"where score is below {threshold:g}" if threshold else ""
        )
        say(f"abstains {where or 'on nothing'}")
    if made.synthesis.advice:
        say(made.synthesis.advice)
    hints(made)
    if not gate.latency_met:
        say(f"too slow: p99 {gate.p99_ms:.2f} ms; latency_target_ms is {gate.latency_target_ms:g}")
    if made.activated:
        say(f"{ref} is active: loopai run {artifact.task_id} INPUT")
    elif gate.met:
        say(f"v{made.active_version} stays active; try loopai diff {artifact.task_id}@active {ref}, then")
        say(f"  loopai activate {ref}    or    loopai rollout start {ref}")
    else:
        say(f"{ref} is kept as a draft: loopai run {ref} INPUT tries it, loopai activate {ref} takes it")


def _promise(made: Generated) -> str:
    """How good the program is, in the words that fit how it was judged."""
    gate, bound = made.gate, made.artifact.confidence_score
    if made.artifact.confidence_kind == "all_correct":
        return f"right on all inputs with probability {gate.accuracy:.1%} (target {gate.accuracy_target:.1%})"
    return (
        f"accuracy {gate.accuracy:.1%} on unseen examples (target {gate.accuracy_target:.1%}), "
        f"at least {bound:.1%} with 90 % confidence"
    )


def hints(made: Generated) -> None:
    """Which examples look wrong, and which inputs to label next."""
    from loopai_runtime.cli.render import say
    from loopai_runtime.jsonl import dumps

    if suspects := made.suspects:
        say(f"{len(suspects)} examples look mislabelled, the surest first (all of them: -o json):")
        for one in suspects[:5]:
            given, answer = dumps(one["given"]), dumps(one["answer"])
            say(f"  {one['where'] or 'an example'}: says {given}, looks like {answer} ({one['confidence']:.2f})")
    if suggestions := made.survey.suggestions:
        place = f"tasks/{made.artifact.task_id}/suggestions.jsonl"
        say(f"labelling these would teach most; {len(suggestions)} are in {place}:")
        for suggestion in suggestions[:5]:
            text = dumps(suggestion.input)
            shown = text if len(text) <= 90 else text[:90] + "…"
            say(f"  {shown} (now {dumps(suggestion.output)}, {suggestion.confidence:.2f})")
