"""The parts of a program that read one object: the whole output, or, with a prefix to all names, one of a list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract.writing import build, field, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.synthesis.learners.extract.extraction import Extraction

_NEEDS = {
    "whole_number": ["plain_number", "whole_number"],
    "decimal_number": ["plain_number", "decimal_number"],
}


@dataclass(frozen=True)
class Section:
    """An extraction and the prefix of its names."""

    made: Extraction
    prefix: str = ""

    @cached_property
    def names(self) -> list[str]:
        return names.functions(self.made.shape.leaves, self.prefix)

    @cached_property
    def inner(self) -> list[Section]:
        """Those of objects in lists."""
        plans = zip(self.made.plans, self.names, strict=True)
        return [Section(plan.records.inner, f"{name}_") for plan, name in plans if plan.records]

    def constants(self) -> str:
        """Formats and rules."""
        lines = [line for at in self.made.formats for line in self._formats(at)]
        for plan, name in zip(self.made.plans, self.names, strict=True):
            if plan.rule:
                lines.append(f"{name.upper()}_RULE = re.compile({names.recognised(plan.rule.pattern)}, re.DOTALL)")
            if plan.records:
                lines.append("# Where a record ends and the next begins, and the fields that every record has.")
                lines.append(f"{name.upper()}_CUT = re.compile({names.regex(plan.records.cut)})")
                needed = ", ".join(map(names.quoted, plan.records.required))
                lines.append(f"{name.upper()}_NEEDED = [{needed}]")
                if region := plan.records.region:
                    lines.append(f"{name.upper()}_REGION = re.compile({names.regex(region.pattern)}, re.DOTALL)")
        return "\n".join([*lines, *[inner.constants() for inner in self.inner]])

    def recognisers(self) -> set[str]:
        """The kinds of things that rules look for, by name."""
        known = {name for plan in self.made.plans if plan.rule for name in names.recognisers(plan.rule.pattern)}
        return known.union(*[inner.recognisers() for inner in self.inner])

    def _formats(self, at: int) -> Iterator[str]:
        what = "a piece" if self.prefix else names.where(self.made.paths[at])
        yield f"# The formats of {what}, as they are tried, a field and what follows it a line; and"
        yield "# the log odds that what is read is right."
        yield f"{self.formats_name(at)} = ["
        for one in self.made.formats[at]:
            pattern = names.groups(one.pattern, dict(enumerate(self.names)))
            yield f"    # read {one.right} of {one.right + one.wrong} examples that have it rightly"
            lines = [f"            {names.regex(part)}" for part in names.parts(f"(?s){pattern}")]
            yield "\n".join(
                ["    (", "        re.compile(", *lines, "        ),", f"        {one.certainty!r},", "    ),"]
            )
        yield "]"

    def formats_name(self, at: int) -> str:
        return f"{self.prefix.upper()}FORMATS" + ("" if len(self.made.paths) == 1 else f"_{at}")

    def helpers(self) -> list[str]:
        """The functions of `reading` that are called, by name."""
        found = ["read_format"] if self.made.formats else []
        for plan in self.made.plans:
            if plan.rule:
                found.append("parts_of" if plan.rule.cut else "every" if plan.rule.place is None else "nth")
            if plan.records and plan.records.region:
                found.append("nth")
            function = plan.change.function
            if plan.way != "constant" and function != "unchanged":
                found += [*_NEEDS.get(function, [function]), *([] if plan.leaf.many else ["made"])]
        return found + [name for inner in self.inner for name in inner.helpers()]

    def changes(self) -> set[str]:
        """The changes of values."""
        return {plan.change.function for plan in self.made.plans}.union(*[inner.changes() for inner in self.inner])

    def functions(self) -> str:
        """A function for each field, those of inner objects before."""
        parts = []
        for inner in self.inner:
            parts += [inner.functions(), inner.reading(), inner.building()]
        for plan, name in zip(self.made.plans, self.names, strict=True):
            parts.append(field.function(plan, name).strip("\n"))
        return "\n\n\n".join(parts)

    def reading(self) -> str:
        """The function that reads all fields."""
        lines = [f"    found_{at} = read_format({self.formats_name(at)}, texts[{at}])" for at in self.made.formats]
        if self.made.tagger:
            lines.append('    tagged_words = tagged("\\n".join(texts), TABLES)')
        rows = []
        for plan, name in zip(self.made.plans, self.names, strict=True):
            given = {"format": f"texts, found_{plan.text}", "tagger": "tagged_words"}.get(plan.way, "texts")
            rows.append(f"        {names.quoted(plan.leaf.name)}: {name}({given}),")
        head = _FIELDS.format(prefix=self.prefix)
        return "\n".join([head, *lines, "    return {", *rows, "    }"])

    def building(self) -> str:
        """The function that puts an object together."""
        return _BUILD.format(prefix=self.prefix, body=build.body(self.made.shape))


_FIELDS = '''def {prefix}fields(texts: Any) -> Any:
    """Each field's value, or None; how certain it is, in log odds; and what read it."""'''

_BUILD = '''def {prefix}build(values: Any) -> Any:
    """The object; what has no value is shown as the examples show it."""
{body}'''
