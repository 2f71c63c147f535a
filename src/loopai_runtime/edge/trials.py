"""The oracles of rollouts at a running edge: asked beside what it serves, never on the way of a request."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from loopai_runtime import rollouts
from loopai_runtime.datasets.shadow import Reader
from loopai_runtime.errors import LoopaiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.config import Config
    from loopai_runtime.flows.referee import Referee
    from loopai_runtime.layout import Layout
    from loopai_runtime.rollouts import Rollout

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PATIENCE_S = 15.0  # with an oracle that has no answer


async def judging(config: Config, layout: Layout, serves: Callable[[str], bool]) -> None:
    """For ever: have the oracle asked where two versions part, in every rollout of a task that is served here."""
    judges: dict[str, Judge] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            found = await asyncio.to_thread(rollouts.all_of, layout)
        except LoopaiError as error:
            log.warning("rollouts: %s", error)
            continue
        here = {one.rollout_id: one for one in found if one.is_under_way and serves(one.task_id)}
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
