"""cvc5 on the SyGuS tasks, in the grammar of its competition track: `python -m tests.bench.transform --cvc5 10`.

Each task is a process of its own with a time limit, `python -m tests.bench.sygus FILE`, which reads the constraints
and prints what the function that was found gives for every input. Needs `pip install cvc5`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.transform import Task

_GRAMMAR = """((S String) (I Int) (B Bool))
  ((S String ({arguments} {constants} (str.++ S S) (str.replace S S S) (str.at S I) (str.from_int I)
     (ite B S S) (str.substr S I I)))
   (I Int (0 1 2 (+ I I) (- I I) (str.len S) (str.to_int S) (ite B I I) (str.indexof S S I)))
   (B Bool (true false (= I I) (str.prefixof S S) (str.suffixof S S) (str.contains S S))))"""


def problem(rows: Sequence[Sequence[str]], outputs: Sequence[str], constants: Sequence[str]) -> str:
    """The task as SyGuS-IF."""
    names = [f"x{at}" for at in range(len(rows[0]))]
    grammar = _GRAMMAR.format(arguments=" ".join(names), constants=" ".join(map(_literal, constants)))
    arguments = " ".join(f"({name} String)" for name in names)
    lines = ["(set-logic SLIA)", f"(synth-fun f ({arguments}) String {grammar})"]
    for row, output in zip(rows, outputs, strict=True):
        lines.append(f"(constraint (= (f {' '.join(map(_literal, row))}) {_literal(output)}))")
    return "\n".join([*lines, "(check-synth)", ""])


def _literal(text: str) -> str:
    coded = re.sub(r"[^ -~]|\\", lambda found: f"\\u{{{ord(found.group()):x}}}", text)
    return '"' + coded.replace('"', '""') + '"'


def solve(path: str) -> None:
    """Read {"problem", "rows"}, print the outputs of the function that was found as a JSON list."""
    import cvc5

    asked = json.loads(Path(path).read_text(encoding="utf-8"))
    found = _said(cvc5, cvc5.InputLanguage.SYGUS_2_1, asked["problem"], {"sygus": "true"})
    function = re.fullmatch(r"\(\s*(\(define-fun f .*\))\s*\)", found.strip(), re.DOTALL)
    if function is None:
        return
    names = [f"y{at}" for at in range(len(asked["rows"]))]
    calls = [
        f"(define-fun {y} () String (f {' '.join(map(_literal, row))}))"
        for y, row in zip(names, asked["rows"], strict=True)
    ]
    lines = "\n".join(
        ["(set-logic ALL)", function[1], *calls, "(check-sat)", *(f"(get-value ({y}))" for y in names)]
    )
    said = _said(cvc5, cvc5.InputLanguage.SMT_LIB_2_6, lines, {"produce-models": "true"})
    given = re.findall(r'"((?:[^"]|"")*)"', said)
    plain = [re.sub(r"\\u\{([0-9a-f]+)\}", lambda code: chr(int(code[1], 16)), text) for text in given]
    print(json.dumps([text.replace('""', '"') for text in plain]))


def _said(cvc5: Any, language: Any, text: str, options: dict[str, str]) -> str:
    """What the solver prints for a file."""
    solver = cvc5.Solver(cvc5.TermManager())
    for name, value in options.items():
        solver.setOption(name, value)
    parser = cvc5.InputParser(solver)
    parser.setStringInput(language, text, "task")
    symbols = parser.getSymbolManager()
    said = []
    while not (command := parser.nextCommand()).isNull():
        said.append(str(command.invoke(solver, symbols) or ""))
    return "".join(said)


def beside(tasks: Sequence[Task], consts: dict[str, list[str]], seconds: float) -> None:
    """The table: fits all examples, and right on all from the first three."""
    print(f"\n| cvc5, {seconds:g} s a task | tasks | solved % | right on all rows % |\n|---|---|---|---|")
    for name, n in (("all examples", None), ("first 3", 3)):
        solved = right = 0
        for task in tasks:
            outputs = _answers(task, consts.get(task.name, []), n, seconds)
            solved += outputs is not None
            right += outputs == task.outputs
        print(
            f"| {name} | {len(tasks)} | {100 * solved / len(tasks):.1f} | {100 * right / len(tasks):.1f} |",
            flush=True,
        )


def _answers(task: Task, constants: Sequence[str], n: int | None, seconds: float) -> list[str] | None:
    rows: list[list[str]] = [list(one.values()) if isinstance(one, dict) else [one] for one in task.inputs]
    asked = {"problem": problem(rows[:n], task.outputs[:n], constants), "rows": rows}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(asked, file)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.sygus", file.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
    answers: Any = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None
    return answers


if __name__ == "__main__":
    solve(sys.argv[1])
