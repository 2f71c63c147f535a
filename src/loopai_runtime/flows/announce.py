"""What happened, told: a line of the audit, and for every webhook that wants it a delivery in the outbox.

    announce(layout, config, "rollout.promoted", "spam-detection", version=2, e_value=31.4)

Facts are counts, versions, states, ids and reasons, and never an input or an output: the audit is not erased. What
goes to webhooks is redacted all the same, and in strict privacy texts of several words stay here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loopai_runtime.config.events import EVENTS
from loopai_runtime.events import Audit
from loopai_runtime.flows import webhooks
from loopai_runtime.flows.improvements import Improvements
from loopai_runtime.models import PrivacyMode, new_id, utc_now
from loopai_runtime.redaction import Redactor

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

_A_WORD = re.compile(r"[\w@.:+/-]{1,64}")


def announce(layout: Layout, config: Config, event: str, task_id: str, **facts: Any) -> None:
    """Write down that `event` (one of EVENTS) happened, for good, before anybody is told. `facts` are JSON values.

    Raises ValueError for another event, StorageError.
    """
    if event not in EVENTS:
        raise ValueError(f"{event!r} is no event; one of {', '.join(EVENTS)}")
    id_ = new_id()
    Audit(layout).record(event, id=id_, task_id=task_id, **facts)
    if event == "rollout.rolled_back" and isinstance(version := facts.get("version"), int):
        Improvements(layout, task_id).note(version, "rolled_back", "it was no better on real traffic")
    if config.webhooks:
        strict = config.telemetry.privacy_mode is PrivacyMode.STRICT
        body = {
            "type": event,
            "timestamp": utc_now(),
            "data": {
                "task_id": task_id,
                "deployment_id": layout.deployment_id(config),
                **_fit_to_leave(facts, Redactor(), strict),
            },
        }
        webhooks.enqueue(layout, config, id_, event, body)


def _fit_to_leave(value: Any, redactor: Redactor, strict: bool) -> Any:
    if isinstance(value, str):
        if strict and _A_WORD.fullmatch(value) is None:
            return None
        return redactor.text(value)
    if isinstance(value, dict):
        return {name: _fit_to_leave(item, redactor, strict) for name, item in value.items()}
    return [_fit_to_leave(item, redactor, strict) for item in value] if isinstance(value, list | tuple) else value
