"""loopai-runtime: small verified programs in place of repeated LLM calls.

    import loopai_runtime as loopai

    loopai.generate("spec.yaml")
    loopai.run("spam-detection", {"text": "Buy now!"}).output

Names are loaded when they are first used (PEP 562), so importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopai_runtime._version import __version__

if TYPE_CHECKING:
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.client import AsyncClient, Client
    from loopai_runtime.config import Config
    from loopai_runtime.errors import LoopaiError
    from loopai_runtime.flows.api import analyze, generate, replay, run
    from loopai_runtime.flows.execute import Executor
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ExecutionRecord, ProgramArtifact, TaskSpecification

_HOME = {
    "ArtifactStore": "artifacts.store",
    "AsyncClient": "client",
    "Client": "client",
    "Config": "config",
    "ExecutionRecord": "models",
    "Executor": "flows.execute",
    "Layout": "layout",
    "LoopaiError": "errors",
    "ProgramArtifact": "models",
    "TaskSpecification": "models",
    "analyze": "flows.api",
    "generate": "flows.api",
    "replay": "flows.api",
    "run": "flows.api",
}

__all__ = [
    "ArtifactStore",
    "AsyncClient",
    "Client",
    "Config",
    "ExecutionRecord",
    "Executor",
    "Layout",
    "LoopaiError",
    "ProgramArtifact",
    "TaskSpecification",
    "__version__",
    "analyze",
    "generate",
    "replay",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
