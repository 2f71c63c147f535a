"""`loopai sample` on logged executions, sampling as it runs, and `loopai analyze --drift`."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from loopai_runtime.validation.estimate import Checked, accuracy

from .conftest import Done, Loopai

WORDS = [
    "win",
    "prize",
    "free",
    "click",
    "now",
    "money",
    "meeting",
    "lunch",
    "tomorrow",
    "report",
    "please",
    "call",
    "account",
    "offer",
    "thanks",
]
TASK = "spam-detection"


def run(
    spam: Loopai, tmp_path: Path, count: int = 400, *, words: list[str] = WORDS, **settings: str
) -> list[dict]:
    """Log executions under these sampling settings; answers their records."""
    draw = random.Random(count)
    file = tmp_path / "in.jsonl"
    texts = (" ".join(draw.choices(words, k=draw.randint(3, 14))) for _ in range(count))
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    env = {f"LOOPAI_SAMPLING__{name.upper()}": value for name, value in settings.items()}
    done = spam("run", TASK, "--file", file, env=env)
    assert done.code == 0, done.err
    logs = (spam.data_dir / "datasets" / TASK / "executions").glob("*.jsonl")
    return [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]


def test_a_dry_run_tells_what_would_be_chosen_and_chooses_nothing(spam: Loopai, tmp_path: Path) -> None:
    run(spam, tmp_path)
    before = sorted(spam.data_dir.rglob("*"))
    done = spam("sample", TASK, "--strategy", "uncertainty", "--rate", "0.1", "--dry-run", "-o", "json")
    assert done.code == 0, done.err
    total = done.json["total"]
    assert (total["executions"], done.json["strategy"]) == (400, "uncertainty")
    assert 0.09 < total["pi_mean"] < 0.11
    assert 0.01 <= total["pi_min"] < 0.1 < total["pi_max"]
    assert sorted(done.json["by_label"]) == ['"ham"', '"spam"']
    assert sum(part["executions"] for part in done.json["by_confidence"].values()) == 400
    assert sorted(spam.data_dir.rglob("*")) == before
    shown = spam("sample", TASK, "--strategy", "uncertainty", "--rate", "0.1", "--dry-run").out
    assert f"{total['chosen']} of 400 executions chosen" in shown
    assert "points (95 %)" in shown


def test_the_chosen_are_printed_with_their_probability_and_the_same_each_time(
    spam: Loopai, tmp_path: Path
) -> None:
    run(spam, tmp_path)
    first, second = (spam("sample", TASK, "--strategy", "stratified", "--rate", "0.1") for _ in range(2))
    assert first.out == second.out
    assert 15 < len(first.lines) < 80
    assert all(0 < line["pi"] <= 1 and line["input"]["text"] for line in first.lines)


def test_a_running_task_samples_as_the_settings_say(spam: Loopai, tmp_path: Path) -> None:
    records = run(spam, tmp_path, strategy="uncertainty+stratified", rate="0.2")
    assert len({record["pi"] for record in records}) > 50
    assert 30 < sum(record["sampled"] for record in records) < 170
    pis = [record["pi"] for record in records if record["sampled"]]
    found = accuracy(Checked(True, pi) for pi in pis)
    assert sum(1 / pi for pi in pis) == pytest.approx(400, rel=0.5)
    assert found.method == "hajek"


def test_a_daily_budget_is_followed(spam: Loopai, tmp_path: Path) -> None:
    records = run(spam, tmp_path, strategy="adaptive", max_labels_per_day="10")
    pis = [record["pi"] for record in records]
    assert 0 < min(pis) <= max(pis) <= 0.2  # the highest rate, until the traffic is known
    assert sum(pis) <= 25  # of 80 without a budget; how far below hangs on what is left of the day
    assert sum(record["sampled"] for record in records) <= 45


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--rate", "0.5"), "must be from 0.01 to 0.20"),
        (("--rate", "0.001"), "must be from 0.01 to 0.20"),
        (("--strategy", "uncertian"), "'uncertian' is not one of random, uncertainty"),
        (("--strategy", "adaptive"), "adaptive follows a budget"),
        (("--precision", "0.7"), "sampling.precision"),
    ],
)
def test_a_wrong_setting_is_a_clear_error(spam: Loopai, flags: tuple[str, ...], said: str) -> None:
    done = spam("sample", TASK, *flags, "--dry-run")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_without_executions_there_is_nothing_to_choose_from(spam: Loopai) -> None:
    assert spam("sample", TASK, "--dry-run").code == 3
    assert spam("sample", "nobody", "--dry-run").code == 5


def drifted(spam: Loopai) -> Done:
    return spam("analyze", TASK, "--drift", "-o", "json")


def test_traffic_unlike_the_examples_is_a_drift_alarm_with_its_reason(spam: Loopai, tmp_path: Path) -> None:
    run(spam, tmp_path, 300, words=["zzyzx", "qwertz", "lorem", "ipsum"])
    done = drifted(spam)
    assert done.code == 3
    alarms = {alarm["what"]: alarm for alarm in done.json["alarms"]}
    assert {"input length", "unknown words"} <= alarms.keys()
    assert "of words are in no example" in alarms["unknown words"]["reason"]
    assert alarms["input length"]["examples"][0]["execution_id"]
    assert "has drifted" in done.err
    assert spam("analyze", TASK, "--drift").code == 3


def test_traffic_like_the_examples_is_none(spam: Loopai, tmp_path: Path) -> None:
    examples = (spam.data_dir / "tasks" / TASK / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    file = tmp_path / "same.jsonl"
    file.write_text("".join(json.dumps(json.loads(line)["input"]) + "\n" for line in examples), encoding="utf-8")
    assert spam("run", TASK, "--file", file).code == 0
    done = drifted(spam)
    assert {shift["what"] for shift in done.json["shifts"]} >= {"outputs", "confidence", "input length"}
    assert not {alarm["what"] for alarm in done.json["alarms"]} - {"confidence"}  # surer of what it was taught


def test_too_few_executions_are_nothing_to_judge_on(spam: Loopai) -> None:
    assert spam("run", TASK, json.dumps({"text": "hello"})).code == 0
    done = drifted(spam)
    assert (done.code, done.json["alarms"]) == (3, [])
    assert "too few" in done.err
    assert spam("analyze", "--drift").code == 2
