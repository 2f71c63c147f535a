"""`loopai keys … --central`: the platform's keys, through `cloud.api_url` or in the database that is here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from loopai_runtime.cli import options
from loopai_runtime.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopai_runtime.central.local_keys import LocalKeys
    from loopai_runtime.flows.platform_keys import PlatformKeys

SCOPES = ("execute", "read", "publish", "telemetry", "admin")
OF_A_DEPLOYMENT = ("read", "telemetry")


def create(
    data_dir: Path | None,
    config: Path | None,
    tenant: str | None,
    name: str,
    scopes: list[str],
    deployment: str | None,
    rate: float | None,
) -> None:
    from loopai_runtime.cli.render import out, say
    from loopai_runtime.errors import UsageError

    wanted = scopes or (list(OF_A_DEPLOYMENT) if deployment else [])
    if not wanted or set(wanted) - set(SCOPES):
        raise UsageError(
            "a key of the platform needs --scope" if not wanted else "no such scope",
            hint=f"one or more of {', '.join(SCOPES)}; with --deployment it is read and telemetry",
        )
    with _ring(data_dir, config, tenant) as keys:
        key_id, key = keys.create(name, wanted, deployment, rate)
    out(key)
    say(f"key {key_id}: shown only now; the platform keeps its hash")


def list_(data_dir: Path | None, config: Path | None, tenant: str | None, output: Output) -> None:
    from loopai_runtime.cli.render import rows, say

    with _ring(data_dir, config, tenant) as keys:
        found = keys.list()
    names = (
        "id",
        "name",
        "scopes",
        "deployment_id",
        "rate_per_minute",
        "created_at",
        "last_used_at",
        "revoked_at",
    )
    if output in (Output.TABLE, Output.CSV):
        found = [key | {"scopes": " ".join(key["scopes"])} for key in found]
    if found or output is not Output.TABLE:
        rows(found, output, {name: name for name in names})
    else:
        say("the platform has no keys of this tenant")


def revoke(data_dir: Path | None, config: Path | None, tenant: str | None, key_id: str) -> None:
    from loopai_runtime.cli.render import say

    with _ring(data_dir, config, tenant) as keys:
        keys.revoke(key_id)
    say(f"key {key_id} revoked; what it had opened is closed")


def rotate(data_dir: Path | None, config: Path | None, tenant: str | None, key_id: str) -> None:
    from loopai_runtime.cli.render import out, say

    with _ring(data_dir, config, tenant) as keys:
        new_id, key = keys.rotate(key_id)
    out(key)
    say(f"key {new_id}: shown only now. {key_id} goes on until: loopai keys revoke --central {key_id}")


@contextmanager
def _ring(data_dir: Path | None, config: Path | None, tenant: str | None) -> Iterator[PlatformKeys | LocalKeys]:
    from loopai_runtime.errors import MissingExtra, UsageError

    loaded = options.settings(data_dir, config)
    if loaded.config.cloud.api_url is not None:
        if tenant is not None:
            raise UsageError("--tenant is the operator's, beside the database; a key over HTTP has its own tenant")
        from loopai_runtime.flows.platform import PlatformClient
        from loopai_runtime.flows.platform_keys import PlatformKeys

        with PlatformClient(loaded.config) as client:
            yield PlatformKeys(client)
        return
    try:
        from loopai_runtime.central.local_keys import LocalKeys
    except ModuleNotFoundError:
        raise MissingExtra("the central platform", "central") from None
    yield LocalKeys(loaded.layout, loaded.config, tenant or "main")
