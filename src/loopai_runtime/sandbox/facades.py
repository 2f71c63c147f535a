"""What `import re` gives a program: named functions and constants, never a module. Runs inside the sandbox.

Every facade is built once, in the template. A member must be harmless on any argument a program can make
(which has no class of its own to pass), keep nothing between calls, and read no clock, file or locale.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import collections
import datetime
import decimal
import fractions
import functools
import hashlib
import heapq
import html
import itertools
import json
import math
import operator
import re
import statistics
import string
import struct
import textwrap
import typing
import unicodedata
import zlib
from types import MappingProxyType
from typing import Any, NoReturn

_MAX_INFLATED = 64 * 1024 * 1024


class Facade:
    """The named members of one module; nothing can be added or replaced."""

    def __init__(self, module: str, members: dict[str, object]) -> None:
        for name, member in members.items():
            object.__setattr__(self, name, member)
        object.__setattr__(self, "_module", module)

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"a module's {name} cannot be set")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<module {self._module}>"  # type: ignore[attr-defined]


def _loads(
    text: str | bytes, *, parse_float: Any = None, parse_int: Any = None, object_pairs_hook: Any = None
) -> Any:
    return json.loads(text, parse_float=parse_float, parse_int=parse_int, object_pairs_hook=object_pairs_hook)


def _plain(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _dumps(
    value: Any,
    *,
    ensure_ascii: bool = True,
    allow_nan: bool = True,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        allow_nan=allow_nan,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_plain,
    )


def _decompress(data: bytes, /, wbits: int = zlib.MAX_WBITS) -> bytes:
    """zlib.decompress up to 64 MiB: a constant must not be a bomb."""
    inflater = zlib.decompressobj(wbits)
    out = inflater.decompress(data, _MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise zlib.error("more than 64 MiB when decompressed")
    if not inflater.eof:
        raise zlib.error("incomplete or truncated stream")
    return out


def _hash(name: str) -> Any:
    constructor = getattr(hashlib, name)

    def new(data: bytes = b"", **options: Any) -> Any:
        return constructor(data, usedforsecurity=False, **options)

    return new


def _copy(counter: Any) -> Any:
    """Counter.copy of a Counter only: the original calls the class of whatever it is given, which of a class is
    `type` - and who has `type` has classes of his own."""
    if type(counter) is not collections.Counter:
        raise TypeError(f"copy requires a Counter, not {type(counter).__name__}")
    return collections.Counter(counter)


collections.Counter.copy = _copy  # type: ignore[assignment, method-assign]


class Form:
    """A name of `typing`, which says nothing at run time. The originals keep what is put in their brackets, and
    hand it to whoever puts in an equal value: `Dict[0, True]` answered another program's `Dict[0, 1]`."""

    __slots__ = ("_kind", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind = getattr(getattr(typing, name), "__origin__", None)

    def __getitem__(self, _parameters: object) -> Form:
        return self

    def __or__(self, _other: object) -> Form:
        return self

    __ror__ = __or__

    def __call__(self, *values: Any) -> Any:
        if self._kind not in (dict, list, set, frozenset, tuple):
            raise TypeError(f"typing.{self._name} cannot be called")
        return self._kind(*values)

    def __instancecheck__(self, value: object) -> bool:
        if self._kind is None:
            raise TypeError(f"typing.{self._name} cannot be used with isinstance()")
        return isinstance(value, self._kind)

    def __repr__(self) -> str:
        return f"typing.{self._name}"


def _forms(names: str) -> Facade:
    return Facade("typing", {name: Form(name) for name in names.split()})


def _of(module: Any, names: str, **others: object) -> Facade:
    members = {name: getattr(module, name) for name in names.split()}
    return Facade(module.__name__, {**members, **others})


FACADES: dict[str, Facade] = {
    facade._module: facade  # type: ignore[attr-defined]
    for facade in (
        _of(base64, "b64encode b64decode b85encode b85decode b32encode b32decode b16encode b16decode "
            "urlsafe_b64encode urlsafe_b64decode"),
        _of(binascii, "crc32 hexlify unhexlify a2b_base64 b2a_base64 Error"),
        _of(bisect, "bisect bisect_left bisect_right insort insort_left insort_right"),
        _of(collections, "Counter OrderedDict defaultdict deque"),
        _of(datetime, "date datetime time timedelta timezone MINYEAR MAXYEAR UTC"),
        _of(decimal, "Decimal InvalidOperation DivisionByZero ROUND_CEILING ROUND_DOWN ROUND_FLOOR "
            "ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP ROUND_05UP"),
        _of(fractions, "Fraction"),
        _of(functools, "reduce cmp_to_key"),
        _of(hashlib, "blake2b blake2s", **{name: _hash(name) for name in ("md5", "sha1", "sha256", "sha512")}),
        _of(heapq, "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest"),
        _of(html, "escape unescape"),
        _of(itertools, "accumulate chain combinations combinations_with_replacement compress count cycle "
            "dropwhile filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee "
            "zip_longest"),
        _of(json, "JSONDecodeError", loads=_loads, dumps=_dumps),
        _of(math, " ".join(name for name in dir(math) if not name.startswith("_"))),
        _of(operator, "add and_ concat contains eq floordiv ge getitem gt itemgetter le lt mod mul ne neg not_ "
            "or_ pow sub truediv truth xor"),
        _of(re, "compile escape findall finditer fullmatch match search split sub subn error "
            "A ASCII I IGNORECASE M MULTILINE S DOTALL U UNICODE X VERBOSE NOFLAG"),
        _of(statistics, "fmean geometric_mean harmonic_mean mean median median_high median_low mode multimode "
            "pstdev pvariance quantiles stdev variance StatisticsError"),
        _of(string, "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits "
            "printable punctuation whitespace"),
        _of(struct, "Struct calcsize error iter_unpack pack unpack unpack_from"),
        _of(textwrap, "dedent fill indent shorten wrap"),
        _forms("Any Callable Dict FrozenSet Iterable Iterator List Mapping Optional Sequence Set Tuple Union"),
        _of(unicodedata, "bidirectional category combining decimal decomposition digit east_asian_width "
            "is_normalized lookup mirrored name normalize numeric unidata_version"),
        _of(zlib, "adler32 crc32 error", decompress=_decompress),
    )
}  # fmt: skip

MEMBERS: dict[str, frozenset[str]] = {
    module: frozenset(name for name in vars(facade) if name != "_module") for module, facade in FACADES.items()
}


_NOTHING = Facade("time", {})


def facade_import(
    name: str, _globals: object = None, _locals: object = None, _fromlist: object = (), level: int = 0
) -> Facade:
    """The `__import__` of a program, and of the interpreter's own code that runs on its behalf."""
    if name == "time":  # datetime.strftime asks, and drops the answer; no program gets here with that name
        return _NOTHING
    if level or name not in FACADES:
        raise ImportError(f"the module {name} is not offered")
    return FACADES[name]


def warm_up() -> None:
    """Make every member load what it loads on first use, while there are still files to load it from."""
    for name in ("md5", "sha1", "sha256", "sha512"):
        vars(FACADES["hashlib"])[name](b"").hexdigest()
    datetime.datetime.strptime("2000-01-01 12:00", "%Y-%m-%d %H:%M").strftime("%A %B")
    base64.b85decode(base64.b85encode(b"warm"))
    statistics.quantiles([1.0, 2.0, 3.0], n=4)
    f"{decimal.Decimal(1):.1f}{fractions.Fraction(1, 3)}"
    re.compile(r"(?i)\w+\N{DIGIT ONE}").findall("1")
    for codec in ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"):
        "x".encode(codec).decode(codec)
