"""Rollouts at a running edge: what it sees is told, and oracles are asked, never on the way of a request."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from loopai_runtime import rollouts
from loopai_runtime.datasets import shadow
from loopai_runtime.datasets.shadow import Reader
from loopai_runtime.errors import LoopaiError
from loopai_runtime.rollouts import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.shadow import Pair
    from loopai_runtime.flows.referee import Referee
    from loopai_runtime.flows.serve import Lane, Traffic
    from loopai_runtime.layout import Layout
    from loopai_runtime.rollouts import Rollout

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PATIENCE_S = 15.0  # with an oracle that has no answer


async def observing(config: Config, layout: Layout, traffic: Traffic) -> None:
    """For ever: take up rollouts that have started, tell what was seen of them, do what that decides.

    A task whose rollout is in trouble keeps no other one waiting.
    """
    troubles = Troubles()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        under_way = await asyncio.to_thread(_under_way, layout, troubles)
        for task_id, lane in list(traffic.lanes.items()):
            try:
                await _look(config, layout, traffic, lane, under_way.get(task_id))
            except Exception as error:
                troubles.say(task_id, error)


class Troubles:
    """Says what is wrong with the rollout of a task once, and not each second."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def say(self, task_id: str, error: Exception) -> None:
        if self._said.get(task_id) != str(error):
            self._said[task_id] = str(error)
            unforeseen = None if isinstance(error, LoopaiError) else error
            log.warning("the rollout of %s: %s", task_id, error, exc_info=unforeseen)


def _under_way(layout: Layout, troubles: Troubles) -> dict[str, Rollout]:
    """By task; what cannot be read is none."""
    try:
        return {one.task_id: one for one in rollouts.all_of(layout, troubles.say) if one.is_under_way}
    except (LoopaiError, OSError) as error:
        troubles.say("every task", error)
        return {}


async def _look(config: Config, layout: Layout, traffic: Traffic, lane: Lane, there: Rollout | None) -> None:
    trial, task_id = lane.trial, lane.artifact.task_id
    if trial is None or there is None or trial.rollout_id != there.rollout_id:
        if trial is not None or there is not None:
            await traffic.refresh(task_id)
        now = traffic.lanes.get(task_id)
        if there is not None and (now is None or now.trial is None):  # another version serves, which ends it
            await asyncio.to_thread(_tell, config, layout, there, Seen(), [])
        return
    seen, pairs = trial.drain()
    after = await asyncio.to_thread(_tell, config, layout, there, seen, pairs)
    if after is None or not after.is_under_way or after.state != there.state or after.stage != trial.stage:
        await traffic.refresh(task_id)


def _tell(config: Config, layout: Layout, rollout: Rollout, seen: Seen, pairs: list[Pair]) -> Rollout | None:
    """What could not be kept has not been seen. Raises StorageError."""
    from loopai_runtime.flows import roll_out  # here, as most edges try nothing

    task_id, rollout_id = rollout.task_id, rollout.rollout_id
    shadow.append(layout, task_id, rollout_id, pairs)
    return roll_out.observe(layout, config, task_id, rollout_id, seen)


async def judging(config: Config, layout: Layout, serves: Callable[[str], bool]) -> None:
    """For ever: have the oracle asked where two versions part, in every rollout of a task that is served here."""
    judges: dict[str, Judge] = {}
    troubles = Troubles()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        found = await asyncio.to_thread(_under_way, layout, troubles)
        here = {one.rollout_id: one for one in found.values() if serves(one.task_id)}
        judges = {
            rollout_id: judges.get(rollout_id) or Judge(config, layout, rollout)
            for rollout_id, rollout in here.items()
        }
        for judge in judges.values():
            judge.go_on()


class Judge:
    """The oracle of one rollout, which may be slow: one round at a time, and the others do not wait for it."""

    def __init__(self, config: Config, layout: Layout, rollout: Rollout) -> None:
        self._config = config
        self._layout = layout
        self._rollout = rollout
        self._seen = Reader(layout, rollout.task_id, rollout.rollout_id)
        self._referee: Referee | None = None
        self._round: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def go_on(self) -> None:
        if (self._round is None or self._round.done()) and time.monotonic() >= self._not_before:
            self._round = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            asked, answered = await asyncio.to_thread(self._judge)
        except LoopaiError as error:
            log.warning("the oracle of %s, for its rollout: %s", self._rollout.task_id, error)
            asked, answered = True, 0
        except Exception:
            log.exception("the oracle of %s, for its rollout", self._rollout.task_id)
            asked, answered = True, 0
        if asked and not answered:
            self._not_before = time.monotonic() + PATIENCE_S

    def _judge(self) -> tuple[bool, int]:
        """Whether there was anything to ask about, and how much was answered."""
        from loopai_runtime.flows.referee import Referee  # here, since it brings HTTP along

        self._seen.read()
        if not self._seen.pairs:
            return False, 0
        if self._referee is None:
            self._referee = Referee(self._layout, self._config, self._rollout)
        return self._referee.judge(self._seen.pairs)
