"""What a rollout costs the requests of a server: `python -m tests.bench.arms`.

Choosing the version that answers, in microseconds of processor time a request: the median of rounds, for short and
long inputs, and without a rollout. Then, what the loop spends on a request in all, with everything but the sandbox,
the log and the socket: with no rollout, in shadow alone, and at half of the traffic. LOOPAI_SOAK scales the counts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.integration.test_server import artifact

from loopai_runtime.datasets.shadow import Arm
from loopai_runtime.flows.execute import Request, Service
from loopai_runtime.flows.serve import Lane
from loopai_runtime.flows.trial import Trial, side_of
from loopai_runtime.models import ProgramArtifact, utc_now
from loopai_runtime.rollouts import Rollout
from loopai_runtime.sandbox import Outcome

SOAK = float(os.environ.get("LOOPAI_SOAK", "0.05"))
REQUESTS = max(2000, round(40_000 * SOAK))
ROUNDS = 9
ANSWER = Outcome("success", "ham", wall_ms=0.1, cpu_ms=0.1)
TEXTS = {"short": "WIN a prize now, reply YES to claim", "2 KB": "a word or two more " * 105}


def lane(stage: int | None) -> Lane:
    """A task as it is served, in the trial of a rollout unless `stage` is None."""
    versions: dict[Arm, ProgramArtifact] = {
        "incumbent": artifact("spam", version=1),
        "candidate": artifact("spam", version=2),
    }
    serving = Lane(Service(versions["incumbent"], "here"), "digest")
    if stage is not None:
        now = utc_now()
        rollout = Rollout("0f6a3a0e-0d4c-4a43-9a39-5a6f0c1b2d3e", "spam", 2, 1, now, now, now, stage=stage)
        serving.other = Lane(Service(versions["candidate"], "here"), "digest")
        serving.trial = Trial(
            rollout, versions, lambda _key, _payload, done: done(ANSWER), lambda: True, lambda _reason: None
        )
    return serving


def choosing(serving: Lane) -> Callable[[Request], Any]:
    def choose(request: Request) -> None:
        trial, arm = serving.trial, serving.arm
        if trial is not None:
            serving.chosen(request)
        else:
            serving.of(arm)

    return choose


def whole(serving: Lane) -> Callable[[Request], Any]:
    """As `Traffic.submit`: choose, check, make the record, and afterwards the shadow with all of its work."""

    def answer(request: Request) -> None:
        trial, chosen, arm = serving.trial, serving, serving.arm
        if trial is not None:
            chosen, arm = serving.chosen(request)
        chosen.service.check(request.input)
        result = chosen.service.finish(request, ANSWER)
        if trial is not None and result.record is not None:
            result.record["rollout_id"], result.record["arm"] = trial.rollout_id, arm
            trial.answered(arm, request, b"{}", side_of(result, ANSWER), result)

    return answer


def microseconds(run: Callable[[Request], Any], text: str) -> float:
    """Of processor time for one request."""
    requests = [Request({"text": f"{number} {text}"}) for number in range(REQUESTS)]
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for request in requests:
            run(request)
        rounds.append((time.process_time() - began) / REQUESTS * 1e6)
    return statistics.median(rounds)


def main() -> None:
    print(f"{REQUESTS} requests, median of {ROUNDS} rounds, us of processor time a request")
    for name, text in TEXTS.items():
        for stage in (None, 0, 10, 50, 100):
            where = "no rollout" if stage is None else f"at {stage} %"
            chosen, all_of_it = microseconds(choosing(lane(stage)), text), microseconds(whole(lane(stage)), text)
            print(f"{name:>6}  {where:<10}  choosing {chosen:6.2f}   with record and shadow {all_of_it:6.1f}")


if __name__ == "__main__":
    main()
