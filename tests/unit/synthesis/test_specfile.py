"""Reading specifications: every fault at once, in words, with its line and path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import loopai_runtime
from loopai_runtime.errors import NotFound, SpecError
from loopai_runtime.models import TaskSpecification
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis import specfile

GOOD = """
name: spam
description: spam or ham
input: {type: object, properties: {text: {type: string}}, required: [text]}
output: {type: string, enum: [spam, "no", "123"]}
examples:
  - {input: {text: Buy now!}, output: spam}
  - {input: {text: hello}, output: no}
"""
TEMPLATES = Path(loopai_runtime.__file__).parent / "templates"


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        specfile.parse(text, "s.yaml", Path())
    return [str(fault) for fault in caught.value.faults]


def test_defaults_are_those_of_the_contract() -> None:
    spec = specfile.parse(GOOD, "s.yaml", Path()).spec
    assert (spec.accuracy_target, spec.latency_target_ms, spec.timeout_ms, spec.sampling_rate) == (
        0.9,
        10,
        1000,
        0.05,
    )
    assert spec.abstain is None
    assert spec.oracle is None
    assert (spec.generate.strategy, spec.generate.model, spec.generate.max_cost_usd, spec.generate.seed) == (
        "auto",
        None,
        1.0,
        0,
    )


def test_schema_keys_have_short_names() -> None:
    long = GOOD.replace("input: {type", "input_schema: {type").replace("output: {type", "output_schema: {type")
    assert specfile.parse(long, "s", Path()).spec == specfile.parse(GOOD, "s", Path()).spec


def test_plain_scalars_stay_what_was_written() -> None:
    spec = specfile.parse(GOOD, "s.yaml", Path()).spec
    assert spec.examples[1].output == "no"


def test_all_faults_are_reported_at_once_with_line_and_path() -> None:
    assert faults(
        "name: ../x\ndescription: d\ninput_schema: {type: strin}\noutput_schema: {}\nacuracy_target: 2\n"
        "examples:\n - {input: 3, outpt: x}\ngenerate: {seeed: 1, strategy: foo}\naccuracy_target: high\n"
    ) == [
        "s.yaml:1: $.name: name must be a slug: lower-case letters, digits and hyphens, at most 63, "
        "not starting with a hyphen",
        "s.yaml:3: $.input_schema.type: not a JSON Schema: "
        "\"strin\" is not valid under any of the schemas listed in the 'anyOf' keyword; "
        "the types are string, number, integer, boolean, array, object and null",
        "s.yaml:5: $.acuracy_target: unknown key 'acuracy_target'; did you mean 'accuracy_target'?",
        "s.yaml:7: $.examples[0].output: output is missing",
        "s.yaml:7: $.examples[0].outpt: unknown key 'outpt'; did you mean 'output'?",
        "s.yaml:8: $.generate.strategy: strategy must be one of 'auto', 'rule', 'ml', 'hybrid', 'dsl', 'extract' or 'llm', not \"foo\"",
        "s.yaml:8: $.generate.seeed: unknown key 'seeed'; did you mean 'seed'?",
        's.yaml:9: $.accuracy_target: accuracy_target must be a number, not "high"',
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("output: spam}", "output: nope}"), 's.yaml:7: $.examples[0].output: "nope" is not one of'),
        (("output: no}", "output: 123}"), 's.yaml:8: $.examples[1].output: 123 is not one of "spam", "no" or "123"; quote it: "123"'),
        (("{text: hello}", "{txt: hello}"), 's.yaml:8: $.examples[1].input: "text" is a required property'),
        (("description: spam or ham", "description: ''"), "s.yaml:3: $.description: description must not be empty"),
        (("name: spam", "name: spam\nname: ham"), "s.yaml:3: $.name: this key is given twice"),
        (("description: spam or ham\n", ""), "$.description: description is missing"),
        (("input: {type: object", "input: {$ref: 'http://example.com/s', type: object"), "lies outside the schema"),
    ],
)  # fmt: skip
def test_a_fault_is_named_where_it_stands(change: tuple[str, str], said: str) -> None:
    assert any(said in fault for fault in faults(GOOD.replace(*change)))


@pytest.mark.parametrize(
    ("text", "said"), [("", "empty"), ("# only a comment\n", "empty"), ("- a\n", "mapping"), ("x", "mapping")]
)
def test_what_is_no_specification_is_refused(text: str, said: str) -> None:
    assert said in faults(text)[0]


def test_a_lone_surrogate_is_refused_wherever_it_hides() -> None:
    text = json.dumps(
        {
            "name": "x",
            "description": "a\ud800",
            "input": {},
            "output": {},
            "examples": [{"input": "\udfff", "output": 1}],
        }
    )
    assert any("surrogate" in fault or "Unicode" in fault for fault in faults(text))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.lstrip().encode())
    assert specfile.load(path).spec.name == "spam"


def test_latin_1_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(GOOD.replace("hello", "grüße").encode("latin-1"))
    with pytest.raises(SpecError, match=r"s\.yaml:8: not UTF-8 \(byte 0xfc\)"):
        specfile.load(path)


def test_a_missing_file_says_how_to_start() -> None:
    with pytest.raises(NotFound) as caught:
        specfile.load("nowhere.yaml")
    assert caught.value.hint is not None
    assert "loopai init" in caught.value.hint


@pytest.mark.parametrize("name", ["classify", "route", "demo/spec"])
def test_packaged_specifications_are_sound(name: str) -> None:
    assert specfile.load(TEMPLATES / f"{name}.yaml").spec.name


def test_the_shipped_schema_is_the_models_and_accepts_the_packaged_specifications() -> None:
    shipped = Path(loopai_runtime.__file__).parent / "data" / "loopai.schema.json"
    assert shipped.read_text(encoding="utf-8") == specfile.json_schema_text()
    schema = Schema(specfile.json_schema())
    for name in ("classify", "route", "demo/spec"):
        assert schema.faults(specfile.load(TEMPLATES / f"{name}.yaml").document.data) == []
    assert schema.accepts(specfile.parse(GOOD, "s", Path()).document.data)
    assert not schema.accepts({"name": "x", "description": "y"})
    assert not schema.accepts({"name": "x", "description": "y", "input": {}, "output": {}, "nope": 1})


@pytest.mark.parametrize("rate", [0, 0.005, 0.3, 1])
def test_a_sampling_rate_outside_one_to_twenty_percent_is_a_fault(rate: float) -> None:
    spec = {"name": "a", "description": "b", "input_schema": {}, "output_schema": {}, "sampling_rate": rate}
    with pytest.raises(ValueError, match="sampling_rate"):
        TaskSpecification.model_validate(spec)
