"""What a language model adds at few examples, played by writers whose quality is known: `python -m tests.bench.writer`.

A perfect writer answers every prompt with a program made from the whole training set; a memorising one with a table of
the examples that its prompt shows; a silent one says nothing. For each set: accuracy on test rows of the offline
program, and of what generate ends with beside each writer. No network: a scripted server on loopback, real litellm.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import shared_data
from tests.bench.synthesis import SETS, problem_of, some

from loopai_runtime.config import Config
from loopai_runtime.flows.generate import Ask, generate
from loopai_runtime.flows.generated import Generated
from loopai_runtime.layout import Layout
from loopai_runtime.synthesis.specfile import load
from loopai_runtime.synthesis.synthesize import synthesize
from loopai_runtime.testing import ScriptedLLM

Rows = list[dict[str, Any]]


def made(name: str, given: Rows, script: Callable[[dict[str, Any]], str] | None) -> Generated:
    card = shared_data.card(name)
    folder = Path(tempfile.mkdtemp())
    with ScriptedLLM(script or ["nothing"]) as llm:
        spec = {
            "name": "bench",
            "description": name.replace("_", " "),
            "input_schema": card["input_schema"],
            "output_schema": card["output_schema"],
            "examples": given,
            "generate": {"api_base": llm.api_base},
        }
        (folder / "spec.yaml").write_text(json.dumps(spec), encoding="utf-8")
        config = Config.load(data_dir=folder / "data", environ={})
        ask = Ask(model="openai/scripted" if script else None)
        return generate(load(folder / "spec.yaml"), Layout(folder / "data"), config, ask)


def perfect(name: str) -> Callable[[dict[str, Any]], str]:
    train = some(shared_data.rows(name, "train"), 3000, 1)
    code = synthesize(problem_of(name, train), strategy="ml", seed=0).code
    return lambda _body: f"```python\n{code}\n```"


def memorising(body: dict[str, Any]) -> str:
    """A table of the examples that the prompt shows, and the first output for anything else."""
    text = body["messages"][1]["content"]
    found = re.search(r"<(examples-[0-9a-f]{8})>\n(.*?)\n</\1>", text, re.DOTALL)
    rows = [json.loads(line) for line in found[2].split("\n")] if found else []
    table = {json.dumps(row["input"], sort_keys=True): row["output"] for row in rows}
    other = rows[0]["output"] if rows else None
    return (
        f"```python\nimport json\n\nTABLE = {table!r}\n\n\ndef answer(input_data):\n"
        f"    key = json.dumps(input_data, sort_keys=True)\n    return TABLE.get(key, {other!r}), 0.9, 'table'\n```"
    )


def accuracy(code: str, test: Rows) -> float:
    program: dict[str, Any] = {}
    exec(compile(code, "program.py", "exec"), program)
    return sum(program["run"](row["input"]) == row["output"] for row in test) / len(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=SETS)
    arguments = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "x")
    print("| set | offline | perfect writer | learner | memorising writer | learner |\n|---|---|---|---|---|---|")
    for name in arguments.sets:
        given, test = (
            some(shared_data.rows(name, "train"), arguments.rows, 0),
            shared_data.rows(name, "test")[:1000],
        )
        alone = made(name, given, None)
        cells = [f"{accuracy(alone.synthesis.code, test):.3f}"]
        for script in (perfect(name), memorising):
            one = made(name, given, script)
            cells += [f"{accuracy(one.synthesis.code, test):.3f}", one.artifact.learner]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
