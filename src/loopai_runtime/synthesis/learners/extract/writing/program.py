"""A program from top to bottom."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract import reading
from loopai_runtime.synthesis.learners.extract.recognise import RECOGNISERS
from loopai_runtime.synthesis.learners.extract.writing import names, table
from loopai_runtime.synthesis.learners.extract.writing.names import plain
from loopai_runtime.synthesis.learners.extract.writing.section import Section

if TYPE_CHECKING:
    from loopai_runtime.synthesis.learners.extract.extraction import Extraction
    from loopai_runtime.synthesis.strategy import Calibration, Problem


def write(made: Extraction, problem: Problem, calibration: Calibration) -> str:
    """The program's source."""
    whole = Section(made)
    called = [getattr(reading, name) for name in dict.fromkeys(["text_at", *whole.helpers()])]
    called += table.FUNCTIONS if made.tagger else []
    parts = [
        _HEAD.format(
            title=plain(f"{problem.name}: {problem.description}"),
            imports="\n".join(_imports(whole)),
            slope=calibration.slope,
            offset=calibration.offset,
        ),
        _words(whole),
        _things(whole),
        whole.constants(),
        table.constants(made.tagger) if made.tagger else "",
        *["\n" + re.sub(r"  # noqa.*", "", inspect.getsource(function)) for function in called],
        table.unpacking(made.tagger) if made.tagger else "",
        "\n" + whole.functions(),
        "\n" + whole.reading(),
        "\n" + whole.building(),
        _MAIN.format(texts="\n".join(f"        text_at(input_data, {names.path(path)})," for path in made.paths)),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part.strip())


def _imports(whole: Section) -> list[str]:
    used = ["import math", "import re"]
    if "date_as" in whole.changes():
        used.insert(0, "import datetime")
    return used


def _words(whole: Section) -> str:
    """Words that changes of values need to know."""
    used = whole.changes()
    lines = []
    if "whole_number" in used:
        lines.append(f'NUMBER_WORDS = """{textwrap.fill(" ".join(reading.NUMBER_WORDS), 100)}""".split()')
    if "date_as" in used:
        lines.append(f'MONTHS = "{" ".join(reading.MONTHS)}".split()')
    return "\n".join(lines)


def _things(whole: Section) -> str:
    """Patterns of the known kinds of things that rules look for."""
    lines = []
    for name, pattern in RECOGNISERS.items():
        if name in whole.recognisers():
            kinds = [f"    {names.regex(kind)}" for kind in names.alternatives(f"(?:{pattern})")]
            one_line = f"{names.constant(name)} = {kinds[0].strip()}"
            lines += [one_line] if len(kinds) == 1 else [f"{names.constant(name)} = (", *kinds, ")"]
    return "\n".join(lines)


_HEAD = '''"""{title}

Reads fields out of text: a function a field. Standard library alone; defines run, score and explain.
"""

{imports}
from typing import Any

# Confidence: how often an output whose least certain field was as certain was right on examples not seen.
SLOPE, OFFSET = {slope!r}, {offset!r}
'''

_MAIN = '''
def texts_of(input_data: Any) -> Any:
    """The texts that fields are read from."""
    return [
{texts}
    ]


def score(input_data: Any) -> Any:
    """The output, and the probability that all of it is right."""
    read = fields(texts_of(input_data))
    least = min([certainty for _, certainty, _ in read.values()])
    odds = max(-30.0, min(30.0, SLOPE * least + OFFSET))
    return build({{name: value for name, (value, _, _) in read.items()}}), 1 / (1 + math.exp(-odds))


def run(input_data: Any) -> Any:
    """The output."""
    return score(input_data)[0]


def explain(input_data: Any) -> Any:
    """For each field the value, the rule that gave it, and its certainty, as log odds."""
    return [
        {{
            "field": name,
            "value": value,
            "rule": how if value is not None else "absent: " + how,
            "certainty": certainty,
        }}
        for name, (value, certainty, how) in fields(texts_of(input_data)).items()
    ]
'''
