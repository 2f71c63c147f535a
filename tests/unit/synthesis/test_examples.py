"""Examples as a set: duplicates, contradictions, groups, what is kept with the task."""

from __future__ import annotations

import csv
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bars import AT_FULL_SCALE

from loopai_runtime import jsonl
from loopai_runtime.errors import SpecError, StorageError
from loopai_runtime.layout import Layout
from loopai_runtime.synthesis import examples, specfile
from loopai_runtime.synthesis.examples import Example, describe, load_examples, load_saved, load_unlabelled, save


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
    assert any("one class only" in str(w) for w in describe(rows(("x", "a"), ("y", "a"))).warnings)


def test_labels_without_an_example_are_named(tmp_path: Path) -> None:
    found = load_examples(spec(tmp_path, examples=[{"input": {"text": "x"}, "output": "a"}] * 2))
    said = [str(warning) for warning in found.warnings]
    assert said[0] == "one class only: every example has the output 'a'"
    assert "labels without an example: b" in said


def test_outputs_that_are_texts_of_their_own_are_not_counted_as_labels() -> None:
    found = describe([Example({"text": f"x{n}"}, f"secret {n}", f"f:{n}") for n in range(9)])
    assert found.label_counts == {}
    assert found.warnings == []
    repeated = describe([Example({"text": f"x{n}"}, f"class {n % 3}", f"f:{n}") for n in range(9)])
    assert repeated.label_counts == {"class 0": 3, "class 1": 3, "class 2": 3}


def test_many_contradictions_are_counted() -> None:
    found = describe(rows(*[(f"x{n}", label) for n in range(1500) for label in "ab"]))
    assert len(found.contradictions) == 1500
    assert str(found.warnings[20]) == "… and 1,480 more inputs with contradicting outputs"
    assert found.label_counts == {"a": 1500, "b": 1500}


def test_numbers_that_are_equal_as_json_are_duplicates() -> None:
    found = describe([Example("x", 1, "f:1"), Example("x", 1.0, "f:2"), Example("x", True, "f:3")])
    assert (len(found.examples), found.duplicates, len(found.contradictions)) == (2, 1, 1)


def test_files_beside_the_specification_are_named_as_they_are_found_from_here(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f.csv").write_text("text,output\nhello,c\n")
    (tmp_path / "sub" / "u.csv").write_text("body\nhello\n")
    path = tmp_path / "sub" / "s.yaml"
    path.write_text(
        spec(
            tmp_path, examples_from=[{"file": "f.csv"}], unlabelled_from=[{"file": "u.csv", "input": "text"}]
        ).text
    )
    loaded = specfile.load(path)
    with pytest.raises(SpecError, match=f"^{path.parent / 'f.csv'}:2: "):
        load_examples(loaded)
    with pytest.raises(SpecError, match=f"^{path.parent / 'u.csv'}:1: no column 'text'"):
        list(load_unlabelled(loaded))


def test_examples_and_specification_are_kept_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    loaded = spec(tmp_path, examples=[{"input": {"text": "x"}, "output": "a"}])
    save(layout, loaded, load_examples(loaded))
    save(layout, loaded, load_examples(loaded))
    assert [p.stat().st_mode & 0o777 for p in (layout.spec("t"), layout.examples("t"))] == [0o600, 0o600]
    assert sorted(p.name for p in layout.task("t").iterdir()) == ["examples.jsonl", "spec.origin", "spec.yaml"]
    assert specfile.load(layout.spec("t")).spec == loaded.spec


@pytest.mark.parametrize("content", ["{", "[]", "{}", "3"])
def test_damaged_examples_are_a_storage_error(tmp_path: Path, content: str) -> None:
    layout = Layout(tmp_path / "data")
    layout.task("t").mkdir(parents=True)
    layout.examples("t").write_text(content)
    with pytest.raises(StorageError, match="is damaged"):
        load_saved(layout, "t")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\u2028😀", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(JSON, JSON), min_size=1, max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_examples_survive_being_kept(tmp_path: Path, pairs: list[tuple[object, object]]) -> None:
    layout = Layout(tmp_path / "data")
    text = json.dumps(
        {"name": "t", "description": "d", "input": {}, "output": {}}
        | {"examples": [{"input": value, "output": output} for value, output in pairs]}
    )
    loaded = specfile.parse(text, "s.yaml", tmp_path)
    found = load_examples(loaded)
    save(layout, loaded, found)
    assert load_saved(layout, "t") == found.examples
    assert len(found.examples) + found.duplicates == len(pairs)
    assert len(found.groups) == len(found.examples)
    for i, one in enumerate(found.examples):
        for j, other in enumerate(found.examples):
            if jsonl.canonical(one.input) == jsonl.canonical(other.input):
                assert found.groups[i] == found.groups[j]


def test_what_was_accepted_is_kept_with_the_task(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    loaded = spec(tmp_path, examples=[{"input": {"text": "x\u2028y 😀"}, "output": "a"}])
    save(layout, loaded, load_examples(loaded))
    assert load_saved(layout, "t") == [Example({"text": "x\u2028y 😀"}, "a", "s.yaml:1")]
    assert layout.spec("t").read_text() == loaded.text
    assert load_saved(layout, "other") == []


def test_an_output_that_is_no_text_is_named_by_its_json() -> None:
    assert examples.label_name("x") == "x"
    assert examples.label_name({"a": 1}) == '{"a": 1}'


WORDS = ["".join(pair) for pair in itertools.product("abcdefghijk", "aeiou", "klmnop", "aeiou")]
MEASURED = """
import json, resource, sys, time
from loopai_runtime.synthesis import examples, specfile
loaded = specfile.load(sys.argv[1])
started = time.process_time()
found = examples.load_examples(loaded)
seconds = time.process_time() - started
print(json.dumps([len(found.examples), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def measured(tmp_path: Path, name: str, words: int) -> tuple[int, float, int, int]:
    """Rows, seconds, bytes of memory and of the file, for 100,000 rows of so many words."""
    rng = random.Random(5)
    path = tmp_path / name
    texts = (" ".join(rng.choices(WORDS, k=words)) for _ in range(100_000))
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows(
                [["text", "output"], *([text, "ab"[n % 2]] for n, text in enumerate(texts))]
            )
        else:
            begin, between, end = ("[", ",\n", "]") if path.suffix == ".json" else ("", "\n", "")
            for n, text in enumerate(texts):
                row = {"input": {"text": text}, "output": "ab"[n % 2]}
                file.write((between if n else begin) + json.dumps(row))
            file.write(end)
    (tmp_path / "s.yaml").write_text(spec(tmp_path, examples_from=[{"file": name}]).text)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "s.yaml"], capture_output=True, check=True, text=True
    )
    count, seconds, memory = json.loads(done.stdout)
    print(f"{name}: {count:,} rows, {path.stat().st_size / 1e6:.0f} MB, {seconds:.1f} s, {memory / 1e6:.0f} MB")
    return count, seconds, memory, path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["f.jsonl", pytest.param("f.csv", marks=AT_FULL_SCALE), pytest.param("f.json", marks=AT_FULL_SCALE)],
)
def test_a_hundred_megabytes_take_less_than_six_times_their_size(tmp_path: Path, name: str) -> None:
    count, _, memory, size = measured(tmp_path, name, 200)
    assert size > 95_000_000
    assert count == 100_000
    assert memory < 6 * size


@pytest.mark.slow
def test_a_hundred_thousand_short_rows_take_seconds(tmp_path: Path) -> None:
    count, seconds, _, _ = measured(tmp_path, "f.jsonl", 11)
    assert count == 100_000
    assert seconds < 12  # twice what is promised, for machines that are busy


def test_of_very_many_examples_some_are_kept_each_as_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopai_runtime.synthesis.examples.MOST_EXAMPLES", 500)
    found = describe([Example({"n": n}, "ab"[n % 2]) for n in range(5000)] + [Example({"n": 7}, "b")])
    assert (len(found.examples), found.given, found.duplicates) == (500, 5000, 1)
    assert len(found.groups) == 500
    assert found.label_counts == {"a": 2500, "b": 2500}
    assert 2000 < sum(example.input["n"] for example in found.examples) / 500 < 3000
    assert any("500 of the 5,000 examples" in str(warning) for warning in found.warnings)
