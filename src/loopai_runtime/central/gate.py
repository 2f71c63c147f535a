"""The platform's regression gate: what a version that was written here changes for better and worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.artifacts import archive
from loopai_runtime.errors import NotFound
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.regression import Gain, Regression, answers_of, chosen, flips_of, rightness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.central.platform import Platform
    from loopai_runtime.synthesis.examples import Example
    from loopai_runtime.synthesis.specfile import Loaded


def regression_of(
    platform: Platform,
    tenant_id: str,
    base: int,
    loaded: Loaded,
    written: Stored,
    examples: Sequence[Example],
    held: Sequence[tuple[Example, bool]],
) -> Regression:
    """Put both versions to `examples`, and the new one to what was `held` back, each with whether `base` had it
    right. Where the platform does not have `base`, what is held alone decides. Raises PolicyRefused, StorageError.
    """
    config, right, gold = platform.config, rightness(loaded), chosen(examples)
    timeout_ms = config.timeout_ms(loaded.spec.timeout_ms)
    before = _code(platform, tenant_id, written.artifact.task_id, base)
    with open_pool(config, workers=1) as pool:
        new = answers_of(pool, written.code, timeout_ms, config, [*gold, *(one for one, _ in held)])
        old = answers_of(pool, before, timeout_ms, config, gold) if before is not None else None
    flips = flips_of(gold, old, new[: len(gold)], right) if old is not None else []
    now = [right(outcome, one.output) for outcome, (one, _) in zip(new[len(gold) :], held, strict=True)]
    fixed = sum(is_right and not was for is_right, (_, was) in zip(now, held, strict=True))
    broken = sum(was and not is_right for is_right, (_, was) in zip(now, held, strict=True))
    return Regression(len(gold) if old is not None else 0, flips, Gain(len(held), fixed, broken))


def _code(platform: Platform, tenant_id: str, task_id: str, version: int) -> str | None:
    try:
        content = platform.repository.read(tenant_id, task_id, version)
    except NotFound:
        return None
    return archive.unzip(content, f"{task_id} v{version}").code
