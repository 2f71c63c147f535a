"""The function of one field: its value, how certain it is, and what read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract.writing.names import plain, quoted, regex

if TYPE_CHECKING:
    from loopai_runtime.synthesis.learners.extract.extraction import Plan
    from loopai_runtime.synthesis.learners.extract.locate import Change

_AS = {
    "whole_number": "as an integer",
    "decimal_number": "as a number",
    "plain_number": "as a plain number",
    "truth": "as true or false",
    "date_as": "as a date",
    "digits": "its digits",
    "lower": "in small letters",
    "upper": "in capitals",
    "capitalised": "capitalised",
    "one_spaced": "with single spaces",
}
_ORDER = {0: "first", -1: "last", 1: "second"}


def function(plan: Plan, name: str) -> str:
    """The field's function, by the way in which it is read."""
    if plan.records is not None:
        return _records(plan, name)
    if plan.way == "constant":
        how = "always the same, as most examples have it" if plan.constant is not None else "nothing"
        return _simple(plan, name, how, "always the same", repr(plan.constant))
    if plan.way == "tagger":
        how = "all values that the tagger finds" if plan.leaf.many else "the first that the tagger finds"
        value = changed(plan.change, f"tagged[0].get({plan.tag}, [])", plan.leaf.many, of_list=True)
        return _TAGGED.format(name=name, doc=_doc(plan, how), value=value)
    how, value = rule(plan, name)
    how = _told(plan, how)
    if plan.way == "rule":
        return _simple(plan, name, how, how, value)
    told = f" + {quoted(_told(plan, ''))}" if plan.change.function in _AS else ""
    return _FORMAT.format(
        name=name,
        told=told,
        doc=_doc(plan, f"its place in the format, else {how}"),
        part=changed(plan.change, f"read.get({quoted(name)})", many=False, of_list=False),
        value=value,
        how=quoted(how),
        certainty=round(plan.certainty - 2, 3),
    )


def _told(plan: Plan, how: str) -> str:
    """What read a value, and what was made of it."""
    return f"{how}, {_AS[plan.change.function]}" if plan.change.function in _AS else how


def _doc(plan: Plan, how: str) -> str:
    return plain(f"{plan.leaf.name}: {how}. Right in {plan.held} of {plan.judged} examples that it had not seen.")


def _simple(plan: Plan, name: str, doc: str, how: str, value: str) -> str:
    return _SIMPLE.format(name=name, doc=_doc(plan, doc), value=value, certainty=plan.certainty, how=quoted(how))


def _records(plan: Plan, name: str) -> str:
    """The function of a list of objects; those of an object's fields begin with the list's name."""
    made = plan.records
    assert made is not None
    text = f"texts[{plan.text}]"
    if made.region is not None:
        text = f'nth({name.upper()}_REGION, {text}, {made.region.place}) or ""'
    test = f"all([read[field][0] is not None for field in {name.upper()}_NEEDED])"
    if made.strict:
        test = f"read_format({name.upper()}_FORMATS, piece)[0] and {test}"
    return _RECORDS.format(
        name=name,
        upper=name.upper(),
        doc=_doc(plan, "a record for each piece that has one"),
        text=text,
        test=test,
        certainty=plan.certainty,
    )


def rule(plan: Plan, name: str) -> tuple[str, str]:
    """What a field's own rule finds, in words and as an expression."""
    one, many = plan.rule, plan.leaf.many
    if one is None:
        return "nothing", "None"
    what, text, pattern = one.named or "what its rule finds", f"texts[{plan.text}]", f"{name.upper()}_RULE"
    if one.cut:
        found = f"parts_of({pattern}, {text}, {one.place}, {regex(one.cut)})"
        return "the parts of one piece", changed(plan.change, found, True, of_list=True)
    if one.place is None:
        return f"every {what}", changed(plan.change, f"every({pattern}, {text})", True, of_list=True)
    order, found = _ORDER[one.place], f"nth({pattern}, {text}, {one.place})"
    if many:
        return f"the {order} {what}", changed(plan.change, f"[{found}]", True, of_list=True)
    how = f"the {order} {what}" if one.named else f"{what} {order}"
    return how, changed(plan.change, found, False, of_list=False)


def changed(change: Change, found: str, many: bool, of_list: bool) -> str:
    """An expression for the value of what was found; None where nothing was."""
    more = "".join(f", {quoted(argument)}" for argument in change.arguments)
    call = f"{change.function}(found{more})"
    if many:
        if change.function == "unchanged":
            return f"{found} or None"
        return f"[value for value in [{call} for found in {found}] if value is not None] or None"
    if of_list:
        found = f"({found} or [None])[0]"
    return found if change.function == "unchanged" else f"made({change.function}, {found}{more})"


_SIMPLE = '''
def {name}(texts: Any) -> Any:
    """{doc}"""
    return {value}, {certainty!r}, {how}
'''

_TAGGED = '''
def {name}(tagged: Any) -> Any:
    """{doc}"""
    return {value}, round(tagged[1], 3), "tagger"
'''

_FORMAT = '''
def {name}(texts: Any, found: Any) -> Any:
    """{doc}"""
    read, certainty, place = found
    if read is not None:
        return {part}, certainty, place{told}
    return {value}, {certainty!r}, {how}
'''

_RECORDS = '''
def {name}(texts: Any) -> Any:
    """{doc}"""
    records = []
    for piece in {upper}_CUT.split({text}):
        read = {name}_fields([piece])
        if {test}:
            records.append({name}_build({{field: value for field, (value, _, _) in read.items()}}))
    return records or None, {certainty!r}, "a record for each piece"
'''
