"""The language that programs may be written in: names, methods, imports. Runs inside the sandbox.

A program has no classes of its own, cannot set an attribute, and reads only the attributes listed here, so
every object it can reach is one that this page offers. Each entry must be harmless on *every* such object,
because the policy decides at compile time and cannot know types. `docs/security.md` gives the reasons.
"""

from __future__ import annotations

import builtins

READ_METHODS = frozenset({"get", "keys", "values", "items", "copy", "index", "count"})
"""Methods of dict, list and tuple that neither change their object nor hand it out."""

METHODS = READ_METHODS | frozenset(
    # str and bytes; never `format` and `format_map`, which read attributes named by their data
    "capitalize casefold center decode encode endswith expandtabs find isalnum isalpha isascii isdecimal "
    "isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip "
    "maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split "
    "splitlines startswith strip swapcase title translate upper zfill fromhex hex "
    # list, dict, set, deque, Counter, OrderedDict, defaultdict
    "add append appendleft clear discard extend extendleft fromkeys insert pop popitem popleft remove reverse "
    "rotate setdefault sort update most_common elements subtract total move_to_end maxlen "
    "difference difference_update intersection intersection_update isdisjoint issubset issuperset "
    "symmetric_difference symmetric_difference_update union "
    # int, float, Decimal, Fraction
    "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real "
    "to_bytes adjusted as_tuple compare exp is_finite is_infinite is_nan is_signed is_zero ln log10 max min "
    "normalize quantize scaleb sqrt to_integral_value limit_denominator from_float from_decimal "
    # re.Pattern and re.Match
    "end endpos expand findall finditer flags fullmatch group groupdict groupindex groups lastgroup lastindex "
    "match pattern pos search span start string sub subn "
    # datetime, date, time, timedelta, timezone; never `now`, `today`, `utcnow`: a program has no clock
    "astimezone combine ctime date datetime day days fold fromisocalendar fromisoformat fromordinal "
    "fromtimestamp hour isocalendar isoformat isoweekday microsecond microseconds minute month second seconds "
    "strftime strptime time timedelta timestamp timetz timezone toordinal total_seconds tzinfo tzname utc "
    "utcoffset week weekday year "
    # struct.Struct, hashes, itertools.chain
    "pack unpack unpack_from iter_unpack size digest hexdigest from_iterable".split()
)
"""Every attribute that a program may read from a value (facades have their own lists)."""

_FUNCTIONS = [
    "abs",
    "all",
    "any",
    "ascii",
    "bin",
    "bool",
    "bytes",
    "callable",
    "chr",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "frozenset",
    "hex",
    "int",
    "isinstance",
    "iter",
    "len",
    "list",
    "map",
    "max",
    "min",
    "next",
    "oct",
    "ord",
    "pow",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "slice",
    "sorted",
    "str",
    "sum",
    "tuple",
    "zip",
]

_EXCEPTIONS = [
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "Exception",
    "IndexError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "NameError",
    "NotImplementedError",
    "OverflowError",
    "RecursionError",
    "RuntimeError",
    "StopIteration",
    "TypeError",
    "UnboundLocalError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
    "ValueError",
    "ZeroDivisionError",
]


def _print(*_values: object, **_options: object) -> None:
    """A program's print goes nowhere."""


BUILTINS: dict[str, object] = {
    **{name: getattr(builtins, name) for name in (*_FUNCTIONS, *_EXCEPTIONS)},
    "print": _print,
}

MATCHABLE = frozenset(["bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"])
"""Classes of a `case str():` or `case str(text):`; others would read attributes by name."""

NODE_HINTS = {
    "ClassDef": "write functions, and dicts or tuples for records",
    "With": "there is nothing to open in a program; use try/finally",
    "AsyncFunctionDef": "write a plain function",
    "AsyncFor": "write a plain for",
    "AsyncWith": "there is nothing to open in a program",
    "Await": "call a plain function",
    "Global": "a program keeps nothing between calls; pass values and return them",
    "TryStar": "write except",
    "TypeAlias": "leave it out",
    "TemplateStr": "write an f-string",
}

NAME_HINTS = {
    "open": "a program has no files: put the data into constants",
    "input": "the input arrives as run's argument",
    "eval": "use json.loads, int or float",
    "exec": "write the code out",
    "compile": "use re.compile for patterns",
    "getattr": "name the attribute, or use a dict",
    "setattr": "use a dict",
    "hasattr": "use isinstance, or a dict and `in`",
    "delattr": "use a dict",
    "type": "use isinstance",
    "id": "compare values",
    "hash": "it differs between processes; use zlib.crc32 or hashlib.blake2b",
    "globals": "use a dict",
    "locals": "use a dict",
    "vars": "use a dict",
    "dir": "use a dict",
    "format": "write an f-string",
    "bytearray": "use bytes, or a list of int",
    "memoryview": "slice bytes",
    "object": "use None or a string as a marker",
    "super": "write functions",
    "property": "write functions",
    "classmethod": "write functions",
    "staticmethod": "write functions",
    "complex": "use a pair of float",
    "exit": "return from run",
    "quit": "return from run",
}

METHOD_HINTS = {
    "format": "write an f-string",
    "format_map": "write an f-string",
    "now": "a program has no clock: take the time from its input",
    "today": "a program has no clock: take the date from its input",
    "utcnow": "a program has no clock: take the time from its input",
    "utcfromtimestamp": "use fromtimestamp(seconds, timezone.utc)",
    "args": "use str(error)",
    "with_traceback": "raise the error itself",
    "add_note": "put it into the message",
    "send": "call a function with the value",
    "throw": "return a marker",
    "close": "let the generator end",
    "maps": "use dicts",
}

MODULE_HINTS = {
    "os": "a program has no files, processes or environment",
    "sys": "a program has no interpreter to ask",
    "random": "a program answers the same every time; choose by zlib.crc32 of the input",
    "time": "a program has no clock: take the time from its input",
    "dataclasses": "use dicts or tuples",
    "enum": "use string constants",
    "logging": "a program's messages go nowhere",
}
