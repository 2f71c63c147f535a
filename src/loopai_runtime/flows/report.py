"""Telemetry: what the logs have that is new goes into the spool, and what the spool has goes to the platform.

What may not leave never reaches the spool. Each source is read from where its last block in the spool left off, so
every execution is counted once, whatever is killed when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import raw, tally
from loopai_runtime.datasets.tally import Tally
from loopai_runtime.errors import AuthError, InputError, LoopaiError, StorageError, UsageError
from loopai_runtime.files import make_dir
from loopai_runtime.models import utc_now
from loopai_runtime.telemetry import spool as spools
from loopai_runtime.telemetry import wire
from loopai_runtime.telemetry.policy import policy_of
from loopai_runtime.telemetry.spool import Spool
from loopai_runtime.telemetry.tell import Teller, labels_of
from loopai_runtime.telemetry.uploader import Uploaded, Uploader

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout

Tell = Callable[[Any, str, str], dict[str, Any]]

_DAY = 10  # characters of a date
_SAMPLED = re.compile(rb'"sampled":\s*true')


class Fresh(NamedTuple):
    """Records of what `source` has that was not reported yet, read up to `cursor`."""

    source: str
    cursor: Any
    records: list[dict[str, Any]]


# --- reading what is new ------------------------------------------------------------------------------------


def fresh(layout: Layout, teller: Teller, cursors: dict[str, Any]) -> Iterator[Fresh]:
    """What the logs have beyond `cursors` (source -> how far it was read), as records that may leave.

    Raises StorageError.
    """
    for task_id in layout.logged_tasks():
        yield from _executions(layout, teller, task_id, cursors.get(f"executions/{task_id}", {}))
        source, files = f"validations/{task_id}", at_rest.found(layout.validations(task_id), "sampled-*.jsonl")
        yield from _lines_of(layout, files, source, cursors.get(source, {}), teller.validation, task_id)
    files = sorted(rollouts_of(layout).glob("*.jsonl"))
    yield from _lines_of(layout, files, "rollouts", cursors.get("rollouts", {}), teller.rollout, None)


def _executions(layout: Layout, teller: Teller, task_id: str, cursor: dict[str, Any]) -> Iterator[Fresh]:
    """Of a task: the counts of every minute, and the executions that leave one by one."""
    days = raw.days(layout, task_id)
    cursor = {day: dict(parts) for day, parts in cursor.items() if day in days}  # retention deleted the others
    labels: frozenset[str] | None = None
    for day, parts in days.items():
        for part in parts:
            number, read = str(part.number), cursor.get(day, {}).get(str(part.number), 0)
            size = part.size()
            if size == (read % raw.GZIP_MODULUS if part.kind == "gzip" else read):
                continue
            if labels is None:
                labels = _labels(layout, task_id)
            for lines, end in _new_lines(part, read):
                cursor.setdefault(day, {})[number] = end
                records = _told(teller, task_id, day, lines, labels)
                yield Fresh(f"executions/{task_id}", {d: dict(p) for d, p in cursor.items()}, records)


def _new_lines(part: raw.Part, read: int) -> Iterator[tuple[list[bytes], int]]:
    """Whole lines beyond the first `read` bytes, and up to where. What `erase` shortened has none."""
    with suppress(FileNotFoundError), part.open() as file:
        file.seek(read)
        for lines, size in raw.blocks(file):
            if size:
                read += size
                yield lines, read
            elif part.kind != "live" and tally.is_record(lines[0]):  # its last newline was never written
                yield lines, read + len(lines[0])


def _told(
    teller: Teller, task_id: str, day: str, lines: list[bytes], labels: frozenset[str]
) -> list[dict[str, Any]]:
    counting = Tally(set())
    counting.add(lines)
    counting.settle()
    stats = [(f"{day}T{at}:00Z", teller.stats(part.as_dict(), labels)) for at, part in counting.minutes.items()]
    if counting.damaged:
        stats.append((utc_now(), {"damaged": counting.damaged}))
    records = [{"kind": "stats", "task_id": task_id, "at": at, "data": data} for at, data in stats]
    for line in lines:
        if not teller.policy.every and _SAMPLED.search(line) is None:  # most lines: not worth parsing
            continue
        with suppress(KeyError, TypeError, AttributeError, InputError):
            record = tally.read(line)
            if teller.policy.every or record.get("sampled") is True:
                records.append(teller.execution(record, task_id, day))
    return records


def _labels(layout: Layout, task_id: str) -> frozenset[str]:
    """The labels that the schemas of a task's versions name."""
    with suppress(LoopaiError, OSError):
        listed = ArtifactStore(layout).versions(task_id)
        return frozenset().union(*(labels_of(one.stored.artifact.output_schema) for one in listed if one.stored))
    return frozenset()


def _lines_of(
    layout: Layout, files: Sequence[Path], source: str, cursor: dict[str, int], tell: Tell, task_id: str | None
) -> Iterator[Fresh]:
    """Of files of a day each, which are only appended to."""
    cursor = {path.name: cursor[path.name] for path in files if path.name in cursor}
    for path in files:
        day, read = path.name.partition(".")[0][-_DAY:], cursor.get(path.name, 0)
        with suppress(FileNotFoundError), at_rest.opened(layout, path) as file:
            file.seek(read)
            for lines, size in raw.blocks(file):
                if size:
                    cursor = cursor | {path.name: (read := read + size)}
                    told = (one for line in lines for one in _told_of(tell, line, task_id, day))
                    yield Fresh(source, cursor, list(told))


def _told_of(tell: Tell, line: bytes, task_id: str | None, day: str) -> list[dict[str, Any]]:
    with suppress(KeyError, TypeError, AttributeError, InputError):
        record = tally.read(line)
        return [tell(record, task_id or record["task_id"], day)]
    return []


# --- the verbs ----------------------------------------------------------------------------------------------


def report(spool: Spool, teller: Teller) -> int:
    """Put what is new into the spool; answers how many records. Raises StorageError."""
    n = 0
    for source, cursor, records in fresh(spool.layout, teller, spool.state.cursors):
        spool.append(records, source, cursor)
        n += len(records)
        spool.trim()
    spool.tell_of_losses()
    spool.state.save(spool.layout)
    return n


def teller_of(layout: Layout, config: Config) -> Teller:
    """What records say under the configuration. Raises StorageError."""
    return Teller(policy_of(config), layout.secret("telemetry"))


def flush(layout: Layout, config: Config, *, now: bool = True, send: wire.Send | None = None) -> Uploaded:
    """Report what is new and send all there is. `now`: also before the time of the next attempt.

    Raises UsageError where telemetry is off, Busy, StorageError.
    """
    if not config.telemetry_on:
        raise UsageError("telemetry is off", hint=how_on(config))
    teller = teller_of(layout, config)
    with spools.lock(layout), Spool(layout, quota(config), policy=teller.policy) as spool:
        full: StorageError | None = None
        try:
            report(spool, teller)
        except StorageError as error:  # sending may make room
            full = error
        done = Uploader(spool, config, teller.policy, send or wire.sender(config)).run(now=now)
    if full is not None:
        raise full
    return done


def checked(done: Uploaded) -> Uploaded:
    """The same, where all was sent. Raises AuthError where the platform refuses the key, LoopaiError otherwise."""
    if done.trouble is None:
        return done
    hint = f"what is left is kept; the next attempt is due in {done.wait_s:.0f} s"
    if done.refused:
        raise AuthError(done.trouble, hint="set cloud.api_key to a key with the scope telemetry, then flush again")
    raise LoopaiError(f"not everything was sent: {done.trouble}", hint=hint)


def how_on(config: Config) -> str:
    """What it takes for telemetry to be on."""
    if not config.telemetry.enabled:
        return "loopai config set telemetry.enabled true"
    return "it takes both cloud.api_url and cloud.api_key (LOOPAI_API_KEY)"


def rollout(layout: Layout, config: Config, body: dict[str, Any]) -> None:
    """Have a rollout's counts reported: `body` has task_id, version and numbers. Raises StorageError.

    Of texts only states, ids and times leave.
    """
    if config.telemetry_on:
        place = make_dir(rollouts_of(layout))
        jsonl.append(place / f"{utc_now()[:_DAY]}.jsonl", [jsonl.compact({"timestamp": utc_now(), **body})])


def rollouts_of(layout: Layout) -> Path:
    """What rollouts had to report, a file a day."""
    return layout.telemetry / "rollouts"


def quota(config: Config) -> int:
    """Bytes that may wait to be sent."""
    return config.telemetry.max_spool_mb * 1_000_000
