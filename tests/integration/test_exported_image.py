"""`export --format docker|k8s`: the build context is complete, and the manifests ask for what the image gives.

There is no Docker here, so the Dockerfile's own steps are taken in a temporary folder, with this Python as the
image's. That leaves out what the base image itself holds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Loopai

TASK = "spam-detection"
BAIT = {"text": "You have won a prize! Click now to claim your cash"}


@dataclass
class Image:
    """What a Dockerfile's steps come to: a root of files, and how its process starts."""

    root: Path
    base: str = ""
    workdir: str = "/"
    user: str = "root"
    ports: list[int] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    @property
    def files(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}


def build(context: Path, root: Path) -> Image:
    """Take the steps of `context`/Dockerfile. A step that is not known here fails the test."""
    image = Image(root)
    for line in (context / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        step, _, rest = line.partition(" ")
        match step:
            case "FROM":
                image.base = rest
            case "WORKDIR":
                image.workdir = rest
                image.at(rest).mkdir(parents=True)
            case "COPY":
                *sources, target = shlex.split(rest)
                for name in sources:
                    shutil.copy(context / name, image.at(image.workdir) / target)
            case "RUN":
                subprocess.run(["sh", "-c", rest], cwd=image.at(image.workdir), check=True)
            case "USER":
                image.user = rest
            case "EXPOSE":
                image.ports.append(int(rest))
            case "ENTRYPOINT":
                image.entrypoint = json.loads(rest)
            case "CMD":
                image.cmd = json.loads(rest)
            case _:
                raise AssertionError(f"a step that this test does not know: {line}")
    return image


@contextmanager
def started(image: Image) -> Iterator[str]:
    """The image's process, with nothing of this environment, on a free port; yields its address."""
    python, *line = image.entrypoint + image.cmd
    assert python == "python"
    line[line.index("--port") + 1] = "0"
    command = [sys.executable, *(str(image.at(word)) if word.startswith("/") else word for word in line)]
    with subprocess.Popen(command, cwd=image.at(image.workdir), env={}, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline().decode()
            found = re.search(r"http://0\.0\.0\.0:(\d+)/execute", first)
            assert found, first
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            assert process.wait(90) == 0


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=90) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())


@pytest.fixture
def context(spam: Loopai, tmp_path: Path) -> Path:
    """A build context as somebody with a strict umask exports it."""
    old = os.umask(0o077)
    try:
        done = spam("export", TASK, "--format", "k8s", "--out", tmp_path / "context")
    finally:
        os.umask(old)
    assert done.code == 0, done.err
    return tmp_path / "context"


@pytest.fixture
def image(context: Path, tmp_path: Path) -> Image:
    return build(context, tmp_path / "root")


def test_the_image_answers_execute_and_writes_nothing(spam: Loopai, image: Image) -> None:
    before = image.files
    with started(image) as url:
        status, answer = ask(f"{url}/execute", {"input": BAIT})
        assert (status, answer["output"], answer["task_id"], answer["version"]) == (200, "spam", TASK, 1)
        assert answer["output"] == spam("run", TASK, json.dumps(BAIT)).json
        assert ask(f"{url}/execute", {"input": 3})[0] == 422
        assert ask(f"{url}/execute")[0] == 405
        assert ask(f"{url}/healthz") == (200, {"status": "ok"})
    assert image.files == before


def test_the_image_needs_no_more_than_it_copies(context: Path, image: Image) -> None:
    assert set(image.files) == {"app/__main__.py", "app/metadata.json", "app/program.py"}
    required = (context / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in required if line and not line.startswith("#")] == []
    assert re.fullmatch(r"python:3\.\d+-slim", image.base)


def test_a_user_that_is_not_root_can_read_the_image(image: Image) -> None:
    user, group = image.user.split(":")
    assert int(user) > 0
    assert int(group) > 0
    for path in image.at("/app").iterdir():
        assert path.stat().st_mode & stat.S_IROTH, path


@pytest.fixture
def manifests(context: Path) -> dict[str, Any]:
    objects = list(yaml.safe_load_all((context / "k8s.yaml").read_text(encoding="utf-8")))
    assert [(item["apiVersion"], item["kind"]) for item in objects] == [
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
    ]
    return {item["kind"]: item for item in objects}


def test_the_pod_is_not_root_cannot_write_and_has_limits(manifests: dict[str, Any], image: Image) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == image.user
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    quantity = re.compile(r"[1-9][0-9]*(m|Mi)")
    assert set(container["resources"]) == {"requests", "limits"}
    for amounts in container["resources"].values():
        assert "memory" in amounts
        assert all(quantity.fullmatch(amount) for amount in amounts.values())


def test_the_probes_and_the_service_reach_the_port_that_the_image_listens_on(
    manifests: dict[str, Any], image: Image
) -> None:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert [port["containerPort"]] == image.ports == [int(image.cmd[image.cmd.index("--port") + 1])]
    (served,) = manifests["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    with started(image) as url:
        for probe in ("readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == port["name"]
            assert ask(url + asked["path"])[0] == 200


def test_the_service_selects_the_pods_and_the_names_are_ones_that_a_cluster_takes(
    manifests: dict[str, Any], context: Path
) -> None:
    deployment, service = manifests["Deployment"], manifests["Service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector
        assert selector.items() <= labels.items()
    for name in (deployment["metadata"]["name"], service["metadata"]["name"]):
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"docker build -t {container['image']} ." in (context / "Dockerfile").read_text(encoding="utf-8")
