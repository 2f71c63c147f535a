"""Where the platform's bundles lie: in a folder, or in a bucket that speaks S3.

A bucket's place and credentials come from the environment as everywhere: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION, AWS_ENDPOINT_URL for other servers than Amazon's, AWS_ALLOW_HTTP=true for one without TLS.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loopai_runtime.errors import ConfigError, Fault, MissingExtra, NotFound, StorageAway
from loopai_runtime.files import TEMPORARY, make_dir, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.layout import Layout

_PATIENCE: dict[str, Any] = {
    "retry_config": {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=3),
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=1), "base": 2},
    },
    "client_options": {"connect_timeout": timedelta(seconds=2), "read_timeout": timedelta(seconds=5)},
}
"""Whoever asks for a bundle waits for it, so a bucket that cannot be reached is told within some five seconds."""
_CLIENT = ("allow_http", "allow_invalid_certificates", "proxy_url", "connect_timeout", "read_timeout", "timeout")
"""What the environment may say too, as in AWS_ALLOW_HTTP; obstore asks it only where it is given none of them."""
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


class Blobs(Protocol):
    """Synchronous, and safe to use from several threads. All raise StorageError."""

    def put(self, key: str, content: bytes) -> None:
        """Durable when it returns."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to `end`, without it. Raises NotFound."""

    def size(self, key: str) -> int:
        """How many bytes. Raises NotFound."""

    def delete(self, key: str) -> None:
        """Nothing happens where there is none."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a prefix, which is a whole path segment or several."""

    def written_at(self, key: str) -> datetime:
        """When it was put for the last time. Raises NotFound."""


def blobs_of(url: str | None, layout: Layout) -> Blobs:
    """What `url` names: `s3://bucket/prefix`, the path of a folder; None: below the data directory.

    Raises ConfigError, MissingExtra.
    """
    if url is None:
        return DiskBlobs(layout.blobs)
    if url.startswith("s3://"):
        return ObjectBlobs(url)
    path = url.removeprefix("file://")
    if "://" in path or not path:
        raise ConfigError([Fault(f"{url!r} is neither s3://bucket/prefix nor a folder", path="central.blobs")])
    return DiskBlobs(Path(path))


def _checked(key: str) -> str:
    """Keys are made by us; one that could leave its place is a fault of ours."""
    if not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key!r} is no key of a blob")
    return key


class DiskBlobs:
    """A file for each."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    def put(self, key: str, content: bytes) -> None:
        path = self._root / _checked(key)
        make_dir(path.parent)
        replace_file(path, content)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        with self._found(key) as path, path.open("rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(max(0, end - start))

    def size(self, key: str) -> int:
        with self._found(key) as path:
            return path.stat().st_size

    def written_at(self, key: str) -> datetime:
        with self._found(key) as path:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def delete(self, key: str) -> None:
        with suppress(NotFound), self._found(key) as path:
            path.unlink()

    def keys(self, prefix: str = "") -> Iterator[str]:
        top = self._root / _checked(prefix) if prefix else self._root
        for directory, _, names in os.walk(top):
            place = Path(directory).relative_to(self._root)
            yield from sorted(str(place / name) for name in names if not name.startswith(TEMPORARY))

    @contextmanager
    def _found(self, key: str) -> Iterator[Path]:
        path = self._root / _checked(key)
        try:
            with storage_errors(path):
                yield path
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None


class ObjectBlobs:
    """An object for each, in a bucket that is there already."""

    def __init__(self, url: str, **options: Any) -> None:
        """`options` are those of obstore's S3Store, over what the environment says."""
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError:
            raise MissingExtra("storage in S3", "central") from None
        bucket, _, prefix = url.removeprefix("s3://").rstrip("/").partition("/")
        if not bucket:
            raise ConfigError([Fault(f"{url!r} names no bucket", path="central.blobs")])
        self._place = f"s3://{bucket}"
        given = _PATIENCE | options
        said = {name: os.environ.get(f"AWS_{name.upper()}") for name in _CLIENT}
        of_environment = {name: value for name, value in said.items() if value is not None}
        given["client_options"] = _PATIENCE["client_options"] | of_environment | options.get("client_options", {})
        self._store = S3Store(bucket, prefix=prefix or None, **given)

    def put(self, key: str, content: bytes) -> None:
        with self._faults(key):
            self._store.put(_checked(key), content)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        with self._faults(key):
            if start == 0 and end is None:
                return bytes(self._store.get(_checked(key)).bytes())
            size = self._store.head(_checked(key))["size"]
            last = size if end is None else min(end, size)
            if start >= last:  # S3 has no empty ranges
                return b""
            return bytes(self._store.get_range(key, start=start, end=last))

    def size(self, key: str) -> int:
        with self._faults(key):
            return int(self._store.head(_checked(key))["size"])

    def written_at(self, key: str) -> datetime:
        with self._faults(key):
            found: datetime = self._store.head(_checked(key))["last_modified"]
            return found

    def delete(self, key: str) -> None:
        with suppress(NotFound), self._faults(key):
            self._store.delete(_checked(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._faults(prefix):
            for page in self._store.list(_checked(prefix) if prefix else None):
                yield from (each["path"] for each in page)

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError

        try:
            yield
        except (FileNotFoundError, NotFoundError):
            raise NotFound(f"no blob {key}") from None
        except (BaseError, OSError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            where = f"{self._place} ({said[0][:300]})"
            raise StorageAway("the bucket does not do what it should", where=where) from None
