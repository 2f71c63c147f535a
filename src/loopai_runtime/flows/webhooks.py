"""Webhooks: an outbox on disk, signed as Standard Webhooks has it, tried again with jitter until it is given up.

    webhooks/outbox/ID.HASH.json     one event for one place, until it has arrived
    webhooks/dead/ID.HASH.json       given up after GIVE_UP_S; `redeliver` puts it back
    webhooks/deliveries/DATE.jsonl   every attempt

Signature (https://www.standardwebhooks.com): HMAC-SHA256 over `ID.TIMESTAMP.BODY`, in the header
`webhook-signature: v1,BASE64`, beside `webhook-id` (the same at every attempt, so that a receiver can tell a
repetition) and `webhook-timestamp`. Nothing of the secret is in the outbox.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime._version import __version__
from loopai_runtime.errors import ConfigError, Fault, InputError
from loopai_runtime.files import make_dir, only_one, replace_file, storage_errors
from loopai_runtime.models import utc_now
from loopai_runtime.outbound import Outbound, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from loopai_runtime.config import Config
    from loopai_runtime.config.loop import Webhook
    from loopai_runtime.layout import Layout

TIMEOUT_S = 15.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 6 * 3600.0
GIVE_UP_S = 3 * 86_400.0
_AT_ONCE = 200
"""Deliveries of one `deliver` at most, so that a place that hangs does not hold it for ever."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one `deliver` did, and what is left."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0
    waiting: int = 0


def enqueue(layout: Layout, config: Config, id_: str, event: str, body: dict[str, Any]) -> int:
    """Put a delivery into the outbox for each webhook that wants `event`. Raises StorageError."""
    wanted = [each for each in config.webhooks if wants(each, event)]
    text = jsonl.compact(body).decode()
    for each in wanted:
        entry = {"id": id_, "event": event, "url": each.url, "body": text, "since": time.time(), "attempts": 0}
        path = make_dir(layout.webhooks / "outbox") / f"{id_}.{_place(each.url)}.json"
        replace_file(path, jsonl.compact(entry | {"not_before": 0.0}))
    return len(wanted)


def wants(webhook: Webhook, event: str) -> bool:
    return not webhook.events or any(fnmatch.fnmatchcase(event, pattern) for pattern in webhook.events)


def signed(secret: str, id_: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. A secret is a text, or `whsec_` and base64."""
    prefix, _, rest = secret.partition("_")
    key = base64.b64decode(rest) if prefix == "whsec" else secret.encode()
    return "v1," + base64.b64encode(hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, "sha256")).decode()


def deliver(
    layout: Layout,
    config: Config,
    *,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[float, float], float] = random.uniform,
    client: httpx.Client | None = None,
) -> Delivered:
    """Send what is due, the oldest first; what does not arrive is tried again later, and given up after three
    days. Only one process does so at a time. Raises StorageError, ConfigError for a secret that cannot be read."""
    outbox = layout.webhooks / "outbox"
    if not outbox.is_dir():
        return Delivered()
    with only_one(outbox):
        due = [(path, entry) for path, entry in _entries(outbox) if entry["not_before"] <= clock()]
        due.sort(key=lambda one: one[1]["since"])
        if not due:
            return Delivered(waiting=sum(1 for _ in outbox.glob("*.json")))
        courier = _Courier(layout, config, clock, jitter, client)
        try:
            for path, entry in due[:_AT_ONCE]:
                courier.carry(path, entry)
        finally:
            courier.close()
        return courier.done(sum(1 for _ in outbox.glob("*.json")))


def waiting(layout: Layout) -> list[dict[str, Any]]:
    """What has not arrived yet, the oldest first. Raises StorageError."""
    found = [entry for _, entry in _entries(layout.webhooks / "outbox")]
    return sorted(found, key=lambda entry: (entry["since"], entry["id"]))


def is_due(layout: Layout) -> bool:
    """Whether something is to be sent now. Raises StorageError."""
    return any(entry["not_before"] <= time.time() for _, entry in _entries(layout.webhooks / "outbox"))


def dead_letters(layout: Layout) -> list[dict[str, Any]]:
    """What was given up, the oldest first. Raises StorageError."""
    found = [entry for _, entry in _entries(layout.webhooks / "dead")]
    return sorted(found, key=lambda entry: (entry["since"], entry["id"]))


def redeliver(layout: Layout) -> int:
    """Put what was given up back into the outbox. Raises StorageError."""
    n = 0
    for path, entry in _entries(layout.webhooks / "dead"):
        entry |= {"since": time.time(), "attempts": 0, "not_before": 0.0}
        replace_file(make_dir(layout.webhooks / "outbox") / path.name, jsonl.compact(entry))
        with storage_errors(path):
            path.unlink(missing_ok=True)
        n += 1
    return n


class _Courier:
    def __init__(
        self,
        layout: Layout,
        config: Config,
        clock: Callable[[], float],
        jitter: Callable[[float, float], float],
        client: httpx.Client | None,
    ) -> None:
        import httpx

        self._layout = layout
        self._webhooks = {each.url: each for each in config.webhooks}
        self._clock = clock
        self._jitter = jitter
        self._own = client is None
        self._client = client or httpx.Client(transport=Outbound(64 * 1024), timeout=TIMEOUT_S, trust_env=False)
        self._unreachable: set[str] = set()
        self._counts = {"sent": 0, "failed": 0, "given_up": 0}

    def close(self) -> None:
        if self._own:
            self._client.close()

    def done(self, waiting: int) -> Delivered:
        return Delivered(**self._counts, waiting=waiting)

    def carry(self, path: Path, entry: dict[str, Any]) -> None:
        webhook = self._webhooks.get(entry["url"])
        if webhook is None:  # taken out of the configuration
            self._bury(path, entry, "no webhook of the configuration has this address any more")
            return
        if webhook.url in self._unreachable:  # it just was not there
            self._later(path, entry)
            return
        status, why, wait_s = self._post(webhook, entry)
        entry["attempts"] += 1
        if why is None:
            self._counts["sent"] += 1
            with storage_errors(path):
                path.unlink(missing_ok=True)
        elif status == 410 or self._clock() - entry["since"] >= GIVE_UP_S:
            self._bury(path, entry, "is gone (410)" if status == 410 else why)
        else:
            self._counts["failed"] += 1
            if status == 0:
                self._unreachable.add(webhook.url)
            self._later(path, entry, wait_s)
        self._note(entry, status, why)

    def _post(self, webhook: Webhook, entry: dict[str, Any]) -> tuple[int, str | None, float]:
        """The status, why it did not arrive, and how long the other side asks to be left alone."""
        import httpx

        body, now = entry["body"].encode(), int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"loopai-runtime/{__version__}",
            "webhook-id": entry["id"],
            "webhook-timestamp": str(now),
            "webhook-signature": signed(_secret(webhook), entry["id"], now, body),
            "X-Loopai-Event-Type": entry["event"],
            "X-Loopai-Delivery-Attempt": str(entry["attempts"] + 1),
        }
        try:
            response = self._client.post(webhook.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return 0, str(error) or type(error).__name__, 0.0
        if response.is_success:
            return response.status_code, None, 0.0
        after = response.headers.get("Retry-After", "")
        wait_s = float(after) if after.isascii() and after.isdecimal() and len(after) < 7 else 0.0
        return response.status_code, f"answers {response.status_code}", wait_s

    def _later(self, path: Path, entry: dict[str, Any], wait_s: float = 0.0) -> None:
        """Full jitter over a time that doubles (Brooker 2015), and no earlier than the other side asks for."""
        most = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(max(entry["attempts"] - 1, 0), 20))
        entry["not_before"] = self._clock() + max(min(wait_s, LONGEST_WAIT_S), self._jitter(1.0, most))
        replace_file(path, jsonl.compact(entry))

    def _bury(self, path: Path, entry: dict[str, Any], why: str) -> None:
        self._counts["given_up"] += 1
        entry["why"] = why
        replace_file(make_dir(self._layout.webhooks / "dead") / path.name, jsonl.compact(entry))
        with storage_errors(path):
            path.unlink(missing_ok=True)

    def _note(self, entry: dict[str, Any], status: int, why: str | None) -> None:
        now = utc_now()
        line = {"schema": 1, "timestamp": now, "id": entry["id"], "event": entry["event"]}
        line |= {"to": place_of(entry["url"]), "attempt": entry["attempts"], "status": status, "why": why}
        path = make_dir(self._layout.webhooks / "deliveries") / f"{now[:10]}.jsonl"
        jsonl.append(path, [jsonl.compact(line)])


def _secret(webhook: Webhook) -> str:
    """Raises ConfigError."""
    if webhook.secret is not None:
        return webhook.secret.get_secret_value()
    assert webhook.secret_file is not None
    try:
        text = webhook.secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(f"cannot be read: {getattr(error, 'strerror', None) or error}", str(webhook.secret_file))
        raise ConfigError([fault]) from None
    if len(text) < 16:
        raise ConfigError([Fault("holds a secret of fewer than 16 characters", str(webhook.secret_file))])
    return text


def _place(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _entries(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What lies in a folder; a file that is none of ours is passed over."""
    for path in sorted(folder.glob("*.json")):
        try:
            with storage_errors(path):
                entry = jsonl.loads(path.read_bytes())
            if isinstance(entry, dict) and {"id", "url", "body", "since", "attempts", "not_before"} <= set(entry):
                yield path, entry
        except (FileNotFoundError, InputError):
            continue
