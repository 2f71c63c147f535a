"""`loopai scan`: from a log of model calls to a version."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Done, Loopai

SPAM = ["win a free prize", "claim your cash reward", "urgent offer call now", "free ringtone reply yes"]
HAM = ["see you at lunch", "running late sorry", "can you send the notes", "happy birthday dear"]
REST = [
    "today",
    "please",
    "my friend",
    "again",
    "before noon",
    "from home",
    "tomorrow",
    "with love",
    "at the desk",
]


def call(prompt: str, answer: str, at: int) -> dict[str, Any]:
    return {
        "request": {"model": "gpt-test", "messages": [{"role": "user", "content": prompt}]},
        "response": {
            "created": 1_760_000_000 + at,
            "choices": [{"message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 2},
        },
    }


def log(path: Path) -> Path:
    draw = random.Random(0)
    calls = []
    for n in range(400):
        spam = draw.random() < 0.5
        text = " ".join([draw.choice(SPAM if spam else HAM), *draw.sample(REST, 3)])
        calls.append(call(f"Is this message spam or ham?\nMessage: {text}", "Spam." if spam else "ham", n * 864))
    for n in range(60):
        text = " ".join(draw.choice(REST) for _ in range(20))
        calls.append(
            call(f"Write a short poem on this.\nTopic: {text}", " ".join(draw.sample(SPAM + HAM + REST, 9)), n)
        )
    draw.shuffle(calls)
    path.write_text("".join(json.dumps(one) + "\n" for one in calls) + "not json\n")
    return path


@dataclass(frozen=True)
class Scanned:
    """A log, how scanning it ended, and the data directory after it."""

    file: Path
    done: Done
    data_dir: Path


@pytest.fixture(scope="module")
def scanned_once(tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    place = tmp_path_factory.mktemp("scanned")
    file, data_dir = log(place / "calls.jsonl"), place / "data"
    done = Loopai(data_dir)("scan", str(file), "--price-in", "1", "--price-out", "2", "-o", "json")
    assert done.code == 0, done.err
    return Scanned(file, done, data_dir)


@pytest.fixture
def scanned(scanned_once: Scanned, loopai: Loopai) -> Scanned:
    """The data directory of `loopai` is as that scan left it."""
    shutil.copytree(scanned_once.data_dir, loopai.data_dir, symlinks=True)
    return scanned_once


def test_tasks_are_found_judged_and_kept_for_generate(loopai: Loopai, scanned: Scanned) -> None:
    file, done = scanned.file, scanned.done
    assert "1 of 461 lines are no calls" in done.err
    found = json.loads(done.out)
    assert (found["calls"], found["skipped"]) == (460, 1)
    spam, poem = found["tasks"]
    assert spam["verdict"] == "compile"
    assert spam["output_schema"]["enum"] == ["Spam", "ham"]
    assert list(spam["input_schema"]["properties"]) == ["message"]
    assert spam["agreement"]["n"] == 80
    assert spam["agreement"]["value"] > 0.95
    assert abs(spam["calls_a_day"] - 100) < 1
    assert abs(spam["usd_a_day"] - 100 * 104e-6) < 1e-3
    assert poem["verdict"] == "don't: free text"
    assert poem["usd_a_day_after"] == poem["usd_a_day"]
    made = loopai("generate", spam["task_id"])
    assert made.code == 0, made.err
    answer = loopai("run", spam["task_id"], json.dumps({"message": "claim your cash reward tomorrow"}))
    assert answer.out == '"Spam"\n'
    cost = loopai("analyze", spam["task_id"], "--cost", "-o", "json")
    assert cost.code == 0, cost.err
    assert abs(cost.json["model_call"]["usd"] - 104e-6) < 1e-9
    assert cost.json["model_call"]["model"] == "gpt-test"
    again = loopai("scan", str(file))
    assert again.code == 0
    assert f"next: loopai generate {spam['task_id']}\n" in again.err
    assert "not accuracy" in again.err
    assert "don't: free text" in again.out


def test_a_log_without_tasks_is_said_to_be_one(loopai: Loopai, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json.dumps(call("Hello", "Hi", 0)) + "\n")
    done = loopai("scan", str(file))
    assert done.code == 3
    assert "no task found in 1 calls" in done.err
    assert loopai("scan", str(tmp_path / "none.jsonl")).code == 5
    assert loopai("scan", str(file), "--price-in", "1").code == 2


def test_past_calls_become_labels_and_history_of_a_task(loopai: Loopai, scanned: Scanned, tmp_path: Path) -> None:
    found = scanned.done.json["tasks"][0]["task_id"]
    later = [call(f"Is this message spam or ham?\nMessage: win a {n} euro prize", "SPAM", n) for n in range(9)]
    later.append(call("Is this message spam or ham?\nMessage: hello", "I cannot say.", 10))
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({**one, "cost": 0.01}) + "\n" for one in later))
    done = loopai("logs", "import", found, str(more), "-o", "json")
    assert done.code == 0, done.err
    assert done.json == {"labels": 9, "known": 0, "unfit": 1, "skipped": 0, "usd": 0.09}
    again = loopai("logs", "import", found, str(more))
    assert "0 new labels; 9 were known, 1 did not fit" in again.err
    rows = tmp_path / "rows.csv"
    rows.write_text("body,label\nfree ringtone,Spam\nsee you,ham\n")
    mapped = loopai("logs", "import", found, str(rows), "--input", "message=body", "--output-column", "label")
    assert "2 new labels" in mapped.err, mapped.err
    kept = (tmp_path / "data" / "tasks" / found / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 11
    assert json.loads(kept[0])["output"] == "Spam"
    assert json.loads(kept[0])["oracle"] == "gpt-test"


def test_calls_of_another_task_are_refused(loopai: Loopai, scanned: Scanned, tmp_path: Path) -> None:
    tasks = scanned.done.json["tasks"]
    other = tmp_path / "other.jsonl"
    other.write_text(
        "".join(
            json.dumps(call(f"What is the capital of {n}?\nCountry: {n}", f"city {n}", n)) + "\n"
            for n in range(20)
        )
    )
    done = loopai("logs", "import", tasks[0]["task_id"], str(other))
    assert done.code == 2
    assert "no calls in the log fit the schemas" in done.err
    assert loopai("logs", "import", "nothing-here", str(other)).code == 5
    assert loopai("logs", "import", tasks[0]["task_id"], str(other), "--input", "a=").code == 2
