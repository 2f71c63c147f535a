"""Who is right where two versions part: the task's oracle is asked about those requests, and no others.

Whoever is killed amid it is followed up by the next: what was said is in a file, and is not asked again.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.compare import compare
from loopai_runtime.datasets import shadow_labels
from loopai_runtime.datasets.shadow_labels import Said
from loopai_runtime.flows import oracles
from loopai_runtime.models import utc_now
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.datasets.shadow import Pair
    from loopai_runtime.datasets.shadow_labels import Label
    from loopai_runtime.layout import Layout
    from loopai_runtime.rollouts import Rollout

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Requests that are asked about together; what a kill may make the oracle be asked again, but for its cache."""


class Referee:
    """The oracle of one rollout. Raises SpecError, MissingExtra, ModelError, NotFound."""

    def __init__(self, layout: Layout, config: Config, rollout: Rollout) -> None:
        loaded = oracles.task_spec(
            layout, ArtifactStore(layout).read(f"{rollout.task_id}@{rollout.candidate}").artifact
        )
        self._layout = layout
        self._rollout = rollout
        self._oracle = oracles.oracle_of(loaded, layout, config, purpose="validate", tell=log.info)
        self._compare = oracles.comparing(loaded)
        self._judge = oracles.judge_of(loaded, layout, config, log.info) if self._oracle else None
        self._tries: Counter[str] = Counter()
        self._trouble = ""

    def judge(self, pairs: Sequence[Pair]) -> tuple[bool, int]:
        """Ask about some requests that nobody was asked about, the oldest first.

        Whether there were any, and how many were answered; no more than the rollout's `max_labels` in all. Raises
        StorageError.
        """
        task_id, rollout_id = self._rollout.task_id, self._rollout.rollout_id
        known = {one.execution_id for one in shadow_labels.read(self._layout, task_id, rollout_id)}
        left = max(0, self._rollout.max_labels - len(known))
        # What the oracle has no answer to must not keep others waiting.
        waiting = sorted(
            (pair for pair in pairs if pair.execution_id not in known),
            key=lambda pair: self._tries[pair.execution_id],
        )
        asked = waiting[: min(AT_ONCE, left)]
        if self._oracle is None or not asked:
            return False, 0
        said = []
        for pair, answer in zip(asked, self._oracle.ask([pair.input for pair in asked]), strict=True):
            if isinstance(answer, Verdict):
                said.append(Said(pair.execution_id, self._label(pair, answer.output), answer.output, utc_now()))
            else:
                self._tries[pair.execution_id] += 1
                self._say(str(answer))
        if said:
            shadow_labels.append(self._layout, task_id, rollout_id, said)
        return True, len(said)

    def _label(self, pair: Pair, right: Any) -> Label:
        candidate, incumbent = self._is_right(pair.candidate, right), self._is_right(pair.incumbent, right)
        return 0 if candidate == incumbent else 1 if candidate else -1

    def _is_right(self, side: dict[str, Any], right: Any) -> bool:
        """Whether the caller got the right answer; one that was withheld, or failed, is none."""
        if side.get("status") != "success" or side.get("abstained"):
            return False
        return compare(side.get("output"), right, self._compare, self._judge).match

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("the oracle of %s, for its rollout: %s", self._rollout.task_id, trouble)
