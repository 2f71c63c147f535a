"""Everything that holds inputs or outputs, encrypted: it goes on as plain files do, and beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.executions import DAY

from loopai_runtime import at_rest, jsonl
from loopai_runtime.config import Config
from loopai_runtime.crypto import Vault
from loopai_runtime.datasets import checked, labels, queue, retention, shadow, shadow_labels, validations
from loopai_runtime.datasets.decrypt import decrypted
from loopai_runtime.datasets.erasure import parse
from loopai_runtime.datasets.labels import Label
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.errors import NotFound, StorageError
from loopai_runtime.flows.erase import erase
from loopai_runtime.flows.improvements import Improvement, Improvements
from loopai_runtime.layout import Layout
from loopai_runtime.llm.cache import AnswerCache, Kept
from loopai_runtime.models import ValidationRecord
from loopai_runtime.tickets import Tickets
from loopai_runtime.validation.answers import Answers
from loopai_runtime.validation.oracle import Verdict

OLD, NEW = b"a" * 32, b"b" * 32
SECRET = "zanzibar"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.vault = Vault([OLD])
    return layout


def said(n: int, who: str = SECRET) -> dict[str, Any]:
    return {"text": f"{who} {n}"}


def validation(n: int, who: str = SECRET) -> ValidationRecord:
    return ValidationRecord(
        validation_id=f"v{n}", execution_id=f"e{n}", task_id="spam", version=1, output=said(n, who),
        oracle_output=said(n, who), match=True, similarity_score=1.0, comparison_method="exact", oracle="o",
        timestamp=f"{DAY}T00:00:00Z", pi=0.1,
    )  # fmt: skip


def pair(n: int, who: str = SECRET) -> shadow.Pair:
    sides = [{"output": output, "status": "success", "latency_ms": 1.0} for output in ("spam", "ham")]
    return shadow.Pair(f"e{n}", f"{DAY}T00:00:00Z", said(n, who), "incumbent", *sides)


def write(layout: Layout, n: int = 1, who: str = SECRET) -> None:
    """A line, or a file, of everything that is appended to or replaced."""
    queue.append(layout, "spam", [{"input": said(n, who), "execution_id": f"e{n}"}])
    labels.append(layout, "spam", [Label(said(n, who), "spam", "person", f"{DAY}T00:00:{n:02}Z", f"e{n}")])
    validations.append(layout, "spam", DAY, [validation(n, who)])
    shadow.append(layout, "spam", "r1", [pair(n, who)])
    shadow_labels.append(layout, "spam", "r1", [shadow_labels.Said(f"e{n}", 1, said(n, who), f"{DAY}T00:00:00Z")])
    Improvements(layout, "spam").save(Improvement("spam", 1, evidence={"failures": [{"input": said(n, who)}]}))
    Tickets(layout).open("spam", "look at this", {"patterns": [{"input": said(n, who)}]})
    AnswerCache(layout).put({"q": said(n, who)}, Kept(who, 1, 1))
    Answers(layout, "me").put(jsonl.canonical(said(n, who)), Verdict(who))


def found(layout: Layout) -> dict[str, list[Any]]:
    """What there is of it all."""
    pairs = shadow.Reader(layout, "spam", "r1")
    pairs.read()
    return {
        "queue": [item["input"] for item in queue.read(layout, "spam")],
        "labels": [one.input for one in labels.read(layout, "spam")],
        "validations": [judged.record.output for judged in validations.read(layout, "spam")],
        "shadow": [one.input for one in pairs.pairs],
        "shadow labels": [one.right for one in shadow_labels.read(layout, "spam", "r1")],
    }


def every(*inputs: Any) -> dict[str, list[Any]]:
    names = ("queue", "labels", "validations", "shadow", "shadow labels")
    return {name: list(inputs) for name in names}


def holding(layout: Layout, text: str) -> list[str]:
    return sorted(
        str(path.relative_to(layout.root))
        for path in layout.root.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    )


def test_nothing_of_an_input_is_on_the_disk_and_all_is_read(layout: Layout) -> None:
    write(layout, 1)
    write(layout, 2)
    assert holding(layout, SECRET) == []
    assert found(layout) == every(said(1), said(2))
    assert [one.execution_id for one in checked.checked(layout, "spam", [DAY])] == ["e1", "e2"]
    assert Improvements(layout, "spam").all()[0].evidence == {"failures": [{"input": said(1)}]}
    assert Tickets(layout).list()[0].body == {"patterns": [{"input": said(1)}]}
    assert AnswerCache(layout).get({"q": said(1)}) == Kept(SECRET, 1, 1)
    assert Answers(layout, "me").get(jsonl.canonical(said(2))) == Verdict(SECRET)


def test_plain_and_encrypted_times_follow_each_other(layout: Layout) -> None:
    for n in range(1, 5):
        layout.vault = Vault([OLD], is_on=n % 2 == 0)
        write(layout, n)
    assert found(layout)["labels"] == [said(n) for n in (1, 2, 3, 4)]  # by their times
    assert found(layout)["queue"] == [said(n) for n in (1, 3, 2, 4)]  # what is plain first
    assert {key: len(values) for key, values in found(layout).items()} == dict.fromkeys(every(), 4)


def test_a_key_of_before_alone_reads_and_encrypts_nothing_more(layout: Layout) -> None:
    write(layout, 1)
    layout.vault = Vault([OLD], is_on=False)
    write(layout, 2, "zebra")
    assert holding(layout, SECRET) == ["improvements/spam.json"]  # written anew as a whole
    assert len(holding(layout, "zebra")) >= 6
    assert found(layout) == every(said(2, "zebra"), said(1)) | {"labels": [said(1), said(2, "zebra")]}


@pytest.mark.parametrize(
    ("vault", "words"),
    [
        pytest.param(None, "is encrypted, and no key is given", id="none"),
        pytest.param(Vault([NEW]), "was encrypted with another key", id="another"),
    ],
)
def test_without_its_key_everything_says_so_and_loses_nothing(
    layout: Layout, vault: Vault | None, words: str
) -> None:
    write(layout)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    vault, layout.vault = layout.vault, vault
    reads: list[Callable[[], object]] = [
        lambda: queue.read(layout, "spam"),
        lambda: queue.take_out(layout, "spam", lambda _item: True),
        lambda: list(labels.read(layout, "spam")),
        lambda: labels.take_back(layout, "spam", Label(said(1), "spam", "person", f"{DAY}T00:00:01Z", "e1")),
        lambda: list(validations.read(layout, "spam")),
        lambda: list(checked.checked(layout, "spam", [DAY])),
        shadow.Reader(layout, "spam", "r1").read,
        lambda: shadow_labels.read(layout, "spam", "r1"),
        Improvements(layout, "spam").all,
        lambda: Improvements(layout, "spam").save(Improvement("spam", 2)),
        lambda: Tickets(layout).list(),
        lambda: erase(layout, parse(SECRET)),
    ]
    for read in reads:
        with pytest.raises(StorageError, match=words):
            read()
    assert AnswerCache(layout).get({"q": said(1)}) is None
    assert Answers(layout, "me").get(jsonl.canonical(said(1))) is None
    layout.vault = vault
    assert found(layout) == every(said(1))
    assert {path for path, content in before.items() if path.read_bytes() != content} <= {
        path for path in before if path.parent == layout.audit
    }


def test_what_is_answered_leaves_the_queue_and_a_label_is_taken_back(layout: Layout) -> None:
    for n in range(1, 6):
        write(layout, n)
    assert queue.take_out(layout, "spam", lambda item: item["input"] in (said(2), said(5))) == 3
    assert [item["input"] for item in queue.read(layout, "spam")] == [said(1), said(3), said(4)]
    third = list(labels.read(layout, "spam"))[2]
    assert labels.take_back(layout, "spam", third)
    assert not labels.take_back(layout, "spam", third)
    assert [one.input for one in labels.read(layout, "spam")] == [said(n) for n in (1, 2, 4, 5)]
    assert holding(layout, SECRET) == []


def test_a_server_queues_while_somebody_answers(layout: Layout) -> None:
    async def main() -> None:
        live = LiveLog(layout, fsync="interval", on_full="reject")
        told: list[object] = []
        for n in range(40):
            live.enqueue("spam", jsonl.encode({"input": said(n)}), told.append)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if n % 4 == 3:  # another process takes out what is even, and queues something itself
                queue.take_out(layout, "spam", lambda item: int(item["input"]["text"].split()[1]) % 2 == 0)
                queue.append(layout, "spam", [{"input": said(1001 + n)}])
        async with asyncio.timeout(60):
            while len(told) < 40:
                await asyncio.sleep(0.001)
        live.close()
        assert told == [None] * 40

    asyncio.run(main())
    left = sorted(int(item["input"]["text"].split()[1]) for item in queue.read(layout, "spam"))
    assert left == [n for n in range(40) if n % 2] + [1001 + n for n in range(3, 40, 4) if n % 2 == 0 or n == 39]
    assert holding(layout, SECRET) == []


def test_erasing_takes_one_person_out_of_all_of_it(layout: Layout) -> None:
    write(layout, 1, "jane")
    write(layout, 2)
    Tickets(layout).resolve(Tickets(layout).list()[0].id, "seen")
    reader = shadow.Reader(layout, "spam", "r1")
    reader.read()
    done = erase(layout, parse("jane"))
    assert {name: done.records[name] for name in ("queue", "labels", "validations", "shadow", "improvements")} == {
        "queue": 1, "labels": 1, "validations": 1, "shadow": 2, "improvements": 2,
    }  # fmt: skip
    assert found(layout) == every(said(2))
    write(layout, 3)
    reader.read()  # from where it was
    assert [one.input for one in reader.pairs] == [said(1, "jane"), said(2), said(3)]
    everything = b"".join(
        at_rest.read(layout, path)
        for path in layout.root.rglob("*")
        if path.is_file() and "secrets" not in path.parts
    )
    assert SECRET.encode() in everything
    assert b"jane" not in everything
    assert holding(layout, SECRET) == holding(layout, "jane") == []


def test_rotation_lets_the_new_key_alone_open_everything(layout: Layout) -> None:
    write(layout)
    files = {path for path in layout.root.rglob("*") if path.is_file() and b"LOOPAIE" in path.read_bytes()[:8]}
    assert len(files) >= 9
    layout.vault = Vault([NEW, OLD])
    config = Config.load(flags={"retention.validations.keep_days": 36_500}, environ={})
    assert {step.path for step in retention.keep(layout, config, dry_run=True)} == files
    assert {(step.action, step.path, step.trouble) for step in retention.keep(layout, config)} == {
        ("rewrap", path, None) for path in files
    }
    assert list(retention.keep(layout, config)) == []
    layout.vault = Vault([NEW])
    assert found(layout) == every(said(1))
    write(layout, 2)
    assert found(layout) == every(said(1), said(2))


def test_old_files_are_deleted_like_plain_ones(layout: Layout) -> None:
    write(layout)
    deleted = {step.path.name for step in retention.keep(layout, Config()) if step.action == "delete"}
    assert deleted == {f"sampled-{DAY}.jsonl.enc", f"{DAY}.jsonl.enc"}
    assert list(validations.read(layout, "spam")) == []
    write(layout)
    assert found(layout)["validations"] == [said(1)]


def test_a_file_is_decrypted_whatever_it_is(layout: Layout) -> None:
    write(layout)
    told: list[Path] = []

    def shown(path: Path) -> bytes:
        return b"".join(decrypted(layout, str(path), 7, told.append))

    assert json.loads(shown(at_rest.encrypted(layout.labels("spam"))))["input"] == said(1)
    assert json.loads(shown(layout.improvements("spam")))["task_id"] == "spam"
    (layout.root / "plain.txt").write_text("as it is")
    assert shown(layout.root / "plain.txt") == b"as it is"
    assert told == []
    with pytest.raises(NotFound):
        shown(layout.root / "nothing.here")
    with pytest.raises(NotFound):
        shown(layout.root)


def test_a_whole_file_that_was_cut_off_or_put_in_is_refused(layout: Layout) -> None:
    write(layout)
    path = layout.improvements("spam")
    content = path.read_bytes()
    for size in range(8, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(StorageError):
            Improvements(layout, "spam").all()
    labelled = at_rest.encrypted(layout.labels("spam"))
    labelled.write_bytes(b'{"input": 1, "output": "forged", "source": "person"}\n')
    with pytest.raises(StorageError, match="is not a file that was encrypted here"):
        list(labels.read(layout, "spam"))
