"""What is announced reaches the audit and every webhook, signed, once it can."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime import events, jsonl
from loopai_runtime.config import Config
from loopai_runtime.errors import ConfigError
from loopai_runtime.flows import webhooks
from loopai_runtime.flows.announce import announce
from loopai_runtime.layout import Layout
from loopai_runtime.testing import Received, ScriptedClock, ScriptedReceiver

SECRET = "a secret of some length".replace(" ", "-")


def settings(*hooks: dict[str, Any], **flags: Any) -> Config:
    return Config.load(flags={"webhooks": list(hooks), **flags}, environ={})


def kinds(layout: Layout) -> list[str]:
    lines = [line for path in sorted(layout.audit.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [jsonl.loads(line)["kind"] for line in lines]


def longest(_least: float, most: float) -> float:
    return most


def test_what_happens_is_audited_and_delivered_signed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with ScriptedReceiver() as there:
        config = settings({"url": there.url, "secret": SECRET})
        announce(layout, config, "rollout.promoted", "spam", version=2)
        assert kinds(layout) == ["rollout.promoted"]
        assert events.verify(layout) == []
        assert webhooks.deliver(layout, config) == webhooks.Delivered(sent=1)
        assert webhooks.deliver(layout, config) == webhooks.Delivered()
    (got,) = there.received
    assert got.event["type"] == "rollout.promoted"
    assert got.event["data"]["task_id"] == "spam"
    assert got.event["data"]["version"] == 2
    assert got.is_signed_with(SECRET)
    assert not got.is_signed_with(SECRET + "x")
    assert not got.is_signed_with(SECRET, now=int(got.headers["webhook-timestamp"]) + 301)
    assert not Received(got.headers, got.body + b" ").is_signed_with(SECRET)


def test_the_signature_is_the_one_of_standard_webhooks() -> None:
    """The example of the specification's reference libraries."""
    secret, id_ = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert webhooks.signed(secret, id_, 1614265330, b'{"test": 2432232314}') == wanted
    headers = {"webhook-id": id_, "webhook-timestamp": "1614265330", "webhook-signature": wanted}
    assert Received(headers, b'{"test": 2432232314}').is_signed_with(secret, now=1614265330)


def test_what_does_not_arrive_comes_again_with_the_same_id_and_body(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), ScriptedClock()
    with ScriptedReceiver([500, 302, 204]) as there:
        config = settings({"url": there.url, "secret": SECRET})
        announce(layout, config, "alert", "spam", message="late")
        for wait_s in (5.0, 10.0):
            assert webhooks.deliver(layout, config, clock=clock, jitter=longest).failed == 1
            clock.advance(wait_s - 0.5)
            assert webhooks.deliver(layout, config, clock=clock) == webhooks.Delivered(waiting=1)
            clock.advance(5.5)
        assert webhooks.deliver(layout, config, clock=clock).sent == 1
    assert len({(got.id, got.body) for got in there.received}) == 1
    assert [got.headers["x-loopai-delivery-attempt"] for got in there.received] == ["1", "2", "3"]
    (log,) = (layout.webhooks / "deliveries").glob("*.jsonl")
    assert [jsonl.loads(line)["status"] for line in log.read_bytes().splitlines()] == [500, 0, 204]


def test_after_three_days_it_is_a_dead_letter_that_can_be_sent_again(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), ScriptedClock(time.time())
    there = ScriptedReceiver()
    config = settings({"url": there.url, "secret": SECRET})
    with there:
        pass
    announce(layout, config, "ticket.opened", "spam", ticket_id="1")
    hours = 0
    while not webhooks.dead_letters(layout):
        webhooks.deliver(layout, config, clock=clock, jitter=longest)
        clock.advance(3600)
        hours += 1
    assert 72 <= hours <= 72 + 7  # six hours are the longest wait
    (dead,) = webhooks.dead_letters(layout)
    assert dead["event"] == "ticket.opened"
    assert webhooks.redeliver(layout) == 1
    assert webhooks.dead_letters(layout) == []
    assert len(list((layout.webhooks / "outbox").glob("*.json"))) == 1


def test_a_receiver_says_when_to_come_back(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), ScriptedClock()
    with ScriptedReceiver([429], retry_after="600") as there:
        config = settings({"url": there.url, "secret": SECRET})
        announce(layout, config, "alert", "spam")
        webhooks.deliver(layout, config, clock=clock)
        clock.advance(599)
        assert webhooks.deliver(layout, config, clock=clock) == webhooks.Delivered(waiting=1)


def test_a_webhook_gets_the_events_that_it_wants_and_each_place_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with ScriptedReceiver() as some, ScriptedReceiver([503]) as all_:
        config = settings(
            {"url": some.url, "secret": SECRET, "events": ["rollout.*"]}, {"url": all_.url, "secret": SECRET}
        )
        announce(layout, config, "rollout.started", "spam", version=2)
        announce(layout, config, "ticket.opened", "spam")
        assert webhooks.deliver(layout, config) == webhooks.Delivered(sent=1, failed=2, waiting=2)
    assert [got.event["type"] for got in some.received] == ["rollout.started"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [("balanced", "mail [EMAIL] failed"), ("strict", None), ("permissive", "mail [EMAIL] failed")],
)
def test_what_leaves_is_redacted_and_in_strict_privacy_no_text(
    tmp_path: Path, mode: str, said: str | None
) -> None:
    layout = Layout(tmp_path)
    with ScriptedReceiver() as there:
        config = settings({"url": there.url, "secret": SECRET}, **{"telemetry.privacy_mode": mode})
        announce(layout, config, "alert", "spam", message="mail jane@example.com failed", version=3, state="made")
        webhooks.deliver(layout, config)
    data = there.received[0].event["data"]
    assert (data["message"], data["version"], data["state"]) == (said, 3, "made")


@pytest.mark.parametrize(
    "hook",
    [
        {"url": "http://example.com/hook", "secret": SECRET},
        {"url": "https://example.com/hook"},
        {"url": "https://example.com/hook", "secret": "short"},
        {"url": "https://example.com/hook", "secret": "whsec_not/base64!!!!!!!!"},
        {"url": "https://example.com/hook", "secret": SECRET, "events": ["rolout.*"]},
        {"url": "https://user:pass@example.com/hook", "secret": SECRET},
        {"url": "https://example.com/hook", "secret": SECRET, "retries": 3},
    ],
)
def test_a_webhook_that_cannot_work_is_a_fault_of_the_configuration(tmp_path: Path, hook: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings(hook)
    path = tmp_path / "deployment.yaml"
    path.write_text(f"webhooks:\n  - {json.dumps(hook)}\n")
    with pytest.raises(ConfigError, match=r"deployment\.yaml:\d"):
        Config.load(config_file=path, environ={})


def test_secrets_come_from_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text("webhooks:\n  - {url: https://example.com/hook, secret: '${HOOK}'}\n")
    config = Config.load(config_file=path, environ={"HOOK": SECRET})
    (hook,) = config.webhooks
    assert hook.secret is not None
    assert hook.secret.get_secret_value() == SECRET
    assert config.shown()["webhooks"] == [{"url": "https://example.com/hook", "events": [], "secret": "set"}]
    with pytest.raises(ConfigError, match="HOOK is not set"):
        Config.load(config_file=path, environ={})
    listed = json.dumps([{"url": "https://example.com/hook", "secret": SECRET}])
    assert Config.load(environ={"LOOPAI_WEBHOOKS": listed, "LOOPAI_DATA_DIR": str(tmp_path)}).webhooks == (hook,)


def test_a_secret_in_a_file_and_in_base64(tmp_path: Path) -> None:
    layout, secret = Layout(tmp_path), "whsec_" + base64.b64encode(b"k" * 24).decode()
    kept = tmp_path / "hook.key"
    kept.write_text(secret + "\n")
    with ScriptedReceiver() as there:
        config = settings({"url": there.url, "secret_file": str(kept)})
        announce(layout, config, "alert", "spam")
        webhooks.deliver(layout, config)
        assert there.received[0].is_signed_with(secret)
        kept.unlink()
        announce(layout, config, "alert", "spam")
        with pytest.raises(ConfigError, match=r"hook\.key: cannot be read"):
            webhooks.deliver(layout, config)


def test_an_event_that_nobody_knows_is_a_fault_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no event"):
        announce(Layout(tmp_path), Config(), "rollout.exploded", "spam")
