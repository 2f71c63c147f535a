"""Makes a loaded program forget: nothing it bound at module level can change afterwards. Runs inside the sandbox.

Every container is rebuilt, so no alias of the old one remains: dicts become read-only proxies (or stay dicts
where `readonly` proved that the program only reads them), lists tuples, sets frozensets. Numbers, text, compiled
patterns, dates, facades, offered functions and the program's own functions pass. Anything else could carry
something from one request to the next and is refused.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import re
import struct
from types import BuiltinMethodType, FunctionType, MappingProxyType, MethodDescriptorType
from typing import TYPE_CHECKING, Any

from loopai_runtime.sandbox.facades import FACADES, Facade
from loopai_runtime.sandbox.language import BUILTINS, READ_METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

MAX_DEPTH = 40

_ATOMS = frozenset({
    type(None), bool, int, float, complex, str, bytes, range, type(...), re.Pattern, re.RegexFlag, struct.Struct,
    MethodDescriptorType, datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
    decimal.Decimal, fractions.Fraction, Facade,
})  # fmt: skip

_OFFERED = {
    id(member)
    for members in (BUILTINS, *map(vars, FACADES.values()))
    for member in members.values()
    if callable(member)
}


_INSTEAD = {
    "Counter": "dict(...)",
    "OrderedDict": "dict(...)",
    "defaultdict": "dict(...)",
    "deque": "tuple(...)",
}


class Unfreezable(Exception):
    """A module-level value that could change between two calls."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def freeze(namespace: dict[str, Any], read_only: Set[str]) -> None:
    """Replace the values of a program's namespace by frozen ones, in place; raise Unfreezable."""
    for name, value in list(namespace.items()):
        if name.startswith("__"):
            continue
        if type(value) in _ATOMS:
            continue
        freezer = _Freezer(name)
        if name in read_only and type(value) in (dict, list):
            namespace[name] = freezer.plain(value)
        else:
            namespace[name] = freezer.frozen(value, 0)


class _Freezer:
    """Freezes the value of one name; remembers what it has rebuilt, as values may be shared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done: dict[int, Any] = {}

    def frozen(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS or id(value) in _OFFERED:
            return value
        known = self.done.get(id(value))
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            raise self.refused("is nested too deeply, or within itself")
        result = self._rebuilt(value, kind, depth)
        self.done[id(value)] = result
        return result

    def _rebuilt(self, value: Any, kind: type, depth: int) -> Any:
        if kind is tuple or kind is list:
            return tuple(self._all(value, depth))
        if kind is set or kind is frozenset:
            return frozenset(self._all(value, depth))
        if kind is dict:
            return MappingProxyType(self._dict(value, depth))
        if kind is FunctionType:
            return self._function(value)
        if kind is BuiltinMethodType:
            return self._method(value)
        instead = f"; wrap it in {_INSTEAD[kind.__name__]}" if kind.__name__ in _INSTEAD else ""
        raise self.refused(
            f"holds a {kind.__name__}, which could carry something from one call to the next{instead}"
        )

    def plain(self, value: Any) -> Any:
        """The same kind of container, new, with frozen contents."""
        return self._dict(value, 0) if type(value) is dict else self._all(value, 0)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        return dict(zip(self._all(value, depth), self._all(value.values(), depth), strict=True))

    def _all(self, values: Iterable[Any], depth: int) -> list[Any]:
        atoms, frozen = _ATOMS, self.frozen
        return [value if type(value) in atoms else frozen(value, depth + 1) for value in values]

    def _function(self, function: FunctionType) -> FunctionType:
        if function.__closure__:
            raise self.refused("is a function made by a function; its variables could change between calls")
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if not _unchanging(default):
                raise self.refused(
                    f"has a default value that can change (a {type(default).__name__}); default to None"
                )
        return function

    def _method(self, method: BuiltinMethodType) -> Any:
        """`FIND = re.compile(...).findall` and `GET = {...}.get`: bound to something that cannot change."""
        owner = method.__self__
        if type(owner) in _ATOMS or id(owner) in _OFFERED:
            return method
        if type(owner) in (dict, list) and method.__name__ in READ_METHODS:
            return getattr(self.plain(owner), method.__name__)
        raise self.refused(
            f"is the method {method.__name__} of a {type(owner).__name__}; call it where it is used"
        )

    def refused(self, message: str) -> Unfreezable:
        return Unfreezable(self.name, f"the module-level name {self.name} {message}")


def _unchanging(value: Any) -> bool:
    if type(value) is tuple or type(value) is frozenset:
        return all(map(_unchanging, value))
    return type(value) in _ATOMS or id(value) in _OFFERED
