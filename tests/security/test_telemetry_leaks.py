"""Planted secrets of every kind that is redacted, in every place of the logs: what of them leaves in each mode.

Every byte that an edge sends is read: the bodies, unpacked, and the headers.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from faker import Faker
from tests.bars import SOAK
from tests.bench.redaction import items
from tests.executions import execution

from loopai_runtime.config import Config
from loopai_runtime.datasets import validations
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.flows import report
from loopai_runtime.layout import Layout
from loopai_runtime.models import ValidationRecord, new_id, utc_now
from loopai_runtime.redaction import Redactor
from loopai_runtime.telemetry.wire import Answer

KINDS = {"EMAIL", "CARD", "IP", "IBAN", "SSN", "URL", "PHONE", "SECRET"}
TEXTS = (
    "{}",
    "Please use {} from now on.",
    "Kunde schrieb: {}\nViele Grüße",
    "({})",
    "see {}; thanks",
    "note: {}",
)
BARS = {
    "EMAIL": 0.99,
    "CARD": 0.99,
    "IP": 0.99,
    "IBAN": 0.99,
    "SSN": 0.98,
    "URL": 0.98,
    "PHONE": 0.85,
    "SECRET": 0.99,
}
OURS = re.compile(
    r"hmac:[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{8}-[0-9a-f]{8}"
    r"|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
)
OUR_WORDS = """
    deployment_id records schema boot seq kind task_id version at data previous started stats execution validation
    failure by_version by_arm by_label failures damaged count errors timeouts abstained sampled source confidence
    latency_ms (other) (abstained) (none) (list) (object) program oracle none incumbent candidate ValueError Timeout
    true execution_id input_hash status success error timeout pi arm rollout_id type line match similarity_score
    comparison_method exact oracle_cost oracle_latency_ms output_hash oracle_output_hash llm edge-1 spam 1 2 3
"""
WORDS = {"(long text)", *OUR_WORDS.split()}


def secrets(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Credentials as their issuers write them; real ones all but never lack a digit."""

    def some(n: int, alphabet: str) -> str:
        return "7" + "".join(draw.choices(alphabet, k=n - 1))

    upper, mixed = string.ascii_uppercase + string.digits, string.ascii_letters + string.digits
    yield "SECRET", "AKIA" + some(16, upper)
    yield "SECRET", "ghp_" + some(36, mixed)
    yield "SECRET", "sk-" + some(32, mixed)
    yield "SECRET", "glpat-" + some(20, mixed)


def planted(seed: int) -> Iterator[tuple[str, str]]:
    """For ever: a kind, and something of it."""
    draw = random.Random(seed)
    Faker.seed(seed)
    us, german = Faker("en_US"), Faker("de_DE")
    while True:
        yield from ((kind, item) for kind, item in items(us, us, german, draw) if kind is not None)
        yield from secrets(draw)


class Leaks:
    """An edge with `n` executions, each of which holds one secret in its input and others everywhere else."""

    def __init__(self, root: Path, n: int, seed: int) -> None:
        self.layout = Layout(root)
        self.inputs: dict[str, tuple[str, str, Any]] = {}
        self.tokens: set[str] = set()
        self.bodies: list[bytes] = []
        self.headers: list[str] = []
        found, draw = planted(seed), random.Random(seed)
        self.kinds: Counter[str] = Counter()

        def another() -> str:
            _, item = next(found)
            self.tokens.add(item)
            return item

        log = ExecutionLog(self.layout)
        for start in range(0, n, 2000):
            some = [self._execution(i, *next(found), another, draw) for i in range(start, min(n, start + 2000))]
            log.append(some)
            judged = [self._validation(record, another()) for record in some[::20]]
            validations.append(self.layout, "spam", some[0]["timestamp"][:10], judged)

    def _execution(self, n: int, kind: str, item: str, another: Any, draw: random.Random) -> dict[str, Any]:
        self.tokens.add(item)
        self.kinds[kind] += 1
        text = draw.choice(TEXTS).format(item)
        value = draw.choice([text, {"text": text}, {"items": [{"text": text}], "n": 3}])
        record = execution(n, input=value, sampled=True, output={"text": another(), another(): another()})
        self.inputs[record["execution_id"]] = (kind, item, value)
        odd = draw.random()
        if "error" in record or odd < 0.1:
            record["status"] = "error"
            record["error"] = {"type": another(), "message": f"no {another()}", "line": 2, "path": another()}
        if odd < 0.2:
            record |= {"rollout_id": another(), "arm": another(), "source": another(), "deployment_id": another()}
            record["label"] = another()
        elif odd < 0.3:
            record["output"] = another()
        return record

    def _validation(self, record: dict[str, Any], item: str) -> ValidationRecord:
        match = hash(item) % 3 == 0
        return ValidationRecord(
            validation_id=new_id(),
            execution_id=record["execution_id"],
            task_id="spam",
            version=1,
            output=record["output"],
            oracle_output=item,
            match=match,
            similarity_score=float(match),
            comparison_method="exact",
            timestamp=utc_now(),
            oracle=f"llm {item}",
            fields={item: 0.5},
        )

    def send(self, mode: str) -> list[dict[str, Any]]:
        """Everything that leaves."""
        flags = {"cloud.api_url": "https://platform.example", "cloud.api_key": "k", "telemetry.privacy_mode": mode}
        flags["runtime.deployment_id"] = "edge-1"

        def send(body: bytes, headers: Mapping[str, str]) -> Answer:
            plain = gzip.decompress(body)
            self.bodies.append(plain)
            self.headers += headers.values()
            counts = {"accepted": len(json.loads(plain)["records"]), "duplicates": 0}
            return Answer(202, json.dumps(counts).encode())

        report.flush(self.layout, Config.load(flags=flags, environ={}), send=send)
        return [record for body in self.bodies for record in json.loads(body)["records"]]


def strings(value: Any) -> Iterator[str]:
    """Every text and every name in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def strict(root: Path, n: int) -> None:
    """Not one planted byte: every text that leaves is a word of ours, a keyed hash, an id or a time."""
    leaks = Leaks(root, n, 7)
    assert leaks.kinds.keys() == KINDS
    leaks.send("strict")
    left = {text for body in leaks.bodies for text in strings(json.loads(body))}
    assert {text for text in left if not OURS.fullmatch(text)} <= WORDS
    assert not leaks.tokens & left
    wire, some = b"\n".join(leaks.bodies), random.Random(1).sample(sorted(leaks.tokens), 1000)
    assert not [token for token in some if not token.isdigit() and token.encode() in wire]
    assert not [token for token in some for header in set(leaks.headers) if token in header]


def balanced(root: Path, n: int) -> None:
    """Inputs leave as redaction has them, so that what it finds does not leave: by kind, its bars."""
    leaks, redactor, hidden = Leaks(root, n, 8), Redactor(), Counter[str]()
    sent = [record["data"] for record in leaks.send("balanced") if record["kind"] == "execution"]
    assert len(sent) == n
    for data in sent:
        kind, item, value = leaks.inputs[data["execution_id"]]
        assert data["input"] == redactor.redact(value)
        hidden[kind] += item not in json.dumps(data["input"], ensure_ascii=False)
        assert "message" not in data.get("error", {})
    recall = {kind: hidden[kind] / leaks.kinds[kind] for kind in KINDS}
    assert {kind: share for kind, share in recall.items() if share < BARS[kind]} == {}


def test_nothing_planted_leaves_in_strict(tmp_path: Path) -> None:
    strict(tmp_path, 1500)


def test_what_redaction_finds_does_not_leave_in_balanced(tmp_path: Path) -> None:
    balanced(tmp_path, 1500)


@pytest.mark.slow
def test_nothing_planted_in_100000_executions_leaves_in_strict(tmp_path: Path) -> None:
    strict(tmp_path, round(100_000 * SOAK))


@pytest.mark.slow
def test_what_redaction_finds_in_100000_executions_does_not_leave_in_balanced(tmp_path: Path) -> None:
    balanced(tmp_path, round(100_000 * SOAK))
