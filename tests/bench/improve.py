"""Does the loop bring back what drift takes away? Spam messages whose words are renamed, played through the commands.

    python -m tests.bench.improve [--seeds 5]

The first half of the messages teaches v1. In the second half, and in the test set, every word that is typical of
spam is another one (ROT13), digits are written as letters and pounds as dollars, in all messages. v1 serves the second
half, of which at most 20 % are put to the oracle (a labelled file), and `loopai improve` makes v2. Both are judged on
the renamed test set, beside a program that had all labels of both halves. The bar: v2 within a point of that one.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import json
import math
import random
import re
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests import shared_data

from loopai_runtime.cli.main import run_line

WORD = re.compile(r"[A-Za-z]{2,}")
NUMBERS = str.maketrans("0123456789£", "abcdefghij$")
TARGET = 0.96
RATE = 0.2
"""Drawn at random, and never more than this share is asked about."""


def spam_words(rows: list[dict[str, Any]]) -> set[str]:
    """Words that occur clearly more often in spam than in ham."""
    counts = {label: Counter[str]() for label in ("spam", "ham")}
    for row in rows:
        counts[row["output"]].update({word.lower() for word in WORD.findall(row["input"]["text"])})
    n = Counter(row["output"] for row in rows)

    def odds(word: str) -> float:
        return math.log((counts["spam"][word] + 0.5) / (n["spam"] + 1)) - math.log(
            (counts["ham"][word] + 0.5) / (n["ham"] + 1)
        )

    return {word for word in counts["spam"] if counts["spam"][word] >= 3 and odds(word) > 1}


def drifted(row: dict[str, Any], words: set[str]) -> dict[str, Any]:
    def renamed(match: re.Match[str]) -> str:
        return codecs.encode(match[0], "rot13") if match[0].lower() in words else match[0]

    text = WORD.sub(renamed, row["input"]["text"]).translate(NUMBERS)
    return {"input": {"text": text}, "output": row["output"]}


def loopai(*line: str | Path) -> str:
    """Run a command, and return what it prints; exit codes 0 and 3 are answers."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_line(list(map(str, line)))
    if code not in (0, 3):
        raise RuntimeError(f"{' '.join(map(str, line))}: exit {code}\n{err.getvalue()}")
    return out.getvalue()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def spec(path: Path, name: str, examples: str, seed: int) -> Path:
    card = shared_data.card("sms_spam")
    text = {
        "name": name, "description": "Is a message spam?",
        "input_schema": card["input_schema"], "output_schema": card["output_schema"],
        "examples_from": [{"file": examples}], "accuracy_target": TARGET, "sampling_rate": RATE,
        "oracle": {"kind": "labels", "file": str(path.parent / "truth.jsonl")}, "generate": {"seed": seed},
    }  # fmt: skip
    path.write_text(json.dumps(text))
    return path


def accuracy(data: Path, versions: list[str], gold: Path) -> list[float]:
    found = json.loads(loopai("evaluate", *versions, gold, "--data-dir", data, "-o", "json"))
    return [score["accuracy"]["value"] for score in found["versions"]]


def once(root: Path, seed: int) -> dict[str, Any]:
    rows, test = shared_data.rows("sms_spam", "train"), shared_data.rows("sms_spam", "test")
    random.Random(seed).shuffle(rows)
    words = spam_words(rows)
    half = len(rows) // 2
    before, after = rows[:half], [drifted(row, words) for row in rows[half:]]
    data = root / "data"
    write(root / "before.jsonl", before)
    write(root / "truth.jsonl", after)
    write(root / "all.jsonl", before + after)
    traffic = write(root / "traffic.jsonl", [{"input": row["input"]} for row in after])
    gold = write(root / "gold.jsonl", [drifted(row, words) for row in test])
    plain = write(root / "plain.jsonl", test)
    loopai("generate", spec(root / "spec.yaml", "sms", "before.jsonl", seed), "--data-dir", data)
    loopai("generate", spec(root / "all.yaml", "whole", "all.jsonl", seed), "--data-dir", data)
    loopai("run", "sms", "--file", traffic, "--data-dir", data)
    checks = json.loads(
        loopai("validate", "sms", "--limit", str(int(RATE * len(after))), "--data-dir", data, "-o", "json")
    )
    made = json.loads(loopai("improve", "sms", "--data-dir", data, "-o", "json"))
    versions = ["sms@1", *([f"sms@{made['version']}"] if made["version"] else [])]
    scores = accuracy(data, versions, gold)
    return {
        "seed": seed, "before": accuracy(data, ["sms@1"], plain)[0], "v1": scores[0], "v2": scores[-1],
        "all": accuracy(data, ["whole@1"], gold)[0], "labels": checks["judged"], "of": len(after),
        "state": made["state"], "reason": made["reason"], "gain": (made["regression"] or {}).get("gain"),
        "flips": len((made["regression"] or {}).get("flips", [])), "hypothesis": made["hypothesis"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    results = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as root:
            found = once(Path(root), seed)
        results.append(found)
        print(json.dumps(found, ensure_ascii=False), flush=True)
    middle = {name: statistics.median(one[name] for one in results) for name in ("before", "v1", "v2", "all")}
    behind = statistics.median(100 * (one["all"] - one["v2"]) for one in results)
    share = max(one["labels"] / one["of"] for one in results)
    print(f"median: before drift {middle['before']:.1%}, v1 {middle['v1']:.1%}, v2 {middle['v2']:.1%}", end="")
    print(f", all labels {middle['all']:.1%}: {behind:+.2f} points behind, with {share:.1%} of the labels")


if __name__ == "__main__":
    main()
