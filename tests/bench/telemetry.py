"""Telemetry at both ends: `python -m tests.bench.telemetry [--quick]`.

What a platform takes a second, a batch of 1,000 after the other, on SQLite (fsynced) and on a real PostgreSQL; how
long one upload of 1,000 records takes over loopback to the real process; what an edge puts into its spool a second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from tests import postgres
from tests.executions import execution
from tests.integration.central.conftest import running

from loopai_runtime.central import collector
from loopai_runtime.central.db.database import Database
from loopai_runtime.central.db.tables import tenants
from loopai_runtime.config import Config
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.flows import report
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now
from loopai_runtime.telemetry.spool import Spool
from loopai_runtime.telemetry.wire import Answer

SIZE = 1000
TEXT = "Dear team, my order has not come and I wrote to you on Monday; please have a look. "


class Bodies:
    """What an edge would send of so many sampled executions, in batches of 1,000."""

    def __init__(self, root: Path, n: int) -> None:
        self.plain: list[bytes] = []
        layout = Layout(root)
        for start in range(0, n, 5000):
            some = range(start, min(n, start + 5000))
            ExecutionLog(layout).append([execution(i, sampled=True, input={"text": f"{TEXT}{i}"}) for i in some])
        flags = {"cloud.api_url": "https://platform.example", "cloud.api_key": "k", "telemetry.batch_size": SIZE}
        config = Config.load(flags=flags, environ={})
        before = time.perf_counter()
        teller = report.teller_of(layout, config)
        with Spool(layout, report.quota(config), policy=teller.policy) as spool:
            self.spooled = report.report(spool, teller)
        self.spool_s = time.perf_counter() - before
        report.flush(layout, config, send=self._send)

    def _send(self, body: bytes, headers: Any) -> Answer:
        import gzip
        import json

        plain = gzip.decompress(body)
        self.plain.append(plain)
        counts = {"accepted": len(json.loads(plain)["records"]), "duplicates": 0}
        return Answer(202, json.dumps(counts).encode())


@contextmanager
def database(kind: str, root: Path) -> Iterator[Database]:
    if kind == "sqlite":
        yield Database(f"sqlite:///{root / 'central.db'}")
        return
    with postgres.server() as url:
        yield Database(url)


def ingest(kind: str, bodies: list[bytes], root: Path) -> float:
    """Records a second, from the bytes to the commit."""
    with database(kind, root) as db:
        db.upgrade()
        with db.write() as connection:
            connection.execute(insert(tenants), {"id": "one", "name": "one", "created_at": utc_now()})
        before, n = time.perf_counter(), 0
        for at, plain in enumerate(bodies):
            batch = collector.parse(plain)
            n += collector.collect(db, "one", batch, key=str(at), sha256=collector.digest(plain)).accepted
        took = time.perf_counter() - before
        db.close()
        return n / took


def uploads(bodies: list[bytes], root: Path) -> list[float]:
    """Seconds for each upload of 1,000 records, gzip included, over loopback to the real process."""
    import gzip

    took = []
    with running(root) as platform:
        for plain in bodies:
            before = time.perf_counter()
            packed = gzip.compress(plain, 6, mtime=0)
            status, said, _ = platform.call("POST", "/api/v1/telemetry", packed, content_encoding="gzip")
            took.append(time.perf_counter() - before)
            assert (status, said["duplicates"]) == (202, 0), said
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    n = 5_000 if parser.parse_args().quick else 50_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        made = Bodies(root / "edge", n)
        bodies = [plain for plain in made.plain if plain.count(b'"seq"') == SIZE]
        size = sum(map(len, bodies)) / len(bodies) / SIZE
        print(f"an edge spools {made.spooled / made.spool_s:,.0f} records/s (redacted, {size:,.0f} bytes each)")
        for kind, bar in (("sqlite", 5000), ("postgresql", 3000)):
            if kind == "postgresql" and postgres.binaries() is None:
                print("postgresql: not installed here")
                continue
            print(f"ingest, {kind}: {ingest(kind, bodies, root):,.0f} records/s (bar {bar:,})")
        took = uploads(bodies[:20], root / "platform")
        print(f"upload of {SIZE}: median {statistics.median(took):.3f} s, slowest {max(took):.3f} s (bar 1 s)")


if __name__ == "__main__":
    main()
