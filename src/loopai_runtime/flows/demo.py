"""The whole main job on a packaged task, for somebody who has just installed the package."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.files import make_dir
from loopai_runtime.flows.execute import Executor, Request
from loopai_runtime.flows.generate import generate
from loopai_runtime.flows.measure import open_pool
from loopai_runtime.flows.sample import sampling_of
from loopai_runtime.synthesis.specfile import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopai_runtime.config import Config
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.flows.generated import Generated
    from loopai_runtime.layout import Layout

# A small hosted model, as an assumption that is printed with the sum: dollars a million tokens.
PRICE_IN, PRICE_OUT = 0.15, 0.60
PROMPT_TOKENS, ANSWER_TOKENS = 200, 5
CHARACTERS_A_TOKEN = 4
CALLS_A_DAY = 1_000_000


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration did: where its files are, what it made, and what a few inputs came to."""

    folder: Path
    made: Generated
    results: list[tuple[object, Result]]
    llm_usd_a_month: float

    def places(self, layout: Layout) -> dict[str, Path]:
        """Where everything landed."""
        task_id, version = self.made.artifact.task_id, self.made.artifact.version
        return {
            "specification": self.folder / "spec.yaml",
            "program": layout.version(task_id, version) / "program.py",
            "metadata": layout.version(task_id, version) / "metadata.json",
            "execution log": layout.executions(task_id),
        }


def demo(folder: Path, layout: Layout, config: Config, progress: Callable[[str, float | None], None]) -> Demo:
    """Copy the packaged task to `folder`, generate its program below `layout`, and run its inputs."""
    make_dir(folder)
    with as_file(files("loopai_runtime") / "templates" / "demo") as source:
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)
    made = generate(load(str(folder / "spec.yaml")), layout, config, lock_timeout_s=60, progress=progress)
    with (folder / "inputs.jsonl").open("rb") as file:
        values = [jsonl.loads(line.raw) for line in jsonl.lines(file)]
    stored = ArtifactStore(layout).read(f"{made.artifact.task_id}@{made.artifact.version}")
    with open_pool(config, workers=1) as pool:
        executor = Executor(
            pool,
            stored,
            config,
            deployment_id=layout.deployment_id(config),
            sampling=sampling_of(stored.artifact, config, layout),
            log=ExecutionLog(layout),
        )
        results = list(zip(values, executor.run_all(Request(value) for value in values), strict=True))
    return Demo(folder, made, results, llm_cost([example.input for example in made.examples.examples]))


def llm_cost(inputs: list[object]) -> float:
    """Dollars a month for asking a small hosted model a million times a day about inputs like these."""
    characters = sum(len(jsonl.dumps(value)) for value in inputs) / len(inputs)
    a_call = (PROMPT_TOKENS + characters / CHARACTERS_A_TOKEN) * PRICE_IN + ANSWER_TOKENS * PRICE_OUT
    return a_call / 1_000_000 * CALLS_A_DAY * 30
