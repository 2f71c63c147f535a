"""What leaves in each privacy mode, how often, and what a crash does to it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.executions import execution
from tests.unit.telemetry.conftest import Edge

from loopai_runtime.config import Config
from loopai_runtime.datasets import validations
from loopai_runtime.errors import AuthError, Busy, ConfigError, LoopaiError, UsageError
from loopai_runtime.flows import outgoing, report
from loopai_runtime.models import TelemetryBatch, ValidationRecord, new_id, utc_now
from loopai_runtime.telemetry import spool as spools
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.wire import Answer

SECRET = "jane.doe@example.com"


def personal(n: int = 0, **changes: Any) -> dict[str, Any]:
    """An execution that holds an address everywhere that content may stand."""
    text = {"text": f"write to {SECRET} about {n}"}
    return execution(n, status="error", input=text, output=text, sampled=True) | {
        "error": {"type": f"{SECRET}Error", "message": f"no {SECRET}", "line": 3},
        **changes,
    }


def validation(record: dict[str, Any], *, match: bool = False) -> ValidationRecord:
    return ValidationRecord(
        validation_id=new_id(),
        execution_id=record["execution_id"],
        task_id="spam",
        version=1,
        output={"t": SECRET},
        oracle_output=SECRET,
        match=match,
        similarity_score=float(match),
        comparison_method="exact",
        timestamp=utc_now(),
        oracle=f"llm {SECRET}",
    )


def test_every_execution_is_counted_once_however_often_it_is_reported(edge: Edge) -> None:
    for n in range(4):
        edge.log(*(execution(10 * n + i) for i in range(10)))
        report.flush(edge.layout, edge.config(), send=edge.platform)
        report.flush(edge.layout, edge.config(), send=edge.platform)
    assert edge.platform.executions() == 40
    numbers = sorted(edge.platform.records)
    assert [seq for _, seq in numbers] == list(range(1, len(numbers) + 1))
    batches = [TelemetryBatch.model_validate_json(gzip.decompress(body)) for body in edge.platform.bodies]
    assert len(batches) == 4
    assert not spools.segments(edge.layout)


def test_strict_lets_counts_and_keyed_hashes_leave_alone(edge: Edge) -> None:
    record = personal()
    edge.log(record, personal(1, execution_id=SECRET, rollout_id=SECRET, arm=SECRET, source=SECRET))
    validations.append(edge.layout, "spam", "2026-03-04", [validation(record)])
    report.flush(edge.layout, edge.config("strict"), send=edge.platform)
    assert SECRET.encode() not in edge.platform.plain
    assert b"jane" not in edge.platform.plain
    sent = edge.platform.of("execution")
    assert len(sent) == 2
    assert not {"input", "output"} & {name for one in sent for name in one["data"]}
    assert len({one["data"]["input_hash"] for one in sent}) == 2
    assert edge.platform.of("failure")[0]["data"]["execution_id"] == record["execution_id"]


def test_balanced_lets_sampled_records_leave_redacted(edge: Edge) -> None:
    record = personal()
    edge.log(record, personal(1, sampled=False))
    validations.append(edge.layout, "spam", "2026-03-04", [validation(record), validation(personal(), match=True)])
    report.flush(edge.layout, edge.config("balanced"), send=edge.platform)
    assert b"jane" not in edge.platform.plain
    (sent,) = edge.platform.of("execution")
    assert sent["data"]["input"] == {"text": "write to [EMAIL] about 0"}
    assert sent["data"]["error"] == {"type": "(other)", "line": 3}
    assert edge.platform.of("failure")[0]["data"]["oracle_output"] == "[EMAIL]"
    assert len(edge.platform.of("validation")) == 1


def test_hash_inputs_keeps_inputs_back_in_any_mode(edge: Edge) -> None:
    edge.log(personal(output="ok"))
    config = edge.config("permissive", privacy__hash_inputs=True)
    report.flush(edge.layout, config, send=edge.platform)
    assert b"jane" not in edge.platform.plain
    assert edge.platform.of("execution")[0]["data"]["output"] == "ok"


def test_permissive_lets_every_record_leave_as_it_is_and_says_so(edge: Edge) -> None:
    from loopai_runtime.telemetry.policy import warning_of

    edge.log(personal(sampled=False))
    config = edge.config("permissive")
    report.flush(edge.layout, config, send=edge.platform)
    data = edge.platform.of("execution")[0]["data"]
    assert SECRET in data["input"]["text"]
    assert SECRET in data["error"]["message"]
    assert "UNREDACTED" in (warning_of(config) or "")
    assert warning_of(edge.config("balanced")) is None
    kept = edge.config("permissive", privacy__pii_detection=True, privacy__sample_only=True)
    edge.log(personal(1), personal(2, sampled=False))
    before = len(edge.platform.bodies)
    report.flush(edge.layout, kept, send=edge.platform)
    assert b"jane" not in gzip.decompress(edge.platform.bodies[before])
    assert len(edge.platform.of("execution")) == 2
    with pytest.raises(ConfigError, match="permissive"):
        Config.load(flags={"privacy.pii_detection": False}, environ={})


def test_labels_are_named_only_where_the_schema_names_them(edge: Edge) -> None:
    teller = report.teller_of(edge.layout, edge.config("strict"))
    counts = {"by_label": {"spam": {"count": 3}, "a secret": {"count": 2}, "jane@example.com": {"count": 1}}}
    told = teller.stats(counts, {"spam", "jane@example.com"})
    assert told == {"by_label": {"spam": {"count": 3}, "(other)": {"count": 3}}}


def test_a_stricter_mode_holds_back_what_a_looser_one_had_written_down(edge: Edge) -> None:
    edge.platform.script = lambda n: Answer(503)
    edge.log(personal())
    report.flush(edge.layout, edge.config("permissive"), send=edge.platform)
    edge.platform.script, edge.platform.bodies = (lambda n: None), []
    report.flush(edge.layout, edge.config("strict"), send=edge.platform)
    assert b"jane" not in edge.platform.plain
    assert edge.platform.executions() == 1
    assert states.load(edge.layout).dropped == {"privacy": 1}


def test_the_preview_is_the_bytes_that_leave(edge: Edge) -> None:
    edge.log(*(personal(n) for n in range(5)))
    config = edge.config()
    shown = outgoing.preview(edge.layout, config)
    assert shown is not None
    report.flush(edge.layout, config, send=edge.platform)
    assert edge.platform.bodies == [shown.packed]
    assert gzip.decompress(shown.packed) == shown.plain
    assert outgoing.preview(edge.layout, config) is None


def test_a_preview_without_a_platform_writes_nothing_down(edge: Edge) -> None:
    edge.log(personal())
    shown = outgoing.preview(edge.layout, Config())
    assert shown is not None
    assert shown.kinds == {"started": 1, "stats": 1, "execution": 1}
    assert not edge.layout.telemetry.exists()
    with pytest.raises(UsageError, match="off"):
        report.flush(edge.layout, Config())


def test_a_lost_answer_is_repeated_byte_by_byte(edge: Edge) -> None:
    edge.log(personal())
    edge.platform.script = lambda n: Answer(0, why="connection lost") if n == 1 else None
    first = report.flush(edge.layout, edge.config(), send=edge.platform)
    assert first.trouble == "connection lost"
    with pytest.raises(LoopaiError, match="connection lost"):
        report.checked(first)
    edge.log(personal(1))
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert edge.platform.bodies[0] == edge.platform.bodies[1]
    assert edge.platform.keys[0] == edge.platform.keys[1]
    assert edge.platform.executions() == 2


def test_too_large_is_split_and_what_never_will_be_taken_is_kept_here(edge: Edge) -> None:
    edge.log(*(personal(n) for n in range(20)))

    def script(n: int) -> Answer | None:
        body = json.loads(gzip.decompress(edge.platform.bodies[-1]))
        if len(body["records"]) > 4:
            return Answer(413)
        return Answer(422, b'{"detail": "no"}') if any(r["seq"] == 3 for r in body["records"]) else None

    edge.platform.script = script
    done = report.flush(edge.layout, edge.config(), send=edge.platform)
    assert done.trouble is None
    stands = outgoing.status(edge.layout, edge.config())
    lost = stands["dropped"]["quarantined"]
    assert stands["quarantined_batches"] == 1
    assert 0 < lost <= 4
    assert stands["pending_records"] == 0
    assert len(edge.platform.records) + lost == states.load(edge.layout).last


def test_a_refused_key_pauses_until_there_is_another(edge: Edge) -> None:
    edge.log(personal())
    edge.platform.script = lambda n: Answer(401)
    done = report.flush(edge.layout, edge.config(), send=edge.platform)
    with pytest.raises(AuthError, match="refuses the key"):
        report.checked(done)
    report.flush(edge.layout, edge.config(), now=False, send=edge.platform)
    assert len(edge.platform.bodies) == 1
    edge.platform.script = lambda n: None
    report.flush(edge.layout, edge.config(cloud__api_key="another"), now=False, send=edge.platform)
    assert edge.platform.executions() == 1
    assert outgoing.status(edge.layout, edge.config())["paused"] is None


def test_the_platform_is_waited_for_as_it_asks(edge: Edge) -> None:
    edge.log(personal())
    edge.platform.script = lambda n: Answer(429, retry_after="40") if n == 1 else None
    assert report.flush(edge.layout, edge.config(), send=edge.platform).wait_s >= 40
    assert report.flush(edge.layout, edge.config(), now=True, send=edge.platform).trouble == "answer 429"
    assert len(edge.platform.bodies) == 1


@pytest.mark.parametrize(
    "body", [b"<html>welcome</html>", b"{}", b'{"accepted": 1, "duplicates": 0}', b"[" * 9999]
)
def test_an_answer_that_counts_nothing_is_no_delivery(edge: Edge, body: bytes) -> None:
    edge.log(personal())
    edge.platform.script = lambda n: Answer(200, body)
    assert "is cloud.api_url a platform?" in str(
        report.flush(edge.layout, edge.config(), send=edge.platform).trouble
    )
    assert outgoing.status(edge.layout, edge.config())["pending_records"] == 3


def test_two_at_the_same_time_never_send_twice(edge: Edge) -> None:
    edge.log(personal())

    def meanwhile(n: int) -> None:
        with pytest.raises(Busy):
            report.flush(edge.layout, edge.config(), send=edge.platform)

    edge.platform.script = meanwhile
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert len(edge.platform.bodies) == 1


def test_what_leaves_is_in_the_audit_before_it_does(edge: Edge) -> None:
    edge.log(personal())
    lines: list[dict[str, Any]] = []

    def look(n: int) -> None:
        files = sorted(edge.layout.audit.glob("*.jsonl"))
        lines.extend(json.loads(line) for file in files for line in file.read_bytes().splitlines())

    edge.platform.script = look
    report.flush(edge.layout, edge.config(), send=edge.platform)
    (line,) = lines
    assert (line["kind"], line["destination"], line["records"]) == ("telemetry", "platform.example", 3)
    assert line["bytes"] == len(gzip.decompress(edge.platform.bodies[0]))
    assert line["sha256"] == edge.platform.keys[0]


def test_a_rollout_reports_counts_and_no_text(edge: Edge) -> None:
    body = {
        "task_id": "spam",
        "version": 2,
        "state": "canary",
        "n": 7,
        "reason": SECRET,
        "arms": {"candidate": {"errors": 1}},
    }
    report.rollout(edge.layout, Config(), body)
    report.rollout(edge.layout, edge.config(), body)
    report.flush(edge.layout, edge.config(), send=edge.platform)
    (sent,) = edge.platform.of("rollout")
    assert (sent["task_id"], sent["version"], sent["data"]["n"]) == ("spam", 2, 7)
    assert sent["data"]["arms"] == {"candidate": {"errors": 1}}
    assert b"jane" not in edge.platform.plain
