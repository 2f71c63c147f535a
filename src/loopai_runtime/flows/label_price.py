"""What an answer of a task's oracle costs: as the deployment says, as its kind says, or as the ledger has it."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from loopai_runtime import ledger
from loopai_runtime.datasets import stats
from loopai_runtime.errors import SpecError
from loopai_runtime.flows import oracles
from loopai_runtime.flows.costs import MONTH_DAYS, ONE_INPUT

if TYPE_CHECKING:
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import ProgramArtifact

UNKNOWN = (
    "sampling.max_usd_per_month does not limit the rate yet, as nobody knows what an answer of the oracle costs: "
    "set sampling.usd_per_label, or let a model be asked (loopai validate), which is measured"
)


def usd_per_label(artifact: ProgramArtifact, config: Config, layout: Layout) -> float | None:
    """US dollars; None where nobody knows. A model's price is the mean of what its calls have cost in the last
    month, times those that one answer takes. Raises StorageError."""
    if config.sampling.usd_per_label is not None:
        return config.sampling.usd_per_label
    try:
        oracle = oracles.chosen(oracles.task_spec(layout, artifact), config)
    except SpecError:
        return None
    if oracle is None:
        return None
    if oracle.kind in ("labels", "human"):
        return 0.0
    if oracle.kind in ("http", "command"):
        return oracle.usd_per_call if oracle.batch == 1 else None
    took = [
        entry.usd
        for entry in ledger.read(layout, stats.last_days(MONTH_DAYS))
        if entry.task_id == artifact.task_id
        and entry.purpose in ONE_INPUT
        and entry.model == oracle.model
        and entry.state == "spent"
    ]
    return fmean(took) * oracle.n if took else None
