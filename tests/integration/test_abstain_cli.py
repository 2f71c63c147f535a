"""Abstaining, budgets, suspects, unlabelled inputs and pictures, as the commands show them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from loopai_runtime.cli.plot import require_plotting
from loopai_runtime.errors import MissingExtra

from .conftest import EXAMPLES, Loopai

FILLER = [
    "please",
    "help",
    "with",
    "the",
    "today",
    "again",
    "about",
    "order",
    "from",
    "when",
    "would",
    "could",
    "this",
    "that",
    "maybe",
    "soon",
    "some",
    "more",
    "very",
]
WORDS = {"shop": ["refund", "parcel", "broken", "late"], "tech": ["login", "password", "screen", "update"]}


def rows(n: int, noise: float, seed: int = 0) -> list[dict[str, object]]:
    """Tickets of two kinds; some say nothing of their kind, and are of either."""
    draw = random.Random(seed)
    made: list[dict[str, object]] = []
    for at in range(n):
        label = draw.choice(["shop", "tech"])
        words = [] if draw.random() < noise else draw.choices(WORDS[label], k=2)
        text = " ".join([*words, *draw.choices(FILLER, k=5), f"n{at}"])
        made.append({"input": {"text": text}, "output": label})
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    def write(examples: list[dict[str, object]], **more: object) -> Path:
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
        path = tmp_path / "spec.yaml"
        fields = {
            "name": "tickets",
            "description": "route tickets",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "output_schema": {"enum": ["shop", "tech"]},
            "examples_from": [{"file": "train.jsonl"}],
            "accuracy_target": 0.7,
        }
        path.write_text(json.dumps(fields | more))
        return path

    return write


def test_below_the_threshold_nothing_is_answered_and_the_input_is_queued(
    loopai: Loopai, spec: Callable[..., Path]
) -> None:
    abstain = {"target_accuracy": 0.95, "on_abstain": "queue"}
    made = loopai("generate", spec(rows(600, 0.3), abstain=abstain), "--strategy", "rule")
    assert made.code == 0, made.err
    assert "compile with abstention: " in made.err
    assert "answered" in made.out
    metadata = json.loads((loopai.data_dir / "artifacts/tickets/v1/metadata.json").read_text())
    threshold = metadata["abstain"]["threshold"]
    assert 0.5 < threshold < 1
    assert metadata["judged"]["safe_offload"]["coverage"] == pytest.approx(0.7, abs=0.1)
    sure = json.loads(loopai("run", "tickets", '{"text": "refund for a broken parcel"}', "--details").out)
    assert (sure["output"], sure["abstained"]) == ("shop", False)
    unsure = loopai("run", "tickets", '{"text": "please help today"}', "--details")
    line = json.loads(unsure.out)
    assert (unsure.code, line["output"], line["abstained"], line["status"]) == (0, None, True, "success")
    assert line["confidence"] < threshold
    (waiting,) = (loopai.data_dir / "tasks/tickets/queue.jsonl").read_text().splitlines()
    assert json.loads(waiting)["execution_id"] == line["execution_id"]


def test_with_too_few_rows_every_input_abstains(loopai: Loopai, spec: Callable[..., Path]) -> None:
    made = loopai("generate", spec(rows(30, 0.0), abstain={"target_accuracy": 0.98}), "--strategy", "rule")
    assert "cannot guarantee 98.0%" in made.err
    assert "needs about" in made.err
    assert "abstains on every input" in made.err
    answer = json.loads(loopai("run", "tickets@1", '{"text": "refund parcel"}', "--details").out)
    assert (answer["output"], answer["abstained"]) == (None, True)


def test_without_abstain_nothing_abstains_and_the_offload_is_still_said(
    loopai: Loopai, spec: Callable[..., Path]
) -> None:
    made = loopai("generate", spec(rows(600, 0.3)), "--strategy", "rule", "-o", "json")
    summary = json.loads(made.out)
    assert summary["abstain"] is None
    assert summary["safe_offload"]["target_accuracy"] == 0.7
    assert "safe offload at 70.0% accuracy" in made.err
    answer = json.loads(loopai("run", "tickets", '{"text": "please help"}', "--details").out)
    assert "abstained" not in answer


def test_examples_that_look_mislabelled_are_named_by_line(loopai: Loopai, spec: Callable[..., Path]) -> None:
    examples = rows(400, 0.0)
    wrong = [17, 170]
    for at in wrong:
        examples[at]["output"] = "tech" if examples[at]["output"] == "shop" else "shop"
    made = loopai("generate", spec(examples), "--strategy", "rule", "-o", "json")
    named = [one["where"] for one in json.loads(made.out)["suspects"]]
    assert {f"train.jsonl:{at + 1}" for at in wrong} <= set(named[:5])
    assert f"{len(named)} examples look mislabelled" in made.err


def test_unlabelled_inputs_give_the_reference_and_what_to_label(
    loopai: Loopai, spec: Callable[..., Path], tmp_path: Path
) -> None:
    more = [row["input"] for row in rows(300, 0.5, seed=9)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(value) + "\n" for value in more))
    made = loopai("generate", spec(rows(400, 0.1), unlabelled_from=[{"file": "more.jsonl"}]), "--strategy", "rule")
    assert "labelling these would teach most" in made.err
    metadata = json.loads((loopai.data_dir / "artifacts/tickets/v1/metadata.json").read_text())
    reference = metadata["judged"]["reference"]
    assert (reference["source"], reference["inputs"]) == ("unlabelled", 300)
    assert sum(reference["labels"].values()) == pytest.approx(1, abs=0.01)
    lines = (loopai.data_dir / "tasks/tickets/suggestions.jsonl").read_text().splitlines()
    suggested = [json.loads(line) for line in lines]
    assert len(suggested) == 20
    known = {word for words in WORDS.values() for word in words}
    assert sum(known.isdisjoint(one["input"]["text"].split()) for one in suggested) >= 15


def test_a_budget_is_kept_and_must_be_a_time(loopai: Loopai, spec: Callable[..., Path]) -> None:
    path = spec(rows(300, 0.1))
    made = loopai("generate", path, "--budget", "1ms", "-o", "json")
    assert made.code == 0, made.err
    verdicts = [one["verdict"] for one in json.loads(made.out)["candidates"]]
    assert sum("budget" in verdict for verdict in verdicts) >= 2
    for text in ("soon", "-3s", "0"):
        refused = loopai("generate", path, f"--budget={text}")
        assert refused.code == 2
        assert "is no time" in refused.err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_curve_is_a_picture_where_asked_for(
    loopai: Loopai, spec: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    picture = tmp_path / f"curve.{suffix}"
    made = loopai("generate", spec(rows(200, 0.2)), "--strategy", "rule", "--plot", picture)
    assert made.code in (0, 3), made.err
    assert picture.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")
    assert picture.stat().st_size > 5000


def test_a_picture_that_cannot_be_made_is_said_before_the_work(
    loopai: Loopai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = EXAMPLES / "spam" / "spec.yaml"
    assert loopai("generate", path, "--plot", tmp_path / "curve.txt").code == 2
    assert loopai("generate", path, "--plot", tmp_path / "no" / "curve.png").code == 2
    assert not (loopai.data_dir / "artifacts").exists()
    monkeypatch.setattr("loopai_runtime.cli.plot.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra) as missing:
        require_plotting(tmp_path / "curve.png")
    assert "loopai-runtime[plot]" in str(missing.value.hint)
