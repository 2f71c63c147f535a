"""Examples as a set: duplicates, contradictions, groups, what is kept with the task."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from loopai_runtime import jsonl
from loopai_runtime.errors import SpecError
from loopai_runtime.layout import Layout
from loopai_runtime.synthesis import examples, specfile
from loopai_runtime.synthesis.examples import Example, describe, load_examples, load_saved, load_unlabelled, save
from loopai_runtime.synthesis.near import near_groups


def spec(tmp_path: Path, **changes: object) -> specfile.Loaded:
    value = {
        "name": "t",
        "description": "d",
        "input": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "output": {"enum": ["a", "b"]},
    } | changes
    return specfile.parse(json.dumps(value), "s.yaml", tmp_path)


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example({"text": text}, label, f"f:{n}") for n, (text, label) in enumerate(pairs, 1)]


def groups(*texts: str) -> list[int]:
    values = [{"text": text} for text in texts]
    return near_groups(values, [jsonl.canonical(value) for value in values])


def test_inline_examples_and_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("text,output\nhello,b\n")
    loaded = spec(tmp_path, examples=[{"input": {"text": "x"}, "output": "a"}], examples_from=[{"file": "f.csv"}])
    found = load_examples(loaded)
    assert [(e.input["text"], e.output) for e in found.examples] == [("x", "a"), ("hello", "b")]
    assert found.examples[1].where == "f.csv:2"
    assert found.label_counts == {"a": 1, "b": 1}


def test_faults_of_all_files_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("text,output\nhello,c\n")
    (tmp_path / "g.jsonl").write_text('{"input": {"text": 1}, "output": "a"}\n')
    with pytest.raises(SpecError) as caught:
        load_examples(spec(tmp_path, examples_from=[{"file": "f.csv"}, {"file": "g.jsonl"}]))
    assert [fault.file for fault in caught.value.faults] == ["f.csv", "g.jsonl"]


def test_no_examples_and_missing_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no examples"):
        load_examples(spec(tmp_path))
    with pytest.raises(SpecError, match=r"s\.yaml:1: \$\.examples_from\[0\]\.file: no\.csv: no such file"):
        load_examples(spec(tmp_path, examples_from=[{"file": "no.csv"}]))


def test_unlabelled_inputs_are_streamed(tmp_path: Path) -> None:
    (tmp_path / "u.jsonl").write_text('{"text": "x"}\n{"input": {"text": "y"}}\n')
    assert list(load_unlabelled(spec(tmp_path, unlabelled_from=[{"file": "u.jsonl"}]))) == [
        {"text": "x"},
        {"text": "y"},
    ]


def test_duplicates_are_merged_and_counted() -> None:
    found = describe(rows(("hi", "a"), ("yo", "b"), ("hi", "a"), ("hi", "a")))
    assert [(e.input["text"], e.output, e.where) for e in found.examples] == [
        ("hi", "a", "f:1"),
        ("yo", "b", "f:2"),
    ]
    assert (found.duplicates, found.near_duplicates) == (2, 0)


def test_contradictions_are_listed_with_their_places() -> None:
    found = describe(rows(("hi", "a"), ("yo", "b"), ("hi", "b")))
    (contradiction,) = found.contradictions
    assert contradiction.outputs == ["a", "b"]
    assert contradiction.where == ["f:1", "f:3"]
    assert found.groups[0] == found.groups[2]
    assert any("contradicting" in str(warning) for warning in found.warnings)


def test_rare_labels_and_a_single_one_are_warned_of() -> None:
    assert any(
        "fewer than 5" in str(w) for w in describe(rows(*[(f"x{n}", "a") for n in range(9)], ("y", "b"))).warnings
    )
    assert any("every example" in str(w) for w in describe(rows(("x", "a"), ("y", "a"))).warnings)


def test_texts_that_differ_in_numbers_and_punctuation_are_one_group() -> None:
    a, b, c = groups("Your login code is 1234.", "your login code is 98765!", "Your login page is down")
    assert a == b != c


def test_texts_that_differ_in_a_few_words_are_one_group() -> None:
    text = "Dear customer, your parcel with number 55 has been shipped today and will arrive at your door on Monday morning"
    a, b, c = groups(
        text, text.replace("Monday", "Tuesday"), "Dear colleague, please find the minutes of our meeting attached"
    )
    assert a == b != c


def test_values_that_are_mostly_numbers_are_not_masked_together() -> None:
    assert len(set(groups("2026-11-22", "2026-11-23", "12.50 EUR"))) == 3


def test_one_form_that_is_most_of_the_data_does_not_swallow_it() -> None:
    texts = [f"set an alarm for {n} please" for n in range(50)]
    assert len(set(groups(*texts))) == 50


def test_groups_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "from loopai_runtime.synthesis.near import near_groups\n"
        "t=[f'the quick brown fox number {i%7} jumps over the lazy dog {w}' for i in range(9) for w in 'abc']\n"
        "print(near_groups(t,[x.encode() for x in t]))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(seen) == 1


def test_what_was_accepted_is_kept_with_the_task(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    loaded = spec(tmp_path, examples=[{"input": {"text": "x\u2028y 😀"}, "output": "a"}])
    save(layout, loaded, load_examples(loaded))
    assert load_saved(layout, "t") == [Example({"text": "x\u2028y 😀"}, "a", "s.yaml:1")]
    assert layout.spec("t").read_text() == loaded.text
    assert load_saved(layout, "other") == []


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_seconds_and_little_memory(tmp_path: Path) -> None:
    """100 MB of JSONL: below 6 times the file in memory, and no second pass over it."""
    import random
    import subprocess
    import sys

    random.seed(5)
    words = ["".join(random.choices("abcdefghij", k=6)) for _ in range(5000)]
    with (tmp_path / "f.jsonl").open("w") as file:
        for n in range(100_000):
            text = " ".join(random.choices(words, k=140))
            file.write(json.dumps({"input": {"text": text}, "output": "ab"[n % 2]}) + "\n")
    size = (tmp_path / "f.jsonl").stat().st_size
    assert size > 95_000_000
    (tmp_path / "s.yaml").write_text(
        json.dumps(json.loads(spec(tmp_path, examples_from=[{"file": "f.jsonl"}]).text))
    )
    code = (
        "import resource,sys; from loopai_runtime.synthesis import specfile,examples\n"
        "s=examples.load_examples(specfile.load(sys.argv[1]))\n"
        "print(len(s.examples), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.yaml"], capture_output=True, check=True, text=True
    )
    count, memory = map(int, done.stdout.split())
    print(f"100,000 rows, {size / 1e6:.0f} MB: {time.monotonic() - started:.1f} s, {memory / 1e6:.0f} MB")
    assert count == 100_000
    assert memory < 6 * size


def test_an_output_that_is_no_text_is_named_by_its_json() -> None:
    assert examples.label_name("x") == "x"
    assert examples.label_name({"a": 1}) == '{"a": 1}'
