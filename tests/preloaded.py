"""What the fork server of tests/nursery.py imports: all of ours, and the libraries that commands load late.

Nothing here starts a thread: a process that has some must not be forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil

import loopai_runtime
from loopai_runtime.cli.main import app, command_tree

os.environ["OPENBLAS_NUM_THREADS"] = "1"

_OURS = [found.name for found in pkgutil.walk_packages(loopai_runtime.__path__, "loopai_runtime.")]
_THEIRS = [
    *("tests.nursery", "rich.console", "rich.progress", "rich.table", "jsonschema_rs", "sklearn.svm", "duckdb"),
    *("uvloop", "uvicorn.loops.uvloop", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.protocols.websockets.websockets_sansio_impl", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"),
    *("sqlalchemy.dialects.sqlite", "alembic.command", "matplotlib.figure"),
]

for _name in (*_OURS, *_THEIRS):
    if not _name.endswith(("__main__", "migrations.env")):
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(_name)
command_tree(app)
gc.collect()
gc.freeze()
