"""What an edge's platform asks of its rollouts: to abort one. It cannot ask for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime import rollouts
from loopai_runtime.errors import NotFound, UsageError
from loopai_runtime.flows import roll_out

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.flows.platform import PlatformClient
    from loopai_runtime.layout import Layout

BY = "platform"


def obey(layout: Layout, config: Config, client: PlatformClient) -> list[str]:
    """Abort those rollouts that the platform asks for; returns their tasks. With none under way nothing is asked.

    Raises Unreachable, AuthError, StorageError.
    """
    mine = {each.rollout_id: each for each in rollouts.all_of(layout) if each.is_under_way}
    if not mine:
        return []
    done = []
    for asked in client.get(f"/api/v1/deployments/{layout.deployment_id(config)}/rollouts")["rollouts"]:
        rollout = mine.get(str(asked.get("rollout_id")))
        if rollout is None or not asked.get("abort_requested_at"):
            continue
        reason = str(asked.get("abort_reason") or "the platform asked for it")[:500]
        try:
            roll_out.abort(layout, config, rollout.task_id, reason, by=BY)
        except (NotFound, UsageError):  # it ended meanwhile
            continue
        done.append(rollout.task_id)
    return done
