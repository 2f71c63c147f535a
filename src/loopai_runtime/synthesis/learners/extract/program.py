"""Writing an extraction down: a small function a field, the formats and rules it uses, the tagger as a table."""

from __future__ import annotations

import inspect
import keyword
import re
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis.learners.extract import reading, tagging
from loopai_runtime.synthesis.learners.extract.leaves import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.synthesis.learners.extract.extraction import Extraction, Plan
    from loopai_runtime.synthesis.learners.extract.leaves import Leaf, Path
    from loopai_runtime.synthesis.learners.extract.locate import Change
    from loopai_runtime.synthesis.learners.extract.tagger import Tagger
    from loopai_runtime.synthesis.strategy import Calibration, Problem

_NEEDS = {
    "plain_number": ["plain_number"],
    "whole_number": ["plain_number", "whole_number"],
    "decimal_number": ["plain_number", "decimal_number"],
}


def write(made: Extraction, problem: Problem, calibration: Calibration) -> str:
    """The program's source."""
    names = _names(made.shape.leaves)
    parts = [
        _HEAD.format(
            title=_plain(f"{problem.name}: {problem.description}"),
            imports="\n".join(_imports(made)),
            slope=calibration.slope,
            offset=calibration.offset,
        ),
        _constants(made),
        _formats(made, names),
        _rules(made, names),
        _tagger(made.tagger) if made.tagger else "",
        "\n\n".join(re.sub(r"  # noqa.*", "", inspect.getsource(function)) for function in _functions(made)),
        _UNPACK.format(size=made.tagger.size) if made.tagger else "",
        "\n\n\n".join(_field(plan, name).strip("\n") for plan, name in zip(made.plans, names, strict=True)),
        _main(made, names),
    ]
    return "\n\n".join(part.strip("\n") + "\n" for part in parts if part)


def _names(leaves: Sequence[Leaf]) -> list[str]:
    """A name that a function may have, for each field."""
    taken = {*dir(reading), *dir(tagging), *["run", "score", "explain", "fields", "build"], *keyword.kwlist}
    taken |= {
        "print",
        "list",
        "dict",
        "str",
        "int",
        "min",
        "max",
        "sum",
        "sorted",
        "len",
        "text",
        "texts",
        "values",
    }
    names: list[str] = []
    for leaf in leaves:
        name = re.sub(r"\W|^(?=\d)", "_", "_".join(leaf.path), flags=re.ASCII).strip("_").lower() or "items"
        while name in taken or name in dir(__builtins__):
            name += "_field"
        taken.add(name)
        names.append(name)
    return names


def _imports(made: Extraction) -> list[str]:
    used = ["import math", "import re"]
    if any(plan.change.function == "date_as" for plan in made.plans):
        used.insert(0, "import datetime")
    return [*used, "import struct"] if made.tagger else used


def _plain(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain[:200].replace("\\", "/").replace('"', "'").rstrip(": ")


def _regex(pattern: str) -> str:
    """A pattern as a raw literal where that is possible."""
    if pattern.isprintable() and '"' not in pattern and not pattern.endswith("\\"):
        return f'r"{pattern}"'
    return f"r'{pattern}'" if pattern.isprintable() and "'" not in pattern else repr(pattern)


def _formats(made: Extraction, names: Sequence[str]) -> str:
    out = []
    for at, formats in made.formats.items():
        lines = [
            f"# The formats of {_where(made.paths[at])}, in the order in which they are tried, each with the log"
        ]
        lines += ["# odds that what it reads is right.", f"FORMATS_{at} = ["]
        for one in formats:
            pattern = re.sub(r"\(\?P<f(\d+)>", lambda group: f"(?P<{names[int(group[1])]}>", one.pattern)
            lines.append(f"    # read {one.right} of {one.right + one.wrong} examples that have it rightly")
            lines.append(f"    (re.compile({_regex(pattern)}, re.DOTALL), {one.certainty!r}),")
        out.append("\n".join([*lines, "]"]))
    return "\n".join(out)


def _constants(made: Extraction) -> str:
    """Words that changes of values need to know."""
    used = {plan.change.function for plan in made.plans}
    lines = []
    if "whole_number" in used:
        lines.append(f'NUMBER_WORDS = "{" ".join(reading.NUMBER_WORDS)}".split()')
    if "date_as" in used:
        lines.append(f'MONTHS = "{" ".join(reading.MONTHS)}".split()')
    return "\n".join(lines)


def _where(path: Path) -> str:
    return f"the text {'.'.join(path)!r}" if path else "the input"


def _rules(made: Extraction, names: Sequence[str]) -> str:
    lines = []
    for plan, name in zip(made.plans, names, strict=True):
        if plan.rule:
            lines.append(f"{name.upper()}_RULE = re.compile({_regex(plan.rule.pattern)}, re.DOTALL)")
    return "\n".join(lines)


def _functions(made: Extraction) -> list[Callable[..., Any]]:
    names = ["text_at"]
    if made.formats:
        names.append("read_format")
    for plan in made.plans:
        if plan.rule:
            names.append("parts_of" if plan.rule.cut else "every" if plan.rule.place is None else "nth")
        if plan.change.function != "unchanged":
            names += _NEEDS.get(plan.change.function, [plan.change.function])
    functions: list[Callable[..., Any]] = [getattr(reading, name) for name in dict.fromkeys(names)]
    if made.tagger:
        functions += [tagging.properties, tagging.pairs, tagging.totals, tagging.best_path, tagging.packed]
        functions += [tagging.tagged]
    return functions


def _tagger(model: Tagger) -> str:
    """The weights: a line for each property of a word at a place, with a character a label."""
    lines = []
    for (place, name), row in sorted(model.rows.items(), key=lambda item: (-max(map(abs, item[1])), item[0])):
        lines.append(_escaped(f"{place}{''.join(chr(79 + weight) for weight in row)}{name}"))
    kinds: dict[str, list[str]] = {}
    for word, kind in tagging.KINDS.items():
        kinds.setdefault(kind, []).append(word)
    listed = "\n".join(f"        {kind!r}: {' '.join(words)!r}," for kind, words in kinds.items())
    moves = "\n".join(f"    {row!r}," for row in model.moves)
    return _TABLE.format(
        kinds=listed,
        word=_regex(tagging.WORD.pattern),
        moves=moves,
        rows="\n".join(lines),
        size=model.size,
        places=tagging.PLACES,
        reach=tagging.REACH,
        most=tagging.MOST_WORDS,
    )


def _escaped(text: str) -> str:
    """Text as it stands between three quotes: itself where it prints."""
    return "".join(c if c.isprintable() and c not in '"\\' else repr(c)[1:-1].replace('"', '\\"') for c in text)


def _field(plan: Plan, name: str) -> str:
    """The function of one field."""
    title = f"{plan.leaf.name}: {{}}. Right in {plan.held} of {plan.judged} examples that it had not seen."
    many = plan.leaf.many
    if plan.way == "constant":
        always = "always the same, as most examples have it" if plan.constant is not None else "nothing"
        return _CONSTANT.format(
            name=name,
            doc=_plain(title.format(always)),
            value=repr(plan.constant),
            certainty=plan.certainty,
            how="always the same",
        )
    if plan.way == "tagger":
        every = "all values that the tagger finds" if many else "the first that the tagger finds"
        value = _changed(plan.change, f"tagged[0].get({plan.tag}, [])", many, of_list=True)
        return _TAGGED.format(name=name, doc=_plain(title.format(every)), value=value)
    how, value = _rule(plan, name)
    if plan.way == "rule":
        return _RULE.format(
            name=name,
            doc=_plain(title.format(how)),
            at=plan.text,
            value=value,
            certainty=plan.certainty,
            how=how,
        )
    part = _changed(plan.change, f"read.get({name!r})", many=False, of_list=False)
    return _FORMAT.format(
        name=name,
        doc=_plain(title.format(f"its place in the format, else {how}")),
        at=plan.text,
        part=part,
        value=value,
        how=how,
        certainty=round(plan.certainty - 2, 3),
    )


def _rule(plan: Plan, name: str) -> tuple[str, str]:
    rule = plan.rule
    if rule is None:
        return "nothing", "None"
    what = rule.named or "what its rule finds"
    if rule.cut:
        texts = f"parts_of({name.upper()}_RULE, texts[{plan.text}], {rule.place}, {_regex(rule.cut)})"
        return "the parts of one piece", _changed(plan.change, texts, True, of_list=True)
    if rule.place is None:
        return f"every {what}", _changed(
            plan.change, f"every({name.upper()}_RULE, texts[{plan.text}])", True, of_list=True
        )
    which = {0: "the first", -1: "the last", 1: "the second"}[rule.place]
    found = f"nth({name.upper()}_RULE, texts[{plan.text}], {rule.place})"
    if plan.leaf.many:
        return f"{which} {what}", _changed(plan.change, f"[{found}]", True, of_list=True)
    return f"{which} {what}" if rule.named else f"{what} {_order(rule.place)}", _changed(
        plan.change, found, False, of_list=False
    )


def _order(place: int) -> str:
    return {0: "first", -1: "last", 1: "second"}[place]


def _changed(change: Change, found: str, many: bool, of_list: bool) -> str:
    """An expression for the value of what was found; None where nothing was."""
    more = "".join(f", {argument!r}" for argument in change.arguments)
    call = f"{change.function}(found{more})"
    if many:
        if change.function == "unchanged":
            return f"{found} or None"
        return f"[value for value in [{call} for found in {found}] if value is not None] or None"
    if of_list:
        found = f"({found} or [None])[0]"
    if change.function == "unchanged":
        return found
    return f"next(({call} for found in [{found}] if found is not None), None)"


def _main(made: Extraction, names: Sequence[str]) -> str:
    reads = [f"    found_{at} = read_format(FORMATS_{at}, texts[{at}])" for at in made.formats]
    if made.tagger:
        reads.append('    tagged_words = tagged("\\n".join(texts), TABLES, MOVES)')
    rows = []
    for plan, name in zip(made.plans, names, strict=True):
        more = {"format": f", found_{plan.text}", "tagger": ", tagged_words"}.get(plan.way, "")
        rows.append(
            f"        {plan.leaf.name!r}: {name}({'tagged_words' if plan.way == 'tagger' else 'texts' + more}),"
        )
    texts = "\n".join(f"        text_at(input_data, {path!r})," for path in made.paths)
    return _MAIN.format(
        texts=texts, reads="\n".join(reads) + "\n" if reads else "", rows="\n".join(rows), build=_build(made)
    )


def _build(made: Extraction) -> str:
    """Statements that put an output together."""
    shape = made.shape
    if shape.leaves[0].path == ():
        return f"    return values[{shape.leaves[0].name!r}] or []"
    out = ["    output = {}"]
    _object((), "output", made, out, "    ")
    return "\n".join([*out, "    return output"])


def _object(path: Path, name: str, made: Extraction, out: list[str], indent: str) -> None:
    """Statements that fill the object at a path."""
    size = len(path)
    done = set()
    for leaf in made.shape.leaves:
        if leaf.path[:size] != path or leaf.path[size] in done:
            continue
        key = leaf.path[size]
        done.add(key)
        below = (*path, key)
        if leaf.path != below:
            _inner(below, name, made, out, indent)
            continue
        value = f"values[{leaf.name!r}]"
        if leaf.absent is Absent.MISSING:
            out += [f"{indent}if {value} is not None:", f"{indent}    {name}[{key!r}] = {value}"]
        elif leaf.nothing is None:
            out.append(f"{indent}{name}[{key!r}] = {value}")
        else:
            out.append(f"{indent}{name}[{key!r}] = {leaf.nothing!r} if {value} is None else {value}")


def _inner(path: Path, above: str, made: Extraction, out: list[str], indent: str) -> None:
    """Statements for an object in an object, which may vanish with its fields."""
    name = f"{above}_{len(out)}"
    how = made.shape.vanishing.get(path)
    if how is not None:
        if how is Absent.NULL:
            out.append(f"{indent}{above}[{path[-1]!r}] = None")
        below = [leaf.name for leaf in made.shape.leaves if leaf.path[: len(path)] == path]
        out.append(f"{indent}if any([values[name] is not None for name in {below!r}]):")
        indent += "    "
    out.append(f"{indent}{name} = {above}[{path[-1]!r}] = {{}}")
    _object(path, name, made, out, indent)


_HEAD = '''"""{title}

Reads fields out of text: a function a field. Standard library alone; defines run, score and explain.
"""

{imports}
from typing import Any

# Confidence: how often an output whose least certain field was as certain was right on examples not seen.
SLOPE, OFFSET = {slope!r}, {offset!r}
'''

_TABLE = '''# The tagger: weights, and a search for the best labels. Label 0 is outside of every field,
# 2f+1 begins field f, 2f+2 goes on with it.
WORD = re.compile({word})
PLACES = {places}
REACH = {reach}
MOST_WORDS = {most}
LIFT = 1 << 27  # keeps lanes above zero while they are added
KINDS = {{
    word: kind
    for kind, words in {{
{kinds}
    }}.items()
    for word in words.split()
}}
# How well each label follows each; the last row is for the first word.
MOVES = [
{moves}
]
# A line: a place (2: the word itself, 3 and 4: a word before, 1 and 0: a word after, 5: a pair), a character for
# each label (its code less 79 is the weight), and what the word shows. The strongest first.
ROWS = """
{rows}
"""
'''

_UNPACK = """
TABLES = packed(
    {{
        (int(row[0]), row[1 + {size} :]): [ord(sign) - 79 for sign in row[1 : 1 + {size}]]
        for row in ROWS[1:-1].split("\\n")
    }},
    {size},
)
"""

_CONSTANT = '''
def {name}(texts: Any) -> Any:
    """{doc}"""
    return {value}, {certainty!r}, {how!r}
'''

_TAGGED = '''
def {name}(tagged: Any) -> Any:
    """{doc}"""
    return {value}, round(tagged[1], 3), "tagger"
'''

_RULE = '''
def {name}(texts: Any) -> Any:
    """{doc}"""
    return {value}, {certainty!r}, {how!r}
'''

_FORMAT = '''
def {name}(texts: Any, found: Any) -> Any:
    """{doc}"""
    read, certainty, place = found
    if read is not None:
        return {part}, certainty, place
    return {value}, {certainty!r}, {how!r}
'''

_MAIN = '''
def fields(input_data: Any) -> Any:
    """Each field's value, or None; how certain it is, in log odds; and what read it."""
    texts = [
{texts}
    ]
{reads}    return {{
{rows}
    }}


def build(values: Any) -> Any:
    """The output; what has no value is shown as the examples show it."""
{build}


def score(input_data: Any) -> Any:
    """The output, and the probability that all of it is right."""
    read = fields(input_data)
    least = min([certainty for _, certainty, _ in read.values()])
    odds = max(-30.0, min(30.0, SLOPE * least + OFFSET))
    return build({{name: value for name, (value, _, _) in read.items()}}), 1 / (1 + math.exp(-odds))


def run(input_data: Any) -> Any:
    """The output."""
    return score(input_data)[0]


def explain(input_data: Any) -> Any:
    """For each field the value, the rule that gave it, and its certainty, as log odds."""
    return [
        {{"field": name, "value": value, "rule": how, "certainty": certainty}}
        for name, (value, certainty, how) in fields(input_data).items()
    ]
'''
