"""Which database a platform has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.central.db.database import Database
from loopai_runtime.files import make_dir

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout


def database_of(layout: Layout, config: Config) -> Database:
    """The one that `central.database_url` names, else SQLite in the data directory.

    Raises StorageError, ConfigError.
    """
    if (url := config.central.database_url) is not None:
        return Database(url.get_secret_value())
    make_dir(layout.central_db.parent)
    return Database(f"sqlite:///{layout.central_db}")
