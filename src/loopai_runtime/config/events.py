"""The events that webhooks can be told, by name."""

EVENTS = (
    "improvement.started",
    "improvement.finished",
    "improvement.refused",
    "rollout.started",
    "rollout.advanced",
    "rollout.promoted",
    "rollout.rolled_back",
    "rollout.aborted",
    "ticket.opened",
    "ticket.resolved",
    "alert",
)
