"""The verbs as Python users call them: a path and a data directory in, a record out.

import loopai_runtime as loopai

made = loopai.generate("spec.yaml")
loopai.run("spam-detection", {"text": "Buy now!"}).output
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.crypto import vault_of
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.flows.analysis import analyze as _analyze
from loopai_runtime.flows.defer import deferral_of
from loopai_runtime.flows.execute import Executor, Request
from loopai_runtime.flows.generate import Ask
from loopai_runtime.flows.generate import generate as _generate
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.replay import replay as _replay
from loopai_runtime.flows.sample import sampling_of
from loopai_runtime.layout import Layout
from loopai_runtime.models import ExecutionRecord
from loopai_runtime.synthesis.specfile import load

if TYPE_CHECKING:
    from loopai_runtime.flows.analysis import Analysis, By
    from loopai_runtime.flows.changes import Replayed
    from loopai_runtime.flows.generated import Generated

log = logging.getLogger(__name__)


def generate(
    spec: str | Path,
    *,
    data_dir: str | Path | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    budget_s: float = math.inf,
    model: str | None = None,
    max_cost_usd: float | None = None,
    **settings: Any,
) -> Generated:
    """Write, judge and store a new version from a specification file.

    After `budget_s` seconds the best candidate so far is taken. A `model` writes programs too, for at
    most `max_cost_usd`; what became of that is in `Generated.writing`. `settings` are configuration keys with
    double underscores (`execution__worker_count=2`). Raises SpecError,
    Busy, StorageError. A version that misses its targets is a draft: see `Generated.gate`.
    """
    config, layout = _open(data_dir, settings)
    ask = Ask(strategy, seed, budget_s, model, max_cost_usd)
    return _generate(load(str(spec)), layout, config, ask)


def run(
    ref: str, value: Any, *, data_dir: str | Path | None = None, record: bool = True, **settings: Any
) -> ExecutionRecord:
    """Answer one input with a task's active version, or `task@3`, and record the execution.

    Starts a sandbox for the one call; for many calls keep an `Executor`. Raises NotFound, InputError,
    ProgramError, ProgramTimeout.
    """
    config, layout = _open(data_dir, settings)
    stored = ArtifactStore(layout).read(ref)
    with open_pool(config, workers=1) as pool:
        executor = Executor(
            pool,
            stored,
            config,
            deployment_id=layout.deployment_id(config) if record else "",
            sampling=sampling_of(stored.artifact, config, layout) if record else None,
            log=ExecutionLog(layout) if record else None,
            deferral=deferral_of(stored.artifact, layout, config, log.warning) if record else None,
        )
        result = executor.run(Request(value))
    if result.failure is not None:
        raise result.failure
    return ExecutionRecord.model_validate(result.record)


def analyze(
    task_id: str | None = None, *, days: int = 7, by: By | None = None, data_dir: str | Path | None = None
) -> Analysis:
    """What a task did today (UTC) and in the `days - 1` days before; of all tasks where none is named.

    Raises NotFound, UsageError, StorageError.
    """
    _, layout = _open(data_dir, {})
    return _analyze(layout, task_id, days=days, by=by)


def replay(
    ref: str, *, days: float = 7, limit: int | None = None, data_dir: str | Path | None = None, **settings: Any
) -> Replayed:
    """A version over what its task was asked in the last `days`: every answer that would change; records nothing.

    Raises NotFound, GateMissed where nothing is logged, StorageError.
    """
    config, layout = _open(data_dir, settings)
    stored = ArtifactStore(layout).read(ref)
    with open_pool(config) as pool:
        return _replay(pool, stored, layout, config, since_s=days * 86_400, limit=limit)


def _open(data_dir: str | Path | None, settings: dict[str, Any]) -> tuple[Config, Layout]:
    flags = {key.replace("__", "."): value for key, value in settings.items()}
    config = Config.load(data_dir=Path(data_dir) if data_dir else None, flags=flags)
    layout = Layout(config.data_dir)
    layout.vault = vault_of(config.storage)
    return config, layout
